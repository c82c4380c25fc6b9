"""Works for tests that need some: small pictures, made by the real worker."""

from typing import Any

import httpx

from tests.conftest import until


async def pictures(client: httpx.AsyncClient, me: dict[str, str], count: int = 1) -> list[dict[str, Any]]:
    """So many completed works of one task, as v1 lists them, in the order of their making."""
    body = {"prompt": "a kitten in a garden", "parameters": {"width": 64, "height": 64, "count": count}}
    task = (await client.post("/api/v1/generate/text-to-image", json=body, headers=me)).json()["data"]

    async def over() -> bool:
        shown = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
        return bool(shown["status"] == "completed")

    await until(over)
    works: list[dict[str, Any]] = (await client.get(f"/api/v1/works?pageSize={count}", headers=me)).json()["data"][
        "list"
    ]
    return works[::-1]

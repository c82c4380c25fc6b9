"""Whoever asked for tasks finds them again: their own only, newest first, page by page."""

from typing import Any

import httpx
import pytest

from tests.conftest import Token, until

Headers = dict[str, str]
TINY = {"width": 64, "height": 64}


async def ask(client: httpx.AsyncClient, me: Headers, prompt: str, path: str = "text-to-image", **more: Any) -> int:
    body = {"prompt": prompt, **({"parameters": TINY} if path == "text-to-image" else {}), **more}
    reply = await client.post(f"/api/v1/generate/{path}", json=body, headers=me)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["data"]["id"])


async def listed(client: httpx.AsyncClient, me: Headers, query: str = "") -> dict[str, Any]:
    reply = await client.get(f"/api/v1/generate/tasks{query}", headers=me)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]  # type: ignore[no-any-return]


def ids(page: dict[str, Any]) -> list[int]:
    return [task["id"] for task in page["list"]]


async def test_ones_own_tasks_newest_first(client: httpx.AsyncClient, token: Token) -> None:
    (_, mine), (_, other) = await token(), await token()
    assert await listed(client, mine) == {"list": [], "total": 0, "page": 1, "pageSize": 20}
    tasks = [await ask(client, mine, f"[fail] {turn}") for turn in range(3)]
    theirs = await ask(client, other, "[fail] x")
    film = await ask(client, mine, "a film", "text-to-video")
    await client.post(f"/api/v1/generate/tasks/{film}/cancel", headers=mine)

    async def over() -> bool:
        return len(ids(await listed(client, mine, "?status=failed"))) >= 3

    await until(over)
    page = await listed(client, mine)
    assert (ids(page), page["total"]) == ([film, *reversed(tasks)], 4)
    assert ids(await listed(client, other)) == [theirs]
    for query, expected in (
        ("?page=1&pageSize=2", [film, tasks[2]]),
        ("?page=2&pageSize=2", [tasks[1], tasks[0]]),
        ("?page=3&pageSize=2", []),
        ("?page=1000000&pageSize=100", []),
    ):
        page = await listed(client, mine, query)
        assert (ids(page), page["total"]) == (expected, 4), query
    for query, expected in (
        ("?task_type=text2video", [film]),
        ("?task_type=text2img", [*reversed(tasks)]),
        ("?task_type=img2img", []),
        ("?status=cancelled&task_type=text2img", []),
        ("?status=cancelled", [film]),
        ("?status=failed&task_type=text2img", [*reversed(tasks)]),
    ):
        page = await listed(client, mine, query)
        assert (ids(page), page["total"]) == (expected, len(expected)), query


async def test_each_is_as_it_is_shown_alone(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    made = await ask(client, me, "a cat", parameters={**TINY, "count": 2})
    server = {"prompt": "a fox", "style": "watercolor"}
    assert (await client.post("/api/images/generate", json=server, headers=me)).status_code == 200

    async def over() -> bool:
        return len(ids(await listed(client, me, "?status=completed"))) == 2

    await until(over)
    newest, oldest = (await listed(client, me))["list"]
    assert (newest["prompt"], oldest["id"], len(oldest["results"])) == ("a fox", made, 2)
    for task in (newest, oldest):
        alone = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
        # The signatures in the urls are of the second in which they are made.
        assert {name: value for name, value in alone.items() if "result" not in name} == {
            name: value for name, value in task.items() if "result" not in name
        }
        assert [one["work_uuid"] for one in task["results"]] == [one["work_uuid"] for one in alone["results"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=1000001", "page"),
        ("page=x", "page"),
        ("page=1&page=2", "page"),
        ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"),
        ("pageSize=", "pageSize"),
        ("status=done", "status"),
        ("status=", "status"),
        ("status=failed&status=pending", "status"),
        ("task_type=image", "task_type"),
        ("task_type=TEXT2IMG", "task_type"),
    ],
)
async def test_anything_else_is_refused(client: httpx.AsyncClient, token: Token, query: str, field: str) -> None:
    _, me = await token()
    reply = await client.get(f"/api/v1/generate/tasks?{query}", headers=me)
    assert reply.status_code == 400
    assert (reply.json()["data"]["error"], list(reply.json()["data"]["fields"])) == ("VALIDATION_ERROR", [field])


async def test_nobody_unknown_sees_any(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/generate/tasks")).status_code == 401

"""One story, told through either document, ends in the same state."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx
import msgspec

from mintage.application.services import Services
from mintage.projections.ledger import balance_of, transactions_of
from mintage.projections.people import person
from mintage.projections.tasks import image_history, task_of
from mintage.projections.works import works_of
from tests.conftest import Mailbox, until

OWN: Final = {
    "person": {"user_id", "number", "username", "email", "referral_code", "created_at", "updated_at"},
    "line": {"id", "created_at"},
    "work": {"work_id", "number", "task_id", "task_number", "user_id", "file", "thumbnail", "created_at", "updated_at"},
    "task": {
        *("task_id", "number", "user_id", "document", "style"),
        *("created_at", "started_at", "finished_at", "updated_at"),
    },
}
"""What is different for any two people, and the style, of which v1 knows nothing."""
PROMPT: Final = "a kitten in a garden"
AVATAR: Final = "https://example.com/avatar.jpg"

Send = Callable[..., Awaitable[dict[str, Any]]]


def sender(client: httpx.AsyncClient) -> Send:
    me: dict[str, str] = {}

    async def send(method: str, path: str, body: Any = None, *, ok: bool = True) -> dict[str, Any]:
        reply = await client.request(method, path, json=body, headers=me)
        assert reply.is_success == ok, f"{method} {path}: {reply.text}"
        data: dict[str, Any] = reply.json().get("data") or {}
        if "token" in data:
            me["Authorization"] = f"Bearer {data['token']}"
        return data

    return send


async def v1_story(send: Send, mailbox: Mailbox) -> str:
    body = {"username": "ann", "password": "password123", "email": "ann@example.com"}
    user = (await send("POST", "/api/v1/auth/register", body))["user"]
    await send("POST", "/api/auth/verify-email", {"email": body["email"], "code": mailbox[-1].code})  # v1 has none
    await send("POST", "/api/v1/auth/login", {"username": "ann", "password": "password123"})
    await send("PUT", "/api/v1/users/profile", {"nickname": "Kitty"})
    await send("POST", "/api/v1/users/upload-avatar", {"avatar_url": AVATAR})
    for prompt in (PROMPT, "[fail] please"):
        asked = {"prompt": prompt, "parameters": {"count": 2}}
        task = await send("POST", "/api/v1/generate/text-to-image", asked)

        async def over(path: str = f"/api/v1/generate/tasks/{task['id']}") -> bool:
            return (await send("GET", path))["status"] in {"completed", "failed"}

        await until(over)
    assert (await send("GET", "/api/v1/auth/me"))["computing_power"] == 90
    return str(user["uuid"])


async def server_story(send: Send, mailbox: Mailbox) -> str:
    body = {"email": "bob@example.com", "password": "password123", "name": "Bob"}
    user = (await send("POST", "/api/auth/register", body))["user"]
    await send("POST", "/api/auth/verify-email", {"email": body["email"], "code": mailbox[-1].code})
    await send("POST", "/api/auth/login", {"email": body["email"], "password": "password123"})
    await send("PUT", "/api/user/profile", {"name": "Kitty"})
    await send("PUT", "/api/user/profile", {"avatar": AVATAR})
    await send("POST", "/api/images/generate", {"prompt": PROMPT, "style": "realistic", "count": 2})
    await send("POST", "/api/images/generate", {"prompt": "[fail] please", "style": "realistic", "count": 2}, ok=False)
    assert (await send("GET", "/api/credits/balance"))["balance"] == 90
    return str(user["id"])


async def ended(services: Services, user_id: str) -> dict[str, Any]:
    """All that the read models hold of somebody, without what is different for any two people."""
    db = services.db
    works, _ = await works_of(db, user_id, status=None, work_type=None, limit=100, offset=0)
    lines, _ = await transactions_of(db, user_id, limit=100, offset=0)
    tasks = [await task_of(db, user_id, work.task_id) for work in works]
    return {
        "person": without("person", await person(db, user_id)),
        "balance": await balance_of(db, user_id),
        "lines": [without("line", line) for line in lines],
        "works": [without("work", work) for work in works],
        "tasks": [without("task", task) for task in tasks],
    }


def without(kind: str, row: Any) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(row).items() if name not in OWN[kind]}


async def test_the_same_story_ends_alike(services: Services, client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    ann = await v1_story(sender(client), mailbox)
    bob = await server_story(sender(client), mailbox)
    one, other = await ended(services, ann), await ended(services, bob)
    assert one["lines"] == other["lines"]
    assert one == other
    assert (await image_history(services.db, ann, limit=1, offset=0))[1] == 0
    assert (await image_history(services.db, bob, limit=1, offset=0))[1] == 1


async def test_either_document_shows_the_same_person(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    for story in (v1_story, server_story):
        send = sender(client)
        await story(send, mailbox)
        v1, server = await send("GET", "/api/v1/auth/me"), (await send("GET", "/api/user/profile"))["user"]
        balance = await send("GET", "/api/credits/balance")
        assert (v1["uuid"], v1["email"], v1["nickname"], v1["avatar_url"]) == (
            server["id"],
            server["email"],
            server["name"],
            server["avatar"],
        )
        assert (v1["email_verified"], v1["created_at"]) == (server["email_verified"], server["created_at"])
        assert (v1["computing_power"], v1["uuid"]) == (balance["balance"], balance["user_id"])

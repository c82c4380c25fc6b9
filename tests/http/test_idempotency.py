"""A request repeated with its Idempotency-Key has one effect and one reply, byte for byte."""

import asyncio

import httpx
import pytest

from mintage.http.api_v1 import generate
from mintage.http.server_api import images
from mintage.infra.store import Lost
from tests.conftest import Token, until

USE = {"amount": 10, "description": "生成AI图片"}


async def balance(client: httpx.AsyncClient, me: dict[str, str]) -> int:
    shown = (await client.get("/api/credits/balance", headers=me)).json()["data"]
    return int(shown["balance"])


@pytest.mark.parametrize(
    ("path", "body", "left"),
    [("/api/credits/consume", USE, 90), ("/api/credits/recharge", {"amount": 1, "payment_method": "alipay"}, 110)],
)
async def test_one_effect_one_reply(
    client: httpx.AsyncClient, token: Token, path: str, body: dict[str, object], left: int
) -> None:
    _, me = await token()
    keyed = {**me, "Idempotency-Key": "order-1"}
    first = await client.post(path, json=body, headers=keyed)
    again = await client.post(path, json=body, headers={**keyed, "Accept-Language": "en"})
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.content) == (200, first.content)
    assert await balance(client, me) == left

    other = await client.post(path, json={**body, "amount": 2}, headers=keyed)
    assert (other.status_code, other.json()["error"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert await balance(client, me) == left


async def test_repeats_at_the_same_moment(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    keyed = {**me, "Idempotency-Key": "order-1"}
    replies = await asyncio.gather(*(client.post("/api/credits/consume", json=USE, headers=keyed) for _ in range(20)))
    assert len({reply.content for reply in replies}) == 1
    assert sum("Idempotency-Replayed" in reply.headers for reply in replies) == 19
    assert await balance(client, me) == 90


@pytest.mark.parametrize(
    ("path", "reads"),
    [("/api/v1/generate/text-to-image", (generate, "own_task")), ("/api/images/generate", (images, "balance_of"))],
)
async def test_what_is_stored_and_cannot_be_shown_is_not_said_to_be_undone(
    client: httpx.AsyncClient, token: Token, monkeypatch: pytest.MonkeyPatch, path: str, reads: tuple[object, str]
) -> None:
    """With the key the repeat shows it, and nothing is paid for twice."""
    _, me = await token()
    module, name = reads
    real = getattr(module, name)
    failures = [Lost("no connection within 5 s")]

    async def once_away(*given: object) -> object:
        if failures:
            raise failures.pop()
        return await real(*given)

    monkeypatch.setattr(module, name, once_away)
    body = (
        {"prompt": "a cat", "parameters": {"width": 64, "height": 64}}
        if "v1" in path
        else {"prompt": "a cat", "style": "realistic"}
    )
    keyed = {**me, "Idempotency-Key": "picture-1", "Accept-Language": "en"}
    lost = await client.post(path, json=body, headers=keyed)
    assert lost.status_code == 503
    assert lost.json()["message"].startswith(
        "The outcome is not known; repeat the request with the same Idempotency-Key"
    )
    assert (await client.post(path, json=body, headers=keyed)).is_success
    assert (await client.get("/api/v1/generate/tasks", headers=me)).json()["data"]["total"] == 1


async def test_a_key_belongs_to_its_account_and_path(client: httpx.AsyncClient, token: Token) -> None:
    key = {"Idempotency-Key": "order-1"}
    _, one = await token()
    _, two = await token()
    for me in (one, two):
        reply = await client.post("/api/credits/consume", json=USE, headers={**me, **key})
        assert "Idempotency-Replayed" not in reply.headers
    order = {"amount": 1, "payment_method": "wechat"}
    assert (await client.post("/api/credits/recharge", json=order, headers={**one, **key})).status_code == 200


async def test_a_refusal_binds_nothing(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    keyed = {**me, "Idempotency-Key": "order-1"}
    much = {"amount": 105, "description": "x"}
    assert (await client.post("/api/credits/consume", json=much, headers=keyed)).status_code == 402
    await client.post("/api/credits/recharge", json={"amount": 1, "payment_method": "wechat"}, headers=me)
    retried = await client.post("/api/credits/consume", json=much, headers=keyed)
    assert (retried.status_code, retried.json()["data"]["new_balance"]) == (200, 5)
    assert "Idempotency-Replayed" not in retried.headers


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "密"])
async def test_keys_that_are_none(client: httpx.AsyncClient, token: Token, key: str) -> None:
    _, me = await token()
    headers = [*((name, value.encode()) for name, value in me.items()), ("Idempotency-Key", key.encode())]
    reply = await client.post("/api/credits/consume", json=USE, headers=headers)  # type: ignore[arg-type]
    assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, ["Idempotency-Key"])
    longest = await client.post("/api/credits/consume", json=USE, headers={**me, "Idempotency-Key": "!" * 255})
    assert longest.status_code == 200


async def test_a_v1_task_is_accepted_once(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    keyed = {**me, "Idempotency-Key": "picture-1"}
    wish = {"prompt": "a cat"}
    replies = await asyncio.gather(
        *(client.post("/api/v1/generate/text-to-image", json=wish, headers=keyed) for _ in range(5))
    )
    task = replies[0].json()["data"]

    async def over() -> bool:
        shown = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
        return bool(shown["status"] == "completed")

    await until(over)
    replies.append(await client.post("/api/v1/generate/text-to-image", json=wish, headers=keyed))
    assert len({reply.content for reply in replies}) == 1
    assert sum("Idempotency-Replayed" in reply.headers for reply in replies) == 5
    assert (await client.get("/api/v1/works", headers=me)).json()["data"]["total"] == 1
    reused = await client.post("/api/v1/generate/text-to-image", json={"prompt": "a dog"}, headers=keyed)
    assert (reused.status_code, reused.json()["data"]) == (400, {"error": "IDEMPOTENCY_KEY_REUSED"})


async def test_images_are_made_once(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    keyed = {**me, "Idempotency-Key": "picture-1"}
    wish = {"prompt": "a cat", "style": "cartoon", "count": 2}
    replies = await asyncio.gather(*(client.post("/api/images/generate", json=wish, headers=keyed) for _ in range(3)))
    replies.append(await client.post("/api/images/generate", json=wish, headers=keyed))
    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({reply.content for reply in replies}) == 1
    assert await balance(client, me) == 90


async def test_a_failed_generation_is_not_tried_again_under_its_key(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    keyed = {**me, "Idempotency-Key": "picture-1"}
    wish = {"prompt": "[fail]", "style": "cartoon"}
    first = await client.post("/api/images/generate", json=wish, headers=keyed)
    again = await client.post("/api/images/generate", json=wish, headers=keyed)
    assert first.status_code == again.status_code == 502
    assert first.json() == again.json()
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert await balance(client, me) == 100


async def test_a_task_is_cancelled_once(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    tasks = [
        (await client.post("/api/v1/generate/text-to-image", json={"prompt": "a cat"}, headers=me)).json()["data"]
        for _ in range(3)
    ]
    keyed = {**me, "Idempotency-Key": "never-mind"}
    first = await client.post(f"/api/v1/generate/tasks/{tasks[-1]['id']}/cancel", headers=keyed)
    again = await client.post(f"/api/v1/generate/tasks/{tasks[-1]['uuid']}/cancel", headers=keyed)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await balance(client, me) == 80
    unkeyed = await client.post(f"/api/v1/generate/tasks/{tasks[-1]['id']}/cancel", headers=me)
    assert (unkeyed.status_code, unkeyed.json()["data"]["status"]) == (400, "cancelled")

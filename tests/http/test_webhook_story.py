"""The whole system tells a person's server what happens: registered over HTTP, sent over TLS, verified, looked at."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook as Verifier

from mintage.bootstrap import running
from mintage.http.app import create_app
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from mintage.infra.store import Lost
from tests.conftest import BASE_URL, VAULT, Mailbox, Token, until
from tests.contract import Checked
from tests.infra.receiver import Receiver, receiver, reply, sender

PATH = "/api/v1/webhooks"
TINY = {"prompt": "story-canary", "parameters": {"width": 64, "height": 64}}


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest.fixture
async def client(conninfo: str, settings: Settings, mailbox: Mailbox) -> AsyncIterator[httpx.AsyncClient]:
    """Like the usual one, of a system that finds receivers on this machine."""
    place = Site(conninfo, VAULT, None)
    async with running(settings, place, base_url=lambda: BASE_URL, mailer=mailbox, sender=sender()) as services:
        inner = httpx.ASGITransport(app=create_app(services, unavailable=(Lost,)), raise_app_exceptions=False)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=Checked(inner), base_url=BASE_URL, timeout=60) as http:
            yield http


async def arrived(hook: Receiver, many: int) -> None:
    async def are() -> bool:
        return len(hook.got) >= many

    await until(are)


async def deliveries(client: httpx.AsyncClient, me: dict[str, str], status: str = "") -> list[dict[str, Any]]:
    query = f"?status={status}" if status else ""
    found: list[dict[str, Any]] = (await client.get(f"{PATH}/1/deliveries{query}", headers=me)).json()["data"]["list"]
    return found


async def test_a_picture_is_made_and_its_owner_is_told(client: httpx.AsyncClient, token: Token, hook: Receiver) -> None:
    _, me = await token()
    _, somebody_else = await token()
    created = (await client.post(PATH, json={"url": hook.url()}, headers=me)).json()["data"]
    await client.post("/api/v1/generate/text-to-image", json=TINY, headers=somebody_else)
    task = (await client.post("/api/v1/generate/text-to-image", json=TINY, headers=me)).json()["data"]
    await arrived(hook, 2)

    told = {got.said["type"]: Verifier(created["secret"]).verify(got.body, got.headers)["data"] for got in hook.got}
    assert set(told) == {"task.processing", "task.completed"}
    completed = told["task.completed"]
    shown = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
    # What is told of a task is what document v1 shows of it, urls signed anew.
    fresh = ("url", "thumbnail_url")
    for both in (completed, shown):
        both["results"] = [{k: v for k, v in one.items() if k not in fresh} for one in both["results"]]
    assert completed == {name: shown[name] for name in completed}
    assert b"story-canary" not in b"".join(got.body for got in hook.got)

    async def recorded() -> bool:
        return len(await deliveries(client, me, "delivered")) == 2

    await until(recorded)
    listed = await deliveries(client, me)
    assert [one["id"] for one in listed] == hook.ids[::-1]
    assert [(one["status"], one["task_uuid"], one["next_attempt_at"]) for one in listed] == [
        ("delivered", task["uuid"], None)
    ] * 2
    for one in listed:
        (attempt,) = one["attempts"]
        assert (attempt["status"], attempt["error"]) == (204, None)
        assert (await client.get(f"{PATH}/1/deliveries/{one['id'].upper()}", headers=me)).json()["data"] == one


async def test_the_urls_in_a_message_open_the_picture(client: httpx.AsyncClient, token: Token, hook: Receiver) -> None:
    _, me = await token()
    await client.post(PATH, json={"url": hook.url(), "event_types": ["task.completed"]}, headers=me)
    await client.post("/api/v1/generate/text-to-image", json=TINY, headers=me)
    await arrived(hook, 1)
    (result,) = hook.got[0].said["data"]["results"]
    for url in (result["url"], result["thumbnail_url"]):
        assert (await client.get(url)).headers["content-type"].startswith("image/")


async def test_a_test_message_fails_is_seen_to_and_is_sent_again(
    client: httpx.AsyncClient, token: Token, hook: Receiver
) -> None:
    _, me = await token()
    await client.post(PATH, json={"url": hook.url()}, headers=me)
    hook.answer = lambda _: reply(500)
    sent = (await client.post(f"{PATH}/1/test", headers={**me, "Accept-Language": "en"})).json()
    assert (sent["message"], sent["data"]) == ("A test message is on its way", None)
    await arrived(hook, 1)
    assert hook.got[0].said["data"] == {}

    async def tried() -> bool:
        found = await deliveries(client, me, "pending")
        return bool(found and found[0]["attempts"])

    await until(tried)
    (waiting,) = await deliveries(client, me)
    assert (waiting["event_type"], waiting["task_uuid"], waiting["attempts"][0]["status"]) == ("ping", None, 500)
    assert waiting["next_attempt_at"] > waiting["happened_at"]
    assert await deliveries(client, me, "delivered") == []

    hook.answer = lambda _: reply(200)
    again = (await client.post(f"{PATH}/1/deliveries/{waiting['id']}/resend", headers=me)).json()
    assert (again["message"], again["data"]["status"]) == ("消息即将重新发送", "pending")
    await arrived(hook, 2)
    assert len(set(hook.ids)) == 1


async def test_a_secret_is_replaced_without_a_gap(client: httpx.AsyncClient, token: Token, hook: Receiver) -> None:
    _, me = await token()
    secrets = [(await client.post(PATH, json={"url": hook.url()}, headers=me)).json()["data"]["secret"]]
    secrets.append((await client.post(f"{PATH}/1/rotate", headers=me)).json()["data"]["secret"])
    await client.post(f"{PATH}/1/test", headers=me)
    await arrived(hook, 1)
    (got,) = hook.got
    assert [Verifier(secret).verify(got.body, got.headers)["type"] for secret in secrets] == ["ping", "ping"]


@pytest.mark.parametrize(("query", "field"), [("page=0", "page"), ("pageSize=101", "pageSize"), ("status=x", "status")])
async def test_what_is_wrong_with_a_query_is_named(
    client: httpx.AsyncClient, token: Token, hook: Receiver, query: str, field: str
) -> None:
    _, me = await token()
    await client.post(PATH, json={"url": hook.url()}, headers=me)
    reply_ = await client.get(f"{PATH}/1/deliveries?{query}", headers=me)
    assert (reply_.status_code, list(reply_.json()["data"]["fields"])) == (400, [field])

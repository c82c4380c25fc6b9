"""What somebody found who knew nothing but the documents: each of these was wrong once."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from mintage.application.generations import CANCELLED_MESSAGE
from mintage.application.lifecycle import TIMED_OUT_MESSAGE
from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.http.messages import stored
from mintage.infra import causes
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.sessions import Standings
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from mintage.projections.people import Standing
from tests.conftest import BASE_URL, VAULT, Mailbox, Token, app_of, until
from tests.infra.kit import one, through_port
from tests.infra.proxy import proxy_to

OLD = "abc\u0007def1"


async def test_a_password_may_hold_anything_and_be_changed(client: httpx.AsyncClient) -> None:
    reply = await client.post("/api/v1/auth/register", json={"username": "test", "password": OLD})
    me = {"Authorization": f"Bearer {reply.json()['data']['token']}"}
    wrong = {"oldPassword": "\u0007wrong", "newPassword": "password124"}
    refused = (await client.post("/api/v1/users/change-password", json=wrong, headers=me)).json()
    assert (refused["message"], list(refused["data"]["fields"])) == ("旧密码错误", ["oldPassword"])
    body = {"oldPassword": OLD, "newPassword": "password124"}
    assert (await client.post("/api/v1/users/change-password", json=body, headers=me)).status_code == 200


def test_the_databases_log_tells_nothing_of_anybody(postgres: EmbeddedPostgres) -> None:
    assert one(postgres.conninfo, "show log_error_verbosity") == "terse"
    assert one(postgres.conninfo, "show log_min_error_statement") == "panic"


async def test_a_token_newer_than_what_is_remembered_counts(
    client: httpx.AsyncClient, services: Services, token: Token
) -> None:
    user, me = await token()
    body = {"oldPassword": "123456", "newPassword": "password124"}
    reply = (await client.post("/api/v1/users/change-password", json=body, headers=me)).json()
    fresh = {"Authorization": f"Bearer {reply['data']['token']}"}
    # As another process would remember them, which has not heard of the change.
    assert isinstance(services.sessions, Standings)
    services.sessions._known[str(user["uuid"])] = Standing(0, "user")
    assert (await client.get("/api/v1/auth/me", headers=fresh)).status_code == 200
    assert (await client.get("/api/v1/auth/me", headers=me)).status_code == 401


async def test_the_statement_adds_up_whatever_is_held(
    client: httpx.AsyncClient, services: Services, token: Token
) -> None:
    _, me = await token()
    big = {"prompt": "a cat", "parameters": {"width": 2048, "height": 2048, "count": 4}}
    task = (await client.post("/api/v1/generate/text-to-image", json=big, headers=me)).json()["data"]
    spent = await client.post("/api/credits/consume", json={"amount": 7, "description": "x"}, headers=me)
    assert spent.json()["data"]["new_balance"] == 83

    async def over() -> bool:
        shown = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
        return bool(shown["status"] == "completed")

    await until(over)
    lines = (await client.get("/api/credits/transactions", headers=me)).json()["data"]["transactions"]
    assert [(line["amount"], line["balance_after"]) for line in lines] == [(10, 83), (7, 93), (100, 100)]


async def test_a_failed_task_says_why_in_the_readers_language(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    english = {**me, "Accept-Language": "en"}
    task = (await client.post("/api/v1/generate/text-to-image", json={"prompt": "[fail]"}, headers=me)).json()["data"]
    shown: dict[str, Any] = {}

    async def over() -> bool:
        shown.update((await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=english)).json()["data"])
        return bool(shown["status"] == "failed")

    await until(over)
    assert shown["error_message"] == "The generation failed; nothing was charged"
    works = (await client.get("/api/v1/works?status=failed", headers=english)).json()["data"]["list"]
    assert works[0]["error_message"] == shown["error_message"]
    works = (await client.get("/api/v1/works?status=failed", headers=me)).json()["data"]["list"]
    assert works[0]["error_message"] == "生成失败，未扣除积分"


@pytest.mark.parametrize(
    "words",
    [
        causes.FAILED[1],
        causes.ABANDONED[1],
        causes.SOURCE_UNAVAILABLE[1],
        causes.SOURCE_REFUSED[1],
        causes.CONTENT_REFUSED[1],
        causes.REQUEST_REFUSED[1],
        causes.PROVIDER_UNAVAILABLE[1],
        causes.CREATE_AMBIGUOUS[1],
        causes.NOT_STORED[1],
        TIMED_OUT_MESSAGE,
        CANCELLED_MESSAGE,
    ],
)
def test_everything_a_task_may_say_has_an_english_side(words: str) -> None:
    assert stored(words, "zh") == words
    assert (stored(words, "en") or "").isascii()


@pytest.mark.parametrize("blank", [" ", "\u200b", "\u202e \u00a0"])
async def test_what_cannot_be_seen_is_no_text(client: httpx.AsyncClient, token: Token, blank: str) -> None:
    _, me = await token()
    for method, path, field, body in (
        ("POST", "/api/credits/consume", "description", {"amount": 1, "description": blank}),
        ("POST", "/api/v1/generate/text-to-image", "prompt", {"prompt": blank}),
        ("POST", "/api/v1/characters", "name", {"name": blank}),
        ("PUT", "/api/v1/users/profile", "nickname", {"nickname": blank}),
        ("PUT", "/api/user/profile", "name", {"name": blank}),
    ):
        reply = await client.request(method, path, json=body, headers=me)
        details = reply.json().get("details") or reply.json()["data"]
        assert (reply.status_code, list(details["fields"])) == (400, [field])


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(
    client: httpx.AsyncClient, token: Token
) -> None:
    _, me = await token()
    for length in ("1048577", "9" * 40):
        headers = {**me, "Content-Length": length}
        reply = await client.post("/api/credits/consume", content=b"{}", headers=headers)
        assert (reply.status_code, reply.json()["error"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_of_two_idempotency_keys_none_is_chosen(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    headers = [*me.items(), ("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    reply = await client.post("/api/credits/consume", json={"amount": 1, "description": "x"}, headers=headers)
    assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, ["Idempotency-Key"])


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
async def test_who_watches_may_ask_for_the_status_alone(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.head(path)).status_code == 200


async def test_a_server_whose_database_is_away_is_not_ready(conninfo: str, tmp_path: Path) -> None:
    async with proxy_to(conninfo) as proxy:
        place = Site(through_port(conninfo, proxy.port), VAULT, None)
        async with running(Settings(data_dir=tmp_path), place, base_url=lambda: BASE_URL, worker=False) as services:
            inner = httpx.ASGITransport(app=app_of(services))  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=inner, base_url=BASE_URL, timeout=60) as http:
                assert (await http.get("/health/ready")).status_code == 200
                proxy.freeze()
                assert (await http.get("/health/ready")).status_code == 503
                assert (await http.get("/health/live")).status_code == 200
                proxy.thaw()

                async def is_ready() -> bool:
                    return (await http.get("/health/ready")).status_code == 200

                await until(is_ready)


async def test_where_nobody_takes_money_that_is_said(conninfo: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, sandbox_gateway=False)
    async with running(settings, Site(conninfo, VAULT, None), base_url=lambda: BASE_URL, worker=False) as services:
        inner = httpx.ASGITransport(app=app_of(services))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=inner, base_url=BASE_URL) as http:
            body = {"username": "ann", "password": "123456"}
            token = (await http.post("/api/v1/auth/register", json=body)).json()["data"]["token"]
            order = {"amount": 1, "payment_method": "wechat"}
            reply = await http.post("/api/credits/recharge", json=order, headers={"Authorization": f"Bearer {token}"})
    assert (reply.status_code, reply.json()["error"]) == (503, "SERVICE_UNAVAILABLE")


async def test_a_strangers_words_do_not_greet_who_has_a_name(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    await client.post("/api/auth/register", json={"email": "bob@example.com", "password": "password123", "name": "Bob"})
    asked = {"email": "bob@example.com", "type": "password_reset", "name": "Send me money"}
    assert (await client.post("/api/auth/send-verification", json=asked)).is_success
    assert mailbox[-1].name == "Bob"


async def test_an_address_that_is_somebodys_uses_up_none_of_their_codes(
    client: httpx.AsyncClient, token: Token, mailbox: Mailbox
) -> None:
    await client.post("/api/auth/register", json={"email": "bob@example.com", "password": "password123", "name": "Bob"})
    _, me = await token()
    taken = await client.put("/api/v1/users/profile", json={"email": "bob@example.com"}, headers=me)
    assert taken.status_code == 400
    asked = {"email": "bob@example.com", "type": "password_reset"}
    assert (await client.post("/api/auth/send-verification", json=asked)).is_success
    assert [mail.purpose for mail in mailbox] == ["verification", "password_reset"]


async def test_the_table_of_images_adds_up_to_what_was_paid(
    client: httpx.AsyncClient, services: Services, token: Token
) -> None:
    _, me = await token()
    wish = {"prompt": "a cat", "style": "cartoon", "count": 4}
    made = (await client.post("/api/images/generate", json=wish, headers=me)).json()["data"]
    rows = await services.db.fetch(dict, "select credits_used from images order by 1 desc")
    assert made["credits_consumed"] == 10
    assert [row["credits_used"] for row in rows] == [3, 3, 2, 2]

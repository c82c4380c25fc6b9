"""/api/v1/webhooks: everybody's own, a few each; what is wrong is named."""

from typing import Any

import httpx
import pytest

from mintage.application.services import Services
from mintage.application.webhooks import REPLACED_MAX
from mintage.domain.webhook.decider import WEBHOOKS_MAX
from tests.conftest import Token

PATH = "/api/v1/webhooks"
URL = "https://hooks.example/mintage"
FIELDS = ["id", "uuid", "url", "event_types", "enabled", "disabled_reason", "secret", "created_at", "updated_at"]
NOBODYS = "0199b1c0-0000-7000-8000-0000000000f9"


async def create(client: httpx.AsyncClient, me: dict[str, str], **body: object) -> dict[str, Any]:
    reply = await client.post(PATH, json={"url": URL, **body}, headers=me)
    assert (reply.status_code, reply.json()["code"], reply.json()["message"]) == (200, 0, "创建成功")
    created: dict[str, Any] = reply.json()["data"]
    return created


async def test_a_webhook_is_made_shown_changed_and_deleted(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    created = await create(client, me, event_types=["task.failed", "task.completed", "task.failed"])
    assert list(created) == FIELDS
    assert (created["id"], created["url"], created["enabled"]) == (1, URL, True)
    assert created["event_types"] == ["task.failed", "task.completed"]
    assert created["secret"].startswith("whsec_")
    kept = {**created, "secret": None}
    for name in (created["id"], created["uuid"], created["uuid"].upper()):
        assert (await client.get(f"{PATH}/{name}", headers=me)).json()["data"] == kept
    listed = (await client.get(PATH, headers=me)).json()["data"]
    assert listed == {"list": [kept], "total": 1, "page": 1, "pageSize": 20}

    steps: list[tuple[dict[str, object], dict[str, object]]] = [
        ({}, {}),
        ({"url": "https://other.example:8443/x?y=1"}, {"url": "https://other.example:8443/x?y=1"}),
        ({"event_types": []}, {"event_types": []}),
        ({"enabled": False}, {"enabled": False, "disabled_reason": "owner"}),
        ({"enabled": False, "event_types": ["task.failed"]}, {"event_types": ["task.failed"]}),
        ({"enabled": True}, {"enabled": True, "disabled_reason": None}),
    ]
    for body, difference in steps:
        reply = (await client.put(f"{PATH}/1", json=body, headers=me)).json()
        kept |= difference | {"updated_at": reply["data"]["updated_at"]}
        assert (reply["message"], reply["data"]) == ("更新成功", kept)

    deleted = await client.delete(f"{PATH}/{created['uuid']}", headers=me)
    assert deleted.json() == {"code": 0, "message": "删除成功", "data": None}
    assert (await client.get(PATH, headers=me)).json()["data"]["list"] == []
    assert (await client.get(f"{PATH}/1", headers=me)).status_code == 404


async def test_the_secret_is_shown_once_and_again_only_by_replacing_it(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    first = (await create(client, me))["secret"]
    rotated = (await client.post(f"{PATH}/1/rotate", headers={**me, "Accept-Language": "en"})).json()
    assert rotated["message"] == "The secret was replaced; the old one counts for 24 hours"
    second = rotated["data"]["secret"]
    assert second.startswith("whsec_")
    assert second != first
    assert (await client.get(f"{PATH}/1", headers=me)).json()["data"]["secret"] is None
    for _ in range(REPLACED_MAX - 1):
        assert (await client.post(f"{PATH}/1/rotate", headers=me)).status_code == 200
    refused = await client.post(f"{PATH}/1/rotate", headers=me)
    assert (refused.status_code, refused.json()["data"]) == (400, {"error": "CONFLICT"})
    assert "24" in refused.json()["message"]


BAD_URLS = (
    *("", "hooks.example", "http://hooks.example/", "ftp://hooks.example/", "https://", "https:///x"),
    *("https://ann:secret@hooks.example/", "https://hooks.example\\@inside/", "https://hooks.example:99999/"),
    *("https://127.0.0.1/", "https://10.0.0.1/", "https://192.168.1.1:8443/", "https://169.254.169.254/latest"),
    *("https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://[fd00::1]/"),
    *(
        "https://2130706433/",
        "https://0x7f.1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://a..example/",
        "https://hooks.example:0/",
    ),
    *("https://localhost/", "https://me.localhost./", "HTTPS://LOCALHOST/", "https://hooks.example/" + "x" * 2_048),
)
Wrong = tuple[dict[str, object], str, str]
ONES_OF_URLS: list[Wrong] = [({"url": url}, "url", "必须是公网 https 地址") for url in BAD_URLS]
WRONG: list[Wrong] = [
    ({}, "url", "必填"),
    ({"url": 7}, "url", "必须是字符串"),
    ({"url": None}, "url", "必须是字符串"),
    *ONES_OF_URLS,
    ({"url": URL + "/\u0001"}, "url", "不能包含控制字符"),
    ({"url": URL, "event_types": "task.completed"}, "event_types", "必须是数组"),
    ({"url": URL, "event_types": None}, "event_types", "必须是数组"),
    (
        {"url": URL, "event_types": ["task.completed", "task.everything"]},
        "event_types",
        "必须是以下之一：credits.recharged, task.cancelled, task.completed, task.failed, task.processing",
    ),
]


@pytest.mark.parametrize(("body", "field", "said"), WRONG, ids=lambda one: str(one)[:60])
async def test_what_is_wrong_is_named(
    client: httpx.AsyncClient, token: Token, body: dict[str, object], field: str, said: str
) -> None:
    _, me = await token()
    await create(client, me)
    replies = [await client.post(PATH, json=body, headers=me)]
    if body:
        replies.append(await client.put(f"{PATH}/1", json=body, headers=me))
    for reply in replies:
        assert (reply.status_code, reply.json()["code"]) == (400, 400)
        data = reply.json()["data"]
        assert data == {"error": "VALIDATION_ERROR", "fields": {field: said}}
    assert (await client.get(f"{PATH}/1", headers=me)).json()["data"]["url"] == URL


@pytest.mark.parametrize(
    ("path", "rule", "most"),
    [
        ("/1/test", "webhook_tested", 60),
        ("/1/rotate", "webhook_rotated", 10),
        (f"/1/deliveries/{NOBODYS}/resend", "webhook_resent", 600),
    ],
)
async def test_who_does_it_too_often_in_an_hour_is_told_when_to_come_back(
    client: httpx.AsyncClient, services: Services, token: Token, path: str, rule: str, most: int
) -> None:
    user, me = await token()
    await create(client, me)
    for _ in range(most - 1):
        await getattr(services.limits, rule)(str(user["uuid"]))
    assert (await client.post(f"{PATH}{path}", headers=me)).status_code in {200, 404}
    refused = await client.post(f"{PATH}{path}", headers=me)
    assert (refused.status_code, refused.json()["data"]) == (429, {"error": "RATE_LIMITED"})
    assert 3_000 < int(refused.headers["Retry-After"]) <= 3_600
    # Each has a budget of its own, and so has everybody else.
    assert (await client.get(f"{PATH}/1", headers=me)).status_code == 200
    _, other = await token()
    assert (await client.post(f"{PATH}{path}", headers=other)).status_code == 404


async def test_enabled_is_yes_or_no(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    await create(client, me)
    reply = await client.put(f"{PATH}/1", json={"enabled": "yes"}, headers=me)
    assert reply.json()["data"]["fields"] == {"enabled": "必须是布尔值"}


async def test_everybody_may_have_a_few(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    for _ in range(WEBHOOKS_MAX):
        await create(client, me)
    more = await client.post(PATH, json={"url": URL}, headers=me)
    assert (more.status_code, more.json()["message"]) == (400, "Webhook 数量已达上限")
    assert more.json()["data"] == {"error": "CONFLICT"}
    await client.delete(f"{PATH}/1", headers=me)
    assert (await create(client, me))["id"] == WEBHOOKS_MAX + 1
    page = (await client.get(f"{PATH}?page=2&pageSize=2", headers=me)).json()["data"]
    assert ([one["id"] for one in page["list"]], page["total"]) == ([4, 3], WEBHOOKS_MAX)


async def test_what_is_somebody_elses_does_not_exist(client: httpx.AsyncClient, token: Token) -> None:
    _, ann = await token()
    _, bob = await token()
    created = await create(client, ann)
    for name in ("1", created["uuid"], "2", NOBODYS, "x"):
        for method, path, body in (
            *(("GET", "", None), ("PUT", "", {"enabled": False}), ("DELETE", "", None), ("POST", "/rotate", None)),
            *(("POST", "/test", None), ("GET", "/deliveries", None), ("GET", f"/deliveries/{NOBODYS}", None)),
            ("POST", f"/deliveries/{NOBODYS}/resend", None),
        ):
            reply = await client.request(method, f"{PATH}/{name}{path}", json=body, headers=bob)
            assert (reply.status_code, reply.json()["data"]) == (404, {"error": "NOT_FOUND"}), (method, path)
    assert (await client.get(PATH, headers=bob)).json()["data"]["total"] == 0
    assert (await client.get(f"{PATH}/1", headers=ann)).json()["data"] == {**created, "secret": None}


async def test_messages_have_no_integer_ids(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    await create(client, me)
    for path in ("1", NOBODYS, "1/resend", f"{NOBODYS}/resend"):
        method = "POST" if path.endswith("resend") else "GET"
        assert (await client.request(method, f"{PATH}/1/deliveries/{path}", headers=me)).status_code == 404


async def test_a_webhook_that_is_disabled_is_sent_nothing(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    await create(client, me)
    await client.put(f"{PATH}/1", json={"enabled": False}, headers=me)
    for path in ("test", f"deliveries/{NOBODYS}/resend"):
        reply = await client.post(f"{PATH}/1/{path}", headers=me)
        assert (reply.status_code, reply.json()["message"]) == (400, "Webhook 已停用，请先启用")


async def test_nobody_is_told_without_a_token(client: httpx.AsyncClient) -> None:
    for method, path in (("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/1/deliveries"), ("POST", f"{PATH}/1/rotate")):
        assert (await client.request(method, path)).status_code == 401

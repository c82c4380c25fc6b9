"""The OpenAPI documents are whole and well formed, every operation keeps what they promise, and /docs shows them."""

import json
import re
from typing import Any, Final
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest

from mintage.application.adjustments import Wish
from mintage.application.services import Services
from mintage.http import api_v1, server_api
from mintage.http.operations import endpoints
from tests.conftest import Mailbox, Token, until
from tests.contract import Checked, documents, promises
from tests.http.pictures import pictures

ROUTERS: Final = {"v1": api_v1.router, "server": server_api.router}


def operations(name: str) -> list[dict[str, Any]]:
    return [operation for path in documents()[name]["paths"].values() for operation in path.values()]


@pytest.mark.parametrize("name", ["v1", "server"])
class TestDocument:
    def test_every_route_is_described(self, name: str) -> None:
        assert [endpoint.key for endpoint in endpoints(ROUTERS[name]()) if endpoint.operation is None] == []

    def test_its_parts_are_well_formed(self, name: str) -> None:
        document = documents()[name]
        for schema in document["components"]["schemas"].values():
            jsonschema_rs.meta.validate(schema)
        for reference in re.findall(r'"\$ref": "#/(.*?)"', json.dumps(document)):
            found = document
            for part in reference.split("/"):
                found = found[part]
        ids = [operation["operationId"] for operation in operations(name)]
        assert len(ids) == len(set(ids))
        tags = {tag["name"] for tag in document["tags"]}
        assert all(set(operation["tags"]) <= tags for operation in operations(name))

    def test_its_examples_are_what_it_describes(self, name: str) -> None:
        components = documents()[name]["components"]
        for operation in operations(name):
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                content = part.get("content", {}).get("application/json", {})
                if "example" in content:
                    schema = {**content["schema"], "components": components}
                    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
                    wrong = [error.message for error in validator.iter_errors(content["example"])]
                    # The documents write these words where a url belongs.
                    assert [one for one in wrong if "头像URL" not in one] == [], operation["operationId"]

    def test_what_is_open_is_said(self, name: str) -> None:
        for operation in operations(name):
            opened = operation.get("security") == []
            assert opened == ("UNAUTHORIZED" not in json.dumps(operation)), operation["operationId"]


class TestPage:
    async def test_it_needs_nothing_from_elsewhere(self, client: httpx.AsyncClient) -> None:
        page = await client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"].partition("style-src")[0]
        named = re.findall(r'(?:src|href)="(.*?)"', page.text)
        kinds = {"js": "text/javascript", "css": "text/css", "png": "image/png"}
        assert {name.rpartition(".")[2] for name in named} == set(kinds)
        for name in named:
            file = await client.get(name)
            assert file.status_code == 200, name
            assert file.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
            assert file.headers["x-content-type-options"] == "nosniff"

    async def test_it_shows_both_documents(self, client: httpx.AsyncClient) -> None:
        start = (await client.get("/docs/start.js")).text
        urls = re.findall(r'url: "(.*?)"', start)
        assert urls == ["/docs/v1/openapi.json", "/docs/server/openapi.json"]
        for url, name in zip(urls, ("v1", "server"), strict=True):
            assert (await client.get(url)).json() == documents()[name]

    @pytest.mark.parametrize(
        "path", ["/docs/nothing.js", "/docs/README.md", "/docs/%2e%2e/app.py", "/docs/v2/openapi.json"]
    )
    async def test_nothing_else_is_there(self, client: httpx.AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 404


async def test_a_reply_that_breaks_a_promise_is_noticed(client: httpx.AsyncClient, token: Token) -> None:
    (promise,) = (one for one in promises() if one.name == "server.user_show")
    _, me = await token()
    good, refused = await client.get("/api/user/profile", headers=me), await client.get("/api/user/profile")
    promise.check(good, good.content)
    more, less, other = (json.loads(good.content) for _ in range(3))
    more["data"]["user"]["password_hash"] = "x"
    del less["data"]["user"]["created_at"]
    other["data"]["user"]["email_verified"] = "yes"
    for body in (more, less, other):
        with pytest.raises(AssertionError, match="answered 200"):
            promise.check(good, json.dumps(body).encode())
    with pytest.raises(AssertionError, match="not listed"):
        promise.check(httpx.Response(418, headers=good.headers), good.content)
    del refused.headers["WWW-Authenticate"]
    with pytest.raises(AssertionError, match="without WWW-Authenticate"):
        promise.check(refused, refused.content)


async def test_every_operation_succeeds_once(services: Services, client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    """One story through both documents; whoever adds an operation adds it here."""
    transport = client._transport
    assert isinstance(transport, Checked)

    async def send(method: str, path: str, body: Any = None, **more: Any) -> Any:
        reply = await client.request(method, path, json=body, **more)
        assert reply.is_success, f"{method} {path}: {reply.text}"
        return reply.json().get("data")

    async def v1(method: str, path: str, body: Any = None) -> Any:
        return await send(method, f"/api/v1{path}", body)

    async def server(method: str, path: str, body: Any = None) -> Any:
        return await send(method, f"/api{path}", body)

    person = {"email": "ann@example.com", "password": "password123"}
    user = (await server("POST", "/auth/register", {**person, "name": "Ann"}))["user"]
    await server("POST", "/auth/send-verification", {"email": person["email"]})
    await server("POST", "/auth/verify-email", {"email": person["email"], "code": mailbox[-1].code})
    await server("POST", "/auth/send-verification", {"email": person["email"], "type": "password_reset"})
    reset = {"email": person["email"], "code": mailbox[-1].code, "new_password": "password456"}
    await server("POST", "/auth/reset-password", reset)
    token = (await server("POST", "/auth/login", {**person, "password": "password456"}))["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    await services.profiles.grant_role(user["id"], "admin", actor="test")
    await server("PUT", "/user/profile", {"name": "Anna"})
    assert (await server("GET", "/user/profile"))["user"]["name"] == "Anna"
    await server("POST", "/credits/recharge", {"amount": 100, "payment_method": "alipay"})
    await server("POST", "/credits/consume", {"amount": 1, "description": "x"})
    await server("GET", "/credits/balance")
    await server("GET", "/credits/holds")
    (line, *_) = (await server("GET", "/credits/transactions"))["transactions"]
    await server("GET", f"/credits/transactions/{line['id']}/receipt")
    await server("GET", "/credits/receipt-key")
    await server("POST", "/images/generate", {"prompt": "a cat", "style": "watercolor"})
    await server("GET", "/images/history")

    bob = (await v1("POST", "/auth/register", {"username": "bob", "password": "123456"}))["user"]["uuid"]
    await server("PUT", f"/admin/users/{user['id']}/role", {"role": "finance"})
    await server("POST", "/finance/adjustments", {"user_id": bob, "amount": 1, "reason": "x"})
    for verdict in ("approve", "reject"):
        large = Wish(user_id=bob, amount=5_000, reason="x")
        pending = (await services.adjustments.request(large, actor="operator")).outcome
        assert pending is not None
        await server("POST", f"/finance/adjustments/{pending.adjustment_id}/{verdict}")
    await server("GET", "/finance/adjustments")
    spent = (await services.ledger.consume(bob, 1, "x", render=lambda _: b"")).outcome
    assert spent is not None
    await server("POST", f"/finance/transactions/{spent.transaction_id}/reverse", {"reason": "x"})
    (order,) = await services.db.fetch(dict, "select recharge_id as id from recharges")
    refund = {"refund_reference": "r-1", "amount_fen": 1, "reason": "refund"}
    await server("POST", f"/finance/recharges/{order['id']}/refund", refund)
    for report in ("trial-balance", "deferred-revenue", "revenue", "breakage", "holds", f"statement/{bob}"):
        await server("GET", f"/finance/{report}")
    assert (await client.get("/api/finance/export")).is_success
    await v1("GET", "/auth/me")
    await v1("GET", "/users/profile")
    await v1("PUT", "/users/profile", {"nickname": "Ann"})
    await v1("POST", "/users/upload-avatar", {"avatar_url": "https://example.com/a.png"})
    changed = await v1("POST", "/users/change-password", {"oldPassword": "password456", "newPassword": "123456"})
    client.headers["Authorization"] = f"Bearer {changed['token']}"
    (work,) = (await v1("GET", "/works"))["list"]
    await v1("PUT", f"/works/{work['id']}", {"title": "Cat", "is_public": True})
    picture = (await v1("GET", f"/works/{work['id']}"))["result_url"]
    size = {"width": 64, "height": 64}
    await v1("GET", "/models")
    await v1("POST", "/generate/quote", {"task_type": "text2img"})
    tasks = [
        await v1("POST", "/generate/text-to-image", {"prompt": "a cat", "parameters": size}),
        await v1("POST", "/generate/image-to-image", {"prompt": "a cat", "source_image_url": picture}),
        await v1("POST", "/generate/text-to-video", {"prompt": "a cat"}),
        await v1("POST", "/generate/image-to-video", {"prompt": "a cat", "source_image_url": picture}),
    ]
    await v1("POST", f"/generate/tasks/{tasks[-1]['id']}/cancel")

    async def made() -> bool:
        return bool((await v1("GET", f"/generate/tasks/{tasks[0]['id']}"))["status"] == "completed")

    await until(made)
    assert "event: end\n" in (await client.get(f"/api/v1/generate/tasks/{tasks[0]['id']}/events")).text
    assert len((await v1("GET", "/generate/tasks?task_type=text2img"))["list"]) == 2
    await v1("DELETE", f"/works/{work['id']}")
    character = await v1("POST", "/characters", {"name": "Cat"})
    await v1("GET", "/characters?type=sora")
    await v1("PUT", f"/characters/{character['id']}", {"name": "Tom"})
    await v1("GET", f"/characters/{character['uuid']}")
    await v1("DELETE", f"/characters/{character['id']}")
    hook = await v1("POST", "/webhooks", {"url": "https://hooks.invalid/"})
    await v1("GET", "/webhooks")
    await v1("PUT", f"/webhooks/{hook['id']}", {"event_types": ["task.completed"]})
    await v1("GET", f"/webhooks/{hook['uuid']}")
    await v1("POST", f"/webhooks/{hook['id']}/rotate")
    await v1("POST", f"/webhooks/{hook['id']}/test")

    async def told() -> bool:
        return bool((await v1("GET", f"/webhooks/{hook['id']}/deliveries"))["total"])

    await until(told)
    (delivery,) = (await v1("GET", f"/webhooks/{hook['id']}/deliveries"))["list"]
    await v1("GET", f"/webhooks/{hook['id']}/deliveries/{delivery['id']}")
    await v1("POST", f"/webhooks/{hook['id']}/deliveries/{delivery['id']}/resend")
    await v1("DELETE", f"/webhooks/{hook['id']}")
    await v1("POST", "/auth/logout")
    await v1("POST", "/auth/login", {"username": "bob", "password": "123456"})
    signed_in = await server("POST", "/auth/login", {**person, "password": "123456"})
    client.headers["Authorization"] = f"Bearer {signed_in['token']}"
    await server("POST", "/auth/logout")

    google = {promise.name for promise in promises() if "google" in promise.name}  # has its own tests, with a provider
    assert transport.kept == {promise.name for promise in promises()} - google


async def test_what_is_anothers_is_as_if_it_were_not_there(client: httpx.AsyncClient, token: Token) -> None:
    """Every operation on something with an id, by its number and by its UUID."""
    _, mine = await token()
    _, other = await token()
    character = (await client.post("/api/v1/characters", json={"name": "Cat"}, headers=mine)).json()["data"]
    (work,) = await pictures(client, mine)
    task = (await client.get(f"/api/v1/generate/tasks/{work['task_id']}", headers=mine)).json()["data"]
    hook = (await client.post("/api/v1/webhooks", json={"url": "https://hooks.invalid/"}, headers=mine)).json()["data"]
    await client.post(f"/api/v1/webhooks/{hook['id']}/test", headers=mine)

    deliveries: list[Any] = []

    async def told() -> bool:
        reply = await client.get(f"/api/v1/webhooks/{hook['id']}/deliveries", headers=mine)
        deliveries[:] = reply.json()["data"]["list"]
        return bool(deliveries)

    await until(told)
    delivery = {"id": deliveries[0]["id"], "uuid": deliveries[0]["id"]}
    mines = {"{work_id}": work, "{task_id}": task, "{character_id}": character}
    mines |= {"{webhook_id}": hook, "{delivery_id}": delivery}
    tried = set()
    for path, methods in documents()["v1"]["paths"].items():
        for method, operation in methods.items():
            for parameter in re.findall(r"{\w+}", path):
                content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                ids = (mines[parameter]["id"], mines[parameter]["uuid"], 999_999, uuid4())
                replies = [
                    await client.request(
                        method,
                        re.sub(r"{\w+}", lambda it: str(mines[it[0]]["id"]), path.replace(parameter, str(one))),
                        json=content.get("example", {}),
                        headers=other,
                    )
                    for one in ids
                ]
                assert {(reply.status_code, reply.content) for reply in replies} == {(404, replies[-1].content)}, path
                tried.add(parameter)
    assert tried == set(mines)
    for path, before in (("works", work), ("characters", character), ("webhooks", hook)):
        after = (await client.get(f"/api/v1/{path}/{before['id']}", headers=mine)).json()["data"]
        assert after["updated_at"] == before["updated_at"]


async def test_only_an_admin_may_do_what_admins_do(client: httpx.AsyncClient, token: Token) -> None:
    user, me = await token()
    guarded = [(path, methods) for path, methods in documents()["server"]["paths"].items() if "/admin/" in path]
    assert guarded
    for path, methods in guarded:
        for method in methods:
            reply = await client.request(method, re.sub("{.*?}", str(user["uuid"]), path), json={}, headers=me)
            assert (reply.status_code, reply.json()["error"]) == (403, "FORBIDDEN"), path

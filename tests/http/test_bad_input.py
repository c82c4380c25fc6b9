"""Bad input is refused with the field named, in the envelope of its document, and never breaks anything."""

import httpx
import pytest

from tests.conftest import Token

LIMIT = 1_048_576


def spending(amount: str) -> bytes:
    return b'{"amount":%s,"description":"x"}' % amount.encode()


@pytest.mark.parametrize(
    "amount",
    [
        *('"10"', "10.0", "1e3", "true", "null", "10.5", "0", "-1", "1000001", "[]", "{}", '"٣"', "1" * 400),
        *("999999.9999999999999", "1e400"),
    ],
)
async def test_amounts_are_whole_or_refused(client: httpx.AsyncClient, token: Token, amount: str) -> None:
    _, me = await token()
    reply = await client.post("/api/credits/consume", content=spending(amount), headers=me)
    assert reply.status_code == 400
    assert reply.json()["error"] == "VALIDATION_ERROR"
    assert list(reply.json()["details"]["fields"]) == ["amount"]
    assert (await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"] == 100


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
        (spending("NaN"), "body"),
        (spending("01"), "body"),
        (spending("1") + b"x", "body"),
        (b"\xef\xbb\xbf" + spending("1"), "body"),
        (b'{"amount":1,"description":"\xff"}', "body"),
        (b'{"amount":1,"description":"x","more":"\xff"}', "body"),
        (b'{"amount":1,"description":"\\ud800"}', "body"),
        (b'{"amount":1,"description":"a\nb"}', "body"),
        (b'{"amount":1,"description":"x","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
        (b'{"amount":1,"description":"a\\u0000b"}', "description"),
        (b'{"amount":1,"description":"a\\u001bb"}', "description"),
        (b'{"amount":1,"description":""}', "description"),
        (b'{"amount":1,"description":7}', "description"),
        (b'{"amount":1}', "description"),
        (b'{"amount":1,"description":"' + b"x" * 201 + b'"}', "description"),
    ],
)
async def test_broken_bodies(client: httpx.AsyncClient, token: Token, body: bytes, field: str) -> None:
    _, me = await token()
    reply = await client.post("/api/credits/consume", content=body, headers=me)
    assert reply.status_code == 400, reply.text
    assert list(reply.json()["details"]["fields"]) == [field]


async def test_every_wrong_field_is_named_in_either_envelope(client: httpx.AsyncClient) -> None:
    server = (await client.post("/api/auth/register", json={"email": 1, "name": ""})).json()
    assert server == {
        "success": False,
        "error": "VALIDATION_ERROR",
        "message": "参数验证错误",
        "details": {"fields": {"email": "必须是字符串", "password": "必填", "name": "长度必须在 1 到 100 之间"}},
    }
    v1 = (await client.post("/api/v1/auth/register", json={"username": "a b c", "password": "12345"})).json()
    assert v1 == {
        "code": 400,
        "message": "请求参数错误",
        "data": {
            "error": "VALIDATION_ERROR",
            "fields": {"username": "格式不正确", "password": "长度必须在 6 到 128 之间"},
        },
    }


@pytest.mark.parametrize(
    "username", ["ab", "x" * 51, "a b c", "13800138000", "１３８００１３８０００", "a@b.c", "½½½", "ﷺ", "abc\\u0000"]
)
async def test_usernames(client: httpx.AsyncClient, username: str) -> None:
    body = b'{"username":"%s","password":"123456"}' % username.encode()
    reply = await client.post("/api/v1/auth/register", content=body)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, ["username"])


async def test_unknown_fields_and_any_content_type_are_taken(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    body = b'{"amount":1,"description":"x","device":{"a":["b"]}}'
    reply = await client.post("/api/credits/consume", content=body, headers={**me, "Content-Type": "text/plain"})
    assert reply.status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/generate/text-to-image", "/api/credits/consume"])
async def test_a_body_that_is_too_large(client: httpx.AsyncClient, token: Token, path: str) -> None:
    _, me = await token()
    reply = await client.post(path, content=b" " * (LIMIT + 1), headers=me)
    assert reply.status_code == 413
    envelope = reply.json()
    assert envelope.get("code", 413) == 413
    assert (envelope.get("error") or envelope["data"]["error"]) == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_type", "img2img"),
        ("task_type", None),
        ("prompt", ""),
        ("prompt", "x" * 4001),
        ("negative_prompt", "x" * 4001),
        ("model_name", "no-such-model"),
        ("parameters", []),
        ("parameters.width", "1024"),
        ("parameters.width", 1024.0),
        ("parameters.height", 4096),
        ("parameters.count", 5),
        ("parameters.count", True),
    ],
)
async def test_text_to_image(client: httpx.AsyncClient, token: Token, field: str, value: object) -> None:
    _, me = await token()
    body: dict[str, object] = {"prompt": "a cat"}
    outer, _, inner = field.partition(".")
    body[outer] = {inner: value} if inner else value
    reply = await client.post("/api/v1/generate/text-to-image", json=body, headers=me)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [field])


@pytest.mark.parametrize(
    ("field", "value"),
    [("style", "oil"), ("style", None), ("transparent", 1), ("transparent", "true"), ("count", 0), ("count", 5)],
)
async def test_generate_images(client: httpx.AsyncClient, token: Token, field: str, value: object) -> None:
    _, me = await token()
    body = {"prompt": "a cat", "style": "cartoon", field: value}
    reply = await client.post("/api/images/generate", json=body, headers=me)
    assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, [field])


@pytest.mark.parametrize(
    "value",
    ["1e3", "1.0", "%2B1", "+1", "%201", "1%20", "", "0", "-1", "1000001", "01", "x", "%00", "1&page=2", "9" * 30],
)
@pytest.mark.parametrize("path", ["/api/v1/works", "/api/credits/transactions", "/api/images/history"])
async def test_pages(client: httpx.AsyncClient, token: Token, path: str, value: str) -> None:
    _, me = await token()
    reply = await client.get(f"{path}?page={value}", headers=me)
    envelope = reply.json()
    fields = (envelope.get("details") or envelope["data"])["fields"]
    assert (reply.status_code, list(fields)) == (400, ["page"])


@pytest.mark.parametrize(
    "query", ["pageSize=0", "pageSize=101", "status=done", "status=", "work_type=audio", "status=failed&status=failed"]
)
async def test_work_filters(client: httpx.AsyncClient, token: Token, query: str) -> None:
    _, me = await token()
    reply = await client.get(f"/api/v1/works?{query}", headers=me)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [query.partition("=")[0]])


@pytest.mark.parametrize(
    "work_id", ["0", "01", "x", "-1", "1.0", "9" * 30, "00000000-0000-0000-0000-00000000000g", "%00", "1e3"]
)
async def test_ids_that_cannot_be(client: httpx.AsyncClient, token: Token, work_id: str) -> None:
    _, me = await token()
    for path in (f"/api/v1/works/{work_id}", f"/api/v1/generate/tasks/{work_id}"):
        reply = await client.get(path, headers=me)
        assert (reply.status_code, reply.json()["code"]) == (404, 404)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer x.y.z", "Basic dGVzdA==", "x", "Bearer \xff"]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/auth/me"), ("POST", "/api/v1/generate/text-to-image"), ("POST", "/api/credits/consume")],
)
async def test_without_a_token_nothing_else_is_looked_at(
    client: httpx.AsyncClient, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    reply = await client.request(method, path, headers=headers, content=b"{" if method == "POST" else b"")  # type: ignore[arg-type]
    assert reply.status_code == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    envelope = reply.json()
    assert (envelope.get("error") or envelope["data"]["error"]) == "UNAUTHORIZED"
    assert envelope["message"] == ("未认证" if path.startswith("/api/v1") else "未授权")


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/api/v1/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/v1", 404, "NOT_FOUND"),
        ("POST", "/api/v1/generate/text-to-music", 404, "NOT_FOUND"),
        ("DELETE", "/api/v1/auth/login", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/v1x", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/api/credits/consume", 405, "METHOD_NOT_ALLOWED"),
    ],
)
async def test_paths_and_methods_that_are_not_there(
    client: httpx.AsyncClient, method: str, path: str, status: int, error: str
) -> None:
    reply = await client.request(method, path)
    assert reply.status_code == status
    if path.startswith("/api/v1") and path != "/api/v1x":
        assert (reply.json()["code"], reply.json()["data"]) == (status, {"error": error})
    else:
        assert (reply.json()["success"], reply.json()["error"]) == (False, error)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 0, "payment_method": "wechat"}, "amount"),
        ({"amount": 100_001, "payment_method": "wechat"}, "amount"),
        ({"amount": 1, "payment_method": "cash"}, "payment_method"),
        ({"amount": 1}, "payment_method"),
    ],
)
async def test_recharges(client: httpx.AsyncClient, token: Token, body: dict[str, object], field: str) -> None:
    _, me = await token()
    reply = await client.post("/api/credits/recharge", json=body, headers=me)
    assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, [field])


async def test_browsers_of_the_allowed_origins_may_ask(client: httpx.AsyncClient) -> None:
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
    allowed = await client.options("/api/credits/consume", headers={"Origin": "http://localhost:5173", **ask})
    assert allowed.status_code == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    refused = await client.options("/api/credits/consume", headers={"Origin": "http://localhost.evil.com", **ask})
    assert "Access-Control-Allow-Origin" not in refused.headers
    failed = await client.get("/api/v1/auth/me", headers={"Origin": "http://localhost:5173"})
    assert failed.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"


async def test_health(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200

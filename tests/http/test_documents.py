"""Every example of the customer's two documents, sent as it stands, is answered as it stands."""

import re
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import jwt
import msgspec
import pytest

from mintage.application.ports.google import GoogleIdentity, Handshake
from mintage.application.services import Services
from mintage.http import api_v1, server_api
from mintage.infra.codes import CodeBook
from mintage.infra.settings import Settings
from mintage.infra.sources import Sources, SourceUnavailable
from tests import documents
from tests.documents import Endpoint
from tests.http.pictures import pictures
from tests.programs import lacks
from tests.served import served

STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CODE: Final = "123456"
ENDPOINTS: Final = [endpoint for name in ("v1", "server") for endpoint in documents.endpoints(name)]
CLAIMS: Final = documents.parsed(documents.block("server", "### JWT Token格式", "json"))

Headers = dict[str, str]


class Stage:
    """What has to be there before an example can be sent."""

    def __init__(self, client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = client
        self.services = services
        self._monkeypatch = monkeypatch
        self.draws("XYZ12345")
        monkeypatch.setattr(CodeBook, "verification_code", lambda _: CODE)

        async def nothing(*_: object) -> None:
            raise SourceUnavailable("no test goes out")

        monkeypatch.setattr(Sources, "picture", nothing)

    def draws(self, code: str) -> None:
        """The referral code of whoever registers next."""
        self._monkeypatch.setattr(CodeBook, "referral_code", lambda _: code)

    async def post(self, path: str, body: dict[str, Any], headers: Headers | None = None) -> dict[str, Any]:
        reply = await self.client.post(path, json=body, headers=headers)
        assert reply.is_success, reply.text
        data: dict[str, Any] = reply.json().get("data") or {}
        return data

    async def v1_user(self, username: str = "testuser", password: str = "password123") -> Headers:
        body = {"username": username, "password": password, "email": "test@example.com"}
        return bearer(await self.post("/api/v1/auth/register", body))

    async def registered(self) -> None:
        body = {"email": "user@example.com", "password": "password123", "name": "用户姓名"}
        await self.post("/api/auth/register", body)

    async def server_user(self, balance: int = 100) -> Headers:
        """Somebody on document-server with so many credits."""
        await self.registered()
        proof = {"email": "user@example.com", "code": CODE, "type": "verification"}
        me = bearer(await self.post("/api/auth/verify-email", proof))
        if balance > 100:
            order = {"amount": (balance - 100) // 10, "payment_method": "wechat"}
            await self.post("/api/credits/recharge", order, me)
        return me

    async def work(self, me: Headers) -> int:
        return int((await pictures(self.client, me))[0]["id"])

    async def character(self, me: Headers) -> int:
        return int((await self.post("/api/v1/characters", {"name": "角色名称", "type": "sora"}, me))["id"])

    async def task(self, me: Headers) -> int:
        return int((await self.post("/api/v1/generate/text-to-image", {"prompt": "a cat"}, me))["id"])


def bearer(data: dict[str, Any]) -> Headers:
    return {"Authorization": f"Bearer {data['token']}"}


Preparation = Callable[[Stage], Awaitable[tuple[Headers, int]]]
PREPARATIONS: Final[dict[str, Preparation]] = {}


def before(*names: str) -> Callable[[Preparation], Preparation]:
    def keep(preparation: Preparation) -> Preparation:
        PREPARATIONS.update(dict.fromkeys(names, preparation))
        return preparation

    return keep


@before("POST /api/v1/auth/register")
async def somebody_has_the_code(stage: Stage) -> tuple[Headers, int]:
    stage.draws("ABC12345")
    await stage.post("/api/v1/auth/register", {"username": "friend", "password": "123456"})
    stage.draws("XYZ12345")
    return {}, 0


@before("POST /api/v1/auth/login")
async def registered_on_v1(stage: Stage) -> tuple[Headers, int]:
    await stage.v1_user()
    return {}, 0


@before(
    *("GET /api/v1/auth/me", "GET /api/v1/users/profile", "PUT /api/v1/users/profile"),
    *("POST /api/v1/users/upload-avatar", "POST /api/v1/characters"),
    *("POST /api/v1/generate/text-to-image", "POST /api/v1/generate/image-to-image"),
    *("POST /api/v1/generate/text-to-video", "POST /api/v1/generate/image-to-video"),
)
async def signed_in_on_v1(stage: Stage) -> tuple[Headers, int]:
    return await stage.v1_user(), 0


@before("POST /api/v1/users/change-password")
async def signed_in_with_the_old_password(stage: Stage) -> tuple[Headers, int]:
    return await stage.v1_user(password="oldpass123"), 0


@before("GET /api/v1/works", "GET /api/v1/works/:id", "PUT /api/v1/works/:id", "DELETE /api/v1/works/:id")
async def with_a_work(stage: Stage) -> tuple[Headers, int]:
    me = await stage.v1_user()
    return me, await stage.work(me)


@before(
    *("GET /api/v1/characters", "GET /api/v1/characters/:id"),
    *("PUT /api/v1/characters/:id", "DELETE /api/v1/characters/:id"),
)
async def with_a_character(stage: Stage) -> tuple[Headers, int]:
    me = await stage.v1_user()
    return me, await stage.character(me)


@before("GET /api/v1/generate/tasks/:id")
async def with_a_task(stage: Stage) -> tuple[Headers, int]:
    me = await stage.v1_user()
    return me, await stage.task(me)


@before("POST /api/v1/generate/tasks/:id/cancel")
async def with_a_task_that_waits(stage: Stage) -> tuple[Headers, int]:
    me = await stage.v1_user()
    # The worker takes one at a time, so of several the last one is still waiting.
    return me, [await stage.task(me) for _ in range(3)][-1]


@before("POST /api/auth/register")
async def nobody(_: Stage) -> tuple[Headers, int]:
    return {}, 0


@before("POST /api/auth/send-verification", "POST /api/auth/verify-email")
async def registered(stage: Stage) -> tuple[Headers, int]:
    await stage.registered()
    return {}, 0


@before("POST /api/auth/login")
async def verified(stage: Stage) -> tuple[Headers, int]:
    await stage.server_user()
    return {}, 0


@before("POST /api/auth/reset-password")
async def forgetful(stage: Stage) -> tuple[Headers, int]:
    await stage.registered()
    await stage.post("/api/auth/send-verification", {"email": "user@example.com", "type": "password_reset"})
    return {}, 0


@before("POST /api/auth/google")
async def google_says_yes(stage: Stage) -> tuple[Headers, int]:
    class Stub:
        async def redeem(self, state: str, _: str | None) -> Handshake | None:
            return Handshake(state, "binding", "nonce", "verifier") if state == "random_state" else None

        async def identity(self, code: str, _: Handshake) -> GoogleIdentity:
            assert code == "google_auth_code"
            return GoogleIdentity(
                sub="google_user_id",
                email="user@gmail.com",
                email_verified=True,
                authoritative=True,
                name="Google User",
                picture="https://lh3.googleusercontent.com/a/picture",
            )

    google = stage.services.google
    assert google is not None
    stage._monkeypatch.setattr(google, "_google", Stub())
    stage._monkeypatch.setattr(google, "_handshakes", Stub())
    return {}, 0


@before("GET /api/credits/transactions")
async def after_a_recharge(stage: Stage) -> tuple[Headers, int]:
    return await stage.server_user(200), 0


@before("GET /api/images/history")
async def after_an_image(stage: Stage) -> tuple[Headers, int]:
    me = await stage.server_user()
    await stage.post("/api/images/generate", {"prompt": "一只可爱的小猫在花园里玩耍", "style": "realistic"}, me)
    return me, 0


@before(
    *("GET /api/credits/balance", "POST /api/credits/recharge", "POST /api/credits/consume"),
    *("POST /api/images/generate", "GET /api/user/profile", "PUT /api/user/profile"),
)
async def with_150_credits(stage: Stage) -> tuple[Headers, int]:
    return await stage.server_user(150), 0


MESSAGES: Final = {
    "POST /api/v1/auth/register": "注册成功",
    "PUT /api/v1/users/profile": "更新成功",
    "POST /api/v1/users/change-password": "密码修改成功",
    "POST /api/v1/generate/text-to-image": "任务已创建，正在后台处理中...",
    "POST /api/v1/generate/image-to-image": "任务已创建，正在后台处理中...",
    "POST /api/v1/generate/text-to-video": "任务已创建，正在后台处理中...",
    "POST /api/v1/generate/image-to-video": "任务已创建，正在后台处理中...",
    "POST /api/v1/generate/tasks/:id/cancel": "任务已取消",
}
"""Where document-v1 shows no reply, what was agreed on."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        google_client_id="id",
        google_client_secret="secret",
        google_redirect_uri="http://localhost/back",
    )


@pytest.fixture
def stage(client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(client, services, monkeypatch)


def test_every_heading_with_an_endpoint_has_a_case() -> None:
    assert {endpoint.name for endpoint in ENDPOINTS} == set(PREPARATIONS)
    # What the parser finds is all there is: every line of the documents that names a method and a path.
    for name in ("v1", "server"):
        written = re.findall(r"^(?:- \*\*)?(?:GET|POST|PUT|DELETE)\b.*/api/", documents.text(name), re.MULTILINE)
        assert len(written) == len(list(documents.endpoints(name)))


def test_openapi_shows_the_documents_own_examples() -> None:
    for name, dialect in (("v1", api_v1.DIALECT), ("server", server_api.DIALECT)):
        shown = {
            endpoint.name.replace(":id", "{id}"): {
                kind: value for kind, value in endpoint.examples.items() if kind != "failure"
            }
            for endpoint in documents.endpoints(name)
            if endpoint.examples
        }
        assert dialect.examples == shown


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_an_example_is_answered_as_the_document_shows(stage: Stage, endpoint: Endpoint) -> None:
    headers, number = await PREPARATIONS[endpoint.name](stage)
    body = endpoint.examples.get("body")
    reply = await stage.client.request(
        endpoint.method, endpoint.path.replace(":id", str(number)), headers=headers, json=body
    )
    assert reply.status_code == 200, reply.text
    given = reply.json()
    expected = endpoint.examples.get("reply", {"code": 0, "message": MESSAGES.get(endpoint.name, given.get("message"))})
    agrees(expected, given, endpoint.optional)


def agrees(shown: Any, given: Any, optional: frozenset[str], where: str = "") -> None:
    """Everything shown is given, of the same type, and the same unless it stands for something."""
    match shown:
        case dict():
            assert isinstance(given, dict), where
            for name, value in shown.items():
                if name not in optional or given.get(name) is not None:
                    agrees(value, given[name], optional, f"{where}/{name}")
        case [first]:
            assert isinstance(given, list), where
            assert given, where
            for one in given if where != "/data/transactions" else given[:1]:
                agrees(first, one, optional, f"{where}/0")
        case "uuid":
            assert str(UUID(given)) == given, where
        case str() if STAMP.fullmatch(shown):
            assert STAMP.fullmatch(given), where
        case "头像URL":
            assert given is None, where
        case "JWT_TOKEN" | "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...":
            claims = jwt.decode(given, options={"verify_signature": False})
            assert {name: type(claims[name]) for name in CLAIMS} == {name: type(CLAIMS[name]) for name in CLAIMS}
            assert claims["exp"] - claims["iat"] == CLAIMS["exp"] - CLAIMS["iat"]
            assert jwt.get_unverified_header(given) == {"alg": "HS256", "typ": "JWT"}
        case str() if shown.startswith("https://"):
            assert re.match(r"https?://\S+$", given), where
        case int() if where == "/data/total":
            assert type(given) is int
        case _:
            assert type(given) is type(shown), where
            assert given == shown, where


class TestFailures:
    """The failures that the documents show, and each code of their lists."""

    async def test_the_unverified_address(self, stage: Stage) -> None:
        (endpoint,) = (endpoint for endpoint in ENDPOINTS if "failure" in endpoint.examples)
        await stage.registered()
        reply = await stage.client.request(endpoint.method, endpoint.path, json=endpoint.examples["body"])
        assert reply.json() == endpoint.examples["failure"]

    async def test_every_common_code_of_the_server_document(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, shape = stage.client, documents.parsed(documents.block("server", "## 📝 通用错误格式", "json"))
        await stage.registered()
        sign_in = {"email": "user@example.com", "password": "password123"}
        proof = {"email": "user@example.com", "code": CODE, "type": "verification"}
        replies = [
            await client.post("/api/auth/login", json={**sign_in, "password": "wrong"}),
            await client.post("/api/auth/login", json=sign_in),
            await client.post("/api/auth/register", json={**sign_in, "name": "x"}),
            await client.post("/api/auth/verify-email", json={**proof, "code": "000000"}),
            await client.get("/api/credits/balance"),
            await client.post("/api/auth/register", json={}),
        ]
        data = await stage.post("/api/auth/verify-email", proof)
        me, use = bearer(data), {"amount": 101, "description": "x"}
        replies.append(await client.post("/api/credits/consume", json=use, headers=me))

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(stage.services.ledger, "consume", broken)
        replies.append(await client.post("/api/credits/consume", json=use, headers=me))
        await stage.services.erasure.erase(data["user"]["id"], actor="test")
        replies.append(await client.get("/api/user/profile", headers=me))
        assert {reply.json()["error"]: reply.json()["message"] for reply in replies} == documents.codes(
            "server", "### 常见错误码"
        )
        for reply in replies:
            names = {"details": "data"} if reply.json()["error"] == "EMAIL_NOT_VERIFIED" else {}
            assert set(reply.json()) <= {names.get(name, name) for name in shape}
            assert reply.json()["success"] is shape["success"]

    async def test_every_code_of_document_v1(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        client, me = stage.client, await stage.v1_user()
        work = await stage.work(me)
        await client.put(f"/api/v1/works/{work}", json={"is_public": True}, headers=me)
        body = {"username": "somebody", "password": "123456"}
        stage.draws("ABC12345")
        other = bearer(await stage.post("/api/v1/auth/register", body))
        replies = [
            await client.post("/api/v1/auth/register", json={}),
            await client.get("/api/v1/auth/me"),
            await client.put(f"/api/v1/works/{work}", json={"title": "mine"}, headers=other),
            await client.get("/api/v1/works/999", headers=me),
        ]

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(stage.services.people, "known", broken)
        replies.append(await client.get("/api/v1/auth/me", headers=me))
        told = {"0": "成功", **{str(reply.json()["code"]): reply.json()["message"] for reply in replies}}
        assert told == documents.codes("v1", "## 错误码")
        assert [reply.status_code for reply in replies] == [reply.json()["code"] for reply in replies]


def test_the_curl_commands_of_document_v1_work_as_they_stand(tmp_path: Path) -> None:
    if lacks("curl"):
        pytest.skip("there is no curl (Debian: apt-get install curl)")
    commands = documents.block("v1", "### 使用curl测试", "bash").strip().split("\n\n")
    assert len(commands) == 3
    with served(tmp_path / "data", port=free_port(3001)) as (address, _):
        token = ""
        for command in commands:
            script = command.replace("http://localhost:3001", address.replace("127.0.0.1", "localhost"))
            done = subprocess.run(
                ["bash", "-c", script.replace("YOUR_TOKEN", token)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
                env={"PATH": "/usr/bin:/bin", "no_proxy": "localhost"},
            )
            reply = msgspec.json.decode(done.stdout)
            assert reply["code"] == 0, done.stdout
            token = reply["data"].get("token", token)


def free_port(wished: int) -> int:
    """The port if nobody has it, else 0 for any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wished))
        except OSError:
            return 0
    return wished

"""Who does something too often is told when to come back, on both documents; whence is not for the client to say."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from litestar import Litestar, get

from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.cli.serving import server_config
from mintage.http.app import create_app
from mintage.http.calls import Call
from mintage.infra.redis_limits import redis_at
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from tests.conftest import BASE_URL, VAULT, Mailbox, Token
from tests.valkey import Valkey

RECHARGE = {"amount": 1, "payment_method": "alipay"}
IMAGES = {"prompt": "a cat", "style": "cartoon"}
TASK = {"prompt": "a cat", "task_type": "text2img"}
USE = {"amount": 1, "description": "x"}
TOO_OFTEN = "请求过于频繁，请稍后再试"
HERE = "127.0.0.1"


def told_to_wait(reply: httpx.Response) -> int:
    """It was refused for being too often, as its document says that; returns for how many seconds."""
    assert reply.status_code == 429, reply.text
    told = reply.json()
    if "code" in told:
        assert told == {"code": 429, "message": TOO_OFTEN, "data": {"error": "RATE_LIMITED"}}
    else:
        assert told == {"success": False, "error": "RATE_LIMITED", "message": TOO_OFTEN}
    return int(reply.headers["Retry-After"])


def of(user: dict[str, object]) -> str:
    return str(user["uuid"])


async def test_the_sixty_first_recharge_of_a_minute_waits(
    client: httpx.AsyncClient, services: Services, token: Token
) -> None:
    user, me = await token()
    for _ in range(59):
        await services.limits.recharged(of(user), HERE)
    for wrong in ({**RECHARGE, "amount": 0}, {**RECHARGE, "payment_method": "cowrie"}):
        assert (await client.post("/api/credits/recharge", json=wrong, headers=me)).status_code == 400
    assert (await client.post("/api/credits/recharge", json=RECHARGE, headers=me)).status_code == 200
    refused = await client.post("/api/credits/recharge", json=RECHARGE, headers=me)
    assert 1 <= told_to_wait(refused) <= 60
    english = await client.post("/api/credits/recharge", json=RECHARGE, headers={**me, "Accept-Language": "en"})
    assert english.json()["message"] == "Too many requests, try again later"
    assert (await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"] == 110
    assert (await client.post("/api/credits/consume", json=USE, headers=me)).status_code == 200
    _, other = await token()
    assert (await client.post("/api/credits/recharge", json=RECHARGE, headers=other)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/images/generate", IMAGES),
        ("/api/v1/generate/text-to-image", TASK),
        ("/api/v1/generate/text-to-video", {"prompt": "a cat", "task_type": "text2video"}),
    ],
)
async def test_who_asks_for_too_much_at_once_waits_on_both_documents(
    client: httpx.AsyncClient, services: Services, token: Token, path: str, body: dict[str, str]
) -> None:
    user, me = await token()
    for _ in range(1_199):
        await services.limits.generated(of(user), HERE)
    assert (await client.post(path, json={**body, "prompt": ""}, headers=me)).status_code == 400
    assert (await client.post(path, json=body, headers=me)).status_code == 200
    assert 1 <= told_to_wait(await client.post(path, json=body, headers=me)) <= 60
    _, other = await token()
    assert (await client.post(path, json=body, headers=other)).status_code == 200


class TestSigningIn:
    @pytest.mark.parametrize(
        ("path", "field"), [("/api/v1/auth/login", "username"), ("/api/auth/login", "email")], ids=["v1", "server"]
    )
    async def test_ten_wrong_passwords_and_even_the_right_one_waits(
        self, client: httpx.AsyncClient, path: str, field: str
    ) -> None:
        """Of an account and of none alike, in whatever case it is written, and of guesses at the same time too."""
        registration = {"email": "ann@example.com", "password": "123456", "name": "Ann"}
        assert (await client.post("/api/auth/register", json=registration)).status_code == 200

        async def guess(login: str, password: str) -> httpx.Response:
            return await client.post(path, json={field: login, "password": password})

        for email in ("ann@example.com", "nobody@example.com"):
            names = (email, email.upper())
            replies = await asyncio.gather(*(guess(names[number % 2], f"wrong{number}") for number in range(30)))
            statuses = [reply.status_code for reply in replies]
            assert (statuses.count(401), statuses.count(429)) == (10, 20), email
            assert 1 <= told_to_wait(await guess(email, "123456")) <= 900

    async def test_thirty_right_passwords_at_the_same_time_are_thirty_tokens(self, client: httpx.AsyncClient) -> None:
        who = {"username": "ann", "password": "123456"}
        assert (await client.post("/api/v1/auth/register", json=who)).status_code == 200
        replies = await asyncio.gather(*(client.post("/api/v1/auth/login", json=who) for _ in range(30)))
        assert [reply.status_code for reply in replies] == [200] * 30

    async def test_the_right_password_never_counts(self, client: httpx.AsyncClient) -> None:
        registration = {"email": "ann@example.com", "password": "123456", "name": "Ann"}
        assert (await client.post("/api/auth/register", json=registration)).status_code == 200
        unverified = {"email": "ann@example.com", "password": "123456"}
        for _ in range(15):
            assert (await client.post("/api/auth/login", json=unverified)).status_code == 403


class TestCodes:
    async def test_one_a_minute_whether_or_not_the_address_is_anybodys(
        self, client: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        registration = {"email": "ann@example.com", "password": "123456", "name": "Ann"}
        assert (await client.post("/api/auth/register", json=registration)).status_code == 200
        for email in ("ann@example.com", "nobody@example.com"):
            for purpose in ("verification", "password_reset"):
                asked = {"email": email, "type": purpose}
                assert (await client.post("/api/auth/send-verification", json=asked)).status_code == 200
                refused = await client.post("/api/auth/send-verification", json={**asked, "email": email.upper()})
                assert 1 <= told_to_wait(refused) <= 60
        assert len(mailbox) == 3

    async def test_thirty_an_hour_from_one_address(self, client: httpx.AsyncClient) -> None:
        replies = [
            await client.post("/api/auth/send-verification", json={"email": f"u{number}@example.com"})
            for number in range(31)
        ]
        assert [reply.status_code for reply in replies] == [200] * 30 + [429]

    async def test_a_hundred_wrong_ones_and_even_the_right_one_waits(
        self, client: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        registration = {"email": "ann@example.com", "password": "123456", "name": "Ann"}
        assert (await client.post("/api/auth/register", json=registration)).status_code == 200
        for number in range(100):
            proof = {"email": f"u{number}@example.com", "code": "000000", "type": "verification"}
            assert (await client.post("/api/auth/verify-email", json=proof)).status_code == 400
        proof = {"email": "ann@example.com", "code": mailbox[0].code, "type": "verification"}
        assert 1 <= told_to_wait(await client.post("/api/auth/verify-email", json=proof)) <= 900


async def test_a_thousand_registrations_an_hour_from_one_address(
    client: httpx.AsyncClient, services: Services, token: Token
) -> None:
    for _ in range(999):
        await services.limits.registered(HERE)
    await token()
    told_to_wait(await client.post("/api/v1/auth/register", json={"username": "late", "password": "123456"}))
    late = {"email": "late@example.com", "password": "123456", "name": "Late"}
    told_to_wait(await client.post("/api/auth/register", json=late))


class TestSwitchedOff:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path, rate_limit=False)

    async def test_nothing_is_too_often_but_a_code_is_still_tried_five_times(
        self, client: httpx.AsyncClient, services: Services, mailbox: Mailbox
    ) -> None:
        registration = {"email": "ann@example.com", "password": "123456", "name": "Ann"}
        assert (await client.post("/api/auth/register", json=registration)).status_code == 200
        for _ in range(1_500):
            await services.limits.generated("ann", HERE)
        for _ in range(12):
            wrong = {"email": "ann@example.com", "password": "wrong1"}
            assert (await client.post("/api/auth/login", json=wrong)).status_code == 401
            asked = {"email": "ann@example.com", "type": "verification"}
            assert (await client.post("/api/auth/send-verification", json=asked)).status_code == 200
        code = mailbox[-1].code
        proof = {"email": "ann@example.com", "code": f"{(int(code) + 1) % 1_000_000:06d}", "type": "verification"}
        for _ in range(5):
            assert (await client.post("/api/auth/verify-email", json=proof)).status_code == 400
        right = await client.post("/api/auth/verify-email", json={**proof, "code": code})
        assert right.status_code == 400


class TestSharedByRedis:
    @pytest.fixture
    def settings(self, tmp_path: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Settings:
        monkeypatch.setattr("mintage.bootstrap.redis_at", partial(redis_at, timeout_s=60))
        return Settings(data_dir=tmp_path, redis_url=valkey.url)

    async def test_what_was_done_at_one_process_counts_at_another(
        self, client: httpx.AsyncClient, services: Services, settings: Settings, conninfo: str, token: Token
    ) -> None:
        user, me = await token()
        for _ in range(60):
            await services.limits.recharged(of(user), HERE)
        async with running(settings, Site(conninfo, VAULT, None), base_url=lambda: BASE_URL, worker=False) as other:
            transport = httpx.ASGITransport(app=create_app(other))  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as elsewhere:
                told_to_wait(await elsewhere.post("/api/credits/recharge", json=RECHARGE, headers=me))

    async def test_without_redis_people_come_in_but_no_code_goes_out(
        self, client: httpx.AsyncClient, settings: Settings, valkey_server: Valkey, token: Token
    ) -> None:
        _, me = await token()
        valkey_server.stop()
        try:
            assert (await client.post("/api/credits/recharge", json=RECHARGE, headers=me)).status_code == 200
            _, other = await token()
            generation = await client.post("/api/v1/generate/text-to-image", json=TASK, headers=other)
            assert generation.status_code == 200
            asked = {"email": "ann@example.com", "type": "verification"}
            unavailable = await client.post("/api/auth/send-verification", json=asked)
            proof = {"email": "ann@example.com", "code": "000000", "type": "verification"}
            untried = await client.post("/api/auth/verify-email", json=proof)
        finally:
            valkey_server.start()
        for reply in (unavailable, untried):
            assert (reply.status_code, reply.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
            assert int(reply.headers["Retry-After"]) >= 1


@get("/", media_type="text/plain", sync_to_thread=False)
def whence(request: Call) -> str:
    return request.address


@asynccontextmanager
async def served_behind(trusted: str, peer: str) -> AsyncIterator[httpx.AsyncClient]:
    """An app that says who asks, as we have uvicorn serve it, asked by somebody whose connection is from ``peer``."""
    config = server_config(Litestar([whence], request_class=Call, logging_config=None, openapi_config=None), trusted)
    config.load()
    transport = httpx.ASGITransport(app=config.loaded_app, client=(peer, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
        yield http


async def whence_seen(trusted: str, peer: str, *forwarded: str) -> str:
    async with served_behind(trusted, peer) as http:
        reply = await http.get("/", headers=[("X-Forwarded-For", value) for value in forwarded])
        assert reply.status_code == 200
        return reply.text


class TestWhence:
    @pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "203.0.113.9"])
    async def test_by_default_nobody_is_believed(self, peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
        assert await whence_seen("", peer, "198.51.100.1") == peer

    @pytest.mark.parametrize(
        ("forwarded", "address"),
        [
            (["198.51.100.1"], "198.51.100.1"),
            (["1.1.1.1, 2.2.2.2, 198.51.100.1"], "198.51.100.1"),
            (["1.1.1.1, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            (["1.1.1.1", "198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            (["10.9.9.9, 198.51.100.1, 10.1.2.3, 192.0.2.7"], "198.51.100.1"),
            (["198.51.100.1:4711, 10.1.2.3"], "198.51.100.1"),
            (["[2001:db8::1]:4711, 10.1.2.3"], "2001:db8::1"),
            (["2001:db8::1"], "2001:db8::1"),
            ([], "10.0.0.1"),
            ([""], "10.0.0.1"),
            ([" , ,"], "10.0.0.1"),
        ],
    )
    async def test_of_a_chain_the_last_that_no_proxy_of_ours_has_is_believed(
        self, forwarded: list[str], address: str
    ) -> None:
        assert await whence_seen("10.0.0.0/8, 192.0.2.7", "10.0.0.1", *forwarded) == address

    async def test_who_is_no_proxy_of_ours_is_not_believed(self) -> None:
        assert await whence_seen("10.0.0.0/8,2001:db8::/32", "198.51.100.1", "10.0.0.1, 1.1.1.1") == "198.51.100.1"

    async def test_a_proxy_is_known_by_the_address_that_a_dual_listener_sees_too(self) -> None:
        assert await whence_seen("10.0.0.0/8", "::ffff:10.0.0.1", "198.51.100.1") == "198.51.100.1"
        assert await whence_seen("10.0.0.0/8", "::ffff:11.0.0.1", "198.51.100.1") == "::ffff:11.0.0.1"
        assert await whence_seen("2001:db8::/32", "2001:db8::1", "198.51.100.1") == "198.51.100.1"

    @pytest.mark.parametrize(
        "garbage",
        ["nonsense", "1.2.3.4.5", "[::1", "[::1]x", "::1]:80", "1.2.3.4:" + "9" * 5_000, "\xff", "a" * 20_000],
    )
    async def test_garbage_breaks_nothing(self, garbage: str) -> None:
        async with served_behind("10.0.0.0/8", "10.0.0.1") as http:
            raw = [(b"X-Forwarded-For", garbage.encode("latin-1")), (b"X-Forwarded-Proto", b"\xfe")]
            assert (await http.get("/", headers=raw)).status_code == 200


@pytest.fixture
def behind_a_proxy(tmp_path: Path) -> Iterator[str]:
    """`mintage serve` that believes who connects from this machine."""
    words = [sys.executable, "-m", "mintage", "serve", "--no-worker", "--port", "0", "--data-dir", str(tmp_path)]
    environ = {**os.environ, "MINTAGE_TRUSTED_PROXIES": "127.0.0.1"}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stderr is not None
        address = next(found.group(1) for line in process.stderr if (found := re.search(r"serving on (\S+),", line)))
        yield address
    finally:
        process.kill()
        process.communicate()


def test_the_server_counts_whom_its_proxies_name(behind_a_proxy: str) -> None:
    with httpx.Client(base_url=behind_a_proxy, timeout=60) as http:

        def ask(number: int, *, client: str) -> int:
            asked = {"email": f"u{number}@example.com", "type": "verification"}
            forwarded = {"X-Forwarded-For": f"203.0.113.{number}, {client}"}
            return http.post("/api/auth/send-verification", json=asked, headers=forwarded).status_code

        assert [ask(number, client="198.51.100.1") for number in range(31)] == [200] * 30 + [429]
        assert ask(31, client="198.51.100.2") == 200

"""Signing in with Google, against an OpenID provider on loopback: who gets in, into which account, and how often."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from mintage.application.google import name_of
from mintage.application.refusals import InvalidCredentials
from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.http.app import create_app
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from tests.conftest import BASE_URL, VAULT, Mailbox

REDIRECT_URI = "https://mint.example/back"
START, FINISH = "/api/auth/google/start", "/api/auth/google"


class Provider:
    """The provider, and somebody who signs in there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=30)

    async def close(self) -> None:
        await self._http.aclose()

    async def says(self, sub: str, **claims: object) -> str:
        """From now on the provider says so of this person."""
        reply = await self._http.put(
            f"/users/{sub}", content=json.dumps(claims), headers={"Content-Type": "application/json"}
        )
        reply.raise_for_status()
        return sub

    async def sign_in(self, authorization_url: str, sub: str) -> dict[str, str]:
        """What the provider sends the browser back with."""
        reply = await self._http.post(authorization_url, data={"sub": sub})
        assert reply.status_code == 302, reply.text
        assert reply.headers["location"].startswith(f"{REDIRECT_URI}?")
        query = parse_qs(urlsplit(reply.headers["location"]).query)
        return {"code": query["code"][0], "state": query["state"][0]}


@pytest.fixture(scope="module")
def provider_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", "0", "--require-nonce", "true"]
    log = tmp_path_factory.mktemp("provider") / "log"
    with log.open("wb") as file, subprocess.Popen(command, stderr=file) as process:
        try:
            while (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())) is None:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture
async def provider(provider_url: str) -> AsyncIterator[Provider]:
    provider = Provider(provider_url)
    yield provider
    await provider.close()


@pytest.fixture
def settings(tmp_path: Path, provider_url: str) -> Settings:
    return Settings(
        data_dir=tmp_path,
        google_client_id="mintage",
        google_client_secret="secret",
        google_redirect_uri=REDIRECT_URI,
        google_discovery_url=f"{provider_url}/.well-known/openid-configuration",
    )


async def begin(client: httpx.AsyncClient) -> str:
    reply = await client.get(START)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["data"]["authorization_url"])


async def come_back(client: httpx.AsyncClient, provider: Provider, sub: str) -> httpx.Response:
    """The whole way: start, sign in there, come back with the code."""
    return await client.post(FINISH, json=await provider.sign_in(await begin(client), sub))


async def signed_in(
    client: httpx.AsyncClient, provider: Provider, sub: str
) -> tuple[dict[str, object], dict[str, str]]:
    reply = await come_back(client, provider, sub)
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    return data["user"], {"Authorization": f"Bearer {data['token']}"}


def gmail() -> str:
    return f"{uuid4().hex}@gmail.com"


async def proved(client: httpx.AsyncClient, mailbox: Mailbox, email: str) -> dict[str, str]:
    """Registers an address and proves it; gives the headers to be them. The password is password123."""
    await client.post("/api/auth/register", json={"email": email, "password": "password123", "name": "Ann"})
    proof = {"email": email, "code": mailbox[-1].code, "type": "verification"}
    data = (await client.post("/api/auth/verify-email", json=proof)).json()["data"]
    return {"Authorization": f"Bearer {data['token']}"}


# -- the whole way


async def test_somebody_new_gets_an_account_and_finds_it_again(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox
) -> None:
    email = gmail()
    sub = await provider.says(
        uuid4().hex, email=email.upper(), email_verified=True, name="Google User", picture="https://x.example/a.png"
    )
    reply = await come_back(client, provider, sub)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert (body["success"], body["message"], list(body["data"])) == (True, "Google登录成功", ["user", "token"])
    user = body["data"]["user"]
    assert list(user) == ["id", "email", "name", "avatar", "google_id", "email_verified"]
    assert {name: user[name] for name in user if name != "id"} == {
        "email": email,
        "name": "Google User",
        "avatar": "https://x.example/a.png",
        "google_id": sub,
        "email_verified": True,
    }
    me = {"Authorization": f"Bearer {body['data']['token']}"}
    assert (await client.get("/api/user/profile", headers=me)).json()["data"]["user"]["id"] == user["id"]
    assert (await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"] == 100
    v1 = (await client.get("/api/v1/auth/me", headers=me)).json()["data"]
    assert (v1["uuid"], v1["username"], v1["nickname"]) == (user["id"], email, "Google User")
    assert (mailbox, mailbox.notices) == ([], [])

    again, _ = await signed_in(client, provider, sub)
    assert again == user


async def test_people_are_known_by_their_subject_whatever_else_changes(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox
) -> None:
    first, other = gmail(), gmail()
    sub = await provider.says(uuid4().hex, email=first, email_verified=True, name="Ann")
    user, _ = await signed_in(client, provider, sub)
    await proved(client, mailbox, other)
    await provider.says(sub, email=other, email_verified=True, name="Not Ann", picture="https://x.example/b.png")
    again, _ = await signed_in(client, provider, sub)
    assert again == user


async def test_who_has_no_password_signs_in_by_none_and_may_set_one(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox
) -> None:
    email = gmail()
    sub = await provider.says(uuid4().hex, email=email, email_verified=True)
    user, _ = await signed_in(client, provider, sub)
    assert user["name"] == email.partition("@")[0]
    for password in ("", "None", "password123"):
        refused = await client.post("/api/auth/login", json={"email": email, "password": password})
        assert (refused.status_code, refused.json()["error"]) == (401, "INVALID_CREDENTIALS")
    await client.post("/api/auth/send-verification", json={"email": email, "type": "password_reset"})
    reset = {"email": email, "code": mailbox[-1].code, "new_password": "password123"}
    assert (await client.post("/api/auth/reset-password", json=reset)).status_code == 200
    reply = await client.post("/api/auth/login", json={"email": email, "password": "password123"})
    assert reply.json()["data"]["user"]["id"] == user["id"]


async def test_a_name_and_a_picture_are_taken_only_as_far_as_they_are_safe(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    for name, picture, shown in (
        (" \x07An\u0000n\n ", "javascript:alert(1)", "Ann"),
        ("小" * 200, f"https://x.example/{'a' * 2048}", "小" * 100),
        ("👩‍🎨 Ann", "http://user:secret@x.example/a.png", "👩‍🎨 Ann"),
    ):
        sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True, name=name, picture=picture)
        user, _ = await signed_in(client, provider, sub)
        assert (user["name"], user["avatar"]) == (shown, None)
    assert name_of("\ud800 Ann") == "Ann"
    assert name_of(" \t\x00") is None


async def test_an_address_that_google_does_not_vouch_for_is_not_taken(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    nothing: list[dict[str, object]] = [
        {},
        {"email": "unproved@gmail.com"},
        {"email": "no address", "email_verified": True},
    ]
    for claims in nothing:
        sub = await provider.says(uuid4().hex, **claims)
        user, me = await signed_in(client, provider, sub)
        assert (user["email"], user["email_verified"], user["google_id"]) == (None, False, sub)
        assert re.fullmatch(r"google-[0-9a-f]{12}", str(user["name"]))
        assert (await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"] == 100
        assert (await signed_in(client, provider, sub))[0] == user


async def test_an_erased_person_starts_anew(client: httpx.AsyncClient, provider: Provider, services: Services) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    user, _ = await signed_in(client, provider, sub)
    await services.erasure.erase(str(user["id"]), actor="test")
    again, _ = await signed_in(client, provider, sub)
    assert again["id"] != user["id"]
    assert again["email"] == user["email"]


async def test_many_first_sign_ins_at_once_make_one_account(client: httpx.AsyncClient, provider: Provider) -> None:
    known = gmail()
    await client.post("/api/auth/register", json={"email": known, "password": "password123", "name": "Ann"})
    for claims in ({"email": gmail(), "email_verified": True}, {}, {"email": known, "email_verified": True}):
        sub = await provider.says(uuid4().hex, **claims)
        back = [await provider.sign_in(await begin(client), sub) for _ in range(6)]
        replies = await asyncio.gather(*(client.post(FINISH, json=one) for one in back))
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.json()["data"]["user"]["id"] for reply in replies}) == 1


# -- into which account


@pytest.mark.parametrize("claims", [{}, {"hd": "mint.example"}])
async def test_an_account_nobody_proved_is_linked_and_its_password_and_tokens_end(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox, claims: dict[str, object]
) -> None:
    email = f"{uuid4().hex}@mint.example"
    squatter = {"username": uuid4().hex, "password": "123456", "email": email}
    registered = (await client.post("/api/v1/auth/register", json=squatter)).json()["data"]
    old = {"Authorization": f"Bearer {registered['token']}"}
    assert (await client.get("/api/v1/auth/me", headers=old)).status_code == 200

    sub = await provider.says(uuid4().hex, email=email, email_verified=True, **claims)
    user, me = await signed_in(client, provider, sub)
    assert (user["id"], user["email"]) == (registered["user"]["uuid"], email)
    assert (user["google_id"], user["email_verified"]) == (sub, True)
    assert (await client.get("/api/v1/auth/me", headers=old)).status_code == 401
    assert (await client.get("/api/v1/auth/me", headers=me)).status_code == 200
    for login in (squatter["username"], email):
        refused = await client.post("/api/v1/auth/login", json={"username": login, "password": "123456"})
        assert refused.status_code == 401
    (notice,) = mailbox.notices
    assert (notice.to, notice.kind, notice.language) == (email, "google_linked", "zh")
    code = {"email": email, "code": mailbox[-1].code, "type": "verification"}
    assert (await client.post("/api/auth/verify-email", json=code)).status_code == 200, "the mailbox is theirs"

    assert (await signed_in(client, provider, sub))[0] == user
    assert len(mailbox.notices) == 1


@pytest.mark.parametrize("domain", ["gmail.com", "googlemail.com", "firm.example"])
async def test_a_proved_account_is_linked_where_google_runs_the_mailbox_and_keeps_its_password(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox, domain: str
) -> None:
    email = f"{uuid4().hex}@{domain}"
    old = await proved(client, mailbox, email)
    hosted = {"hd": domain} if domain == "firm.example" else {}
    sub = await provider.says(uuid4().hex, email=email, email_verified=True, name="Not Ann", **hosted)
    url = await begin(client)
    client.headers["Accept-Language"] = "en"
    reply = await client.post(FINISH, json=await provider.sign_in(url, sub))
    user = reply.json()["data"]["user"]
    assert (reply.json()["message"], user["name"], user["google_id"]) == ("Signed in with Google", "Ann", sub)
    assert (await client.get("/api/user/profile", headers=old)).status_code == 200
    login = await client.post("/api/auth/login", json={"email": email, "password": "password123"})
    assert login.json()["data"]["user"]["id"] == user["id"]
    assert [(notice.to, notice.kind, notice.language) for notice in mailbox.notices] == [(email, "google_linked", "en")]


async def refused(client: httpx.AsyncClient, provider: Provider, sub: str) -> None:
    reply = await come_back(client, provider, sub)
    assert (reply.status_code, reply.json()["error"]) == (409, "CONFLICT"), reply.text
    assert set(reply.json()) == {"success", "error", "message"}


async def test_a_proved_account_is_not_opened_by_an_address_that_google_only_verified(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox
) -> None:
    email = f"{uuid4().hex}@firm.example"
    await proved(client, mailbox, email)
    await refused(client, provider, await provider.says(uuid4().hex, email=email, email_verified=True))
    login = await client.post("/api/auth/login", json={"email": email, "password": "password123"})
    assert login.status_code == 200
    assert mailbox.notices == []


async def test_an_address_google_has_not_verified_opens_nothing(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox
) -> None:
    unproved, email = gmail(), gmail()
    await client.post("/api/auth/register", json={"email": unproved, "password": "password123", "name": "Ann"})
    await proved(client, mailbox, email)
    unsure: list[dict[str, object]] = [{}, {"email_verified": False}, {"email_verified": "true"}, {"hd": "gmail.com"}]
    for claims in unsure:
        for address in (unproved, email):
            await refused(client, provider, await provider.says(uuid4().hex, email=address, **claims))
    assert mailbox.notices == []


async def test_an_account_has_one_google_account(client: httpx.AsyncClient, provider: Provider) -> None:
    email = gmail()
    first = await provider.says(uuid4().hex, email=email, email_verified=True)
    user, _ = await signed_in(client, provider, first)
    await refused(client, provider, await provider.says(uuid4().hex, email=email, email_verified=True))
    assert (await signed_in(client, provider, first))[0] == user


async def test_an_address_opens_only_the_account_that_has_it_now(
    client: httpx.AsyncClient, provider: Provider, mailbox: Mailbox
) -> None:
    before, now = gmail(), gmail()
    me = await proved(client, mailbox, before)
    changed = await client.put("/api/v1/users/profile", json={"email": now}, headers=me)
    assert changed.status_code == 200, changed.text
    owner = changed.json()["data"]["uuid"]
    newcomer, _ = await signed_in(client, provider, await provider.says(uuid4().hex, email=before, email_verified=True))
    assert newcomer["id"] != owner
    linked, _ = await signed_in(client, provider, await provider.says(uuid4().hex, email=now, email_verified=True))
    assert linked["id"] == owner


# -- the state


async def test_start_says_where_to_go_and_binds_it_to_the_browser(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    reply = await client.get(START)
    data = reply.json()["data"]
    assert list(reply.json()) == ["success", "data"]
    assert list(data) == ["authorization_url", "state", "expires_in"]
    assert data["expires_in"] == 600
    assert data["authorization_url"].startswith(f"{provider.url}/")
    assert parse_qs(urlsplit(data["authorization_url"]).query)["state"] == [data["state"]]
    cookie = reply.headers["set-cookie"].split("; ")
    assert re.fullmatch(r"google_[0-9a-f]{16}=[\w-]{43}", cookie[0])
    assert {part.lower() for part in cookie[1:]} == {
        "httponly",
        "samesite=lax",
        "path=/api/auth/google",
        "max-age=600",
    }
    assert reply.headers["cache-control"] == "no-store"
    assert cookie[0].partition("=")[2] not in reply.text


async def test_behind_https_the_cookie_goes_nowhere_else(services: Services) -> None:
    safe = replace(services, terms=replace(services.terms, secure_cookies=True))
    transport = httpx.ASGITransport(app=create_app(safe))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        assert "Secure" in (await client.get(START)).headers["set-cookie"]


async def test_a_state_counts_once(client: httpx.AsyncClient, provider: Provider) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    url = await begin(client)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    back = [await provider.sign_in(url, sub) for _ in range(4)]
    replies = await asyncio.gather(*(client.post(FINISH, json=one, headers=cookie) for one in back))
    assert sorted(reply.status_code for reply in replies) == [200, 400, 400, 400]
    late = await client.post(FINISH, json=await provider.sign_in(url, sub), headers=cookie)
    for reply in (late, *(reply for reply in replies if reply.status_code == 400)):
        assert reply.json()["error"] == "VALIDATION_ERROR"
        assert list(reply.json()["details"]["fields"]) == ["state"]


async def test_the_cookie_ends_with_the_sign_in(client: httpx.AsyncClient, provider: Provider) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    url = await begin(client)
    assert len(client.cookies) == 1
    await client.post(FINISH, json=await provider.sign_in(url, sub))
    assert len(client.cookies) == 0


async def test_two_windows_may_begin_and_both_finish(client: httpx.AsyncClient, provider: Provider) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    one, two = await begin(client), await begin(client)
    for url in (one, two):
        assert (await client.post(FINISH, json=await provider.sign_in(url, sub))).status_code == 200


async def test_another_browser_cannot_finish_what_this_one_began(
    client: httpx.AsyncClient, provider: Provider, services: Services
) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    back = await provider.sign_in(await begin(client), sub)
    transport = httpx.ASGITransport(app=create_app(services))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as other:
        await begin(other)
        unbound = await other.post(FINISH, json=back)
    assert (unbound.status_code, list(unbound.json()["details"]["fields"])) == (400, ["state"])
    assert (await client.post(FINISH, json=back)).status_code == 200


async def test_a_state_that_is_not_ours_or_somebody_changed_is_refused(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    back = await provider.sign_in(await begin(client), sub)
    changed = back["state"][:-1] + ("A" if back["state"][-1] != "A" else "B")
    for state in ("", "random_state", "状态", changed, back["state"] * 2, "x" * 600):
        reply = await client.post(FINISH, json={**back, "state": state})
        assert (reply.status_code, reply.json()["error"]) == (400, "VALIDATION_ERROR")
        assert list(reply.json()["details"]["fields"]) == ["state"]


async def test_a_malformed_body_names_its_fields(client: httpx.AsyncClient) -> None:
    malformed: list[tuple[dict[str, object], list[str]]] = [
        ({}, ["code", "state"]),
        ({"code": "x"}, ["state"]),
        ({"state": "x"}, ["code"]),
        ({"code": "", "state": 7}, ["code", "state"]),
        ({"code": "x" * 3_000, "state": "x"}, ["code"]),
        ({"code": "a\u0000b", "state": "x"}, ["code"]),
    ]
    for body, fields in malformed:
        reply = await client.post(FINISH, json=body)
        assert (reply.status_code, reply.json()["error"]) == (400, "VALIDATION_ERROR")
        assert sorted(reply.json()["details"]["fields"]) == fields


# -- when Google says no, or nothing


async def test_a_code_that_google_does_not_know_is_no_and_uses_the_state_up(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    back = await provider.sign_in(await begin(client), sub)
    reply = await client.post(FINISH, json={**back, "code": "google_auth_code"})
    assert (reply.status_code, reply.json()["error"]) == (401, "INVALID_CREDENTIALS")
    assert (await client.post(FINISH, json=back)).status_code == 400


async def test_codes_are_not_guessed_at_without_end(
    client: httpx.AsyncClient, provider: Provider, services: Services
) -> None:
    for _ in range(100):
        with pytest.raises(InvalidCredentials):
            async with services.limits.google("127.0.0.1"):
                raise InvalidCredentials
    reply = await come_back(client, provider, await provider.says(uuid4().hex, email=gmail(), email_verified=True))
    assert (reply.status_code, reply.json()["error"]) == (429, "RATE_LIMITED")
    assert int(reply.headers["Retry-After"]) >= 1


async def test_a_code_of_another_sign_in_is_no(client: httpx.AsyncClient, provider: Provider) -> None:
    sub = await provider.says(uuid4().hex, email=gmail(), email_verified=True)
    mine = await provider.sign_in(await begin(client), sub)
    others = await provider.sign_in(await begin(client), sub)
    reply = await client.post(FINISH, json={**mine, "code": others["code"]})
    assert (reply.status_code, reply.json()["error"]) == (401, "INVALID_CREDENTIALS")


async def test_what_is_not_configured_or_out_of_reach_is_unavailable(
    client: httpx.AsyncClient, services: Services, settings: Settings, conninfo: str
) -> None:
    transport = httpx.ASGITransport(app=create_app(replace(services, google=None)))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as other:
        for reply in (await other.get(START), await other.post(FINISH, json={"code": "x", "state": "x"})):
            assert (reply.status_code, reply.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
            assert int(reply.headers["Retry-After"]) > 0
    away = replace(settings, google_discovery_url="http://127.0.0.1:9/none")
    async with running(away, Site(conninfo, VAULT, None), base_url=lambda: BASE_URL, worker=False) as lonely:
        transport = httpx.ASGITransport(app=create_app(lonely))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as other:
            reply = await other.get(START)
            assert (reply.status_code, reply.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
            assert int(reply.headers["Retry-After"]) > 0


# -- browsers


async def test_a_page_on_an_allowed_origin_may_send_the_cookie_and_no_other(client: httpx.AsyncClient) -> None:
    page = await client.get(START, headers={"Origin": "http://localhost:5173"})
    assert page.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert page.headers["access-control-allow-credentials"] == "true"
    asked = {
        "Origin": "http://localhost:5173",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = await client.options(FINISH, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    for origin in (
        "https://evil.example",
        "http://localhost.evil.example",
        "http://localhost:5173.evil.example",
        "null",
    ):
        reply = await client.get(START, headers={"Origin": origin})
        assert "access-control-allow-origin" not in reply.headers
        assert (await client.options(FINISH, headers={**asked, "Origin": origin})).status_code == 400

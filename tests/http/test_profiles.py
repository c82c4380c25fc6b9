"""What people change about themselves, by either document: names, addresses, passwords; and how their tokens end."""

from typing import Any

import httpx
import pytest
from litestar import get

from mintage.application import credentials
from mintage.application.services import Services
from mintage.domain.registration.events import Role
from mintage.http.app import create_app
from mintage.http.guards import only
from mintage.http.replies import Json
from mintage.infra.store import Lost
from tests.conftest import BASE_URL, Mailbox, Token

USER = {"email": "ann@example.com", "password": "password123", "name": "Ann"}


def code_in(mailbox: Mailbox) -> str:
    return mailbox[-1].code


async def signed_up(client: httpx.AsyncClient, mailbox: Mailbox, **changed: str) -> dict[str, str]:
    """Somebody of the server document with a proved address; the headers to be them."""
    user = {**USER, **changed}
    assert (await client.post("/api/auth/register", json=user)).status_code == 200
    proof = {"email": user["email"], "code": code_in(mailbox), "type": "verification"}
    reply = (await client.post("/api/auth/verify-email", json=proof)).json()
    return {"Authorization": f"Bearer {reply['data']['token']}"}


async def me_on_v1(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/api/v1/users/profile", headers=headers)).json()["data"]
    return found


class TestProfileOnV1:
    async def test_the_example_changes_what_it_names(self, client: httpx.AsyncClient, token: Token) -> None:
        _, me = await token()
        body = {"nickname": "新昵称", "email": "newemail@example.com", "phone": "13900139000"}
        reply = await client.put("/api/v1/users/profile", json=body, headers=me)
        assert (reply.status_code, reply.json()["message"]) == (200, "更新成功")
        user = reply.json()["data"]
        assert {name: user[name] for name in body} == body
        assert user["email_verified"] is False
        assert await me_on_v1(client, me) == user

    async def test_what_is_absent_stays_and_null_clears(self, client: httpx.AsyncClient, token: Token) -> None:
        _, me = await token()
        await client.put("/api/v1/users/profile", json={"nickname": "Bo", "phone": "13900139000"}, headers=me)
        user = (await client.put("/api/v1/users/profile", json={"phone": None}, headers=me)).json()["data"]
        assert (user["nickname"], user["phone"]) == ("Bo", None)
        assert (await client.put("/api/v1/users/profile", json={}, headers=me)).json()["data"] == user

    async def test_a_new_address_is_mailed_a_code_that_proves_it(
        self, client: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        me = await signed_up(client, mailbox)
        reply = await client.put("/api/v1/users/profile", json={"email": "Bo@Example.com"}, headers=me)
        assert reply.json()["data"]["email"] == "bo@example.com"
        assert mailbox[-1].to == "bo@example.com"
        login = {"email": "bo@example.com", "password": USER["password"]}
        assert (await client.post("/api/auth/login", json=login)).json()["error"] == "EMAIL_NOT_VERIFIED"
        proof = {"email": "bo@example.com", "code": code_in(mailbox), "type": "verification"}
        assert (await client.post("/api/auth/verify-email", json=proof)).json()["data"]["user"]["email_verified"]
        # The username was the address, so it follows, and the old address is free again.
        user = await me_on_v1(client, me)
        assert (user["username"], user["email_verified"]) == ("bo@example.com", True)
        assert (await client.post("/api/auth/register", json=USER)).status_code == 200

    async def test_a_code_for_the_old_address_proves_nothing_about_the_new(
        self, client: httpx.AsyncClient, mailbox: Mailbox, token: Token
    ) -> None:
        _, me = await token()
        await client.put("/api/v1/users/profile", json={"email": "ann@example.com"}, headers=me)
        old = code_in(mailbox)
        await client.put("/api/v1/users/profile", json={"email": "victim@example.com"}, headers=me)
        for email in ("ann@example.com", "victim@example.com"):
            proof = {"email": email, "code": old, "type": "verification"}
            assert (await client.post("/api/auth/verify-email", json=proof)).status_code == 400
        assert not (await me_on_v1(client, me))["email_verified"]

    async def test_names_of_others_are_taken(self, client: httpx.AsyncClient, mailbox: Mailbox, token: Token) -> None:
        await signed_up(client, mailbox)
        _, other = await token()
        await client.put("/api/v1/users/profile", json={"phone": "13900139000"}, headers=other)
        _, me = await token()
        before = await me_on_v1(client, me)
        for field, value in (("email", "ANN@example.com"), ("phone", "+86 139 0013 9000")):
            reply = await client.put("/api/v1/users/profile", json={"nickname": "x", field: value}, headers=me)
            assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [field])
        assert await me_on_v1(client, me) == before

    async def test_who_signs_in_by_an_address_keeps_one(self, client: httpx.AsyncClient, mailbox: Mailbox) -> None:
        me = await signed_up(client, mailbox)
        reply = await client.put("/api/v1/users/profile", json={"email": None}, headers=me)
        assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, ["email"])

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("nickname", value) for value in ("", "   ", "x" * 101, 7, "a\x00b")),
            *(("email", value) for value in ("", "no address", "a@b", 7)),
            *(("phone", value) for value in ("", "123", 13900139000)),
        ],
    )
    async def test_nonsense_is_named_and_changes_nothing(
        self, client: httpx.AsyncClient, token: Token, field: str, value: object
    ) -> None:
        _, me = await token()
        before = await me_on_v1(client, me)
        good = {"nickname": "good", "email": "good@example.com", "phone": "13900139000"}
        reply = await client.put("/api/v1/users/profile", json={**good, field: value}, headers=me)
        assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [field])
        assert await me_on_v1(client, me) == before


class TestProfileOnServer:
    async def test_the_example(self, client: httpx.AsyncClient, mailbox: Mailbox) -> None:
        me = await signed_up(client, mailbox)
        body = {"name": "新姓名", "avatar": "https://example.com/new.png"}
        reply = (await client.put("/api/user/profile", json=body, headers=me)).json()
        assert (reply["success"], reply["message"]) == (True, "用户信息更新成功")
        assert list(reply["data"]["user"]) == ["id", "email", "name", "avatar", "email_verified", "updated_at"]
        assert {name: reply["data"]["user"][name] for name in body} == body
        user = await me_on_v1(client, me)
        assert (user["nickname"], user["avatar_url"]) == (body["name"], body["avatar"])
        cleared = (await client.put("/api/user/profile", json={"avatar": None}, headers=me)).json()["data"]["user"]
        assert (cleared["name"], cleared["avatar"]) == ("新姓名", None)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("name", None), ("name", " "), ("avatar", "ftp://example.com/a.png"), ("avatar", "a.png"), ("avatar", 7)],
    )
    async def test_nonsense_is_named(
        self, client: httpx.AsyncClient, mailbox: Mailbox, field: str, value: object
    ) -> None:
        me = await signed_up(client, mailbox)
        reply = await client.put("/api/user/profile", json={field: value}, headers=me)
        assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, [field])


class TestPasswords:
    async def test_a_change_ends_every_token_but_the_new_one(
        self, client: httpx.AsyncClient, mailbox: Mailbox, services: Services
    ) -> None:
        me = await signed_up(client, mailbox)
        body = {"oldPassword": USER["password"], "newPassword": "newpass123"}
        reply = await client.post("/api/v1/users/change-password", json=body, headers=me)
        assert (reply.status_code, reply.json()["message"]) == (200, "密码修改成功")
        fresh = {"Authorization": f"Bearer {reply.json()['data']['token']}"}
        assert (await client.get("/api/v1/auth/me", headers=me)).status_code == 401
        assert (await client.get("/api/credits/balance", headers=me)).json()["error"] == "UNAUTHORIZED"
        assert (await client.get("/api/v1/auth/me", headers=fresh)).status_code == 200
        for password, status in ((USER["password"], 401), ("newpass123", 200)):
            login = await client.post("/api/auth/login", json={"email": USER["email"], "password": password})
            assert login.status_code == status
        assert [notice.kind for notice in mailbox.notices] == ["password_changed"]

    async def test_who_had_it_changed_is_told_even_if_nothing_can_be_shown_afterwards(
        self, client: httpx.AsyncClient, mailbox: Mailbox, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await signed_up(client, mailbox)
        await client.post("/api/auth/send-verification", json={"email": USER["email"], "type": "password_reset"})

        async def away(*_: object) -> None:
            raise Lost("no connection within 5 s")

        monkeypatch.setattr(credentials, "known", away)
        body = {"email": USER["email"], "code": mailbox[-1].code, "new_password": "newpassword123"}
        assert (await client.post("/api/auth/reset-password", json=body)).status_code == 503
        assert [notice.kind for notice in mailbox.notices] == ["password_changed"]

    async def test_the_old_one_must_be_right(self, client: httpx.AsyncClient, token: Token) -> None:
        _, me = await token()
        body = {"oldPassword": "wrong", "newPassword": "newpass123"}
        reply = await client.post("/api/v1/users/change-password", json=body, headers=me)
        assert (reply.status_code, reply.json()["code"], reply.json()["message"]) == (400, 400, "旧密码错误")
        assert list(reply.json()["data"]["fields"]) == ["oldPassword"]
        assert (await client.get("/api/v1/auth/me", headers=me)).status_code == 200

    async def test_the_new_one_must_be_long_enough(self, client: httpx.AsyncClient, token: Token) -> None:
        _, me = await token()
        for password in ("12345", "x" * 129):
            body = {"oldPassword": "123456", "newPassword": password}
            reply = await client.post("/api/v1/users/change-password", json=body, headers=me)
            assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, ["newPassword"])

    async def test_a_reset_ends_every_token_and_proves_the_address(
        self, client: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        registered = {"username": "ann", "password": "123456", "email": "ann@example.com"}
        reply = (await client.post("/api/v1/auth/register", json=registered)).json()
        me = {"Authorization": f"Bearer {reply['data']['token']}"}
        await client.post("/api/auth/send-verification", json={"email": "ann@example.com", "type": "password_reset"})
        body = {"email": "Ann@example.com", "code": code_in(mailbox), "new_password": "newpassword123"}
        assert mailbox[-1].purpose == "password_reset"
        reset = await client.post("/api/auth/reset-password", json=body)
        assert (reset.status_code, reset.json()) == (200, {"success": True, "message": "密码重置成功"})
        assert (await client.get("/api/v1/auth/me", headers=me)).status_code == 401
        login = {"email": "ann@example.com", "password": "newpassword123"}
        assert (await client.post("/api/auth/login", json=login)).json()["data"]["user"]["email_verified"]
        again = await client.post("/api/auth/reset-password", json=body)
        assert again.json()["error"] == "INVALID_VERIFICATION_CODE"

    async def test_a_code_to_prove_an_address_resets_no_password(
        self, client: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await client.post("/api/auth/register", json=USER)
        body = {"email": USER["email"], "code": code_in(mailbox), "new_password": "newpassword123"}
        reply = await client.post("/api/auth/reset-password", json=body)
        assert (reply.status_code, reply.json()["error"]) == (400, "INVALID_VERIFICATION_CODE")

    async def test_a_password_that_will_not_do_uses_no_try_up(
        self, client: httpx.AsyncClient, mailbox: Mailbox
    ) -> None:
        await signed_up(client, mailbox)
        await client.post("/api/auth/send-verification", json={"email": USER["email"], "type": "password_reset"})
        body = {"email": USER["email"], "code": code_in(mailbox), "new_password": "x"}
        for _ in range(6):
            reply = await client.post("/api/auth/reset-password", json=body)
            assert list(reply.json()["details"]["fields"]) == ["new_password"]
        assert (await client.post("/api/auth/reset-password", json={**body, "new_password": "newpassword"})).is_success

    async def test_nobodys_reset_looks_like_anybodys(self, client: httpx.AsyncClient) -> None:
        sent = await client.post(
            "/api/auth/send-verification", json={"email": "nobody@example.com", "type": "password_reset"}
        )
        assert sent.json()["data"] == {"email": "nobody@example.com", "expires_in": 600}
        body = {"email": "nobody@example.com", "code": "123456", "new_password": "newpassword123"}
        reply = await client.post("/api/auth/reset-password", json=body)
        assert (reply.status_code, reply.json()["error"]) == (400, "INVALID_VERIFICATION_CODE")


class TestSigningOut:
    @pytest.mark.parametrize("path", ["/api/v1/auth/logout", "/api/auth/logout"])
    async def test_one_token_ends_and_no_other(self, client: httpx.AsyncClient, path: str) -> None:
        body = {"username": "test", "password": "123456"}
        await client.post("/api/v1/auth/register", json=body)
        one, other = [
            {"Authorization": f"Bearer {(await client.post('/api/v1/auth/login', json=body)).json()['data']['token']}"}
            for _ in range(2)
        ]
        reply = await client.post(path, headers=one)
        assert (reply.status_code, reply.json()["message"]) == (200, "已退出登录")
        assert (await client.get("/api/v1/auth/me", headers=one)).status_code == 401
        assert (await client.post(path, headers=one)).status_code == 401
        assert (await client.get("/api/v1/auth/me", headers=other)).status_code == 200

    async def test_a_token_is_needed(self, client: httpx.AsyncClient) -> None:
        assert (await client.post("/api/auth/logout")).json()["error"] == "UNAUTHORIZED"


class TestRoles:
    async def test_an_admin_gives_roles_and_others_do_not(
        self, client: httpx.AsyncClient, services: Services, token: Token
    ) -> None:
        (user, me), (boss, admin) = await token(), await token()
        path = f"/api/admin/users/{user['uuid']}/role"
        assert (await client.put(path, json={"role": "admin"})).status_code == 401
        for headers in (me, admin):
            reply = await client.put(path, json={"role": "admin"}, headers=headers)
            assert (reply.status_code, reply.json()["error"]) == (403, "FORBIDDEN")
        await services.profiles.grant_role(str(boss["uuid"]), "admin", actor="operator")
        reply = await client.put(path, json={"role": "finance"}, headers=admin)
        assert reply.json()["data"]["user"] == {"id": user["uuid"], "role": "finance"}
        assert (await me_on_v1(client, me))["role"] == "finance"
        assert (await client.put(path, json={"role": "admin"}, headers=me)).status_code == 403
        await client.put(f"/api/admin/users/{boss['uuid']}/role", json={"role": "user"}, headers=admin)
        assert (await client.put(path, json={"role": "user"}, headers=admin)).status_code == 403

    async def test_bad_input(self, client: httpx.AsyncClient, services: Services, token: Token) -> None:
        boss, admin = await token()
        await services.profiles.grant_role(str(boss["uuid"]), "admin", actor="operator")
        path = f"/api/admin/users/{boss['uuid']}/role"
        for body in ({}, {"role": "root"}, {"role": None}):
            reply = await client.put(path, json=body, headers=admin)
            assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, ["role"])
        for user_id in ("1", "nobody", "0199b1c0-0000-7000-8000-00000000000a"):
            reply = await client.put(f"/api/admin/users/{user_id}/role", json={"role": "user"}, headers=admin)
            assert reply.status_code == 404

    async def test_a_role_cannot_be_registered_with(self, client: httpx.AsyncClient) -> None:
        body = {"username": "test", "password": "123456", "role": "admin", "email_verified": True}
        user = (await client.post("/api/v1/auth/register", json=body)).json()["data"]["user"]
        assert (user["role"], user["email_verified"]) == ("user", False)

    @pytest.mark.parametrize(("role", "status"), [("user", 403), ("finance", 200), ("admin", 200)])
    async def test_a_guard_lets_its_roles_pass_and_no_other(
        self, services: Services, client: httpx.AsyncClient, token: Token, role: Role, status: int
    ) -> None:
        user, me = await token()
        await services.profiles.grant_role(str(user["uuid"]), role, actor="operator")

        @get("/books", guards=[only("finance", "admin")])
        async def books() -> Json:
            return Json(b"{}")

        app = create_app(services, extra_handlers=[books])
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
            assert (await http.get("/books")).status_code == 401
            assert (await http.get("/books", headers=me)).status_code == status

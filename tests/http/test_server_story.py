"""The server document's own story: register, prove the address, buy, spend, make images, look back."""

import asyncio
import re
from uuid import UUID, uuid4

import httpx
from msgspec.structs import replace

from mintage.application.services import Services
from mintage.http.app import create_app
from tests.conftest import BASE_URL, Mailbox, Token

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def registered(client: httpx.AsyncClient) -> tuple[str, dict[str, str]]:
    body = {"email": f"{uuid4().hex}@Example.com", "password": "password123", "name": "用户姓名"}
    reply = await client.post("/api/auth/register", json=body)
    assert reply.status_code == 200, reply.text
    return body["email"].lower(), body


async def signed_in(client: httpx.AsyncClient, mailbox: Mailbox) -> tuple[dict[str, object], dict[str, str]]:
    email, _ = await registered(client)
    proof = {"email": email, "code": mailbox[-1].code, "type": "verification"}
    data = (await client.post("/api/auth/verify-email", json=proof)).json()["data"]
    return data["user"], {"Authorization": f"Bearer {data['token']}"}


async def test_register_answers_as_the_document_shows(client: httpx.AsyncClient) -> None:
    body = {"email": "Someone@Example.com", "password": "password123", "name": "用户姓名"}
    reply = (await client.post("/api/auth/register", json=body)).json()
    user = reply["data"]["user"]
    assert reply["success"] is True
    assert reply["message"] == "注册成功"
    assert list(user) == ["id", "email", "name", "avatar", "email_verified", "created_at"]
    assert UUID(user["id"]).version == 7
    assert (user["email"], user["name"], user["avatar"]) == ("someone@example.com", "用户姓名", None)
    assert user["email_verified"] is False
    assert STAMP.fullmatch(user["created_at"])


async def test_an_address_registers_once(client: httpx.AsyncClient) -> None:
    _, body = await registered(client)
    again = await client.post("/api/auth/register", json={**body, "email": body["email"].upper()})
    assert again.status_code == 409
    assert again.json()["error"] == "EMAIL_ALREADY_EXISTS"
    assert again.json()["message"] == "邮箱已存在"


async def test_sign_in_waits_for_the_address_to_be_proved(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    email, body = await registered(client)
    credentials = {"email": email, "password": body["password"]}
    unproved = await client.post("/api/auth/login", json=credentials)
    assert unproved.status_code == 403
    assert unproved.json() == {
        "success": False,
        "error": "EMAIL_NOT_VERIFIED",
        "message": "邮箱未验证",
        "data": {"email": email},
    }

    proof = {"email": email, "code": mailbox[-1].code, "type": "verification"}
    proved = (await client.post("/api/auth/verify-email", json=proof)).json()
    assert proved["message"] == "邮箱验证成功"
    assert proved["data"]["user"]["email_verified"] is True
    assert list(proved["data"]) == ["user", "token"]

    reply = (await client.post("/api/auth/login", json=credentials)).json()
    assert reply["message"] == "登录成功"
    assert list(reply["data"]["user"]) == ["id", "email", "name", "avatar", "email_verified"]

    used = await client.post("/api/auth/verify-email", json=proof)
    assert (used.status_code, used.json()["error"]) == (400, "INVALID_VERIFICATION_CODE")


async def test_a_wrong_password_and_a_stranger_hear_the_same(client: httpx.AsyncClient) -> None:
    email, _ = await registered(client)
    wrong = await client.post("/api/auth/login", json={"email": email, "password": "not this"})
    nobody = await client.post("/api/auth/login", json={"email": "nobody@example.com", "password": "not this"})
    nonsense = await client.post("/api/auth/login", json={"email": "no address", "password": "\0" * 5000})
    assert wrong.status_code == nobody.status_code == nonsense.status_code == 401
    assert wrong.json() == nobody.json() == nonsense.json()
    assert wrong.json()["error"] == "INVALID_CREDENTIALS"


async def test_a_code_is_sent_to_whom_it_may_concern(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    email, _ = await registered(client)
    sent = len(mailbox)
    for address in (email, "nobody@example.com"):
        asked = {"email": address, "type": "verification"}
        reply = await client.post("/api/auth/send-verification", json=asked)
        assert reply.json() == {
            "success": True,
            "data": {"email": address, "expires_in": 600},
            "message": "验证邮件发送成功",
        }
    assert [mail.to for mail in mailbox[sent:]] == [email]


async def test_buying_and_spending(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    user, me = await signed_in(client, mailbox)
    reply = (await client.get("/api/credits/balance", headers=me)).json()
    assert reply == {"success": True, "data": {"balance": 100, "user_id": user["id"]}}

    order = {"amount": 20, "payment_method": "wechat"}
    bought = (await client.post("/api/credits/recharge", json=order, headers=me)).json()
    assert bought["message"] == "充值成功"
    assert bought["data"]["credits_added"] == 200
    assert bought["data"]["new_balance"] == 300

    use = {"amount": 10, "description": "生成AI图片"}
    spent = (await client.post("/api/credits/consume", json=use, headers=me)).json()
    assert spent["message"] == "积分消费成功"
    assert spent["data"]["new_balance"] == 290

    page = (await client.get("/api/credits/transactions", headers=me)).json()["data"]
    lines = page["transactions"]
    assert (page["total"], page["page"], page["limit"]) == (3, 1, 20)
    assert [line["id"] for line in lines[:2]] == [spent["data"]["transaction_id"], bought["data"]["transaction_id"]]
    assert [(line["type"], line["kind"], line["amount"], line["balance_after"]) for line in lines] == [
        ("consume", "consume", 10, 290),
        ("recharge", "recharge", 200, 300),
        ("recharge", "signup_bonus", 100, 100),
    ]
    assert (lines[1]["description"], lines[1]["payment_method"]) == ("充值200积分", "wechat")
    assert STAMP.fullmatch(lines[0]["created_at"])

    last = (await client.get("/api/credits/transactions?page=2&limit=2", headers=me)).json()["data"]
    assert [line["kind"] for line in last["transactions"]] == ["signup_bonus"]
    past = (await client.get("/api/credits/transactions?page=1000000", headers=me)).json()["data"]
    assert (past["transactions"], past["total"]) == ([], 3)


async def test_too_few_credits_says_how_few(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    _, me = await signed_in(client, mailbox)
    reply = await client.post("/api/credits/consume", json={"amount": 101, "description": "x"}, headers=me)
    assert reply.status_code == 402
    assert reply.json() == {
        "success": False,
        "error": "INSUFFICIENT_CREDITS",
        "message": "积分不足",
        "details": {"required": 101, "available": 100},
    }


async def test_images_come_with_the_reply(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    _, me = await signed_in(client, mailbox)
    wish = {"prompt": "一只可爱的小猫在花园里玩耍", "style": "realistic", "transparent": False, "count": 2}
    reply = await client.post("/api/images/generate", json=wish, headers=me)
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    assert reply.json()["message"] == "图片生成成功"
    assert (data["credits_consumed"], data["remaining_credits"], len(data["images"])) == (10, 90, 2)
    image = data["images"][0]
    assert list(image) == ["id", "url", "prompt", "style", "transparent", "created_at"]

    history = (await client.get("/api/images/history?page=1&limit=20", headers=me)).json()["data"]
    entry = history["history"][0]
    assert (history["total"], history["page"], history["limit"]) == (1, 1, 20)
    assert (entry["prompt"], entry["style"], entry["credits_used"]) == (wish["prompt"], "realistic", 10)
    assert [one["id"] for one in entry["images"]] == [one["id"] for one in data["images"]]

    file = await client.get(image["url"])
    assert file.status_code == 200
    assert file.headers["content-type"] == "image/png"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.content.startswith(b"\x89PNG")
    for broken in (
        image["url"].partition("?")[0],
        image["url"][:-1] + "_",
        image["url"].replace("expires=", "expires=1"),
    ):
        refused = await client.get(broken)
        assert (refused.status_code, refused.json()["error"]) == (403, "FORBIDDEN")


async def test_images_that_fail_cost_nothing(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    _, me = await signed_in(client, mailbox)
    wish = {"prompt": "[fail] please", "style": "cartoon"}
    reply = await client.post("/api/images/generate", json=wish, headers=me)
    assert (reply.status_code, reply.json()["error"]) == (502, "GENERATION_FAILED")
    assert (await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"] == 100
    assert (await client.get("/api/images/history", headers=me)).json()["data"]["history"] == []


async def test_images_that_take_too_long_are_followed_as_a_task(
    services: Services, client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    _, me = await signed_in(client, mailbox)
    wish, keyed = {"prompt": "a cat", "style": "3d-render"}, {**me, "Idempotency-Key": "picture-1"}
    hasty = replace(services, terms=replace(services.terms, generation_wait_s=0.0))
    transport = httpx.ASGITransport(app=create_app(hasty))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as impatient:
        reply = await impatient.post("/api/images/generate", json=wish, headers=keyed)
    data = reply.json()["data"]
    assert reply.status_code == 202
    assert reply.json()["message"] == "任务已创建，正在后台处理中..."
    assert (data["images"], data["credits_consumed"], data["remaining_credits"]) == ([], 0, 90)
    task = (await client.get(f"/api/v1/generate/tasks/{data['task_id']}", headers=me)).json()["data"]
    assert task["uuid"] == data["task_id"]

    again = await client.post("/api/images/generate", json=wish, headers=keyed)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert len(again.json()["data"]["images"]) == 1
    assert again.json()["data"]["remaining_credits"] == 90


async def test_the_profile(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    user, me = await signed_in(client, mailbox)
    reply = (await client.get("/api/user/profile", headers=me)).json()
    assert list(reply) == ["success", "data"]
    shown = reply["data"]["user"]
    assert list(shown) == ["id", "email", "name", "avatar", "email_verified", "created_at", "updated_at"]
    assert shown["id"] == user["id"]


async def test_one_person_has_one_account_in_both_documents(client: httpx.AsyncClient, token: Token) -> None:
    user, me = await token()
    shown = (await client.get("/api/user/profile", headers=me)).json()["data"]["user"]
    assert (shown["id"], shown["name"], shown["email"]) == (user["uuid"], user["username"], None)
    await client.post("/api/credits/consume", json={"amount": 1, "description": "x"}, headers=me)
    assert (await client.get("/api/v1/auth/me", headers=me)).json()["data"]["computing_power"] == 99


async def test_an_erased_account_is_gone(client: httpx.AsyncClient, token: Token, services: Services) -> None:
    user, me = await token()
    await services.erasure.erase(str(user["uuid"]), actor="test")
    server = await client.get("/api/user/profile", headers=me)
    assert (server.status_code, server.json()["error"]) == (404, "USER_NOT_FOUND")
    v1 = await client.get("/api/v1/auth/me", headers=me)
    assert (v1.status_code, v1.json()["code"]) == (401, 401)


async def test_of_many_who_register_one_address_at_once_one_gets_it_and_the_others_hear_why(
    client: httpx.AsyncClient,
) -> None:
    body = {"email": "race@example.com", "password": "password123", "name": "Ann"}
    replies = await asyncio.gather(*(client.post("/api/auth/register", json=body) for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409, 409, 409]
    assert {reply.json()["error"] for reply in replies if reply.status_code == 409} == {"EMAIL_ALREADY_EXISTS"}

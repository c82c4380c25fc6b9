"""The v1 document's own story: sign up with two fields, make an image, follow its task, find the work."""

import re
from uuid import UUID, uuid4

import httpx
import pytest

from tests.conftest import Mailbox, Token, until

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TEXT_TO_IMAGE = {
    "task_type": "text2img",
    "model_provider": "stability",
    "model_name": "stable-diffusion-xl",
    "prompt": "a beautiful landscape",
    "negative_prompt": "blurry, low quality",
    "parameters": {"width": 1024, "height": 1024},
}
USER_FIELDS = [
    *("id", "uuid", "username", "nickname", "email", "email_verified", "phone", "avatar_url", "computing_power"),
    *("held_computing_power", "referral_code", "role", "created_at", "updated_at"),
]
WORK_FIELDS = [
    *("id", "uuid", "task_id", "title", "work_type", "content_type", "model_provider", "model_name", "prompt"),
    *("negative_prompt", "source_image_url", "result_url", "thumbnail_url", "file_size", "width", "height"),
    *("duration", "status", "error_message", "expired_at", "is_public", "computing_power_used", "created_at"),
    "updated_at",
]


async def test_the_documents_curl_commands_work(client: httpx.AsyncClient) -> None:
    body = {"username": "test", "password": "123456"}
    registered = (await client.post("/api/v1/auth/register", json=body)).json()
    assert (registered["code"], registered["message"]) == (0, "注册成功")
    signed_in = (await client.post("/api/v1/auth/login", json=body)).json()
    assert (signed_in["code"], signed_in["message"]) == (0, "登录成功")
    me = {"Authorization": f"Bearer {signed_in['data']['token']}"}
    user = (await client.get("/api/v1/auth/me", headers=me)).json()
    assert (user["code"], user["message"]) == (0, "success")
    assert list(user["data"]) == USER_FIELDS
    assert user["data"] == signed_in["data"]["user"]
    assert (await client.get("/api/v1/users/profile", headers=me)).json() == user
    assert user["data"]["computing_power"] == 100
    assert re.fullmatch("[A-Z2-9]{8}", user["data"]["referral_code"])
    assert STAMP.fullmatch(user["data"]["created_at"])


async def test_everything_the_document_lets_one_register_with(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    first = await client.post("/api/v1/auth/register", json={"username": "张三.a-b_c", "password": "123456"})
    body = {
        "username": "testuser",
        "password": "password123",
        "email": "Test@Example.com",
        "phone": "+86 138 0013 8000",
        "referral_code": first.json()["data"]["user"]["referral_code"].lower(),
    }
    user = (await client.post("/api/v1/auth/register", json=body)).json()["data"]["user"]
    assert (user["id"], user["email"], user["phone"]) == (2, "test@example.com", "13800138000")
    assert (user["email_verified"], mailbox[-1].to) == (False, "test@example.com")
    for login in ("TESTUSER", "test@example.com", "138 0013 8000"):
        reply = await client.post("/api/v1/auth/login", json={"username": login, "password": "password123"})
        assert reply.json()["data"]["user"]["uuid"] == user["uuid"]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("username", "TestUser", "CONFLICT"),
        ("email", "A@example.com", "EMAIL_ALREADY_EXISTS"),
        ("phone", "13800138000", "CONFLICT"),
    ],
)
async def test_a_name_belongs_to_one(client: httpx.AsyncClient, field: str, value: str, error: str) -> None:
    taken = {"username": "testuser", "password": "123456", "email": "a@example.com", "phone": "13800138000"}
    assert (await client.post("/api/v1/auth/register", json=taken)).status_code == 200
    other = {"username": "somebody", "password": "123456", field: value}
    reply = await client.post("/api/v1/auth/register", json=other)
    assert (reply.status_code, reply.json()["code"], reply.json()["data"]["error"]) == (400, 400, error)
    assert list(reply.json()["data"]["fields"]) == [field]


async def test_an_unknown_referral_code_is_refused(client: httpx.AsyncClient) -> None:
    body = {"username": "testuser", "password": "123456", "referral_code": "ABC12345"}
    reply = await client.post("/api/v1/auth/register", json=body)
    assert reply.status_code == 400
    assert reply.json()["data"] == {"error": "VALIDATION_ERROR", "fields": {"referral_code": "不存在"}}


async def test_wrong_credentials(client: httpx.AsyncClient, token: Token) -> None:
    user, _ = await token()
    for username in (user["username"], "nobody"):
        reply = await client.post("/api/v1/auth/login", json={"username": username, "password": "wrong"})
        assert (reply.status_code, reply.json()["code"]) == (401, 401)
        assert reply.json()["data"] == {"error": "INVALID_CREDENTIALS"}


async def test_an_image_from_its_request_to_its_file(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    accepted = (await client.post("/api/v1/generate/text-to-image", json=TEXT_TO_IMAGE, headers=me)).json()
    task = accepted["data"]
    assert (accepted["code"], accepted["message"]) == (0, "任务已创建，正在后台处理中...")
    assert (task["status"], task["progress"], task["queue_position"]) == ("pending", 0, 1)
    assert task["billing"] == {"state": "held", "held": 10, "captured": 0, "released": 0}
    assert (task["prompt"], task["negative_prompt"]) == (TEXT_TO_IMAGE["prompt"], TEXT_TO_IMAGE["negative_prompt"])

    async def over() -> bool:
        shown = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
        return bool(shown["status"] == "completed")

    await until(over)
    done = (await client.get(f"/api/v1/generate/tasks/{task['uuid']}", headers=me)).json()["data"]
    assert (done["progress"], done["queue_position"], done["computing_power_used"]) == (100, None, 10)
    assert done["billing"] == {"state": "captured", "held": 10, "captured": 10, "released": 0}
    assert (await client.get("/api/v1/auth/me", headers=me)).json()["data"]["computing_power"] == 90

    listed = (await client.get("/api/v1/works?page=1&pageSize=20&status=completed&work_type=image", headers=me)).json()
    work = listed["data"]["list"][0]
    assert {name: listed["data"][name] for name in ("total", "page", "pageSize")} == {
        "total": 1,
        "page": 1,
        "pageSize": 20,
    }
    assert list(work) == WORK_FIELDS
    assert (work["id"], work["uuid"]) == (done["results"][0]["work_id"], done["results"][0]["work_uuid"])
    assert (work["task_id"], work["status"], work["computing_power_used"]) == (task["id"], "completed", 10)
    for name in (work["id"], work["uuid"]):
        alone = (await client.get(f"/api/v1/works/{name}", headers=me)).json()["data"]
        assert alone["prompt"] == TEXT_TO_IMAGE["prompt"]
    for url, kind in ((work["result_url"], "image/png"), (work["thumbnail_url"], "image/webp")):
        file = await client.get(url)
        assert (file.status_code, file.headers["content-type"]) == (200, kind)
    again = await client.post(f"/api/v1/generate/tasks/{task['id']}/cancel", headers=me)
    assert (again.status_code, again.json()["data"]) == (400, {"error": "CONFLICT", "status": "completed"})


async def test_what_is_anothers_does_not_exist(client: httpx.AsyncClient, token: Token) -> None:
    _, mine = await token()
    _, other = await token()
    task = (await client.post("/api/v1/generate/text-to-image", json=TEXT_TO_IMAGE, headers=mine)).json()["data"]
    work = (await client.get("/api/v1/works", headers=mine)).json()["data"]["list"][0]
    for method, path in (
        ("GET", f"/api/v1/generate/tasks/{task['id']}"),
        ("GET", f"/api/v1/generate/tasks/{task['uuid']}"),
        ("POST", f"/api/v1/generate/tasks/{task['id']}/cancel"),
        ("GET", f"/api/v1/works/{work['id']}"),
        ("GET", f"/api/v1/works/{work['uuid']}"),
    ):
        reply = await client.request(method, path, headers=other)
        assert (reply.status_code, reply.json()["code"], reply.json()["data"]) == (404, 404, {"error": "NOT_FOUND"})
    assert (await client.get("/api/v1/works", headers=other)).json()["data"]["list"] == []


async def test_a_cancelled_task_gives_its_hold_back(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    # The worker takes one at a time, so of several the last one is still waiting.
    tasks = [
        (await client.post("/api/v1/generate/text-to-image", json=TEXT_TO_IMAGE, headers=me)).json()["data"]
        for _ in range(3)
    ]
    reply = (await client.post(f"/api/v1/generate/tasks/{tasks[-1]['id']}/cancel", headers=me)).json()
    assert (reply["code"], reply["message"], reply["data"]["status"]) == (0, "任务已取消", "cancelled")
    assert reply["data"]["billing"] == {"state": "released", "held": 10, "captured": 0, "released": 10}
    user = (await client.get("/api/v1/auth/me", headers=me)).json()["data"]
    assert user["computing_power"] == 80
    failed = (await client.get("/api/v1/works?status=failed", headers=me)).json()["data"]["list"]
    assert [work["error_message"] for work in failed] == ["任务已取消"]


async def test_too_few_credits_store_nothing(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    await client.post("/api/credits/consume", json={"amount": 95, "description": "x"}, headers=me)
    reply = await client.post("/api/v1/generate/text-to-image", json=TEXT_TO_IMAGE, headers=me)
    assert (reply.status_code, reply.json()["message"]) == (400, "积分不足")
    assert reply.json()["data"] == {"error": "INSUFFICIENT_CREDITS", "required": 10, "available": 5}
    assert (await client.get("/api/v1/works", headers=me)).json()["data"]["total"] == 0


async def test_english_for_who_reads_english(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    reply = await client.get("/api/v1/auth/me", headers={"Accept-Language": "en-US,en;q=0.9"})
    assert reply.json()["message"] == "Sign in first"
    body = {"amount": 1, "description": "x"}
    spent = await client.post("/api/credits/consume", json=body, headers={**me, "Accept-Language": "en"})
    assert spent.json()["message"] == "Credits spent"


async def test_ids_are_uuids_of_version_7(client: httpx.AsyncClient, token: Token) -> None:
    user, me = await token()
    task = (await client.post("/api/v1/generate/text-to-image", json=TEXT_TO_IMAGE, headers=me)).json()["data"]
    assert UUID(str(user["uuid"])).version == UUID(task["uuid"]).version == 7
    assert (await client.get(f"/api/v1/works/{uuid4()}", headers=me)).status_code == 404

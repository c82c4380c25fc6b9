"""Finance acts over HTTP: two persons above the limit, once each, nobody on their own account, every refusal named."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mintage.application.adjustments import ADJUSTMENT_LIMIT
from mintage.application.services import Services
from mintage.domain.registration.events import Role
from tests.conftest import Token

Person = tuple[str, dict[str, str]]
Somebody = Callable[..., Awaitable[Person]]
ADJUSTMENTS = "/api/finance/adjustments"
WRONG_ADJUSTMENTS: list[tuple[dict[str, Any], set[str]]] = [
    ({"amount": 0}, {"amount"}),
    ({"amount": 1_000_001}, {"amount"}),
    ({"amount": -1_000_001}, {"amount"}),
    ({"amount": "5"}, {"amount"}),
    ({"reason": ""}, {"reason"}),
    ({"reason": " \u200b"}, {"reason"}),
    ({"reason": "x" * 201}, {"reason"}),
    ({"reason": "a\u001bb"}, {"reason"}),
    ({"reason": None}, {"reason"}),
    ({"user_id": "ann"}, {"user_id"}),
    ({"user_id": 7}, {"user_id"}),
    ({"priority": 101}, {"priority"}),
    ({"priority": -1}, {"priority"}),
    ({"expires_at": "tomorrow"}, {"expires_at"}),
    ({"expires_at": "2030-01-01T00:00:00"}, {"expires_at"}),
    ({"expires_at": 1_900_000_000}, {"expires_at"}),
    ({"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at"}),
    ({"expires_at": "9999-12-31T23:59:59-23:00"}, {"expires_at"}),
    ({"amount": -1, "expires_at": "2030-01-01T00:00:00Z", "priority": 1}, {"expires_at", "priority"}),
]

WRONG_REFUNDS: list[dict[str, Any]] = [
    {"amount_fen": 0},
    {"amount_fen": -1},
    {"amount_fen": 1.5},
    {"amount_fen": 10_000_001},
    {"refund_reference": ""},
    {"refund_reference": " "},
    {"refund_reference": "r "},
    {"refund_reference": " r"},
    {"refund_reference": "r\n"},
    {"refund_reference": "r\u200b"},
    {"refund_reference": "x" * 256},
    {"reason": "sorry"},
]


@pytest.fixture
def somebody(services: Services, token: Token) -> Somebody:
    """A new person's id and headers."""

    async def register(role: Role = "user") -> Person:
        user, me = await token()
        user_id = str(user["uuid"])
        if role != "user":
            await services.profiles.grant_role(user_id, role, actor="test")
        return user_id, me

    return register


async def balance(client: httpx.AsyncClient, me: dict[str, str]) -> int:
    return int((await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"])


async def statement(client: httpx.AsyncClient, me: dict[str, str]) -> list[dict[str, Any]]:
    """A person's lines, oldest first; each has to differ from the one before by its own amount."""
    shown = (await client.get("/api/credits/transactions?limit=100", headers=me)).json()["data"]
    lines: list[dict[str, Any]] = list(reversed(shown["transactions"]))
    assert shown["total"] == len(lines)
    before = 0
    for line in lines:
        before += line["amount"] if line["type"] == "recharge" else -line["amount"]
        assert line["balance_after"] == before
    return lines


async def ask(client: httpx.AsyncClient, finance: dict[str, str], user_id: str, amount: int, **more: Any) -> Any:
    body = {"user_id": user_id, "amount": amount, "reason": "a broken film", **more}
    return await client.post(ADJUSTMENTS, json=body, headers=finance)


class TestAdjustments:
    async def test_a_small_one_is_on_the_statement_at_once(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (ann, me), (_, fay) = await somebody(), await somebody("finance")
        added = await ask(client, fay, ann.upper(), 40, priority=0)
        assert (added.status_code, added.json()["message"]) == (200, "积分调整已生效")
        done = added.json()["data"]
        assert done == {"adjustment_id": done["adjustment_id"], "user_id": ann, "amount": 40, "status": "applied"}
        removed = (await ask(client, fay, ann, -15)).json()["data"]
        *_, plus, minus = await statement(client, me)
        assert (plus["id"], plus["kind"], plus["description"]) == (
            done["adjustment_id"],
            "adjustment",
            "人工调整增加40积分",
        )
        assert (minus["id"], minus["type"], minus["description"]) == (
            removed["adjustment_id"],
            "consume",
            "人工调整扣除15积分",
        )
        assert await balance(client, me) == 125

    async def test_a_large_one_needs_a_second_person(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (ann, me), (fay_id, fay), (gus_id, gus) = await somebody(), await somebody("finance"), await somebody("admin")
        pending = await ask(client, fay, ann, ADJUSTMENT_LIMIT + 1)
        assert pending.status_code == 202
        assert pending.json()["data"]["status"] == "pending"
        path = f"{ADJUSTMENTS}/{pending.json()['data']['adjustment_id']}"
        assert await balance(client, me) == 100

        same = await client.post(f"{path}/approve", headers=fay)
        assert (same.status_code, same.json()["error"]) == (403, "FORBIDDEN")
        assert same.json()["message"] == "须由申请人以外的人批准"
        done = await client.post(f"{path}/approve", headers=gus)
        assert (done.status_code, done.json()["data"]["status"]) == (200, "applied")
        assert await balance(client, me) == 100 + ADJUSTMENT_LIMIT + 1
        for verdict in ("approve", "reject"):
            again = await client.post(f"{path}/{verdict}", headers=gus)
            assert (again.status_code, again.json()["error"]) == (409, "CONFLICT")
            assert again.json()["details"] == {"status": "applied"}

        (row,) = (await client.get(ADJUSTMENTS, headers=fay)).json()["data"]["adjustments"]
        assert (row["requested_by"], row["decided_by"], row["status"]) == (fay_id, gus_id, "applied")
        assert row["reason"] == "a broken film"

    async def test_a_rejected_one_never_takes_effect(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (ann, me), (_, fay), (_, gus) = await somebody(), await somebody("finance"), await somebody("finance")
        pending = (await ask(client, fay, ann, 5_000)).json()["data"]
        path = f"{ADJUSTMENTS}/{pending['adjustment_id']}"
        rejected = await client.post(f"{path}/reject", headers=gus)
        assert (rejected.status_code, rejected.json()["data"]["status"]) == (200, "rejected")
        assert (await client.post(f"{path}/approve", headers=gus)).status_code == 409
        assert await balance(client, me) == 100

    async def test_what_cannot_be_removed_is_refused_and_stays_pending(
        self, client: httpx.AsyncClient, somebody: Somebody
    ) -> None:
        (ann, me), (_, fay), (_, gus) = await somebody(), await somebody("finance"), await somebody("finance")
        short = await ask(client, fay, ann, -101)
        assert (short.status_code, short.json()["error"]) == (402, "INSUFFICIENT_CREDITS")
        assert short.json()["details"] == {"required": 101, "available": 100}
        pending = (await ask(client, fay, ann, -1_100)).json()["data"]
        path = f"{ADJUSTMENTS}/{pending['adjustment_id']}/approve"
        assert (await client.post(path, headers=gus)).status_code == 402
        listed = (await client.get(f"{ADJUSTMENTS}?status=pending", headers=fay)).json()["data"]
        assert [row["adjustment_id"] for row in listed["adjustments"]] == [pending["adjustment_id"]]
        await ask(client, gus, ann, 1_000)
        assert (await client.post(path, headers=gus)).status_code == 200
        assert await balance(client, me) == 0

    async def test_one_account_is_not_for_oneself(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (fay_id, fay), (_, gus) = await somebody("finance"), await somebody("finance")
        own = await ask(client, fay, fay_id, 1)
        assert (own.status_code, own.json()["error"]) == (403, "FORBIDDEN")
        assert own.json()["message"] == "不能处理自己的账户"
        pending = (await ask(client, gus, fay_id, -1_001)).json()["data"]
        for verdict in ("approve", "reject"):
            reply = await client.post(f"{ADJUSTMENTS}/{pending['adjustment_id']}/{verdict}", headers=fay)
            assert reply.status_code == 403

    async def test_pages_are_newest_first(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (ann, _), (_, fay) = await somebody(), await somebody("finance")
        for amount in (1, 2, 2_000, 3):
            await ask(client, fay, ann, amount)
        seen = []
        for page in (1, 2):
            shown = (await client.get(f"{ADJUSTMENTS}?page={page}&limit=3", headers=fay)).json()["data"]
            assert (shown["total"], shown["page"], shown["limit"]) == (4, page, 3)
            seen += [row["amount"] for row in shown["adjustments"]]
        assert seen == [3, 2_000, 2, 1]
        applied = (await client.get(f"{ADJUSTMENTS}?status=applied", headers=fay)).json()["data"]
        assert [row["amount"] for row in applied["adjustments"]] == [3, 2, 1]
        other = await client.get(f"{ADJUSTMENTS}?status=lost", headers=fay)
        assert (other.status_code, list(other.json()["details"]["fields"])) == (400, ["status"])

    @pytest.mark.parametrize("amount", [7, 7_000])
    async def test_a_repeat_gets_the_first_reply(
        self, client: httpx.AsyncClient, somebody: Somebody, amount: int
    ) -> None:
        (ann, me), (_, fay), (_, gus) = await somebody(), await somebody("finance"), await somebody("finance")
        keyed = {**fay, "Idempotency-Key": "adjust-1"}
        first = await ask(client, keyed, ann, amount)
        path = f"{ADJUSTMENTS}/{first.json()['data']['adjustment_id']}/approve"
        if first.status_code == 202:
            approve = {**gus, "Idempotency-Key": "approve-1"}
            replies = await asyncio.gather(*(client.post(path, headers=approve) for _ in range(5)))
            assert {reply.status_code for reply in replies} == {200}
            assert len({reply.content for reply in replies}) == 1
        again = await ask(client, keyed, ann, amount)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await balance(client, me) == 100 + amount
        other = await ask(client, keyed, ann, amount + 1)
        assert (other.status_code, other.json()["error"]) == (409, "IDEMPOTENCY_KEY_REUSED")

    async def test_what_is_wrong_is_named(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (ann, me), (_, fay) = await somebody(), await somebody("finance")
        for wrong, fields in WRONG_ADJUSTMENTS:
            body = {"user_id": ann, "amount": 5, "reason": "x", **wrong}
            for language in ("zh", "en"):
                reply = await client.post(ADJUSTMENTS, json=body, headers={**fay, "Accept-Language": language})
                assert (reply.status_code, reply.json()["error"]) == (400, "VALIDATION_ERROR"), reply.text
                assert set(reply.json()["details"]["fields"]) == fields
        assert await balance(client, me) == 100

    async def test_who_or_what_is_not_there(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        _, fay = await somebody("finance")
        nobody = await ask(client, fay, str(uuid4()), 5)
        assert (nobody.status_code, nobody.json()["error"]) == (404, "USER_NOT_FOUND")
        for named in (str(uuid4()), "17", "nonsense"):
            for verdict in ("approve", "reject"):
                reply = await client.post(f"{ADJUSTMENTS}/{named}/{verdict}", headers=fay)
                assert (reply.status_code, reply.json()["error"]) == (404, "NOT_FOUND")


class TestReversal:
    async def test_what_was_spent_comes_back_once(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (ann, me), (_, fay) = await somebody(), await somebody("finance")
        use = {"amount": 30, "description": "生成AI图片"}
        spent = (await client.post("/api/credits/consume", json=use, headers=me)).json()["data"]["transaction_id"]
        path = f"/api/finance/transactions/{spent}/reverse"
        calls = (client.post(path, json={"reason": "图片损坏"}, headers=fay) for _ in range(5))
        replies = await asyncio.gather(*calls)
        assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409, 409]
        (done,) = [reply.json()["data"] for reply in replies if reply.status_code == 200]
        assert done == {
            "transaction_id": done["transaction_id"],
            "reverses": spent,
            "user_id": ann,
            "amount": 30,
            "new_balance": 100,
        }
        assert {reply.json()["error"] for reply in replies if reply.status_code == 409} == {"CONFLICT"}
        *_, line = await statement(client, me)
        assert (line["id"], line["type"], line["kind"]) == (done["transaction_id"], "recharge", "reversal")
        assert line["reverses"] == spent
        assert line["description"] == "退回已消费的30积分：图片损坏"
        assert await balance(client, me) == 100

    async def test_what_a_generation_cost_comes_back(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (_, me), (_, fay) = await somebody(), await somebody("finance")
        wish = {"prompt": "a cat", "style": "cartoon"}
        await client.post("/api/images/generate", json=wish, headers=me)
        *_, line = await statement(client, me)
        assert line["kind"] == "generation"
        path = f"/api/finance/transactions/{line['id']}/reverse"
        keyed = {**fay, "Idempotency-Key": "back"}
        replies = [await client.post(path, json={"reason": "x"}, headers=keyed) for _ in range(2)]
        assert [reply.status_code for reply in replies] == [200, 200]
        assert replies[0].content == replies[1].content
        assert await balance(client, me) == 100

    async def test_what_cannot_be_given_back(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        (_, me), (_, fay) = await somebody(), await somebody("finance")
        (bonus,) = await statement(client, me)
        why = {"reason": "x"}
        granted = await client.post(f"/api/finance/transactions/{bonus['id']}/reverse", json=why, headers=fay)
        assert (granted.status_code, granted.json()["message"]) == (409, "只有消费可以退回")
        for named in (str(uuid4()), "17", "nonsense"):
            missing = await client.post(f"/api/finance/transactions/{named}/reverse", json=why, headers=fay)
            assert (missing.status_code, missing.json()["error"]) == (404, "NOT_FOUND")
        use = {"amount": 1, "description": "x"}
        own = (await client.post("/api/credits/consume", json=use, headers=fay)).json()["data"]["transaction_id"]
        reply = await client.post(f"/api/finance/transactions/{own}/reverse", json=why, headers=fay)
        assert (reply.status_code, reply.json()["message"]) == (403, "不能处理自己的账户")
        for reason in ("", " \u200b", "x" * 201):
            blank = await client.post(f"/api/finance/transactions/{own}/reverse", json={"reason": reason}, headers=fay)
            assert (blank.status_code, list(blank.json()["details"]["fields"])) == (400, ["reason"])


class TestRefund:
    async def buy(self, services: Services, client: httpx.AsyncClient, me: dict[str, str], user_id: str) -> str:
        """The id of a paid order of ten yuan for a hundred credits."""
        order = {"amount": 10, "payment_method": "alipay"}
        assert (await client.post("/api/credits/recharge", json=order, headers=me)).status_code == 200
        row = await services.db.fetch_one(
            dict, "select recharge_id::text as id from recharges where user_id = %s", (user_id,)
        )
        assert row is not None
        return str(row["id"])

    async def test_a_debt_is_paid_before_anything_is_there(
        self, services: Services, client: httpx.AsyncClient, somebody: Somebody
    ) -> None:
        (ann, me), (_, fay) = await somebody(), await somebody("finance")
        order = await self.buy(services, client, me, ann)
        use = {"amount": 170, "description": "x"}
        await client.post("/api/credits/consume", json=use, headers=me)
        body = {"refund_reference": "4200001234", "amount_fen": 1_000, "reason": "chargeback"}
        path = f"/api/finance/recharges/{order}/refund"
        reply = await client.post(path, json=body, headers=fay)
        assert reply.status_code == 200
        assert reply.json()["data"] == {
            "recharge_id": order,
            "user_id": ann,
            "credits": 100,
            "refunded_fen": 1_000,
            "new_balance": 0,
            "owed": 70,
        }
        *_, line = await statement(client, me)
        assert (line["kind"], line["amount"], line["balance_after"]) == ("clawback", 100, -70)
        assert line["description"] == "充值被拒付，收回100积分"
        again = await client.post(path, json=body, headers=fay)
        assert again.json()["data"] == reply.json()["data"]

        for bought, left in ((5, 0), (1, 0), (1, 0), (1, 10)):
            recharge = {"amount": bought, "payment_method": "wechat"}
            shown = (await client.post("/api/credits/recharge", json=recharge, headers=me)).json()["data"]
            assert shown["new_balance"] == left
            assert await balance(client, me) == left
        assert (await client.post("/api/credits/consume", json={**use, "amount": 10}, headers=me)).status_code == 200
        assert (await statement(client, me))[-1]["balance_after"] == 0

    async def test_parts_and_their_limits(
        self, services: Services, client: httpx.AsyncClient, somebody: Somebody
    ) -> None:
        (ann, me), (_, fay) = await somebody(), await somebody("finance")
        path = f"/api/finance/recharges/{await self.buy(services, client, me, ann)}/refund"
        part = {"refund_reference": "r-1", "amount_fen": 400, "reason": "refund"}
        replies = await asyncio.gather(*(client.post(path, json=part, headers=fay) for _ in range(5)))
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.content for reply in replies}) == 1
        assert await balance(client, me) == 160
        differs = await client.post(path, json={**part, "amount_fen": 500}, headers=fay)
        assert (differs.status_code, differs.json()["error"]) == (409, "CONFLICT")
        assert differs.json()["details"]["fields"] == {"amount_fen": "此前登记为 400"}
        english = {**fay, "Accept-Language": "en"}
        reason = await client.post(path, json={**part, "reason": "chargeback"}, headers=english)
        assert (reason.status_code, reason.json()["error"]) == (409, "CONFLICT")
        assert reason.json()["details"]["fields"] == {"reason": "was recorded as refund"}
        exceeds = await client.post(path, json={**part, "refund_reference": "r-2", "amount_fen": 601}, headers=fay)
        assert (exceeds.status_code, exceeds.json()["details"]["fields"]) == (409, {"amount_fen": "不能大于 600"})
        (bob, his) = await somebody()
        other = f"/api/finance/recharges/{await self.buy(services, client, his, bob)}/refund"
        used = await client.post(other, json=part, headers=fay)
        assert (used.status_code, list(used.json()["details"]["fields"])) == (409, ["refund_reference"])
        assert await balance(client, his) == 200

    async def test_what_is_wrong_is_named(
        self, services: Services, client: httpx.AsyncClient, somebody: Somebody
    ) -> None:
        (ann, me), (_, fay) = await somebody(), await somebody("finance")
        path = f"/api/finance/recharges/{await self.buy(services, client, me, ann)}/refund"
        for wrong in WRONG_REFUNDS:
            body = {"refund_reference": "r", "amount_fen": 1, "reason": "refund", **wrong}
            reply = await client.post(path, json=body, headers=fay)
            assert (reply.status_code, set(reply.json()["details"]["fields"])) == (400, set(wrong))
        assert await balance(client, me) == 200

    async def test_an_order_that_is_not_there(self, client: httpx.AsyncClient, somebody: Somebody) -> None:
        _, fay = await somebody("finance")
        body = {"refund_reference": "r", "amount_fen": 1, "reason": "refund"}
        for named in (str(uuid4()), "17", "nonsense"):
            reply = await client.post(f"/api/finance/recharges/{named}/refund", json=body, headers=fay)
            assert (reply.status_code, reply.json()["error"]) == (404, "NOT_FOUND")


async def test_only_finance_may(client: httpx.AsyncClient, somebody: Somebody) -> None:
    (ann, me), some = await somebody(), uuid4()
    for method, path in (
        ("POST", ADJUSTMENTS),
        ("GET", ADJUSTMENTS),
        ("POST", f"{ADJUSTMENTS}/{some}/approve"),
        ("POST", f"{ADJUSTMENTS}/{some}/reject"),
        ("POST", f"/api/finance/transactions/{some}/reverse"),
        ("POST", f"/api/finance/recharges/{some}/refund"),
    ):
        body = {"user_id": ann, "amount": 1, "reason": "x"}
        reply = await client.request(method, path, json=body, headers=me)
        assert (reply.status_code, reply.json()["error"]) == (403, "FORBIDDEN"), path
        assert (await client.request(method, path, json=body)).status_code == 401
    assert await balance(client, me) == 100


class TestHolds:
    async def test_ones_own_open_ones_newest_first(
        self, services: Services, client: httpx.AsyncClient, somebody: Somebody
    ) -> None:
        (_, me), (_, other) = await somebody(), await somebody()
        await client.post("/api/credits/recharge", json={"amount": 100, "payment_method": "alipay"}, headers=me)
        # A film is not made at once, so that those behind it are still held for.
        asked = [
            await client.post("/api/v1/generate/text-to-video", json={"prompt": "a cat"}, headers=me) for _ in range(3)
        ]
        tasks = [reply.json()["data"]["uuid"] for reply in asked]
        shown = (await client.get("/api/credits/holds?limit=2", headers=me)).json()["data"]
        assert (shown["total"], shown["page"], shown["limit"]) == (3, 1, 2)
        assert [hold["task_id"] for hold in shown["holds"]] == [tasks[2], tasks[1]]
        (last,) = (await client.get("/api/credits/holds?limit=2&page=2", headers=me)).json()["data"]["holds"]
        created, expires = (datetime.fromisoformat(last[name]) for name in ("created_at", "expires_at"))
        assert expires - created == timedelta(days=1)
        price = services.catalogue.model("text2video", None, None).price
        assert {**last, "created_at": "", "expires_at": ""} == {
            "hold_id": tasks[0],
            "task_id": tasks[0],
            "amount": price,
            "product": last["product"],
            "description": "生成AI视频 x1",
            "created_at": "",
            "expires_at": "",
        }
        assert last["product"].count("/") == 1
        assert (await client.get("/api/credits/holds", headers=other)).json()["data"]["holds"] == []

        for task in tasks[1:]:
            assert (await client.post(f"/api/v1/generate/tasks/{task}/cancel", headers=me)).status_code == 200
        left = (await client.get("/api/credits/holds", headers=me)).json()["data"]
        assert {hold["hold_id"] for hold in left["holds"]} <= {tasks[0]}

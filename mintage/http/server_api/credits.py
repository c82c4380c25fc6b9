"""/api/credits: what a person has, how it came and went, buying and spending."""

from functools import partial
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath

from mintage.application.ledger import Consumption
from mintage.application.receipts import TransactionReceipt
from mintage.application.recharges import Recharged
from mintage.application.refusals import RateLimited, TransactionUnknown
from mintage.application.transaction import Unavailable
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.fields import InvalidFields, Reason, is_blank
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.kinds import SEEN, PaymentMethod, Uuid
from mintage.http.languages import LANGUAGES
from mintage.http.operations import Operation
from mintage.http.queries import Paging, id_of
from mintage.http.repeats import answered
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import body, shown
from mintage.projections.holds import open_holds_of
from mintage.projections.ledger import balance_of, transactions_of

RECHARGE_PATH: Final = "/api/credits/recharge"
CONSUME_PATH: Final = "/api/credits/consume"


class Recharge(msgspec.Struct, frozen=True):
    """``amount`` is in whole yuan."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    payment_method: PaymentMethod


class Consume(msgspec.Struct, frozen=True, gc=False):
    amount: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=200, extra_json_schema=SEEN)]


RECHARGE: Final = Body(Recharge)
CONSUME: Final = Body(Consume)
PAGE: Final = Paging("limit")

# Made once: these run inside the journal, between everybody's commands.
_RECHARGED: Final = {language: partial(body, language=language, message=messages.RECHARGED) for language in LANGUAGES}
_CONSUMED: Final = {language: partial(body, language=language, message=messages.CONSUMED) for language in LANGUAGES}


class CreditController(Controller):
    path = "/credits"
    tags = ("积分系统接口",)

    @get("/balance")
    @Operation("获取用户积分", {"balance": int, "user_id": Uuid})
    async def balance(self, request: Call) -> Json:
        """Credits available: neither spent nor held."""
        caller = await request.caller()
        balance = await balance_of(request.services.db, caller.user_id)
        return shown({"balance": balance.available, "user_id": caller.user_id})

    @get("/transactions")
    @Operation("获取交易记录", views.Transactions, query=(PAGE,))
    async def transactions(self, request: Call) -> Json:
        """Newest first. ``type`` gives the direction, ``kind`` the exact cause."""
        caller, page = await request.caller(), request.query.page(PAGE)
        lines, total = await transactions_of(request.services.db, caller.user_id, limit=page.size, offset=page.offset)
        return shown(views.Transactions([views.line(line) for line in lines], total, page.number, page.size))

    @get("/transactions/{transaction_id:str}/receipt")
    @Operation("获取交易凭证", TransactionReceipt, refusals=(TransactionUnknown,))
    async def receipt(self, request: Call, transaction_id: FromPath[str]) -> Json:
        """Proves offline, with `tools/verify_receipt.py`, that the transaction is in the log as it was recorded."""
        caller, named = await request.caller(), id_of(transaction_id)
        if isinstance(named, int):
            raise TransactionUnknown
        return shown(await request.services.receipts.of_transaction(caller.user_id, named))

    @get("/receipt-key")
    @Operation("获取凭证公钥", {"key": str}, public=True)
    async def receipt_key(self, request: Call) -> Json:
        """What receipts are checked with. Keep it from before; who gives out false receipts would give a false key."""
        return shown({"key": await request.services.receipts.key()})

    @get("/holds")
    @Operation("获取冻结积分", views.Holds, query=(PAGE,))
    async def holds(self, request: Call) -> Json:
        """Credits set aside for tasks that have not ended, newest first."""
        caller, page = await request.caller(), request.query.page(PAGE)
        rows, total = await open_holds_of(request.services.db, caller.user_id, limit=page.size, offset=page.offset)
        return shown(views.Holds([views.hold(row) for row in rows], total, page.number, page.size))

    @post("/recharge", status_code=200)
    @Operation("充值积分", Recharged, body=RECHARGE, refusals=(RateLimited,), repeatable=True)
    async def recharge(self, request: Call) -> Json:
        """``amount`` is in whole yuan."""
        caller, raw, services = await request.caller(), await request.raw(), request.services
        asked = RECHARGE.read(raw)
        if not services.terms.gateways:
            raise Unavailable("there is no gateway to pay by")
        if asked.payment_method not in services.terms.gateways:
            raise InvalidFields({"payment_method": Reason("one_of", choices=services.terms.gateways)})
        await services.limits.recharged(caller.user_id, request.address)
        reply = await services.recharges.recharge(
            caller.user_id,
            asked.amount,
            asked.payment_method,
            render=_RECHARGED[request.language],
            repeatable=request.repeatable(caller.user_id, RECHARGE_PATH, raw),
        )
        return answered(reply)

    @post("/consume", status_code=200)
    @Operation("消费积分", Consumption, body=CONSUME, refusals=(InsufficientCredits,), repeatable=True)
    async def consume(self, request: Call) -> Json:
        """Spends credits at once."""
        caller, raw = await request.caller(), await request.raw()
        asked = CONSUME.read(raw)
        if is_blank(asked.description):
            raise InvalidFields({"description": Reason("required")})
        reply = await request.services.ledger.consume(
            caller.user_id,
            asked.amount,
            asked.description,
            render=_CONSUMED[request.language],
            repeatable=request.repeatable(caller.user_id, CONSUME_PATH, raw),
        )
        return answered(reply)

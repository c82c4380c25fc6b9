"""/api/credits: what a person has, how it came and went, buying and spending."""

from functools import partial
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post

from mintage.domain.fields import InvalidFields, Reason
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.languages import LANGUAGES
from mintage.http.repeats import answered
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import body, shown
from mintage.projections.ledger import balance_of, transactions_of

RECHARGE_PATH: Final = "/api/credits/recharge"
CONSUME_PATH: Final = "/api/credits/consume"


class Recharge(msgspec.Struct, frozen=True):
    """``amount`` is in whole yuan."""

    amount: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    payment_method: str


class Consume(msgspec.Struct, frozen=True, gc=False):
    amount: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


RECHARGE: Final = Body(Recharge)
CONSUME: Final = Body(Consume)

# Made once: these run inside the journal, between everybody's commands.
_RECHARGED: Final = {language: partial(body, language=language, message=messages.RECHARGED) for language in LANGUAGES}
_CONSUMED: Final = {language: partial(body, language=language, message=messages.CONSUMED) for language in LANGUAGES}


class CreditController(Controller):
    path = "/credits"
    tags = ("积分系统",)

    @get("/balance")
    async def balance(self, request: Call) -> Json:
        caller = await request.caller()
        balance = await balance_of(request.services.db, caller.user_id)
        return shown({"balance": balance.available, "user_id": caller.user_id})

    @get("/transactions")
    async def transactions(self, request: Call) -> Json:
        caller, page = await request.caller(), request.query.page("limit")
        lines, total = await transactions_of(request.services.db, caller.user_id, limit=page.size, offset=page.offset)
        return shown(views.Transactions([views.line(line) for line in lines], total, page.number, page.size))

    @post("/recharge", status_code=200)
    async def recharge(self, request: Call) -> Json:
        caller, raw, services = await request.caller(), await request.raw(), request.services
        asked = RECHARGE.read(raw)
        if asked.payment_method not in services.terms.gateways:
            raise InvalidFields({"payment_method": Reason("one_of", choices=services.terms.gateways)})
        reply = await services.recharges.recharge(
            caller.user_id,
            asked.amount,
            asked.payment_method,
            render=_RECHARGED[request.language],
            repeatable=request.repeatable(caller.user_id, RECHARGE_PATH, raw),
        )
        return answered(reply)

    @post("/consume", status_code=200)
    async def consume(self, request: Call) -> Json:
        caller, raw = await request.caller(), await request.raw()
        asked = CONSUME.read(raw)
        reply = await request.services.ledger.consume(
            caller.user_id,
            asked.amount,
            asked.description,
            render=_CONSUMED[request.language],
            repeatable=request.repeatable(caller.user_id, CONSUME_PATH, raw),
        )
        return answered(reply)

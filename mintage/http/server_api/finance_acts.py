"""/api/finance, what changes accounts: adjusting, giving back what was spent, recording that a payment went back."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath

from mintage.application.adjustments import AMOUNT_MAX, PRIORITY_MAX, REASON_MAX, Adjusted, Wish
from mintage.application.once import Reply
from mintage.application.recharges import Refunded
from mintage.application.refusals import NotReversible, TransactionUnknown
from mintage.application.reversals import Reversal
from mintage.domain.adjustment.decider import (
    AdjustmentDecided,
    AdjustmentUnknown,
    OwnAccount,
    SecondPersonNeeded,
)
from mintage.domain.credits.decider import AlreadyReversed, InsufficientCredits
from mintage.domain.decider import Refusal
from mintage.domain.fields import InvalidFields, Reason, is_blank
from mintage.domain.recharge.decider import (
    NotPaid,
    RechargeUnknown,
    RecordRefund,
    RefundDiffers,
    RefundExceedsPayment,
    RefundUsed,
)
from mintage.domain.recharge.events import Undone
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.guards import only
from mintage.http.kinds import SEEN, GivenUuid
from mintage.http.languages import Text
from mintage.http.operations import Operation
from mintage.http.queries import Choice, Paging, id_of
from mintage.http.repeats import answered
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import body, shown
from mintage.projections.adjustments import adjustments_of

PATH: Final = "/api/finance"
REFERENCE_MAX: Final = 255
FEN_MAX: Final = 10_000_000
WhyText = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_MAX, extra_json_schema=SEEN)]


class Adjust(msgspec.Struct, frozen=True, kw_only=True):
    """``amount`` is added or, below zero, removed; the person never reads the ``reason``: no names in it.

    ``expires_at`` and ``priority`` (0 is spent first, 50 is usual) are for what is added.
    """

    user_id: GivenUuid
    amount: Annotated[int, msgspec.Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX, extra_json_schema={"not": {"const": 0}})]
    reason: WhyText
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] | None = None


class Reverse(msgspec.Struct, frozen=True):
    """The person reads the ``reason`` on their statement, where it stays for ever: no names in it."""

    reason: WhyText


# One that looks the same is the same: with a blank at its end it would be another refund.
_TOLD_APART: Final = re.compile("[!-~]+( [!-~]+)*")


class Refund(msgspec.Struct, frozen=True):
    """``refund_reference`` is the gateway's own id of the refund or the dispute."""

    refund_reference: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=REFERENCE_MAX, extra_json_schema={"pattern": f"^{_TOLD_APART.pattern}$"}),
    ]
    amount_fen: Annotated[int, msgspec.Meta(ge=1, le=FEN_MAX)]
    reason: Undone


ADJUST: Final = Body(Adjust)
REVERSE: Final = Body(Reverse)
REFUND: Final = Body(Refund)
PAGE: Final = Paging("limit")
STATUS: Final = Choice("status", ("pending", "applied", "rejected"))

_WORDS: Final = {
    "pending": messages.ADJUSTMENT_PENDING,
    "applied": messages.ADJUSTMENT_APPLIED,
    "rejected": messages.ADJUSTMENT_REJECTED,
}


class _Told(msgspec.Struct):
    """What a kept reply to a request for an adjustment says."""

    data: Adjusted


class FinanceActController(Controller):
    path = "/finance"
    tags = ("财务",)
    guards = (only("finance", "admin"),)

    @post("/adjustments", status_code=200)
    @Operation(
        "调整积分",
        Adjusted,
        accepted=Adjusted,
        body=ADJUST,
        refusals=(OwnAccount, InsufficientCredits),
        repeatable=True,
    )
    async def adjust(self, request: Call) -> Json:
        """At once, or 202 where a second person has to approve."""
        caller, raw = await request.caller(), await request.raw()
        asked = ADJUST.read(raw)
        reply = await request.services.adjustments.request(
            Wish(**{**msgspec.structs.asdict(asked), "user_id": asked.user_id.lower()}),
            actor=caller.user_id,
            render=_adjusted(request),
            repeatable=request.repeatable(caller.user_id, f"{PATH}/adjustments", raw),
        )
        return answered(reply, 202 if _status_of(reply) == "pending" else 200)

    @get("/adjustments")
    @Operation("获取积分调整列表", views.Adjustments, query=(STATUS, PAGE))
    async def adjustments(self, request: Call) -> Json:
        """Newest first. What was applied is on the person's statement under the adjustment's id."""
        page, status = request.query.page(PAGE), request.query.choice(STATUS)
        rows, total = await adjustments_of(request.services.db, status, limit=page.size, offset=page.offset)
        return shown(views.Adjustments([views.adjustment(row) for row in rows], total, page.number, page.size))

    @post("/adjustments/{adjustment_id:str}/approve", status_code=200)
    @Operation(
        "批准积分调整",
        Adjusted,
        refusals=(OwnAccount, SecondPersonNeeded, AdjustmentDecided, InsufficientCredits),
        repeatable=True,
    )
    async def approve(self, request: Call, adjustment_id: FromPath[str]) -> Json:
        """By somebody else than who asked. What cannot be carried out stays pending."""
        return await _decided(request, adjustment_id, "approve")

    @post("/adjustments/{adjustment_id:str}/reject", status_code=200)
    @Operation("拒绝积分调整", Adjusted, refusals=(OwnAccount, AdjustmentDecided), repeatable=True)
    async def reject(self, request: Call, adjustment_id: FromPath[str]) -> Json:
        """Also by who asked."""
        return await _decided(request, adjustment_id, "reject")

    @post("/transactions/{transaction_id:str}/reverse", status_code=200)
    @Operation(
        "退回消费",
        Reversal,
        body=REVERSE,
        refusals=(OwnAccount, NotReversible, AlreadyReversed),
        repeatable=True,
    )
    async def reverse(self, request: Call, transaction_id: FromPath[str]) -> Json:
        """Gives back, once, what was consumed or spent on a generation, to the lots it came from."""
        caller, raw = await request.caller(), await request.raw()
        asked, named = REVERSE.read(raw), _uuid(transaction_id, TransactionUnknown)
        reply = await request.services.reversals.reverse(
            named,
            asked.reason,
            actor=caller.user_id,
            render=_said(request, messages.REVERSED),
            repeatable=request.repeatable(caller.user_id, f"{PATH}/transactions/{named}/reverse", raw),
        )
        return answered(reply)

    @post("/recharges/{recharge_id:str}/refund", status_code=200)
    @Operation(
        "登记充值退款或拒付",
        Refunded,
        body=REFUND,
        refusals=(NotPaid, RefundDiffers, RefundExceedsPayment, RefundUsed),
        repeatable=True,
    )
    async def refund(self, request: Call, recharge_id: FromPath[str]) -> Json:
        """Takes back what the money had bought; what is spent already is owed, and later credits pay it first."""
        caller, raw = await request.caller(), await request.raw()
        asked, named = REFUND.read(raw), _uuid(recharge_id, RechargeUnknown)
        if is_blank(asked.refund_reference):
            raise InvalidFields({"refund_reference": Reason("required")})
        if not _TOLD_APART.fullmatch(asked.refund_reference):
            raise InvalidFields({"refund_reference": Reason("pattern")})
        reply = await request.services.recharges.refund(
            named,
            RecordRefund(**msgspec.structs.asdict(asked)),
            actor=caller.user_id,
            render=_said(request, messages.REFUND_RECORDED),
            repeatable=request.repeatable(caller.user_id, f"{PATH}/recharges/{named}/refund", raw),
        )
        return answered(reply)


async def _decided(request: Call, adjustment_id: str, verdict: Literal["approve", "reject"]) -> Json:
    caller, raw, adjustments = await request.caller(), await request.raw(), request.services.adjustments
    named = _uuid(adjustment_id, AdjustmentUnknown)
    decide = adjustments.approve if verdict == "approve" else adjustments.reject
    reply = await decide(
        named,
        actor=caller.user_id,
        render=_adjusted(request),
        repeatable=request.repeatable(caller.user_id, f"{PATH}/adjustments/{named}/{verdict}", raw),
    )
    return answered(reply)


def _said(request: Call, message: Text) -> Callable[[Any], bytes]:
    language = request.language
    return lambda outcome: body(outcome, language, message)


def _adjusted(request: Call) -> Callable[[Adjusted], bytes]:
    language = request.language
    return lambda outcome: body(outcome, language, _WORDS[outcome.status])


def _status_of(reply: Reply[Adjusted]) -> str:
    """Of a repeat as of the first time: what was pending then is told so again."""
    if reply.outcome is not None:
        return reply.outcome.status
    assert reply.body is not None
    return msgspec.json.decode(reply.body, type=_Told).data.status


def _uuid(text: str, unknown: type[Refusal]) -> str:
    named = id_of(text)
    if isinstance(named, int):
        raise unknown
    return named

"""Every order for credits, whether it was paid and what of it went back; a payment and a refund are of one order."""

from collections.abc import Sequence
from typing import Final

from mintage.domain.recharge.decider import PaymentUsed, RefundUsed
from mintage.domain.recharge.events import RechargePaid, RechargeRefunded, RechargeRequested
from mintage.domain.recorded import Recorded
from mintage.projections.sql import ReadModel, Statement, Value, exactly, insert, update

SCHEMA: Final = """
create table recharges (
    recharge_id uuid primary key,
    user_id uuid not null,
    amount_fen bigint not null constraint recharges_amount check (amount_fen > 0),
    credits bigint not null,
    payment_method text not null,
    status text not null default 'pending',
    payment_reference text,
    created_at timestamptz not null,
    paid_at timestamptz,
    refunded_fen bigint not null default 0,
    constraint recharges_payment unique (payment_method, payment_reference),
    constraint recharges_refunded check (refunded_fen = 0 or status = 'paid' and refunded_fen between 1 and amount_fen)
);
create index recharges_user on recharges (user_id);
create table refunds (
    recharge_id uuid not null,
    user_id uuid not null,
    payment_method text not null,
    refund_reference text not null,
    amount_fen bigint not null constraint refunds_amount check (amount_fen > 0),
    credits bigint not null,
    reason text not null,
    created_at timestamptz not null,
    constraint refunds_reference primary key (payment_method, refund_reference)
);
"""

_REQUESTED: Final = {
    "recharge_id": "uuid",
    "user_id": "uuid",
    "amount_fen": "bigint",
    "credits": "bigint",
    "payment_method": "text",
    "created_at": "timestamptz",
}
_PAID: Final = {"recharge_id": "uuid", "status": "text", "payment_reference": "text", "paid_at": "timestamptz"}

# Whose order it is and how it was paid is in the order's row, not in the event.
_REFUND: Final = """
insert into refunds
    (recharge_id, user_id, payment_method, refund_reference, amount_fen, credits, reason, created_at)
select r.recharge_id, r.user_id, r.payment_method, new.refund_reference, new.amount_fen, new.credits, new.reason, new.at
from unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[])
    as new (recharge_id, refund_reference, amount_fen, credits, reason, at)
join recharges r on r.recharge_id = new.recharge_id"""
_SUM: Final = """
update recharges r set refunded_fen = r.refunded_fen + new.amount_fen
from (
    select recharge_id, sum(amount_fen) as amount_fen
    from unnest(%s::uuid[], %s::bigint[]) as one (recharge_id, amount_fen) group by recharge_id
) as new
where r.recharge_id = new.recharge_id"""


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    requested: list[tuple[Value, ...]] = []
    paid: list[tuple[Value, ...]] = []
    refunded: list[tuple[Value, ...]] = []
    for entry in entries:
        match entry.event:
            case RechargeRequested() as event:
                requested.append(
                    (
                        entry.key,
                        event.user_id,
                        event.amount_fen,
                        event.credits,
                        event.payment_method,
                        entry.at,
                    )
                )
            case RechargePaid(payment_reference=reference):
                paid.append((entry.key, "paid", reference, entry.at))
            case RechargeRefunded() as event:
                refund = (event.refund_reference, event.amount_fen, event.credits, event.reason)
                refunded.append((entry.key, *refund, entry.at))
    writes = []
    if requested:
        writes.append(insert("recharges", _REQUESTED, requested))
    if paid:
        writes.append(update("recharges", "recharge_id", _PAID, paid))
    if refunded:
        columns = tuple(zip(*refunded, strict=True))
        writes.append(exactly(len(refunded), _REFUND, columns))
        writes.append(Statement(_SUM, (columns[0], columns[2])))
    return writes


RECHARGES: Final = ReadModel(
    name="recharges",
    tables=("recharges", "refunds"),
    schema=SCHEMA,
    events=frozenset({RechargeRequested, RechargePaid, RechargeRefunded}),
    statements=statements,
    revision=2,
    refusals={"recharges_payment": PaymentUsed, "refunds_reference": RefundUsed},
)

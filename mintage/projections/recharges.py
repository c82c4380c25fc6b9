"""Every order for credits and whether it was paid; a payment pays one order."""

from collections.abc import Sequence
from typing import Final

from mintage.domain.recharge.decider import PaymentUsed
from mintage.domain.recharge.events import RechargePaid, RechargeRequested
from mintage.domain.recorded import Recorded
from mintage.projections.sql import ReadModel, Statement, Value, insert, update

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
    constraint recharges_payment unique (payment_method, payment_reference)
);
create index recharges_user on recharges (user_id);
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


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    requested: list[tuple[Value, ...]] = []
    paid: list[tuple[Value, ...]] = []
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
    writes = []
    if requested:
        writes.append(insert("recharges", _REQUESTED, requested))
    if paid:
        writes.append(update("recharges", "recharge_id", _PAID, paid))
    return writes


RECHARGES: Final = ReadModel(
    name="recharges",
    tables=("recharges",),
    schema=SCHEMA,
    events=frozenset({RechargeRequested, RechargePaid}),
    statements=statements,
    refusals={"recharges_payment": PaymentUsed},
)

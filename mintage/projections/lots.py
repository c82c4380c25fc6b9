"""Of the ledger's tables those that change seldom: each lot that came in, and each hold with what became of it."""

from collections.abc import Sequence
from typing import Final

from mintage.domain.credits.events import CreditsGranted, CreditsHeld, HoldCaptured, HoldReleased
from mintage.domain.recorded import Recorded
from mintage.projections.sql import Statement, Value, insert, update

SCHEMA: Final = """
create table lots (
    user_id uuid not null,
    lot integer not null,
    amount bigint not null constraint lots_amount check (amount > 0),
    source text not null,
    paid_fen bigint not null,
    expires_at timestamptz,
    priority integer not null,
    reference uuid,
    settled boolean not null default false,
    position bigint not null,
    created_at timestamptz not null,
    primary key (user_id, lot)
);
create index lots_due on lots (expires_at) where not settled;
create table holds (
    hold_id uuid constraint holds_pkey primary key,
    user_id uuid not null,
    amount bigint not null constraint holds_amount check (amount > 0),
    product text not null,
    description text not null,
    state text not null default 'open',
    captured bigint not null default 0,
    created_at timestamptz not null,
    expires_at timestamptz,
    ended_at timestamptz,
    constraint holds_captured check (captured between 0 and amount)
);
create index holds_open on holds (user_id, created_at desc) where ended_at is null;
create index holds_due on holds (expires_at) where ended_at is null;
"""

_LOTS: Final = {
    "user_id": "uuid",
    "lot": "integer",
    "amount": "bigint",
    "source": "text",
    "paid_fen": "bigint",
    "expires_at": "timestamptz",
    "priority": "integer",
    "reference": "uuid",
    "position": "bigint",
    "created_at": "timestamptz",
}
_HOLDS: Final = {
    "hold_id": "uuid",
    "user_id": "uuid",
    "amount": "bigint",
    "product": "text",
    "description": "text",
    "created_at": "timestamptz",
    "expires_at": "timestamptz",
}
_ENDED: Final = {"hold_id": "uuid", "state": "text", "captured": "bigint", "ended_at": "timestamptz"}


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    lots: list[tuple[Value, ...]] = []
    held: list[tuple[Value, ...]] = []
    ended: list[tuple[Value, ...]] = []
    for entry in entries:
        match entry.event:
            case CreditsGranted() as event:
                lots.append(
                    (
                        entry.key,
                        event.lot,
                        event.amount,
                        event.source,
                        event.paid_fen,
                        event.expires_at,
                        event.priority,
                        event.reference,
                        entry.position,
                        entry.at,
                    )
                )
            case CreditsHeld() as event:
                row = (event.hold_id, entry.key, event.amount, event.product, event.description)
                held.append((*row, entry.at, event.expires_at))
            case HoldCaptured(hold_id=hold_id, amount=amount):
                ended.append((hold_id, "captured", amount, entry.at))
            case HoldReleased(hold_id=hold_id, reason=reason):
                ended.append((hold_id, "expired" if reason == "expired" else "released", 0, entry.at))
    writes = [insert("lots", _LOTS, lots)] if lots else []
    if held:
        writes.append(insert("holds", _HOLDS, held))
    if ended:
        writes.append(update("holds", "hold_id", _ENDED, ended))
    return writes

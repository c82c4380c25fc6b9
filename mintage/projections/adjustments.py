"""Every adjustment that finance asked for, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from mintage.domain.adjustment.events import AdjustmentApproved, AdjustmentRejected, AdjustmentRequested
from mintage.domain.recorded import Recorded
from mintage.projections.ledger import count
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

SCHEMA: Final = """
create table adjustments (
    adjustment_id uuid primary key,
    user_id uuid not null,
    amount bigint not null constraint adjustments_amount check (amount <> 0),
    reason text not null,
    status text not null,
    requested_by text not null,
    decided_by text constraint adjustments_two_persons check (status <> 'applied' or decided_by <> requested_by),
    expires_at timestamptz,
    priority integer not null,
    position bigint not null,
    created_at timestamptz not null,
    decided_at timestamptz
);
create index adjustments_newest on adjustments (status, position desc);
"""

_REQUESTED: Final = {
    "adjustment_id": "uuid",
    "user_id": "uuid",
    "amount": "bigint",
    "reason": "text",
    "status": "text",
    "requested_by": "text",
    "expires_at": "timestamptz",
    "priority": "integer",
    "position": "bigint",
    "created_at": "timestamptz",
}
_DECIDED: Final = {"adjustment_id": "uuid", "status": "text", "decided_by": "text", "decided_at": "timestamptz"}


class AdjustmentRow(msgspec.Struct, frozen=True, kw_only=True):
    """``status`` is pending, applied or rejected; ``decided_by`` is empty if nobody else had to be asked.

    An applied one's line on the person's statement has the adjustment's own id.
    """

    adjustment_id: str
    user_id: str
    amount: int
    reason: str
    status: str
    requested_by: str
    decided_by: str | None
    expires_at: datetime | None
    priority: int
    created_at: datetime
    decided_at: datetime | None


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    requested: list[tuple[Value, ...]] = []
    decided: list[tuple[Value, ...]] = []
    for entry in entries:
        match entry.event:
            case AdjustmentRequested() as event:
                requested.append(
                    (
                        entry.key,
                        event.user_id,
                        event.amount,
                        event.reason,
                        "pending" if event.needs_approval else "applied",
                        event.requested_by,
                        event.expires_at,
                        event.priority,
                        entry.position,
                        entry.at,
                    )
                )
            case AdjustmentApproved(approved_by=person):
                decided.append((entry.key, "applied", person, entry.at))
            case AdjustmentRejected(rejected_by=person):
                decided.append((entry.key, "rejected", person, entry.at))
    writes = []
    if requested:
        writes.append(insert("adjustments", _REQUESTED, requested))
    if decided:
        writes.append(update("adjustments", "adjustment_id", _DECIDED, decided))
    return writes


ADJUSTMENTS: Final = ReadModel(
    name="adjustments",
    tables=("adjustments",),
    schema=SCHEMA,
    events=frozenset({AdjustmentRequested, AdjustmentApproved, AdjustmentRejected}),
    statements=statements,
)

_SHOWN: Final = """
select adjustment_id::text, user_id::text, amount, reason, status, requested_by, decided_by, expires_at, priority,
    created_at, decided_at
from adjustments"""


async def adjustments_of(
    db: Database, status: str | None, *, limit: int, offset: int
) -> tuple[list[AdjustmentRow], int]:
    """A page of all adjustments, or of those of a status, newest first, and how many there are."""
    which = "where %s::text is null or status = %s"
    rows = await db.fetch(
        AdjustmentRow, f"{_SHOWN} {which} order by position desc limit %s offset %s", (status, status, limit, offset)
    )
    return rows, await count(db, f"select count(*) as n from adjustments {which}", (status, status))

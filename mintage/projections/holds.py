"""What is held at the moment: the open rows of the ledger's table of holds."""

from datetime import datetime

import msgspec

from mintage.projections.ledger import count
from mintage.projections.sql import Database


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """``amount`` credits set aside for a task; unless it ends before, they go back at ``expires_at``."""

    hold_id: str
    amount: int
    product: str
    description: str
    created_at: datetime
    expires_at: datetime | None


async def open_holds_of(db: Database, user_id: str, *, limit: int, offset: int) -> tuple[list[OpenHold], int]:
    """A page of a person's open holds, newest first, and how many there are."""
    rows = await db.fetch(
        OpenHold,
        """select hold_id::text, amount, product, description, created_at, expires_at
        from holds where user_id = %s and ended_at is null
        order by created_at desc, hold_id desc limit %s offset %s""",
        (user_id, limit, offset),
    )
    total = "select count(*) as n from holds where user_id = %s and ended_at is null"
    return rows, await count(db, total, (user_id,))

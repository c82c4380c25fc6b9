"""Forgets what is kept for a time only, receipts after seven days and mailed codes after an hour; finishes removals.

A removal is an event first and the files go after it: what a crash left in between is done here. So is what has a date
only by setting: works expire.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.infra.database import Pool
from mintage.infra.store import Lost

_log = logging.getLogger(__name__)

Chore: TypeAlias = Callable[[], Awaitable[None]]

EVERY_S: Final = 3_600.0
KEPT: Final = {
    "receipts": timedelta(days=7),
    "verification_codes": timedelta(hours=1),
    "ended_tokens": timedelta(days=2),
    "google_states": timedelta(hours=1),
}


async def tidy(db: Pool, now: datetime) -> None:
    """Remove what is past its time."""
    for table, life in KEPT.items():
        gone = await db.execute(f"delete from {table} where created_at < %s", (now - life,))
        if gone:
            _log.info("removed %d rows of %s that were past their time", gone, table)


async def keep_tidy(db: Pool, clock: Callable[[], datetime], unfinished: Sequence[Chore]) -> None:
    """Tidy and finish now and every hour until cancelled."""
    while True:
        for chore in (lambda: tidy(db, clock()), *unfinished):
            try:
                await chore()
            except (Lost, Unavailable, OutcomeUnknown) as error:
                _log.warning("housekeeping has to wait: %s", error)
            except OSError:
                _log.exception("housekeeping cannot remove a file that is to go")
        await asyncio.sleep(EVERY_S)

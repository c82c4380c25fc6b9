"""Forgets what is kept for a time only: receipts after seven days, mailed codes after one."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from mintage.infra.database import Pool
from mintage.infra.store import Lost

_log = logging.getLogger(__name__)

EVERY_S: Final = 3_600.0
KEPT: Final = {"receipts": timedelta(days=7), "verification_codes": timedelta(days=1)}


async def tidy(db: Pool, now: datetime) -> None:
    """Remove what is past its time."""
    for table, life in KEPT.items():
        gone = await db.execute(f"delete from {table} where created_at < %s", (now - life,))
        if gone:
            _log.info("removed %d rows of %s that were past their time", gone, table)


async def keep_tidy(db: Pool, clock: Callable[[], datetime]) -> None:
    """Tidy now and every hour until cancelled."""
    while True:
        try:
            await tidy(db, clock())
        except Lost as error:
            _log.warning("housekeeping waits for the database: %s", error)
        await asyncio.sleep(EVERY_S)

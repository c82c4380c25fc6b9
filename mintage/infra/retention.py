"""Works are kept as long as the operator says: then each expires, exactly once, and its files go."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from mintage.application.transaction import Journal, OutcomeUnknown, Transaction, Unavailable
from mintage.domain.work.decider import WORK, ExpireWork
from mintage.projections.sql import Database
from mintage.projections.works import made_before

_log = logging.getLogger(__name__)

PORTION: Final = 100
ACTOR: Final = "system"


class Retention:
    """Any number of processes may see to it at once: the work decides whether it has expired already.

    ``days`` is how long after it was made a work is kept; 0 is for ever.
    """

    def __init__(self, journal: Journal, db: Database, days: int, *, clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._db = db
        self._days = days
        self._clock = clock

    async def expire(self) -> None:
        """Let everything expire that is due; the files are whoever's who removes those of what is gone.

        One that cannot be is tried again the next time and keeps no other.
        """
        if not self._days:
            return
        before, after = self._clock() - timedelta(days=self._days), None
        while due := await made_before(self._db, before, after, PORTION):
            results = await asyncio.gather(*(self._expire(work.work_id) for work in due), return_exceptions=True)
            for result in results:
                if isinstance(result, Unavailable | OutcomeUnknown):
                    raise result
                if isinstance(result, BaseException):
                    _log.error("a work that is due cannot expire", exc_info=result)
            after = (due[-1].made_at, due[-1].work_id)

    async def _expire(self, work_id: str) -> None:
        def work(transaction: Transaction) -> None:
            transaction.execute(WORK, work_id, ExpireWork(retention_days=self._days))

        await self._journal.transact(work, actor=ACTOR)

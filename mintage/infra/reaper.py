"""What has a date ends on it, exactly once and whether or not anybody uses or works on it; nothing else cleans up.

Lots expire, tasks that nobody works on run out of time, holds end, what is left to do at providers is given up.
Any number of processes may see to it at once: the aggregates decide what is left to let go of. A lot is only marked as
settled afterwards, so that a crash in between has it looked at again and found done. In a pass each row that is due is
tried once, the longest due first: one that cannot be ended keeps nobody else's waiting.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import astuple

from mintage.application.ledger import Ledger
from mintage.application.lifecycle import Lifecycle
from mintage.application.ports.files import Files
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.generation.decider import TaskOver
from mintage.infra.database import Pool
from mintage.infra.store import Lost

_log = logging.getLogger(__name__)

T = TypeVar("T")
DueT = TypeVar("DueT", "_Lot", "_Hold", "_Task")

EVERY_S: Final = 1.0
PORTION: Final = 100
SENT_GRACE: Final = timedelta(minutes=1)
"""So long after its time a task that a provider has is left for a worker to ask for the last time."""
AFTERMATH_MAX: Final = timedelta(days=1)

_LOTS: Final = """
select expires_at, user_id::text, lot from lots
where not settled and expires_at <= %s and (expires_at, user_id, lot) > (%s::timestamptz, %s::uuid, %s::integer)
order by expires_at, user_id, lot limit %s"""
_SETTLE: Final = """
update lots set settled = true from unnest(%s::uuid[], %s::integer[]) as let_go (user_id, lot)
where lots.user_id = let_go.user_id and lots.lot = let_go.lot"""
_HOLDS: Final = """
select expires_at, user_id::text, hold_id::text from holds
where ended_at is null and expires_at <= %s and (expires_at, user_id, hold_id) > (%s::timestamptz, %s::uuid, %s::uuid)
order by expires_at, user_id, hold_id limit %s"""
_TASKS: Final = """
select deadline_at as at, task_id::text from queue
where aftermath is null and deadline_at <= %s and (deadline_at, task_id) > (%s::timestamptz, %s::uuid)
and (lease_until is null or lease_until < %s)
and (deadline_at <= %s or (job_id is null and provider_job is null))
order by deadline_at, task_id limit %s"""
_AFTERMATHS: Final = """
select due_at as at, task_id::text from queue
where aftermath is not null and due_at <= %s and (due_at, task_id) > (%s::timestamptz, %s::uuid)
order by due_at, task_id limit %s"""
_FIRST: Final = ("-infinity", None, None)
"""Sorts before every row: whatever it is compared with, the date decides."""
_NEXT: Final = """
select least(
    (select min(expires_at) from lots where not settled), (select min(expires_at) from holds where ended_at is null),
    (select min(deadline_at) from queue where aftermath is null)
) as at"""


class _Lot(msgspec.Struct, frozen=True):
    """The fields are what lots are walked by, in this order."""

    expires_at: datetime
    user_id: str
    lot: int


class _Hold(msgspec.Struct, frozen=True):
    """The fields are what holds are walked by, in this order."""

    expires_at: datetime
    user_id: str
    hold_id: str


class _Task(msgspec.Struct, frozen=True):
    """The fields are what tasks are walked by, in this order."""

    at: datetime
    task_id: str


class _Next(msgspec.Struct):
    at: datetime | None


class Reaper:
    """Sees to what is due, at most ``EVERY_S`` after its moment, until cancelled."""

    def __init__(
        self, db: Pool, ledger: Ledger, lifecycle: Lifecycle, files: Files, *, clock: Callable[[], datetime]
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._files = files
        self._clock = clock

    async def run(self) -> None:
        while True:
            pause = EVERY_S
            try:
                await self.catch_up()
                pause = await self._until_next()
            except Lost as error:
                _log.warning("what is due waits for the database: %s", error)
            await asyncio.sleep(pause)

    async def catch_up(self) -> None:
        """Try once to let go of everything that is due now; what cannot be is tried again the next time."""
        now = self._clock()
        async for lots in self._due(_Lot, _LOTS, now):
            await self._expire(lots)
        async for tasks in self._due(_Task, _TASKS, now, now, now - SENT_GRACE):
            await self._end_tasks(tasks)
        async for holds in self._due(_Hold, _HOLDS, now):
            await self._end_holds(holds)
        async for left in self._due(_Task, _AFTERMATHS, now - AFTERMATH_MAX):
            await self._give_up(left)

    async def _due(self, row: type[DueT], sql: str, now: datetime, *more: datetime) -> AsyncIterator[list[DueT]]:
        """What is due at a moment, in portions, each row once whatever becomes of it."""
        after: tuple[Any, ...] = _FIRST[: len(row.__struct_fields__)]
        while due := await self._db.fetch(row, sql, (now, *after, *more, PORTION)):
            yield due
            after = astuple(due[-1])

    async def _expire(self, due: list[_Lot]) -> None:
        people = list(dict.fromkeys(lot.user_id for lot in due))
        done = dict(zip(people, await _all(self._ledger.expire(user_id) for user_id in people), strict=True))
        # As of the moment that the account decided by: a lot that was not due then is not settled.
        gone = [lot for lot in due if isinstance(upto := done[lot.user_id], datetime) and lot.expires_at <= upto]
        if gone:
            await self._db.execute(_SETTLE, ([lot.user_id for lot in gone], [lot.lot for lot in gone]))

    async def _end_tasks(self, due: list[_Task]) -> None:
        done = await _all(self._lifecycle.time_out(task.task_id) for task in due)
        for task, works in zip(due, done, strict=True):
            if not isinstance(works, BaseException):
                _log.info("task %s ran out of time while nobody worked on it", task.task_id)
                await self._remove_files(works)

    async def _end_holds(self, due: list[_Hold]) -> None:
        done = await _all(self._lifecycle.end_hold(hold.user_id, hold.hold_id) for hold in due)
        for hold, works in zip(due, done, strict=True):
            if works is not None and not isinstance(works, BaseException):
                _log.info("hold %s was past its time", hold.hold_id)
                await self._remove_files(works)

    async def _give_up(self, due: list[_Task]) -> None:
        done = await _all(self._lifecycle.close(task.task_id, "given_up", worker="system") for task in due)
        for task, error in zip(due, done, strict=True):
            if error is None:
                _log.warning("what is left to do at the provider of task %s is given up", task.task_id)

    async def _remove_files(self, works: Sequence[str]) -> None:
        # A worker that was killed may have left files; one that goes on removes its own when it learns of the end.
        for work_id in works:
            # What cannot be removed now is tried again, and complained about, by housekeeping.
            with suppress(OSError, Unavailable):
                await self._files.remove_all_of(work_id)

    async def _until_next(self) -> float:
        row = await self._db.fetch_one(_Next, _NEXT)
        assert row is not None
        left = EVERY_S if row.at is None else (row.at - self._clock()).total_seconds()
        # What is still due now could not be let go of, and is not tried over and over at once.
        return left if 0 < left < EVERY_S else EVERY_S


async def _all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
    """What each came to, one beside the other; one that fails is logged and keeps nobody up."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, Unavailable | OutcomeUnknown):
            _log.warning("what is due has to wait: %s", result)
        elif isinstance(result, TaskOver):
            _log.info("what was due has ended by itself: %s", result)
        elif isinstance(result, Exception):
            _log.error("what is due cannot be let go of", exc_info=result)
    return results

"""Sees to it that no report is made from postings that are behind the log, nor as of a moment still being recorded.

An event has its time when it is decided, under the log's lock, and is seen only once it is committed. Who had the lock
for a moment after a time knows that everything recorded up to that time is there to be read, as exactly as the servers'
clocks agree. That goes for a database that may only be read as well. A standby has locks of its own, which hold up no
writer: a report made there is of what has been replayed, and of the last moments more may be on its way.
"""

import asyncio
from datetime import datetime
from typing import Final

import msgspec
import psycopg

from mintage.application.transaction import Unavailable
from mintage.infra.database import connect_sync
from mintage.infra.follower import follow_once
from mintage.infra.postgres_store import LOG_LOCK
from mintage.infra.store import Lost
from mintage.infra.vault import Vault
from mintage.projections.postings import POSTINGS
from mintage.projections.sql import Database

WAIT_S: Final = 5.0
POLL_S: Final = 0.05

_QUIET: Final = f"""
select set_config('lock_timeout', %s, true) as bound, pg_advisory_xact_lock_shared({LOG_LOCK})::text as lock"""
_REACHED: Final = """
select coalesce((select max(notification_id) from stored_events), 0) as head,
    coalesce((select position from checkpoints where name = %s), 0) as reached,
    (select at from postings order by position desc limit 1) as at"""


class _Reached(msgspec.Struct, frozen=True):
    """The newest event, how many of the events the postings hold, and when the last posting was recorded."""

    head: int
    reached: int
    at: datetime | None

    def is_past(self, as_of: datetime | None) -> bool:
        """Whether the postings go on after a moment; times in the log never go back, so nothing can come before."""
        return as_of is not None and self.at is not None and self.at > as_of

    def covers(self, head: int, as_of: datetime | None) -> bool:
        return self.reached >= head or self.is_past(as_of)


class _Quiet(msgspec.Struct, frozen=True):
    bound: str
    lock: str


async def _reached(db: Database) -> _Reached:
    row = await db.fetch_one(_Reached, _REACHED, (POSTINGS.name,))
    assert row is not None
    return row


async def _settled(db: Database, as_of: datetime | None) -> _Reached:
    """How far the log and the postings are, once whoever was recording has committed. Raises ``Unavailable``."""
    now = await _reached(db)
    if now.is_past(as_of):
        return now
    try:
        await db.fetch_one(_Quiet, _QUIET, (f"{WAIT_S * 1_000:.0f}",))
    except Lost as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise Unavailable(f"something is being recorded, for longer than {WAIT_S:g} s") from None
        raise
    # In a statement of its own: the one that waited sees only what was there before it waited.
    return await _reached(db)


class Followed:
    """For where a follower is at work: waits for it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def reach(self, as_of: datetime | None) -> None:
        now = await _settled(self._db, as_of)
        head = now.head
        try:
            async with asyncio.timeout(WAIT_S):
                while not now.covers(head, as_of):
                    await asyncio.sleep(POLL_S)
                    now = await _reached(self._db)
        except TimeoutError:
            raise Unavailable(_behind(now, head)) from None


class BroughtUp:
    """For a command: applies to the postings what is missing, whether or not a follower is at work as well."""

    def __init__(self, db: Database, conninfo: str, vault: Vault) -> None:
        self._db = db
        self._conninfo = conninfo
        self._vault = vault

    async def reach(self, as_of: datetime | None) -> None:
        now = await _settled(self._db, as_of)
        if now.covers(now.head, as_of):
            return
        try:
            await asyncio.to_thread(self._catch_up, now.head)
        except (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege):
            raise Unavailable(f"{_behind(now, now.head)}; this database is read-only") from None

    def _catch_up(self, head: int) -> None:
        with connect_sync(self._conninfo) as connection:
            reached = 0
            while reached < head:
                follow_once(connection, self._vault, POSTINGS)
                row = connection.execute(
                    "select position from checkpoints where name = %s", (POSTINGS.name,)
                ).fetchone()
                reached = int(row[0]) if row else 0


def _behind(now: _Reached, head: int) -> str:
    until = "" if now.at is None else f", whatever was recorded before {now.at.isoformat()}"
    return f"the read model {POSTINGS.name} reaches event {now.reached} of {head}{until}"

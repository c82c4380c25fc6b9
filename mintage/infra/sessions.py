"""Whose tokens still count: remembered while the database tells us of every change, asked of it otherwise.

Whatever ends a person's sessions or changes their role notifies ``CHANNEL`` in the same transaction. While nobody
listens, because the connection is down, nothing is remembered.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from mintage.application.ports import GONE
from mintage.application.records import Record, TokenEnded
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PasswordChanged, PersonErased, RoleGranted
from mintage.infra.database import connect
from mintage.projections.people import Standing, standing_of
from mintage.projections.sql import Database, Statement

CHANNEL: Final = "mintage_sessions"
KEPT_MAX: Final = 50_000


def changed(entries: Iterable[Recorded], records: Iterable[Record] = ()) -> set[str]:
    """Who is not as they were: their sessions or their role."""
    people = {entry.key for entry in entries if isinstance(entry.event, PasswordChanged | PersonErased | RoleGranted)}
    return people | {record.user_id for record in records if isinstance(record, TokenEnded)}


def notices(entries: Iterable[Recorded], records: Iterable[Record]) -> list[Statement]:
    """Tell every process, with the batch that changes them, of those who are not as they were."""
    people = changed(entries, records)
    if not people:
        return []
    return [Statement("select pg_notify(%s, user_id) from unnest(%s::text[]) as user_id", (CHANNEL, list(people)))]


class Standings:
    """Implements ``application.ports.Sessions``; ``listen`` has to run beside it."""

    def __init__(self, db: Database, conninfo: str) -> None:
        self._db = db
        self._conninfo = conninfo
        self._listening = False
        self._changes = 0
        self._known: dict[str, Standing] = {}

    def cached(self, user_id: str) -> Standing | None:
        return self._known.get(user_id)

    async def look_up(self, user_id: str) -> Standing:
        changes = self._changes
        standing = await standing_of(self._db, user_id) or GONE
        # What changed while we were asking may be newer than the answer.
        if self._listening and changes == self._changes:
            if len(self._known) >= KEPT_MAX:
                self._known.clear()
            self._known[user_id] = standing
        return standing

    def seen(self, entries: Sequence[Recorded]) -> None:
        """What this process stored itself is known at once, before the database says so."""
        for user_id in changed(entries):
            self.forget(user_id)

    def forget(self, user_id: str) -> None:
        """Ask again: something about the person changed."""
        self._changes += 1
        self._known.pop(user_id, None)

    async def listen(self) -> None:
        """Forget whoever changed, until cancelled or the connection is lost; then nothing is remembered any more."""
        try:
            async with await connect(self._conninfo) as connection:
                await connection.execute(f"listen {CHANNEL}")
                self._changes += 1
                self._listening = True
                async for notice in connection.notifies():
                    self.forget(notice.payload)
        finally:
            self._listening = False
            self._known.clear()

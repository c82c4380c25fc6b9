"""Whose tokens still count: remembered while the database tells us of every change, asked of it otherwise.

Whatever ends a person's sessions or changes their role notifies ``CHANNEL`` in the same transaction. While nobody
listens, because the connection is down, nothing is remembered.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from mintage.application.ports.identity import GONE
from mintage.application.records import Record, TokenEnded
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PasswordChanged, PersonErased, RoleGranted
from mintage.infra.database import connect
from mintage.projections.people import Standing, standings_of
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
    """Implements ``ports.identity.Sessions``; ``listen`` has to run beside it."""

    def __init__(self, db: Database, conninfo: str) -> None:
        self._db = db
        self._conninfo = conninfo
        self._listening = False
        self._changes = 0
        self._known: dict[str, Standing] = {}
        self._asked: dict[str, asyncio.Future[Standing]] = {}
        self._asking: asyncio.Task[None] | None = None

    def cached(self, user_id: str) -> Standing | None:
        return self._known.get(user_id)

    async def look_up(self, user_id: str) -> Standing:
        """Ask the database; all who come while it is being asked are asked for together, after that."""
        answer = self._asked.get(user_id)
        if answer is None:
            answer = self._asked[user_id] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
        # It is others' answer too, who do not go away with this one.
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                changes = self._changes
                try:
                    found = await standings_of(self._db, list(asked))
                except Exception as error:  # noqa: BLE001 -- is raised where it is waited for
                    for answer in asked.values():
                        answer.set_exception(error)
                    continue
                standings = {user_id: found.get(user_id, GONE) for user_id in asked}
                # What changed while we were asking may be newer than the answer.
                if self._listening and changes == self._changes:
                    if len(self._known) + len(standings) > KEPT_MAX:
                        self._known.clear()
                    self._known.update(standings)
                for user_id, answer in asked.items():
                    answer.set_result(standings[user_id])
        finally:
            self._asking = None

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

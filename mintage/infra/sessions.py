"""Whose tokens still count: remembered while the database tells us of every change, asked of it otherwise.

Whatever ends a person's sessions notifies ``CHANNEL`` in the same transaction. While nobody listens, because the
connection is down, nothing is remembered.
"""

from typing import Final

from mintage.infra.database import connect
from mintage.projections.people import person
from mintage.projections.sql import Database, Statement

CHANNEL: Final = "mintage_sessions"
KEPT_MAX: Final = 50_000
GONE: Final = -1


def ended(user_id: str) -> Statement:
    """Tell every process that a person's session version is not what it was."""
    return Statement("select pg_notify(%s, %s)", (CHANNEL, user_id))


class SessionVersions:
    """Implements ``application.ports.Sessions``; ``listen`` has to run beside it."""

    def __init__(self, db: Database, conninfo: str) -> None:
        self._db = db
        self._conninfo = conninfo
        self._listening = False
        self._changes = 0
        self._known: dict[str, int] = {}

    def cached(self, user_id: str) -> int | None:
        return self._known.get(user_id)

    async def look_up(self, user_id: str) -> int:
        changes = self._changes
        found = await person(self._db, user_id)
        version = found.session_version if found else GONE
        # What changed while we were asking may be newer than the answer.
        if self._listening and changes == self._changes:
            if len(self._known) >= KEPT_MAX:
                self._known.clear()
            self._known[user_id] = version
        return version

    async def listen(self) -> None:
        """Forget whoever changed, until cancelled or the connection is lost; then nothing is remembered any more."""
        try:
            async with await connect(self._conninfo) as connection:
                await connection.execute(f"listen {CHANNEL}")
                self._changes += 1
                self._listening = True
                async for notice in connection.notifies():
                    self._changes += 1
                    self._known.pop(notice.payload, None)
        finally:
            self._listening = False
            self._known.clear()

"""Whose tokens still count, asked of the database at most once a second a person."""

import time
from collections.abc import Sequence
from typing import Final

from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased
from mintage.projections.people import person
from mintage.projections.sql import Database

FRESH_S: Final = 1.0
KEPT_MAX: Final = 50_000
GONE: Final = -1


class SessionVersions:
    """Implements ``application.ports.Sessions``."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[str, tuple[float, int]] = {}

    def cached(self, user_id: str) -> int | None:
        known = self._known.get(user_id)
        return known[1] if known is not None and time.monotonic() - known[0] < FRESH_S else None

    async def look_up(self, user_id: str) -> int:
        found = await person(self._db, user_id)
        version = found.session_version if found else GONE
        if len(self._known) >= KEPT_MAX:
            self._known.clear()
        self._known[user_id] = (time.monotonic(), version)
        return version

    def seen(self, entries: Sequence[Recorded]) -> None:
        """What the journal appended or saw appended: whoever was erased has no session from this moment."""
        for entry in entries:
            if isinstance(entry.event, PersonErased):
                self._known.pop(entry.event.user_id, None)

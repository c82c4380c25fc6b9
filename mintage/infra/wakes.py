"""Word of tasks that are due and tasks that are over reaches every worker with the commit that made them so.

Notices can be missed while the connection is down, so nothing depends on them but how soon things happen.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationDeferred,
    GenerationFailed,
    GenerationRequested,
)
from mintage.domain.recorded import Recorded
from mintage.infra.database import connect
from mintage.projections.sql import Statement

CHANNEL: Final = "mintage_queue"
DUE: Final = "due"
"""Said when there may be something to do; a task's id is said when its worker need not go on."""


def words(entries: Iterable[Recorded]) -> set[str]:
    """What is to be said of events."""
    said: set[str] = set()
    for entry in entries:
        match entry.event:
            case GenerationRequested() | GenerationDeferred():
                said.add(DUE)
            case GenerationFailed(aftermath=aftermath) | GenerationCancelled(aftermath=aftermath):
                said.add(entry.key)
                if aftermath is not None:
                    said.add(DUE)
    return said


def notices(entries: Iterable[Recorded]) -> list[Statement]:
    """Tell every process, with the batch."""
    said = words(entries)
    if not said:
        return []
    return [Statement("select pg_notify(%s, word) from unnest(%s::text[]) as word", (CHANNEL, list(said)))]


class Wakes:
    """Passes on what this process stored itself, and with ``listen`` beside it what others stored."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._told: list[Callable[[str], None]] = []

    def tell(self, told: Callable[[str], None]) -> None:
        """Whom to tell from now on."""
        self._told.append(told)

    def seen(self, entries: Sequence[Recorded]) -> None:
        for word in words(entries):
            self._say(word)

    async def listen(self) -> None:
        """Until cancelled or the connection is lost."""
        async with await connect(self._conninfo) as connection:
            await connection.execute(f"listen {CHANNEL}")
            # What was said before is not said again.
            self._say(DUE)
            async for notice in connection.notifies():
                self._say(notice.payload)

    def _say(self, word: str) -> None:
        for told in self._told:
            told(word)

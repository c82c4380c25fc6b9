"""What the journal asks of a log: one writer at a time, everything of a batch or nothing.

A writer takes the log's lock, learns what others appended meanwhile, loads what it lacks, and commits or lets go.
Whoever holds the lock sees the whole log and nobody adds to it, so that a decision taken then is never stale.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from mintage.application.records import Receipt, Record
from mintage.application.transaction import ReceiptKey
from mintage.domain.recorded import Recorded

BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
TAIL_MAX: Final = 10_000
"""More events than this by others, and a writer forgets its states instead of bringing them up to date."""


class Tail(msgspec.Struct, frozen=True):
    """What was appended since a position, None if too much to say.

    ``position`` and ``at`` are the newest event's, if any was appended.
    """

    position: int
    entries: Sequence[Recorded] | None = ()
    at: datetime = BEGINNING


class Needs(msgspec.Struct):
    """What works of a batch asked for and was not in memory."""

    streams: set[str] = msgspec.field(default_factory=set)
    receipts: set[ReceiptKey] = msgspec.field(default_factory=set)
    numbers: set[str] = msgspec.field(default_factory=set)


class Loaded(msgspec.Struct):
    """The answer to ``Needs``, whole: initial states, no receipt, and 0 stand for what is not there."""

    streams: dict[str, tuple[int, Any]] = {}
    receipts: dict[ReceiptKey, Receipt | None] = {}
    numbers: dict[str, int] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """A stream's folded state at a version: a shortcut that costs nothing to lose."""

    stream: str
    version: int
    state: Any


class Lost(Exception):
    """The database is out of reach or let go of us; what was being stored may or may not be."""


class Full(Lost):
    """The database answers, and has no room for anything: what was being stored is not."""


class Breach(Exception):
    """The database refused the batch and kept nothing of it; ``constraint`` names what was breached."""

    def __init__(self, constraint: str | None, message: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class Stale(Breach):
    """Somebody appended to one of the batch's streams without the lock."""


class Store(Protocol):
    """A log that one writer at a time appends to. Every method may raise ``Lost``."""

    async def lock(self, after: int | None) -> Tail:
        """Take the log's lock and read what follows position ``after``; None asks only where the log ends."""
        ...

    async def load(self, needs: Needs) -> Loaded:
        """Read states, receipts and numbers as they are under the lock; ``Breach`` if one of them cannot be read."""
        ...

    async def stored(self, command_ids: Collection[str]) -> bool:
        """Whether any of these commands is in the log; only the lock makes the answer final."""
        ...

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        """Append, write the inline read models and the records, and let go of the lock; all of it or nothing.

        Raises ``Breach`` or ``Stale`` if the database refuses (the lock is let go then, too).
        """
        ...

    async def unlock(self) -> None:
        """Let go of the lock with nothing stored."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

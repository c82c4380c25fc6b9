"""What an audit finds: each difference by its stream and event, and the figures that all of it comes to."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import astuple

from mintage.domain.credits.postings import Posting

DIFFERENCES_MAX: Final = 100
"""So many are named in each part of an audit; the rest are counted."""


class Difference(msgspec.Struct, frozen=True, order=True):
    """Where the log breaks a rule or the database disagrees: the stream, the event's version, and what is wrong.

    Version 0 is no event in particular; a name that is no stream's says what else it is about.
    """

    stream: str
    version: int
    what: str

    def __str__(self) -> str:
        return f"{self.stream} event {self.version}: {self.what}" if self.version else f"{self.stream}: {self.what}"


class Differences(msgspec.Struct):
    """Every difference is counted; the first of them are kept."""

    found: int = 0
    kept: list[Difference] = []

    def report(self, stream: str, version: int, what: str) -> None:
        self.found += 1
        if len(self.kept) < DIFFERENCES_MAX:
            self.kept.append(Difference(stream, version, what))

    def add(self, more: "Differences") -> None:
        self.found += more.found
        self.kept += more.kept[: DIFFERENCES_MAX - len(self.kept)]


class Findings(msgspec.Struct):
    """What an audit came to. ``totals`` are all postings added up, which come to zero.

    ``replay_s`` is the time on the processor, the database's excluded, in which ``events`` were replayed: read, hashed,
    decoded, judged by every rule, folded and posted.
    """

    events: int = 0
    accounts: int = 0
    since: int = 0
    """Events that came since the audit began, and were not replayed."""
    replay_s: float = 0
    totals: Posting = Posting()
    found: int = 0
    differences: list[Difference] = []

    @property
    def rate(self) -> float:
        """Events replayed in a second of one core."""
        return self.events / self.replay_s if self.replay_s else 0


def total(postings: Iterable[Posting]) -> Posting:
    """All postings added up."""
    return Posting(*map(sum, zip(astuple(Posting()), *map(astuple, postings), strict=True)))


class Broken(Exception):
    """An event breaks a rule; the message says which."""

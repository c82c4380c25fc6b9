"""Replays whole streams, one after the other: every rule at every event, and every account as it is served."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec
import psycopg

from mintage.domain.credits.events import SpendingReversed
from mintage.domain.credits.postings import Posting
from mintage.domain.recorded import Recorded
from mintage.infra.audit.accounts import fen_left
from mintage.infra.audit.claims import MODULUS, Claim, claim_of
from mintage.infra.audit.findings import Broken, Differences, total
from mintage.infra.audit.fold import COLUMNS, NO_SNAPSHOT, Fold, Row, Snapshot
from mintage.infra.audit.served import require_original, require_served, require_snapshot

PORTION: Final = 2_000
SETTLED_AT_ONCE: Final = 500
BIGINT_MAX: Final = (1 << 63) - 1

_READ: Final = f"""
select {COLUMNS} from stored_events
where (originator_id, originator_version, notification_id) > (%s, %s::bigint, %s::bigint)
    and originator_id <= %s and notification_id <= %s::bigint
order by originator_id, originator_version, notification_id limit {PORTION}"""
_SNAPSHOTS: Final = "select stream, version, shape, state from snapshots where stream > %s and stream <= %s"


class Streams(msgspec.Struct, frozen=True):
    """A piece of the log: all streams after one and up to another in the database's order of names."""

    after: str
    upto: str


class Replayed(msgspec.Struct):
    """What a piece of the log came to.

    ``left`` is available, held and owed of its accounts and the fen that lie in them; ``tally`` sums the claims;
    ``unsound`` counts the streams that break a rule. ``seconds`` are the processor's.
    """

    events: int = 0
    accounts: int = 0
    unsound: int = 0
    seconds: float = 0
    totals: Posting = Posting()
    left: tuple[int, int, int, int] = (0, 0, 0, 0)
    tally: dict[str, str] = {}
    differences: Differences = msgspec.field(default_factory=Differences)


Sink = Callable[[Recorded, Claim], None]


def replay(
    connection: psycopg.Connection[Any],
    streams: Streams,
    end: int,
    told: Callable[[int], None],
    salt: str = "",
    sink: Sink | None = None,
) -> Replayed:
    """Replay what these streams have up to position ``end``; ``told`` how many events at a time.

    ``salt`` is that of the audit's sums of claims. ``sink`` is given every claim, for who looks for the missing half of
    one.
    """
    began = time.thread_time()
    found = connection.cursor(binary=True).execute(_SNAPSHOTS, (streams.after, streams.upto)).fetchall()
    replaying = _Replay(connection, salt, sink, {stream: Snapshot(*snapshot) for stream, *snapshot in found})
    for rows in rows_of(connection, streams, end):
        replaying.feed(rows)
        told(len(rows))
    replayed = replaying.close()
    replayed.seconds = time.thread_time() - began
    return replayed


def rows_of(connection: psycopg.Connection[Any], streams: Streams, end: int) -> Iterator[list[Row]]:
    """What these streams have up to position ``end``, in portions, in the order of streams and versions."""
    cursor = connection.cursor(binary=True)
    after: tuple[str, int, int] = (streams.after, BIGINT_MAX, BIGINT_MAX)
    while rows := cursor.execute(_READ, (*after, streams.upto, end)).fetchall():
        yield rows
        position, stream, version, *_ = rows[-1]
        after = (stream, version, position)


class _Replay:
    """Only the stream being read is in memory, and of the accounts before it a few that are still to be compared.

    And the snapshots of a piece, of which only long streams have one.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], salt: str, sink: Sink | None, snapshots: dict[str, Snapshot]
    ) -> None:
        self._connection = connection
        self._salt = salt
        self._snapshots = snapshots
        self._sink = sink
        self._replayed = Replayed()
        self._report = self._replayed.differences.report
        self._fold = Fold("", self._report)
        self._ended: list[Fold] = []
        self._sums: Counter[str] = Counter()

    def feed(self, rows: Sequence[Row]) -> None:
        """Take the next events, which lie in the order of streams and versions."""
        postings: list[Posting] = []
        for stream, of_stream in groupby(rows, itemgetter(1)):
            if stream != self._fold.stream:
                self._end(self._fold)
                self._fold = Fold(stream, self._report, self._snapshots.pop(stream, NO_SNAPSHOT))
            for entry, state in self._fold.take(of_stream):
                self._look_further(entry, state)
            postings += self._fold.postings
            self._fold.postings.clear()
        self._replayed.events += len(rows)
        self._replayed.totals = total([self._replayed.totals, *postings])

    def close(self) -> Replayed:
        self._end(self._fold)
        self._settle()
        self._replayed.tally = {what: f"{part % MODULUS:x}" for what, part in self._sums.items()}
        return self._replayed

    def _look_further(self, entry: Recorded, state: Any) -> None:
        if isinstance(entry.event, SpendingReversed):
            try:
                require_original(self._connection, entry, entry.event)
            except Broken as broken:
                self._report(entry.stream, entry.version, str(broken))
            return
        claim = claim_of(entry, state)
        if claim is None:
            return
        if self._sink is not None:
            self._sink(entry, claim)
        self._sums[claim.what] += claim.side * int.from_bytes(claim.digest(self._salt, entry.command_id))

    def _end(self, fold: Fold) -> None:
        fold.finish()
        replayed = self._replayed
        replayed.unsound += not fold.sound
        replayed.accounts += fold.is_account
        if not fold.is_account:
            require_snapshot(self._connection, fold, self._report)
            return
        if fold.sound:
            account = fold.state
            available, held, owed, fen = replayed.left
            replayed.left = (
                available + account.available,
                held + account.held,
                owed + account.owed,
                fen + fen_left(account),
            )
            self._ended.append(fold)
            if len(self._ended) == SETTLED_AT_ONCE:
                self._settle()

    def _settle(self) -> None:
        require_served(self._connection, self._ended, self._report)
        self._ended = []

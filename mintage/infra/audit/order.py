"""The log in the order of positions: none missing, time never backwards, and the Merkle roots that were signed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
import psycopg

from mintage.infra.audit.findings import Differences
from mintage.infra.seal.merkle import HASH, TILE, Accumulator
from mintage.infra.store import BEGINNING

PORTION: Final = 4_000

_READ: Final = f"""
select notification_id, originator_id, originator_version, state, hash, command_id is not null from stored_events
where notification_id > %s::bigint and notification_id <= %s::bigint order by notification_id limit {PORTION}"""
_TILES: Final = "select number, hashes from seal_tiles where level = 0 and number >= %s::bigint and number < %s::bigint"
TILES_AT_ONCE: Final = 64


class Span(msgspec.Struct, frozen=True):
    """A piece of the log: the positions after one and up to another; ``sealed`` are the roots signed in it, by size."""

    after: int
    upto: int
    sealed: dict[int, bytes] = {}


class Ordered(msgspec.Struct):
    """What a span came to: how many events, and the tree of their hashes if the roots matter."""

    events: int = 0
    tree: Accumulator = msgspec.field(default_factory=Accumulator)
    differences: Differences = msgspec.field(default_factory=Differences)


class _Head(msgspec.Struct, frozen=True, gc=False):
    """All of an event that its place in the order depends on."""

    at: Annotated[datetime, msgspec.Meta(tz=True)]
    command: str


_decode: Final = msgspec.json.Decoder(_Head).decode


def in_order(connection: psycopg.Connection[Any], span: Span, told: Callable[[int], None], *, tree: bool) -> Ordered:
    """Check the positions, the times and the commands of a span, from the event before it on."""
    ordered = Ordered()
    report = ordered.differences.report
    # The event before the span is read again: what is after it is compared with it.
    position = max(span.after - 1, 0)
    before = None if span.after else _Head(BEGINNING, "")
    for rows in _portions(connection, position, span.upto):
        for number, stream, version, state, _, begins in rows:
            if number != position + 1:
                missing = (
                    f"position {position + 1} is" if number == position + 2 else f"positions from {position + 1} are"
                )
                report(stream, version, f"position {number} follows {position}: {missing} missing")
            position = number
            try:
                head = _decode(state)
            except (ValueError, RecursionError):
                # Whoever replays its stream says so.
                before = None
                continue
            if before is not None and number > span.after:
                if head.at < before.at:
                    report(stream, version, "recorded before the event before it")
                if begins is (head.command == before.command):
                    report(stream, version, "does not lie among the events of its command")
            before = head
        new = [row for row in rows if row[0] > span.after]
        ordered.events += len(new)
        if tree:
            for row in new:
                ordered.tree.append(row[4])
        told(len(new))
    return ordered


def wrong_roots(connection: psycopg.Connection[Any], span: Span, before: Accumulator) -> list[int]:
    """The sizes in a span at which the log does not hash to what was signed; ``before`` is the tree up to the span."""
    right = set()
    for rows in _portions(connection, span.after, span.upto):
        for row in rows:
            before.append(row[4])
            root = span.sealed.get(before.size)
            if root is not None and before.root() == root:
                right.add(before.size)
    return sorted(span.sealed.keys() - right)


def tree_at(connection: psycopg.Connection[Any], size: int, before: Accumulator) -> Accumulator:
    """The tree of the log's first events; ``before`` is a smaller one, which grows."""
    for rows in _portions(connection, before.size, size):
        for row in rows:
            before.append(row[4])
    return before


def unlike_tiles(
    connection: psycopg.Connection[Any], good: Accumulator, upto: int, root: bytes
) -> tuple[int, str, int] | None:
    """The position, stream and version of the first event after a good tree whose hash is not the one that was sealed.

    None if that is not known: only those sealed hashes are believed that bring the tree to the ``root`` signed.
    """
    position, found = good.size, None
    rows = (row for rows in _portions(connection, good.size, upto) for row in rows)
    for leaf in _leaves(connection, good.size, upto):
        position += 1
        row = next(rows, None)
        if found is None and row is not None and leaf != row[4]:
            found = row[0], row[1], row[2]
        good.merge(Accumulator(1, [leaf]))
    return found if position == upto and good.root() == root else None


def _leaves(connection: psycopg.Connection[Any], after: int, upto: int) -> Iterator[bytes]:
    """What the tiles have as the leaves after a position up to another, until one is missing."""
    cursor = connection.cursor(binary=True)
    for first in range(after // TILE, -(-upto // TILE), TILES_AT_ONCE):
        end = first + TILES_AT_ONCE
        tiles: Mapping[int, bytes] = dict(cursor.execute(_TILES, (first, end)).fetchall())
        for index in range(max(after, first * TILE), min(upto, end * TILE)):
            start = index % TILE * HASH
            leaf = tiles.get(index // TILE, b"")[start : start + HASH]
            if len(leaf) < HASH:
                return
            yield leaf


def _portions(connection: psycopg.Connection[Any], after: int, upto: int) -> Iterator[Sequence[Any]]:
    cursor = connection.cursor(binary=True)
    while rows := cursor.execute(_READ, (after, upto)).fetchall():
        yield rows
        after = rows[-1][0]

"""Each stream's events form a hash chain over what is stored, sealed as it is, so that erasing a person breaks nothing.

Every part of variable length comes after its length: no two events can be mistaken for one another. An event's hash is
at the same time its leaf in the log's Merkle tree: it begins as RFC 6962 (2.1) wants it of a leaf.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, Final

import psycopg

from mintage.domain.recorded import Recorded

DOMAIN: Final = b"\0mintage event 1\0"
GENESIS: Final = bytes(32)
"""What comes before a stream's first event."""
HEADS_MAX: Final = 50_000
_NONE: Final = (0, GENESIS)

# Signed as bigint is: for what is forged below zero, too, there is a hash that is not the one stored.
# A hash of another length would be cut or filled up here; the log refuses one, and an audit finds it at its own event.
_BEGINNING: Final = Struct(f">{len(DOMAIN)}s{len(GENESIS)}sqqI").pack
_LENGTH: Final = Struct(">I").pack
_HEADS: Final = """
select e.originator_id, e.originator_version, e.hash from unnest(%s::text[], %s::bigint[]) as wanted (stream, version)
join stored_events e on e.originator_id = wanted.stream and e.originator_version = wanted.version"""


def event_hash(previous: bytes, position: int, version: int, stream: str, topic: str, state: bytes) -> bytes:
    """SHA-256 over the domain, the hash before it in the stream, and the event as it lies in the log."""
    name = stream.encode()
    beginning = _BEGINNING(DOMAIN, previous, position, version, len(name))
    return sha256(b"".join((beginning, name, _measured(topic), _LENGTH(len(state)), state))).digest()


@lru_cache(maxsize=256)
def _measured(topic: str) -> bytes:
    """A tag after its length; there are not many."""
    tag = topic.encode()
    return _LENGTH(len(tag)) + tag


class Heads:
    """The newest hash of each stream that was written lately; what is not here, or stale, is read."""

    def __init__(self) -> None:
        # In two halves: what was not written while the newer one filled up goes with the older one.
        self._newer: dict[str, tuple[int, bytes]] = {}
        self._older: dict[str, tuple[int, bytes]] = {}

    async def before(self, connection: psycopg.AsyncConnection[Any], entries: Sequence[Recorded]) -> dict[str, bytes]:
        """For each stream of a batch the hash that its first event there builds on."""
        newer, older = self._newer, self._older
        before, missing = dict[str, bytes](), dict[str, int]()
        for entry in entries:
            stream = entry.stream
            if stream in before or stream in missing:
                continue
            version, head = newer.get(stream) or older.get(stream) or _NONE
            if version == entry.version - 1:
                before[stream] = head
            elif entry.version == 1:
                before[stream] = GENESIS
            else:
                missing[stream] = entry.version - 1
        if missing:
            cursor = await connection.execute(_HEADS, (list(missing), list(missing.values())), binary=True)
            for stream, _, head in await cursor.fetchall():
                before[stream] = head
        return before

    def stored(self, heads: Mapping[str, tuple[int, bytes]]) -> None:
        """A batch is in the log."""
        self._newer.update(heads)
        if len(self._newer) > HEADS_MAX // 2:
            self._newer, self._older = {}, self._newer

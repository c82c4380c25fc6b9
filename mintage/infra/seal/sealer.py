"""Seals the log behind its writers: what was signed once is never contradicted, and whoever tries is not signed for.

Each portion of new events extends the tree, and the checkpoint is in a file before it is in the database: what a file
says was stored in the log, and stays true if the database then forgets that it was said.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from mintage.infra.columns import execute
from mintage.infra.follower import Steps
from mintage.infra.seal.checkpoint_files import append_note, newest_note
from mintage.infra.seal.merkle import HASH, TILE, Edge, TileId
from mintage.infra.seal.notes import Checkpoint, NoteInvalid, Signer
from mintage.projections.sql import Statement

_log = logging.getLogger(__name__)

PORTION: Final = 10_000
"""The most events that are read at once, and that a checkpoint adds to the one before."""
SEAL_LOCK: Final = int.from_bytes(sha256(b"sealer").digest()[:8], signed=True)
"""The advisory lock of whoever seals."""

NEWEST: Final = "select size, root, note from seals order by size desc limit 1"
_NOW: Final = f"""
select s.size, s.root, s.note, e.hash, (select coalesce(max(notification_id), 0) from stored_events)
from ({NEWEST}) s left join stored_events e on e.notification_id = s.size"""
_LEAF: Final = "select substring(hashes from %s for 32) from seal_tiles where level = 0 and number = %s"
TILES: Final = """
select level, number, hashes from seal_tiles join unnest(%s::smallint[], %s::bigint[]) as wanted (level, number)
using (level, number)"""
_LOG: Final = """
select count(*), coalesce(max(notification_id), 0), coalesce(string_agg(hash, ''::bytea order by notification_id), '')
from stored_events where notification_id > %s and notification_id <= %s"""
_KEEP_TILES: Final = """
insert into seal_tiles (level, number, hashes) select * from unnest(%s::smallint[], %s::bigint[], %s::bytea[])
on conflict (level, number) do update set hashes = excluded.hashes"""


class Contradicted(Exception):
    """The log is not what was signed before; nothing is signed until it is again."""


def named(identity: str) -> str:
    """What the log of this identity is called in checkpoints; no other log has this name."""
    return f"mintage/{identity}"


def signer_of(connection: psycopg.Connection[Any], seed: bytes) -> Signer:
    """Who signs for the log of this database."""
    row = connection.execute("select id::text from log_identity").fetchone()
    assert row is not None
    return Signer(named(row[0]), seed)


class _Sealed(msgspec.Struct):
    """What was sealed last: the note, the tree it is of, and the tree's last leaf."""

    signer: Signer
    checkpoint: Checkpoint | None
    tree: Edge
    leaf: bytes


class Sealing:
    """Seals a log portion by portion; what it sealed last it need not read again."""

    def __init__(self, seed: bytes, folder: Path) -> None:
        self._seed = seed
        self._folder = folder
        self._last: _Sealed | None = None

    def once(self, connection: psycopg.Connection[Any], at: datetime) -> int:
        """Seal the next portion of events; returns how many there were, 0 if somebody else seals.

        Raises ``Contradicted`` or ``NoteInvalid``, and signs nothing, if the log is not what was signed before.
        """
        if self._is_idle(connection):
            return 0
        # Whatever happens on the way, what is remembered is what is stored.
        last, self._last = self._last, None
        with connection.transaction():
            row = connection.execute("select pg_try_advisory_xact_lock(%s)", (SEAL_LOCK,)).fetchone()
            if row is None or not row[0]:
                return 0
            sealed = _sealed(connection, self._seed, last)
            count = self._seal(connection, sealed, at)
        self._last = sealed
        return count

    def _is_idle(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether the log still ends with what was sealed last, and no file says otherwise."""
        last = self._last
        if last is None or last.checkpoint is None:
            return False
        if newest_note(self._folder, last.signer) not in {None, last.checkpoint}:
            return False
        size, root, note = last.checkpoint.size, last.checkpoint.root, last.checkpoint.note
        return connection.execute(_NOW).fetchone() == (size, root, note, last.leaf, size)

    def _seal(self, connection: psycopg.Connection[Any], sealed: _Sealed, at: datetime) -> int:
        signer, tree = sealed.signer, sealed.tree
        written = newest_note(self._folder, signer)
        size = tree.size
        tiles: dict[TileId, bytes] = {}
        if written is not None and written != sealed.checkpoint:
            tiles = _caught_up(connection, tree, written)
        tiles |= _extended(connection, tree, tree.size + PORTION)
        if tiles:
            checkpoint = signer.sign(tree.size, tree.root())
            if checkpoint != written:
                append_note(self._folder, checkpoint, at)
            _store(connection, tiles, checkpoint, at)
            sealed.checkpoint = checkpoint
            number, place = divmod(tree.size - 1, TILE)
            sealed.leaf = tiles[0, number][HASH * place :]
        return tree.size - size


class Sealer(Steps):
    """Seals what is new each second until it is cancelled; of several, in whatever process, one at a time."""

    def __init__(self, conninfo: str, seed: bytes, folder: Path, clock: Callable[[], datetime]) -> None:
        sealing = Sealing(seed, folder)

        def step(connection: psycopg.Connection[Any]) -> bool:
            try:
                return sealing.once(connection, clock()) == PORTION
            except (Contradicted, NoteInvalid) as error:
                _log.error("THE LOG IS NOT BEING SEALED, it contradicts what was signed: %s", error)
                return False

        super().__init__("the sealer", conninfo, step)


def _sealed(connection: psycopg.Connection[Any], seed: bytes, last: _Sealed | None) -> _Sealed:
    """What was sealed last, once it is certain that the log still has it; ``last`` if that is it."""
    row = connection.execute(_NOW).fetchone()
    if row is None:
        return _Sealed(signer_of(connection, seed), None, Edge(), b"")
    size, root, note, event_hash, _ = row
    if last is None or last.checkpoint is None or last.checkpoint.note != note:
        last = _read(connection, signer_of(connection, seed), note)
    assert last.checkpoint is not None
    if (last.checkpoint.size, last.checkpoint.root) != (size, root):
        raise Contradicted(f"the seal at {size} events is not what its note says")
    if event_hash is None:
        raise Contradicted(f"the log has no event {size}, and so many were sealed")
    if event_hash != last.leaf:
        raise Contradicted(f"event {size} is not the one that was sealed")
    return last


def _read(connection: psycopg.Connection[Any], signer: Signer, note: str) -> _Sealed:
    """A tree as it was sealed, out of its tiles."""
    checkpoint = signer.checkpoint(note)
    size = checkpoint.size
    tree = _tree_of(connection, size)
    if tree.root() != checkpoint.root:
        raise Contradicted(f"the tree of {size} events does not have the root that was signed")
    number, place = divmod(size - 1, TILE)
    row = connection.execute(_LEAF, (HASH * place + 1, number)).fetchone()
    return _Sealed(signer, checkpoint, tree, b"" if row is None else row[0])


def _caught_up(connection: psycopg.Connection[Any], tree: Edge, written: Checkpoint) -> dict[TileId, bytes]:
    """Extend the tree to what a file says was signed, should the database have forgotten; the tiles that changed."""
    tiles: dict[TileId, bytes] = {}
    while tree.size < written.size:
        more = _extended(connection, tree, min(tree.size + PORTION, written.size))
        if not more:
            raise Contradicted(f"the log ends at event {tree.size}, and a file has a checkpoint of {written.size}")
        tiles |= more
    then = tree if tree.size == written.size else _tree_of(connection, written.size)
    if then.root() != written.root:
        raise Contradicted(f"the first {written.size} events are not those that a file has a checkpoint of")
    return tiles


def _extended(connection: psycopg.Connection[Any], tree: Edge, upto: int) -> dict[TileId, bytes]:
    """Let the tree grow by the log's events up to a position; the tiles that changed."""
    row = connection.execute(_LOG, (tree.size, upto), binary=True).fetchone()
    assert row is not None
    count, newest, hashes = row
    if count and newest != tree.size + count:
        raise Contradicted(f"there are events missing between {tree.size} and {newest}")
    return tree.extend(hashes[start : start + HASH] for start in range(0, len(hashes), HASH))


def _tree_of(connection: psycopg.Connection[Any], size: int) -> Edge:
    wanted = Edge.tiles_of(size)
    levels, numbers = [level for level, _ in wanted], [number for _, number in wanted]
    rows = connection.execute(TILES, (levels, numbers), binary=True).fetchall()
    try:
        return Edge.of(size, {(level, number): hashes for level, number, hashes in rows})
    except LookupError:
        raise Contradicted(f"a part of the tree of {size} events is not there") from None


def _store(
    connection: psycopg.Connection[Any], tiles: dict[TileId, bytes], checkpoint: Checkpoint, at: datetime
) -> None:
    levels, numbers = [level for level, _ in tiles], [number for _, number in tiles]
    execute(connection, Statement(_KEEP_TILES, (levels, numbers, list(tiles.values()))))
    connection.execute(
        "insert into seals (size, root, note, at) values (%s, %s, %s, %s)",
        (checkpoint.size, checkpoint.root, checkpoint.note, at),
    )

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
_LAST: Final = """
select e.hash, substring(t.hashes from %s for 32) from seal_tiles t
left join stored_events e on e.notification_id = %s where t.level = 0 and t.number = %s"""
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


def seal_once(connection: psycopg.Connection[Any], seed: bytes, folder: Path, at: datetime) -> int:
    """Seal the next portion of events; returns how many there were, 0 if somebody else seals.

    Raises ``Contradicted`` or ``NoteInvalid``, and signs nothing, if the log is not what was signed before.
    """
    with connection.transaction():
        row = connection.execute("select pg_try_advisory_xact_lock(%s)", (SEAL_LOCK,)).fetchone()
        if row is None or not row[0]:
            return 0
        signer = signer_of(connection, seed)
        tree, sealed = _sealed(connection, signer)
        written = newest_note(folder, signer)
        size = tree.size
        tiles = {} if written is None or written == sealed else _caught_up(connection, tree, written)
        tiles |= _extended(connection, tree, tree.size + PORTION)
        if tiles:
            checkpoint = signer.sign(tree.size, tree.root())
            if checkpoint != written:
                append_note(folder, checkpoint, at)
            _store(connection, tiles, checkpoint, at)
    return tree.size - size


class Sealer(Steps):
    """Seals what is new each second until it is cancelled; of several, in whatever process, one at a time."""

    def __init__(self, conninfo: str, seed: bytes, folder: Path, clock: Callable[[], datetime]) -> None:
        def step(connection: psycopg.Connection[Any]) -> bool:
            try:
                return seal_once(connection, seed, folder, clock()) == PORTION
            except (Contradicted, NoteInvalid) as error:
                _log.error("THE LOG IS NOT BEING SEALED, it contradicts what was signed: %s", error)
                return False

        super().__init__("the sealer", conninfo, step)


def _sealed(connection: psycopg.Connection[Any], signer: Signer) -> tuple[Edge, Checkpoint | None]:
    """The tree as it was sealed last, once it is certain that the log still has it."""
    row = connection.execute(NEWEST).fetchone()
    if row is None:
        return Edge(), None
    size, root, note = row
    sealed = signer.checkpoint(note)
    if (sealed.size, sealed.root) != (size, root):
        raise Contradicted(f"the seal at {size} events is not what its note says")
    tree = _tree_of(connection, size)
    if tree.root() != root:
        raise Contradicted(f"the tree of {size} events does not have the root that was signed")
    tile, place = divmod(size - 1, TILE)
    row = connection.execute(_LAST, (HASH * place + 1, size, tile)).fetchone()
    if row is None or row[0] is None:
        raise Contradicted(f"the log has no event {size}, and so many were sealed")
    if row[0] != row[1]:
        raise Contradicted(f"event {size} is not the one that was sealed")
    return tree, sealed


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

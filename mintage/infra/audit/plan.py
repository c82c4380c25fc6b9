"""How an audit is cut into pieces, and what is kept of it so that it can go on where it was killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, TypeVar

import msgspec
import psycopg

from mintage.infra.audit.order import Span
from mintage.infra.audit.replay import Streams
from mintage.infra.database import connect_sync
from mintage.infra.log_reader import head

PIECE: Final = 25_000
"""Events, about; fewer than ``PIECES_MAX`` pieces are made of any log."""
PIECES_MAX: Final = 1_000
ALIGNED: Final = 1 << 15
"""Spans begin at multiples, so that their trees can be put together."""

_BOUNDS: Final = """
select originator_id from stored_events where notification_id = any(%s::bigint[])
group by originator_id order by originator_id"""
_LAST: Final = "select originator_id from stored_events order by originator_id desc limit 1"
_NEWEST: Final = "select encode(hash, 'hex') from stored_events where notification_id = %s"
_PLAN: Final = "plan.json"
_STRIDE: Final = 7_919
ResultT = TypeVar("ResultT")


class StateOfAnother(ValueError):
    """What is kept in the directory is of another log."""


class Plan(msgspec.Struct, frozen=True):
    """The log up to position ``end``, whose hash is ``newest``: by streams, and by positions.

    ``salt`` goes into whatever is added up as hashes.
    """

    end: int
    newest: str
    salt: str
    pieces: list[Streams]
    spans: list[Span]


@contextmanager
def reading(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    """A session that cannot write, and may take its time."""
    with connect_sync(conninfo) as connection:
        connection.execute("set session characteristics as transaction read only")
        for timeout in ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"):
            connection.execute(f"set {timeout} = 0")
        yield connection


def planned(connection: psycopg.Connection[Any]) -> Plan:
    """Cut the log as it is now: by streams so that the pieces have about as many events, and by positions."""
    end = head(connection)
    if not end:
        return Plan(0, "", "", [], [])
    size = max(PIECE, -(-end // PIECES_MAX))
    # Not quite evenly: traffic with a beat would have the same few streams at all cuts.
    cuts = [place + place // size * _STRIDE % size for place in range(size, end, size)]
    bounds = [name for (name,) in connection.execute(_BOUNDS, (cuts,)).fetchall()]
    last = connection.execute(_LAST).fetchone()
    assert last is not None
    upto = [*bounds, *last] if bounds[-1:] != [last[0]] else bounds
    pieces = [Streams(*piece) for piece in zip(["", *upto], upto, strict=False)]
    aligned = ALIGNED
    while aligned * PIECES_MAX < end:
        aligned *= 2
    spans = [Span(after, min(after + aligned, end)) for after in range(0, end, aligned)]
    return Plan(end, _hash_at(connection, end), token_hex(16), pieces, spans)


class Kept:
    """Finished pieces in a directory; what is there of an audit of the same log is gone on with."""

    def __init__(self, folder: Path, connection: psycopg.Connection[Any]) -> None:
        """Raises ``StateOfAnother``."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        plan = self.result(_PLAN, Plan)
        self.is_new = plan is None
        if plan is None:
            plan = planned(connection)
            self.keep(_PLAN, plan)
        elif plan.end and _hash_at(connection, plan.end) != plan.newest:
            raise StateOfAnother(f"what {folder} keeps is of another log; give an empty directory")
        self.plan = plan

    def result(self, name: str, kind: type[ResultT]) -> ResultT | None:
        try:
            return msgspec.json.decode((self._folder / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None

    def keep(self, name: str, result: Any) -> None:
        """Whole or not at all."""
        draft = self._folder / f"{name}.new"
        draft.write_bytes(msgspec.json.encode(result))
        draft.replace(self._folder / name)

    def forget(self) -> None:
        """The audit is over: the next one begins anew."""
        for path in self._folder.glob("*.json*"):
            path.unlink()


def _hash_at(connection: psycopg.Connection[Any], position: int) -> str:
    row = connection.execute(_NEWEST, (position,)).fetchone()
    return str(row[0]) if row else ""

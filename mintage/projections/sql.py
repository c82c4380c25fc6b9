"""Statements over sets: every column of a batch travels as one array, whose type is the cast it has in the SQL."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from mintage.domain.decider import Event, Refusal
from mintage.domain.recorded import Recorded

RowT = TypeVar("RowT")
Value: TypeAlias = str | int | bool | bytes | datetime | None


class Database(Protocol):
    """Where queries read: each statement sees everything committed before it began."""

    async def fetch(self, row: type[RowT], sql: str, params: Sequence[Any] = ()) -> list[RowT]:
        """All rows, each as ``row(**columns)``."""
        ...

    async def fetch_one(self, row: type[RowT], sql: str, params: Sequence[Any] = ()) -> RowT | None:
        """The first row, or None."""
        ...


class Statement(msgspec.Struct, frozen=True, gc=False):
    """SQL with ``%s`` for each parameter, to be executed with the log's append; ``%s::uuid[]`` takes a whole column."""

    sql: str
    params: tuple[Any, ...] = ()


class ReadModel(msgspec.Struct, frozen=True, kw_only=True):
    """A view of the log kept in tables.

    ``schema`` creates them; ``statements`` is the pure mapping of a run of events, in log order, to writes over sets:
    the only way rows come to be, live and in a rebuild. It is given personal fields in clear only if ``personal``.
    When the mapping changes, ``revision`` goes up, so that a migration fills the tables anew. ``volatile`` columns are
    working state of a running system (a worker's lease) that no event records. ``refusals`` says what the breach of a
    constraint means.
    """

    name: str
    tables: tuple[str, ...]
    schema: str
    events: frozenset[type[Event]]
    statements: Callable[[Sequence[Recorded]], Iterable[Statement]]
    personal: bool = False
    revision: int = 1
    volatile: frozenset[str] = frozenset()
    refusals: dict[str, type[Refusal]] = {}


def exactly(rows: int, change: str, params: tuple[Any, ...]) -> Statement:
    """An update that has to touch so many rows: a row that is not there divides by zero, and nothing is stored."""
    sql = f"with touched as ({change} returning 1) select 1 / (count(*) = %s)::integer from touched"
    return Statement(sql, (*params, rows))


def insert(table: str, columns: dict[str, str], rows: Sequence[tuple[Value, ...]]) -> Statement:
    """One insert for all rows; ``columns`` maps each column to its type."""
    return _insert(table, columns, tuple(zip(*rows, strict=True)))


def insert_said(table: str, columns: dict[str, str], rows: Sequence[tuple[Value, ...]]) -> Statement:
    """The same where most columns are 0 or null: one that is so in all rows is left to its default."""
    said = {name: values for name, values in zip(columns, zip(*rows, strict=True), strict=True) if any(values)}
    return _insert(table, {name: columns[name] for name in said}, tuple(said.values()))


def _insert(table: str, columns: dict[str, str], values: tuple[tuple[Value, ...], ...]) -> Statement:
    names = ", ".join(columns)
    casts = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    return Statement(f"insert into {table} ({names}) select * from unnest({casts})", values)


def update(table: str, key: str, columns: dict[str, str], rows: Sequence[tuple[Value, ...]]) -> Statement:
    """One update for all rows by their key, which comes first in ``columns``; each of them has to be there."""
    names = ", ".join(columns)
    casts = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    changes = ", ".join(f"{name} = new.{name}" for name in columns if name != key)
    sql = f"update {table} t set {changes} from unnest({casts}) as new ({names}) where t.{key} = new.{key}"
    return exactly(len(rows), sql, tuple(zip(*rows, strict=True)))

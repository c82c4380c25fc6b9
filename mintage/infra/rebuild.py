"""A read model made again from event 1 beside the old one, compared with it, and put in its place, under traffic.

The writers wait only while the last events are caught up, once for the comparison and once for the swap; the
comparison itself runs in a snapshot of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier

from mintage.infra.database import connect_sync
from mintage.infra.follower import apply, follower_lock
from mintage.infra.log_reader import head, portions
from mintage.infra.postgres_store import LOG_LOCK
from mintage.infra.vault import Vault
from mintage.projections import DROP_VIEWS, INLINE, READ_MODELS, VIEWS
from mintage.projections.sql import ReadModel

_NONE: Final = SQL("select * from {} where false")
NEAR: Final = 500
"""So few events behind the log, and it is time to make the writers wait."""


class Rebuilt(msgspec.Struct, frozen=True):
    """``differences`` counts the rows that only one of the two holds, per table."""

    name: str
    events: int
    differences: dict[str, int]


def rebuild(
    conninfo: str,
    vault: Vault,
    model: ReadModel,
    *,
    swap: bool = True,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Rebuilt:
    """Rebuild a read model of a live system, or only compare it with what the log says (``swap`` False).

    ``progress`` is told the position reached and the log's head. Of several at once for one model each waits its turn.
    """
    beside = _beside(model)
    with connect_sync(conninfo) as connection, connect_sync(conninfo) as onlooker:
        _take_turn(connection, model)
        onlooker.execute("set statement_timeout = 0")
        _prepare(connection, model, beside)
        try:
            position = 0
            while (end := reached(connection, model)) - position > NEAR:
                position = _catch_up(connection, vault, model, position, end, progress)
            with _standstill(connection, model) as end:
                position = _catch_up(connection, vault, model, position, end)
                onlooker.execute("begin isolation level repeatable read")
                onlooker.execute("select 1")
            differences = {table: _difference(onlooker, model, table, beside) for table in model.tables}
            onlooker.execute("commit")
            if swap:
                with _standstill(connection, model) as end:
                    position = _catch_up(connection, vault, model, position, end)
                    with connection.transaction():
                        # Whoever reads the old tables at length (a backup) must not keep the writers waiting.
                        connection.execute("set local lock_timeout = '2s'")
                        _swap(connection, model, beside)
        finally:
            onlooker.close()
            if not connection.broken:
                connection.execute(SQL("drop schema {} cascade").format(Identifier(beside)))
    return Rebuilt(model.name, position, differences)


def drop_leftovers(connection: psycopg.Connection[Any]) -> None:
    """Remove what rebuilds that were killed left beside the tables: it may name people who were erased since."""
    for model in READ_MODELS.values():
        row = connection.execute("select pg_try_advisory_xact_lock(%s)", (_turn(model),)).fetchone()
        if row is not None and row[0]:
            connection.execute(SQL("drop schema if exists {} cascade").format(Identifier(_beside(model))))


def fill(connection: psycopg.Connection[Any], vault: Vault, model: ReadModel, upto: int) -> None:
    """Fill the empty tables of a read model that is new to a database with a log; nobody writes meanwhile."""
    for entries in portions(connection, after=0, upto=upto):
        apply(connection, vault, model, entries)


def _take_turn(connection: psycopg.Connection[Any], model: ReadModel) -> None:
    connection.execute("set statement_timeout = 0")
    connection.execute("set lock_timeout = 0")
    connection.execute("select pg_advisory_lock(%s)", (_turn(model),))
    connection.execute("reset lock_timeout")


def _turn(model: ReadModel) -> int:
    return int.from_bytes(sha256(f"rebuild {model.name}".encode()).digest()[:8], signed=True)


def _beside(model: ReadModel) -> str:
    return f"rebuild_{model.name}"


def _prepare(connection: psycopg.Connection[Any], model: ReadModel, beside: str) -> None:
    connection.execute(SQL("drop schema if exists {} cascade").format(Identifier(beside)))
    connection.execute(SQL("create schema {}").format(Identifier(beside)))
    connection.execute(SQL("set search_path = {}, public").format(Identifier(beside)))
    connection.execute(model.schema)


def _catch_up(
    connection: psycopg.Connection[Any],
    vault: Vault,
    model: ReadModel,
    position: int,
    end: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> int:
    for entries in portions(connection, after=position, upto=end):
        with connection.transaction():
            apply(connection, vault, model, entries)
        progress(entries[-1].position, end)
    return max(position, end)


@contextmanager
def _standstill(connection: psycopg.Connection[Any], model: ReadModel) -> Iterator[int]:
    """While this lasts nobody writes the old tables, which stand at the position given."""
    lock = LOG_LOCK if model in INLINE else follower_lock(model)
    # Whoever is stopped in here (a suspended terminal will do) loses the session and with it the lock.
    connection.execute("set idle_session_timeout = '5s'")
    connection.execute("select pg_advisory_lock(%s)", (lock,))
    try:
        yield reached(connection, model)
    finally:
        if not connection.broken:
            connection.execute("select pg_advisory_unlock(%s)", (lock,))
            connection.execute("reset idle_session_timeout")


def reached(connection: psycopg.Connection[Any], model: ReadModel) -> int:
    """The position that the read model stands at: it must not be made from more events than it was."""
    return head(connection) if model in INLINE else _checkpoint(connection, model)


def _checkpoint(connection: psycopg.Connection[Any], model: ReadModel) -> int:
    row = connection.execute("select position from checkpoints where name = %s", (model.name,)).fetchone()
    return int(row[0]) if row else 0


def _difference(connection: psycopg.Connection[Any], model: ReadModel, table: str, beside: str) -> int:
    old, new = _both(connection, model, table, beside)
    query = SQL("select (select count(*) from ({o} except all {n}) a) + (select count(*) from ({n} except all {o}) b)")
    row = connection.execute(query.format(o=old, n=new)).fetchone()
    assert row is not None
    return int(row[0])


def _both(connection: psycopg.Connection[Any], model: ReadModel, table: str, beside: str) -> tuple[Composed, Composed]:
    columns = SQL(", ").join(map(Identifier, _columns(connection, table, model.volatile)))
    select = SQL("select {} from {}")
    return select.format(columns, Identifier("public", table)), select.format(columns, Identifier(beside, table))


def _swap(connection: psycopg.Connection[Any], model: ReadModel, beside: str) -> None:
    connection.execute(DROP_VIEWS)
    for table in model.tables:
        old, new = Identifier("public", table), Identifier(beside, table)
        # Nobody may change any more what goes over.
        connection.execute(SQL("lock table {} in access exclusive mode").format(old))
        carry_over(connection, model, table, old, new)
        connection.execute(SQL("drop table {}").format(old))
        connection.execute(SQL("alter table {} set schema public").format(new))
    connection.execute("set local search_path = public")
    connection.execute(VIEWS)


def carry_over(
    connection: psycopg.Connection[Any], model: ReadModel, table: str, old: Identifier, new: Identifier
) -> None:
    """What no event records goes over from a running system's rows, as far as both tables have such columns."""
    there = [{column.name for column in connection.execute(_NONE.format(one)).description or ()} for one in (old, new)]
    kept = sorted(model.volatile & there[0] & there[1])
    if kept:
        changes = SQL(", ").join(SQL("{c} = old.{c}").format(c=Identifier(name)) for name in kept)
        same = SQL(" and ").join(
            SQL("new.{c} = old.{c}").format(c=Identifier(name)) for name in _key(connection, table)
        )
        keep = SQL("update {n} new set {changes} from {o} old where {same}")
        connection.execute(keep.format(n=new, o=old, changes=changes, same=same))


def _key(connection: psycopg.Connection[Any], table: str) -> list[str]:
    rows = connection.execute(
        "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
        "where i.indrelid = %s::regclass and i.indisprimary",
        (f"public.{table}",),
    ).fetchall()
    return [name for (name,) in rows]


def _columns(connection: psycopg.Connection[Any], table: str, but: frozenset[str]) -> list[str]:
    rows = connection.execute(
        "select column_name from information_schema.columns where table_schema = 'public' and table_name = %s "
        "order by ordinal_position",
        (table,),
    ).fetchall()
    return [name for (name,) in rows if name not in but]

"""Brings a database to this program's schema: numbered SQL for the log, the read models by their own definition.

A read model whose definition changed is dropped and filled again from the log; what no event records is kept.
"""

from hashlib import sha256
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg.sql import SQL, Identifier

from mintage.infra.database import connect_sync
from mintage.infra.follower import follower_lock
from mintage.infra.log_reader import head
from mintage.infra.postgres_store import LOG_LOCK
from mintage.infra.rebuild import carry_over, drop_leftovers, fill, reached
from mintage.infra.vault import Vault
from mintage.projections import DROP_VIEWS, FOLLOWED, READ_MODELS, VIEWS
from mintage.projections.sql import ReadModel

_VIEWS: Final = "views"
_BOOK: Final = """
create table if not exists schema_migrations (
    name text primary key, digest text not null, applied_at timestamptz not null default now()
)"""


def migrate(conninfo: str, vault: Vault) -> list[str]:
    """Apply what is missing, all of it or nothing; several processes may start at once. Returns what was applied."""
    with connect_sync(conninfo) as connection, connection.transaction():
        connection.execute("set local lock_timeout = '60s'")
        connection.execute("set local statement_timeout = 0")
        connection.execute("select pg_advisory_xact_lock(%s)", (LOG_LOCK,))
        connection.execute(_BOOK)
        drop_leftovers(connection)
        applied = [*_log(connection), *_read_models(connection, vault)]
        _check_key(connection, vault)
        if _done(connection).get(_VIEWS) != _digest(VIEWS):
            _note(connection, _VIEWS, _digest(VIEWS))
            applied.append(_VIEWS)
        if applied:
            connection.execute(DROP_VIEWS)
            connection.execute(VIEWS)
        return applied


def _check_key(connection: psycopg.Connection[Any], vault: Vault) -> None:
    """Raise ``SealBroken`` rather than seal newcomers with a master key that is not this database's."""
    row = connection.execute("select user_id::text, wrapped_key from person_keys limit 1").fetchone()
    if row is not None:
        vault.unwrap(*row)


def is_migrated(conninfo: str) -> bool:
    """Whether this database has everything this program needs."""
    with connect_sync(conninfo) as connection:
        row = connection.execute("select to_regclass('schema_migrations') is not null").fetchone()
        if row is None or not row[0]:
            return False
        done = _done(connection)
    wanted = {**{name: _digest(sql) for name, sql in _scripts()}, **_read_model_digests(), _VIEWS: _digest(VIEWS)}
    return all(done.get(name) == digest for name, digest in wanted.items())


def _scripts() -> list[tuple[str, str]]:
    folder = resources.files("mintage.infra") / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [(item.name, item.read_text(encoding="utf-8")) for item in files]


def _log(connection: psycopg.Connection[Any]) -> list[str]:
    done = _done(connection)
    applied = []
    for name, sql in _scripts():
        if done.get(name, _digest(sql)) != _digest(sql):
            raise ValueError(f"{name} was changed after it was applied to this database")
        if name not in done:
            connection.execute(sql)
            _note(connection, name, _digest(sql))
            applied.append(name)
    return applied


def _read_models(connection: psycopg.Connection[Any], vault: Vault) -> list[str]:
    done = _done(connection)
    changed = [name for name, digest in _read_model_digests().items() if done.get(name) != digest]
    if changed:
        connection.execute(DROP_VIEWS)
    for name in changed:
        model = READ_MODELS[name.removeprefix("read model ")]
        if model in FOLLOWED:
            # A follower in the middle of a portion would leave it and its checkpoint in the empty table.
            connection.execute("select pg_advisory_xact_lock(%s)", (follower_lock(model),))
        kept = _set_aside(connection, model)
        connection.execute(model.schema)
        if model in FOLLOWED and not model.volatile:
            connection.execute("delete from checkpoints where name = %s", (model.name,))
        else:
            # Not left to the follower: what became of a row has to be there before anybody acts on it.
            fill(connection, vault, model, reached(connection, model) if model in FOLLOWED else head(connection))
        for table, old in kept.items():
            carry_over(connection, model, table, old, Identifier("public", table))
        _note(connection, name, _read_model_digests()[name])
    return changed


def _set_aside(connection: psycopg.Connection[Any], model: ReadModel) -> dict[str, Identifier]:
    """Drop the tables of a read model; of those that keep what no event records, a copy until the commit."""
    kept = {}
    for table in model.tables:
        row = connection.execute("select to_regclass(%s) is not null", (f"public.{table}",)).fetchone()
        if model.volatile and row is not None and row[0]:
            kept[table] = Identifier("pg_temp", f"kept_{table}")
            copy = SQL("create temporary table {} on commit drop as table {}")
            connection.execute(copy.format(Identifier(f"kept_{table}"), Identifier("public", table)))
        connection.execute(SQL("drop table if exists {}").format(Identifier(table)))
    return kept


def _read_model_digests() -> dict[str, str]:
    return {f"read model {model.name}": _digest(f"{model.revision}\n{model.schema}") for model in READ_MODELS.values()}


def _done(connection: psycopg.Connection[Any]) -> dict[str, str]:
    return dict(connection.execute("select name, digest from schema_migrations").fetchall())


def _note(connection: psycopg.Connection[Any], name: str, digest: str) -> None:
    connection.execute(
        "insert into schema_migrations (name, digest) values (%s, %s) "
        "on conflict (name) do update set digest = excluded.digest, applied_at = now()",
        (name, digest),
    )


def _digest(sql: str) -> str:
    return sha256(sql.encode()).hexdigest()

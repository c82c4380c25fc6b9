"""A database comes to this program's schema however far it was, however many start at once."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace

from mintage.infra import migrate as module
from mintage.infra.database import connect_sync
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.follower import follow_once, follower_lock
from mintage.infra.migrate import is_migrated, migrate
from mintage.infra.rebuild import rebuild
from mintage.projections import FOLLOWED, READ_MODELS
from mintage.projections.sql import ReadModel
from mintage.projections.statistics import STATISTICS
from tests.conftest import VAULT, on_database, until
from tests.infra.kit import a_day, journal_on, one, rows, run_sql


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"test_{uuid4().hex}"
    run_sql(postgres.conninfo, f"create database {name}")
    yield on_database(postgres.conninfo, name)
    run_sql(postgres.conninfo, f"drop database {name} with (force)")


def follow(conninfo: str) -> None:
    with connect_sync(conninfo) as connection:
        for model in FOLLOWED:
            while follow_once(connection, VAULT, model):
                pass


def change(monkeypatch: pytest.MonkeyPatch, model: ReadModel) -> ReadModel:
    """A program in which the read model has one more column."""
    table = model.tables[0]
    changed = replace(model, schema=f"{model.schema}alter table {table} add column extra text default 'new';")
    monkeypatch.setattr(module, "READ_MODELS", {**READ_MODELS, model.name: changed})
    if model in FOLLOWED:
        monkeypatch.setattr(module, "FOLLOWED", (changed,))
    return changed


def content(conninfo: str, model: ReadModel) -> dict[str, list[dict[str, Any]]]:
    return {
        table: [row for (row,) in rows(conninfo, f"select to_jsonb(t) - 'extra' from {table} t order by 1")]
        for table in model.tables
    }


def test_the_second_time_there_is_nothing_to_do(empty: str) -> None:
    assert not is_migrated(empty)
    applied = migrate(empty, VAULT)
    assert [name for name in applied if name.startswith("read model")] == [f"read model {name}" for name in READ_MODELS]
    assert is_migrated(empty)
    assert migrate(empty, VAULT) == []
    assert is_migrated(empty)


def test_of_racing_migrations_one_does_it(empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty, VAULT), range(4)))
    assert sorted(map(bool, applied)) == [False, False, False, True]
    assert is_migrated(empty)


@pytest.mark.parametrize("name", READ_MODELS)
async def test_a_read_model_that_changed_is_made_again(
    conninfo: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    follow(conninfo)
    model = READ_MODELS[name]
    changed = change(monkeypatch, model)
    before = content(conninfo, model)
    assert not is_migrated(conninfo)
    assert migrate(conninfo, VAULT) == [f"read model {name}"]
    assert is_migrated(conninfo)
    if model in FOLLOWED and not model.volatile:
        assert one(conninfo, f"select count(*) from {model.tables[0]}") == 0
        follow(conninfo)
    after = content(conninfo, model)
    assert after == before
    assert set(rows(conninfo, f"select extra from {model.tables[0]}")) == {("new",)}
    for view in ("ledger_entries", "users", "credits", "images"):
        rows(conninfo, f"select * from {view}")
    assert migrate(conninfo, VAULT) == []
    if model not in FOLLOWED:
        monkeypatch.setattr("mintage.infra.rebuild.INLINE", (changed,))
    assert sum(rebuild(conninfo, VAULT, changed, swap=False).differences.values()) == 0


async def test_a_migration_that_fails_changes_nothing(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    before = rows(conninfo, "select * from credit_accounts order by 1")
    broken = replace(READ_MODELS["works"], schema="create table works (nonsense);")
    changed = replace(READ_MODELS["ledger"], schema=READ_MODELS["ledger"].schema + " ")
    monkeypatch.setattr(module, "READ_MODELS", {**READ_MODELS, "ledger": changed, "works": broken})
    with pytest.raises(psycopg.Error):
        migrate(conninfo, VAULT)
    monkeypatch.undo()
    assert is_migrated(conninfo)
    assert rows(conninfo, "select * from credit_accounts order by 1") == before
    assert one(conninfo, "select count(*) from users") == 5


async def test_a_follower_in_the_middle_does_not_spoil_a_changed_model(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
        follow(conninfo)
        expected = content(conninfo, STATISTICS)
        changed = change(monkeypatch, STATISTICS)
        with psycopg.connect(conninfo) as follower:
            # An old process between reading its checkpoint and writing its portion.
            follower.execute("select pg_advisory_xact_lock(%s)", (follower_lock(STATISTICS),))
            migrating = asyncio.create_task(asyncio.to_thread(migrate, conninfo, VAULT))
            waiting = "select count(*) from pg_stat_activity where wait_event = 'advisory'"

            async def it_waits() -> bool:
                return bool(await asyncio.to_thread(one, conninfo, waiting))

            await until(it_waits)
            follower.execute("update statistics set total = total + 1")
            follower.execute("update checkpoints set position = position + 1 where name = 'statistics'")
            follower.commit()
            assert await migrating == ["read model statistics"]
    follow(conninfo)
    assert content(conninfo, STATISTICS) == expected
    assert rebuild(conninfo, VAULT, changed, swap=False).differences == {"statistics": 0}

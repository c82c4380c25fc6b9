"""Every read model made again from the log is the one that is served, while traffic goes on."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from mintage.infra import rebuild as module
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool, connect_sync
from mintage.infra.follower import follow_once
from mintage.infra.rebuild import Rebuilt, rebuild
from mintage.projections import FOLLOWED, INLINE, READ_MODELS
from mintage.projections.claims import claim
from mintage.projections.ledger import LEDGER
from mintage.projections.queue import QUEUE
from mintage.projections.sql import ReadModel
from mintage.projections.statistics import STATISTICS
from tests.conftest import VAULT
from tests.infra.kit import (
    a_day,
    account,
    consume,
    grant,
    journal_on,
    of,
    one,
    outcomes,
    rows,
    run_sql,
    some_id,
)


def table(conninfo: str, name: str) -> list[Any]:
    return rows(conninfo, f"select * from {name} order by 1, 2")


def content(conninfo: str, model: ReadModel) -> dict[str, list[Any]]:
    return {name: table(conninfo, name) for name in model.tables}


def follow(conninfo: str) -> None:
    with connect_sync(conninfo) as connection:
        for model in FOLLOWED:
            while follow_once(connection, VAULT, model):
                pass


def shape(conninfo: str) -> list[Any]:
    """Every column, constraint, index and view that is served."""
    return rows(
        conninfo,
        """select 'column', table_name, column_name, data_type || coalesce(column_default, '')
            from information_schema.columns where table_schema = 'public'
        union all select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            from pg_constraint where connamespace = 'public'::regnamespace
        union all select 'index', tablename, indexname, indexdef from pg_indexes where schemaname = 'public'
        union all select 'view', viewname, '', definition from pg_views where schemaname = 'public'
        order by 1, 2, 3""",
    )


@pytest.mark.parametrize("name", READ_MODELS)
async def test_a_rebuild_makes_what_is_served(conninfo: str, name: str) -> None:
    model = READ_MODELS[name]
    async with journal_on(conninfo) as journal:
        await a_day(journal)
        await a_day(journal)
    follow(conninfo)
    served, before = content(conninfo, model), shape(conninfo)
    assert all(served.values()), "there is something to compare"
    events = one(conninfo, "select count(*) from stored_events")
    none = dict.fromkeys(model.tables, 0)
    assert rebuild(conninfo, VAULT, model, swap=False) == Rebuilt(name, events, none)
    assert rebuild(conninfo, VAULT, model) == Rebuilt(name, events, none)
    assert content(conninfo, model) == served
    assert shape(conninfo) == before
    assert rows(conninfo, "select nspname from pg_namespace where nspname like 'rebuild%'") == []
    # And what is served now goes on being written.
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    follow(conninfo)
    assert rebuild(conninfo, VAULT, model, swap=False).differences == none


TAMPERED = {
    "ledger": "update credit_accounts set available = available + 1 where user_id = (select min(user_id) from people)",
    "people": "update people set email_verified = not email_verified where number = 1",
    "tasks": "update tasks set charged = 1 where number = 3",
    "queue": "delete from queue where number = (select min(number) from queue)",
    "works": "update works set user_id = task_id where number = 2",
    "characters": "update characters set name = 'x' where number = 2",
    "webhooks": "update webhooks set url = 'x' where number = 1",
    "outbox": "update webhook_deliveries set subject = webhook_id where event_type = 'ping'"
    " and position = (select min(position) from webhook_deliveries where event_type = 'ping')",
    "recharges": "update recharges set credits = credits + 1 where refunded_fen > 0",
    "numbers": "update numbers set last = last + 1 where kind = 'task'",
    "postings": "update postings set version = version + 1 where position = (select min(position) from postings)",
    "adjustments": "update adjustments set amount = amount + 1 where status = 'rejected'",
    "statistics": "update statistics set total = total + 1 where measure = 'registrations'",
}


@pytest.mark.parametrize("name", READ_MODELS)
async def test_a_tampered_row_is_found_and_repaired(conninfo: str, name: str) -> None:
    model = READ_MODELS[name]
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    follow(conninfo)
    served = content(conninfo, model)
    sql = TAMPERED[name].replace("min(user_id)", "(array_agg(user_id))[1]")
    run_sql(conninfo, sql)
    assert content(conninfo, model) != served
    found = rebuild(conninfo, VAULT, model, swap=False)
    assert sum(found.differences.values()) == (1 if name == "queue" else 2)
    assert rebuild(conninfo, VAULT, model).differences == found.differences
    assert content(conninfo, model) == served
    assert sum(rebuild(conninfo, VAULT, model, swap=False).differences.values()) == 0


async def test_rebuilding_disturbs_nobody(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEAR", 20)
    users = [some_id() for _ in range(3)]
    spent = 0
    stop = asyncio.Event()
    difference = module._difference

    def while_others_write(*of_a_table: Any) -> int:
        before = spent
        deadline = time.monotonic() + 30
        while spent == before:
            assert time.monotonic() < deadline, "nobody can write during the comparison"
            time.sleep(0.005)
        return difference(*of_a_table)

    monkeypatch.setattr(module, "_difference", while_others_write)
    async with journal_on(conninfo) as journal, journal_on(conninfo) as other:
        await a_day(journal)
        await outcomes([grant(user_id, 100_000) for user_id in users], journal)

        async def traffic() -> None:
            nonlocal spent
            while not stop.is_set():
                results = await outcomes([consume(users[turn % 3], 1) for turn in range(20)], journal, other)
                assert len(of(int, results)) == 20, results
                spent += 20
                await asyncio.sleep(0.005)

        running = asyncio.create_task(traffic())
        for model in INLINE:
            rebuilt = await asyncio.to_thread(rebuild, conninfo, VAULT, model)
            assert rebuilt.differences == dict.fromkeys(model.tables, 0)
        stop.set()
        await running
    monkeypatch.undo()
    assert sum(account(conninfo, user_id)[0] for user_id in users) == 300_000 - spent
    for model in INLINE:
        assert sum(rebuild(conninfo, VAULT, model, swap=False).differences.values()) == 0


async def test_a_followed_model_is_rebuilt_to_where_it_stands(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its follower comes after: what it has not read yet must not be in there already."""
    monkeypatch.setattr(module, "NEAR", 3)
    async with journal_on(conninfo) as journal:
        await a_day(journal)
        follow(conninfo)
        served = content(conninfo, STATISTICS)
        await a_day(journal)
    assert rebuild(conninfo, VAULT, STATISTICS).differences == {"statistics": 0}
    assert content(conninfo, STATISTICS) == served
    follow(conninfo)
    assert one(conninfo, "select total from statistics where measure = 'registrations'") == 10
    assert rebuild(conninfo, VAULT, STATISTICS, swap=False).differences == {"statistics": 0}


async def test_leases_survive(conninfo: str) -> None:
    db = Pool(conninfo)
    await db.open()
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    claimed = await claim(db, worker="w", now=utc_now(), until=utc_now(), limits={"builtin": 9}, user_limit=9)
    await db.close()
    assert claimed is not None
    run_sql(conninfo, "update queue set progress = 42")
    served = content(conninfo, QUEUE)
    assert rebuild(conninfo, VAULT, QUEUE).differences == {"queue": 0, "queue_users": 0, "queue_lines": 0}
    assert content(conninfo, QUEUE) == served


@contextmanager
def in_thread(conninfo: str, model: ReadModel) -> Iterator[list[Rebuilt]]:
    """A rebuild under way; done at the end."""
    done: list[Rebuilt] = []
    thread = threading.Thread(target=lambda: done.append(rebuild(conninfo, VAULT, model)))
    thread.start()
    try:
        yield done
    finally:
        thread.join(60)


def waits_for_lock(conninfo: str, kind: str) -> bool:
    sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and wait_event = %s"
    return bool(one(conninfo, sql, (kind,)))


async def until_so(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


async def test_of_several_lots_of_one_account_each_keeps_its_own_mark(conninfo: str) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        for _ in range(5):
            await journal.transact(grant(user_id, 10), actor="test")
    run_sql(conninfo, "update lots set settled = true where lot in (2, 4)")
    rebuild(conninfo, VAULT, LEDGER)
    assert rows(conninfo, "select lot, settled from lots order by 1") == [(n, n in {2, 4}) for n in range(1, 6)]


async def test_a_lease_taken_during_the_swap_survives(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    with psycopg.connect(conninfo) as worker:
        worker.execute("update queue set fence = fence + 1, worker = 'late', lease_until = now()")
        with in_thread(conninfo, QUEUE):
            await until_so(lambda: waits_for_lock(conninfo, "relation"))
            worker.commit()
    assert {fence for (fence,) in rows(conninfo, "select fence from queue where attempt = 0")} == {1}
    assert {worker for (worker,) in rows(conninfo, "select worker from queue")} == {"late"}


async def test_two_rebuilds_of_one_model_take_turns(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    follow(conninfo)
    served = content(conninfo, STATISTICS)
    with psycopg.connect(conninfo) as reader:
        reader.execute("select * from statistics")
        with in_thread(conninfo, STATISTICS) as first:
            await until_so(lambda: waits_for_lock(conninfo, "relation"))
            with in_thread(conninfo, STATISTICS) as second:
                await until_so(lambda: waits_for_lock(conninfo, "advisory"))
                reader.commit()
    assert first[0].differences == second[0].differences == {"statistics": 0}
    assert content(conninfo, STATISTICS) == served


async def test_a_rebuild_that_fails_leaves_nothing_behind(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    served, before = content(conninfo, READ_MODELS["ledger"]), shape(conninfo)
    run_sql(
        conninfo,
        "alter table stored_events disable trigger user",
        """update stored_events set state = convert_to(
            replace(convert_from(state, 'utf8'), '"amount":100', '"amount":-100'), 'utf8')""",
    )
    with pytest.raises(psycopg.IntegrityError):
        rebuild(conninfo, VAULT, READ_MODELS["ledger"])
    assert rows(conninfo, "select nspname from pg_namespace where nspname like 'rebuild%'") == []
    assert content(conninfo, READ_MODELS["ledger"]) == served
    assert shape(conninfo) == before

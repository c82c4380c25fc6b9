"""What a review found broken once, and must never find again."""

import asyncio
import logging
from typing import cast

import psycopg
import pytest

from mintage.application.generations import Ask, Generations
from mintage.application.lifecycle import Lifecycle
from mintage.application.records import Receipt
from mintage.application.transaction import Transaction
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.registration.decider import REGISTRATION, Erase
from mintage.infra.audit import verify
from mintage.infra.exchange import Exchange
from mintage.infra.identifiers import new_id
from mintage.infra.migrate import migrate
from mintage.infra.news import TaskNews
from mintage.infra.rebuild import rebuild
from mintage.infra.store import Breach
from mintage.infra.vault import SealBroken, Vault
from mintage.projections import READ_MODELS
from mintage.projections.sql import Database, Statement
from tests.conftest import VAULT
from tests.infra.kit import CATALOGUE, consume, grant, journal_on, register, some_id


async def test_a_task_started_twice_replays_as_it_was_lived(conninfo: str) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(register(user_id, "ann"), actor="test")
        await journal.transact(grant(user_id, 100), actor="test")
        generations = Generations(journal, CATALOGUE, new_id)
        ask = Ask(document="server", task_type="text2img", prompt="a cat", parameters={})
        accepted = (await generations.request(user_id, ask)).outcome
        assert accepted is not None
        for fence in (1, 2):
            await Lifecycle(journal, new_id).start(accepted.task_id, fence=fence, worker=f"worker-{fence}")
            await asyncio.sleep(0.01)
    assert verify(conninfo, VAULT).differences == []
    assert rebuild(conninfo, VAULT, READ_MODELS["tasks"]).differences == {"tasks": 0}


async def test_a_refusal_after_many_loads_costs_no_connection(conninfo: str, caplog: pytest.LogCaptureFixture) -> None:
    users = [some_id() for _ in range(12)]
    async with journal_on(conninfo) as journal:
        for user_id in users:
            await journal.transact(grant(user_id, 5), actor="test")
    with caplog.at_level(logging.WARNING):
        async with journal_on(conninfo) as journal:
            for user_id in users:
                await journal.transact(consume(user_id, 1), actor="test")
            with pytest.raises(InsufficientCredits):
                await journal.transact(consume(users[0], 99), actor="test")
            await journal.transact(consume(users[0], 1), actor="test")
    assert caplog.records == []


async def test_a_debit_whose_account_row_is_gone_is_refused_and_not_stored(conninfo: str) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("delete from credit_accounts")
        with pytest.raises(Breach):
            await journal.transact(consume(user_id, 1), actor="test")
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select count(*) from stored_events").fetchone() == (1,)


async def test_what_is_kept_in_the_batch_of_an_erasure_is_erased_with_it(conninfo: str) -> None:
    user_id = some_id()

    def keep(transaction: Transaction) -> None:
        transaction.record(Receipt(user_id, "/path", "key", b"digest", transaction.now, b"a prompt"))
        transaction.execute(REGISTRATION, user_id, Erase())

    async with journal_on(conninfo) as journal:
        await journal.transact(register(user_id, "ann"), actor="test")
        await journal.transact(keep, actor="test")
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select count(*) from receipts").fetchone() == (0,)


async def test_the_tail_is_read_after_the_lock_whatever_isolation_the_database_prefers(conninfo: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f"alter database {name} set default_transaction_isolation = 'repeatable read'")
    user_id = some_id()
    async with journal_on(conninfo) as one, journal_on(conninfo) as other:
        await one.transact(grant(user_id, 40), actor="test")
        await asyncio.gather(*(journal.transact(consume(user_id, 1), actor="test") for journal in (one, other) * 20))
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select available from credit_accounts").fetchone() == (0,)


async def test_a_master_key_of_another_database_is_refused_at_once(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        await journal.transact(register(some_id(), "ann"), actor="test")
    with pytest.raises(SealBroken):
        migrate(conninfo, Vault(b"some other key of 32 bytes, yes."))
    migrate(conninfo, VAULT)


async def test_a_starting_migration_removes_what_a_killed_rebuild_left(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create schema rebuild_people")
        connection.execute("create table rebuild_people.people (email text)")
        migrate(conninfo, VAULT)
        assert connection.execute("select to_regnamespace('rebuild_people')").fetchone() == (None,)


async def test_an_exchange_refuses_a_nul_before_it_sends_anything(conninfo: str) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        exchange = Exchange(connection)
        with pytest.raises(ValueError, match="NUL"):
            await exchange.run([Statement("select %s::text", ("a\0b",))])
        assert await exchange.run([Statement("select %s::text", ("小猫 % %%",))]) == [[("小猫 % %%".encode(),)]]


async def test_who_waits_for_a_task_is_let_go_when_the_server_stops() -> None:
    news = TaskNews(cast(Database, None))
    async with asyncio.timeout(30):
        waiting = asyncio.create_task(news.wait(some_id(), 3_600))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        news.release()
        await waiting
        await news.wait(some_id(), 3_600)

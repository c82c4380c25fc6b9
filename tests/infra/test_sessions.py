"""What ends a token in one process ends it in every other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg.errors import UndefinedTable

from mintage.application.ports.identity import GONE
from mintage.application.records import TokenEnded
from mintage.application.transaction import Transaction
from mintage.domain.registration.decider import REGISTRATION, ChangePassword, Erase, GrantRole, Register
from mintage.infra.database import Pool
from mintage.infra.identifiers import new_id
from mintage.infra.sessions import Standings
from mintage.projections.people import Standing
from mintage.projections.sql import RowT
from tests.conftest import until
from tests.infra.kit import journal_on, run_sql

TOKEN = "0199b1c0-0000-7000-8000-0000000000f1"


@asynccontextmanager
async def elsewhere(conninfo: str) -> AsyncIterator[Standings]:
    """The standings as another process keeps them, listening."""
    pool = Pool(conninfo)
    await pool.open()
    standings = Standings(pool, conninfo)
    listening = asyncio.create_task(standings.listen())
    try:
        yield standings
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await pool.close()


def registered(user_id: str) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        command = Register(
            user_id=user_id,
            number=transaction.number("user"),
            document="v1",
            username="ann",
            referral_code="ABCD2345",
        )
        transaction.begin(REGISTRATION, user_id, command)

    return work


def told(command: Any) -> Callable[[str], Callable[[Transaction], None]]:
    def of(user_id: str) -> Callable[[Transaction], None]:
        def work(transaction: Transaction) -> None:
            transaction.execute(REGISTRATION, user_id, command)

        return work

    return of


def signed_out(user_id: str) -> Callable[[Transaction], None]:
    return lambda transaction: transaction.record(TokenEnded(TOKEN, user_id, transaction.now))


async def remembered(standings: Standings, user_id: str) -> Standing:
    """Look somebody up until they are kept, which they are once somebody listens."""

    async def kept() -> bool:
        await standings.look_up(user_id)
        return standings.cached(user_id) is not None

    await until(kept)
    found = standings.cached(user_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (told(ChangePassword(session_version=0)), Standing(1, "user", [])),
        (told(GrantRole(role="finance")), Standing(0, "finance", [])),
        (signed_out, Standing(0, "user", [TOKEN])),
        (told(Erase()), GONE),
    ],
    ids=["password", "role", "signed out", "erased"],
)
async def test_a_change_is_heard_of_everywhere(conninfo: str, change: Any, after: Standing) -> None:
    user_id = new_id()
    async with journal_on(conninfo) as journal, elsewhere(conninfo) as standings:
        await journal.transact(registered(user_id), actor=user_id)
        assert await remembered(standings, user_id) == Standing(0, "user", [])
        await journal.transact(change(user_id), actor=user_id)

        async def forgotten() -> bool:
            return standings.cached(user_id) is None

        await until(forgotten)
        assert await standings.look_up(user_id) == after


async def test_who_changed_something_knows_at_once(conninfo: str) -> None:
    user_id = new_id()
    async with elsewhere(conninfo) as standings, journal_on(conninfo, seen=standings.seen) as journal:
        await journal.transact(registered(user_id), actor=user_id)
        await remembered(standings, user_id)
        await journal.transact(told(ChangePassword(session_version=0))(user_id), actor=user_id)
        assert standings.cached(user_id) is None


async def test_nothing_is_remembered_while_nobody_listens(conninfo: str) -> None:
    user_id = new_id()
    async with journal_on(conninfo) as journal, elsewhere(conninfo) as standings:
        await journal.transact(registered(user_id), actor=user_id)
        await remembered(standings, user_id)
        run_sql(conninfo, "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'")

        async def forgotten() -> bool:
            return standings.cached(user_id) is None

        await until(forgotten)
        assert await standings.look_up(user_id) == Standing(0, "user", [])
        assert standings.cached(user_id) is None


class Held(Pool):
    """Whatever is asked waits until it is let through; ``asked`` are the ids of each query."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(conninfo)
        self.asked: list[set[str]] = []
        self.through = asyncio.Semaphore(0)

    async def fetch(self, row: type[RowT], sql: str, params: Sequence[Any] = ()) -> list[RowT]:
        self.asked.append(set(params[0]))
        await self.through.acquire()
        return await super().fetch(row, sql, params)


@asynccontextmanager
async def held(conninfo: str) -> AsyncIterator[tuple[Held, Standings]]:
    pool = Held(conninfo)
    await pool.open()
    try:
        yield pool, Standings(pool, conninfo)
    finally:
        await pool.close()


async def test_who_comes_while_the_database_is_asked_is_asked_for_with_the_others(conninfo: str) -> None:
    people = [new_id() for _ in range(9)]
    async with journal_on(conninfo) as journal, held(conninfo) as (pool, standings):
        await journal.transact(registered(people[0]), actor=people[0])
        first = asyncio.create_task(standings.look_up(people[0]))
        await asyncio.sleep(0)
        others = [asyncio.create_task(standings.look_up(user_id)) for user_id in [*people, *people]]
        await asyncio.sleep(0.01)
        for _ in range(2):
            pool.through.release()
        assert await first == Standing(0, "user", [])
        assert await asyncio.gather(*others) == [Standing(0, "user", []), *[GONE] * 8] * 2
        # Who came later is not told what may have been read before.
        assert pool.asked == [{people[0]}, set(people)]


async def test_who_goes_away_takes_nobody_along(conninfo: str) -> None:
    user_id = new_id()
    async with held(conninfo) as (pool, standings):
        gone, stays = (asyncio.create_task(standings.look_up(user_id)) for _ in range(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        pool.through.release()
        assert await stays == GONE
        assert gone.cancelled()


async def test_a_database_that_is_away_is_said_to_all_and_asked_again(conninfo: str) -> None:
    user_id = new_id()
    async with held(conninfo) as (pool, standings):
        pool.through.release()
        run_sql(conninfo, "alter table people rename to away")
        told = await asyncio.gather(*(standings.look_up(user_id) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in told] == [UndefinedTable] * 3
        run_sql(conninfo, "alter table away rename to people")
        pool.through.release()
        assert await standings.look_up(user_id) == GONE

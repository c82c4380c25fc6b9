"""What ends a token in one process ends it in every other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mintage.application.ports import GONE
from mintage.application.records import TokenEnded
from mintage.application.transaction import Transaction
from mintage.domain.registration.decider import REGISTRATION, ChangePassword, Erase, GrantRole, Register
from mintage.infra.database import Pool
from mintage.infra.identifiers import new_id
from mintage.infra.sessions import Standings
from mintage.projections.people import Standing
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

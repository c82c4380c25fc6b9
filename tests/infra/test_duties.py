"""What is ended is gone at once, or as soon as what it must not leave behind is done."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mintage.bootstrap import running
from mintage.infra import duties
from mintage.infra.database import Pool
from mintage.infra.follower import Steps
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from tests.conftest import BASE_URL, VAULT
from tests.infra.kit import through_port
from tests.infra.proxy import proxy_to


async def test_a_cancellation_that_the_pool_forgets_ends_a_statement(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Pool(conninfo)
    await db.open()
    connection = db._pool.connection

    @asynccontextmanager
    async def forgetful() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            async with connection() as given:
                yield given

    monkeypatch.setattr(db._pool, "connection", forgetful)
    task = asyncio.create_task(db.execute("select 1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await db.close()


async def test_what_is_cleared_away_after_a_cancellation_may_use_the_database(conninfo: str) -> None:
    db = Pool(conninfo)
    await db.open()

    async def cleans() -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return await db.execute("select 1")
        return 0

    task = asyncio.create_task(cleans())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 1
    await db.close()


async def test_a_step_under_way_keeps_its_connection_however_often_it_is_cancelled(conninfo: str) -> None:
    begun, closed = asyncio.Event(), list[bool]()
    loop = asyncio.get_running_loop()

    def step(connection: psycopg.Connection[Any]) -> bool:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.3)
        closed.append(connection.closed)
        return True

    tasks = duties.begin([Steps("a step", conninfo, step).run])
    await begun.wait()
    for _ in range(3):
        tasks[0].cancel()
        await asyncio.sleep(0.02)
    await duties.end(tasks)
    assert closed == [False]


async def test_a_server_stops_though_its_database_is_silent(conninfo: str, tmp_path: Path) -> None:
    """Not gone, but silent: nothing is answered and nothing closed."""
    async with proxy_to(conninfo) as proxy:
        place = Site(through_port(conninfo, proxy.port), VAULT, None)
        up, stop = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with running(Settings(data_dir=tmp_path), place, base_url=lambda: BASE_URL, worker=False):
                up.set()
                await stop.wait()

        server = asyncio.create_task(serve())
        await up.wait()
        await asyncio.sleep(0.5)
        proxy.freeze()
        # Until the followers and the sealer have each begun a step.
        await asyncio.sleep(2.5)
        stop.set()
        done, _ = await asyncio.wait([server], timeout=40)
        proxy.thaw()
        assert done

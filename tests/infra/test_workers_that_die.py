"""Whatever a worker did when it died or fell asleep, nothing is made twice, and the ledger is exact afterwards."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from mintage.domain.generation.events import GenerationCompleted
from tests.conftest import until
from tests.infra.hand import Hand, Order, hand
from tests.infra.kit import rows
from tests.infra.pipeline import PRICE, QUICK, Plant, plant
from tests.infra.remote import Remote, Server

HAVING = 1_000
ALL, CHARGED, HELD = (HAVING, 0), (HAVING - PRICE, 0), (HAVING - PRICE, PRICE)
SHORT = replace(QUICK, lease_s=1.0)
"""Of a lease, so that nobody has to wait half a minute for it to end."""
DONE, FAILED = ("completed", None), ("failed", "CREATE_AMBIGUOUS")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def order(conninfo: str, tmp_path: Path, server: Server) -> Order:
    return Order(conninfo=conninfo, folder=str(tmp_path), url=server.url, pace=SHORT)


@asynccontextmanager
async def beside(order: Order) -> AsyncIterator[Plant]:
    """Another worker, in this process, which does not work yet."""
    far = Remote(order.url, finds=order.finds, repeats=order.repeats)
    async with plant(order.conninfo, Path(order.folder), {"far": far}, pace=order.pace) as here:
        yield here
    await far.close()


async def requested_and_halted(here: Plant, worker: Hand, count: int = 1) -> str:
    task = await here.request(count=count)
    await asyncio.to_thread(worker.heard, "halted")
    return task


def is_named(here: Plant) -> bool:
    """Whether the files are exactly those that the works name."""
    named = rows(here.conninfo, "select unnest(array[file, thumbnail]) from works where status = 'completed'")
    return sorted(key.partition("/")[2] for (key,) in named) == here.files()


@pytest.mark.parametrize(
    ("step", "provider", "creates", "ended", "ledger"),
    [
        ("start", "plain", 1, DONE, CHARGED),
        ("dispatch", "plain", 0, FAILED, ALL),
        ("dispatch", "finds", 1, DONE, CHARGED),
        ("create", "plain", 1, FAILED, ALL),
        ("create", "finds", 1, DONE, CHARGED),
        ("create", "repeats", 2, DONE, CHARGED),
        ("submitted", "plain", 1, DONE, CHARGED),
        ("submitted", "repeats", 1, DONE, CHARGED),
        ("write", "plain", 1, DONE, CHARGED),
        ("succeed", "plain", 1, DONE, CHARGED),
        ("over", "plain", 1, DONE, CHARGED),
    ],
)
async def test_a_killed_worker_loses_no_credits_and_makes_nothing_twice(
    order: Order,
    server: Server,
    step: str,
    provider: str,
    creates: int,
    ended: tuple[str, str | None],
    ledger: tuple[int, int],
) -> None:
    order = replace(order, halt=step, finds=provider == "finds", repeats=provider == "repeats")
    async with beside(order) as here:
        with hand(order) as worker:
            task = await requested_and_halted(here, worker)
            worker.kill()
        assert here.ledger() == (CHARGED if step == "over" else HELD)
        here.work()
        shown = await here.over(task)
        assert (shown.status, shown.error_code) == ended
        assert here.ledger() == ledger
        assert server.creates.total() == creates
        assert all(times == 1 for times in server.creates.values())
        await until(lambda: asyncio.sleep(0, is_named(here)))


class TestSleeping:
    async def test_who_slept_past_the_lease_does_not_end_what_another_ended(self, order: Order, server: Server) -> None:
        server.is_held = True
        async with beside(order) as here:
            with hand(order) as sleeper:
                task = await here.request()
                await until(lambda: asyncio.sleep(0, server.polls > 0))
                sleeper.send(signal.SIGSTOP)
                here.work()

                async def is_gone_on_with() -> bool:
                    return "Resumed" in here.course(task)

                await until(is_gone_on_with)
                server.is_held = False
                assert (await here.over(task)).status == "completed"
                before = here.course(task)
                sleeper.send(signal.SIGCONT)
                # It is well, and works on the next one alone.
                await here.stop()
                other = await here.request()
                assert (await here.over(other)).status == "completed"
                assert here.course(task) == before
            assert here.ledger() == (HAVING - 2 * PRICE, 0)
            assert (server.creates.total(), is_named(here)) == (2, True)

    async def test_who_slept_before_storing_the_end_is_refused_and_leaves_no_file(
        self, order: Order, server: Server
    ) -> None:
        async with beside(order) as here:
            with hand(replace(order, halt="succeed")) as sleeper:
                task = await requested_and_halted(here, sleeper)
                sleeper.send(signal.SIGSTOP)
                here.work()
                assert (await here.over(task)).status == "completed"
                before = here.log()
                sleeper.go_on()
                sleeper.send(signal.SIGCONT)
                await until(lambda: asyncio.sleep(0, is_named(here)))
                await here.stop()
                other = await here.request()
                assert (await here.over(other)).status == "completed", "it goes on with others"
            assert here.log()[: len(before)] == before
            assert here.ledger() == (HAVING - 2 * PRICE, 0)
            assert server.creates.total() == 2

    async def test_who_slept_before_sending_does_not_send(self, order: Order, server: Server) -> None:
        """Another has found out, or had to assume, by then."""
        async with beside(order) as here:
            with hand(replace(order, halt="dispatch")) as sleeper:
                task = await requested_and_halted(here, sleeper)
                sleeper.send(signal.SIGSTOP)
                here.work()
                assert (await here.over(task)).error_code == "CREATE_AMBIGUOUS"
                sleeper.go_on()
                sleeper.send(signal.SIGCONT)
                await here.stop()
                other = await here.request()
                assert (await here.over(other)).status == "completed"
            assert server.creates.total() == 1
            assert here.ledger() == CHARGED


@pytest.mark.timeout(180)
async def test_two_workers_lose_none_of_500_tasks_and_make_none_twice(
    conninfo: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with Server(takes_s=0.2) as server:
        order = Order(conninfo=conninfo, folder=str(tmp_path), url=server.url, slots=32)
        async with beside(order) as here:
            users = [await here.somebody() for _ in range(20)]
            with hand(order), hand(order):
                began = time.monotonic()
                await asyncio.gather(*(here.request(users[turn % 20]) for turn in range(500)))

                async def are_over() -> bool:
                    return bool(rows(conninfo, "select count(*) = 500 from tasks where finished_at is not null")[0][0])

                await until(are_over, timeout_s=150)
                took = time.monotonic() - began
            said = f"500 tasks by two workers, a provider that takes 0.2 s: {500 / took:,.0f} tasks/s"
            record_property("tried", said)
            assert rows(conninfo, "select status, count(*) from tasks group by 1") == [("completed", 500)]
            assert Counter(server.creates.values()) == {1: 500}
            completed = Counter(e.key for e in here.log() if isinstance(e.event, GenerationCompleted))
            assert Counter(completed.values()) == {1: 500}
            for user_id in users:
                assert here.ledger(user_id) == (HAVING - 25 * PRICE, 0)
            assert is_named(here)
            workers = {entry.actor.rsplit("-", 1)[0] for entry in here.log() if entry.key in completed}
            assert len({worker for worker in workers if worker.rsplit("-", 1)[-1] != str(os.getpid())}) >= 2

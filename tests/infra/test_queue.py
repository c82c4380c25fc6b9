"""Who is served next, how many at a time, and how soon: in all processes together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mintage.application.providers import Job, Running
from mintage.domain.generation.events import GenerationStarted
from mintage.infra.clock import utc_now
from mintage.infra.rebuild import rebuild
from mintage.projections.claims import Claim, claim, put_back, renew
from mintage.projections.queue import QUEUE
from tests.conftest import VAULT, until
from tests.infra.far import Far, finished
from tests.infra.kit import rows
from tests.infra.pipeline import QUICK, Plant, plant

NOT_POLLED = replace(QUICK, poll_s=30.0)
"""Nothing is found by looking: it has to be said."""


class Gated(Far):
    """A provider at which nothing gets done before it is let through; it knows the most that were there at a time."""

    def __init__(self) -> None:
        super().__init__(repeats=True)
        self.gate = asyncio.Event()
        self.inside = Counter[str]()
        self.most = Counter[str]()

    async def create(self, job: Job, told: Any) -> Any:
        self.calls["create"] += 1
        self.jobs[job.job_id] = job
        for who in (job.customer, "all"):
            self.inside[who] += 1
            self.most[who] = max(self.most[who], self.inside[who])
        try:
            await self.gate.wait()
            await asyncio.sleep(0.005)
            return finished(job)
        finally:
            for who in (job.customer, "all"):
                self.inside[who] -= 1


@pytest.fixture
def far() -> Gated:
    return Gated()


@pytest.fixture
async def here(conninfo: str, tmp_path: Path, far: Far) -> AsyncIterator[Plant]:
    """Nobody works here by itself."""
    async with plant(conninfo, tmp_path, {"far": far}, pace=NOT_POLLED) as here:
        yield here


@asynccontextmanager
async def two(conninfo: str, folder: Path, far: Far, **more: Any) -> AsyncIterator[tuple[Plant, Plant]]:
    """Two processes that work."""
    async with (
        plant(conninfo, folder, {"far": far}, **more) as one,
        plant(conninfo, folder, {"far": far}, **more) as other,
    ):
        one.work()
        other.work()
        yield one, other


async def next_for(here: Plant, *, user_limit: int = 100, limit: int = 100) -> Claim | None:
    now = here.clock()
    return await claim(
        here.db,
        worker="w",
        now=now,
        until=now + timedelta(seconds=30),
        limits={"far": limit},
        user_limit=user_limit,
    )


async def all_over(here: Plant) -> None:
    async def are_over() -> bool:
        return rows(here.conninfo, "select count(*) from tasks where finished_at is null") == [(0,)]

    await until(are_over)


class TestFairness:
    async def test_one_with_200_tasks_does_not_delay_anothers_first_by_more_than_one_slot(
        self, conninfo: str, tmp_path: Path, far: Gated
    ) -> None:
        async with plant(conninfo, tmp_path, {"far": far}, slots=1) as here:
            ann, bob = await here.somebody(5_000), await here.somebody()
            await asyncio.gather(*(here.request(ann) for _ in range(200)))
            here.work()
            await until(lambda: asyncio.sleep(0, far.calls["create"] == 1))
            bobs = await here.request(bob)
            far.gate.set()
            await here.over(bobs, bob)
            log = here.log()
            asked = next(entry.position for entry in log if entry.key == bobs)
            begun = [e.key for e in log if e.position > asked and isinstance(e.event, GenerationStarted)]
            assert begun.index(bobs) <= 1

    async def test_turns_are_taken_by_who_was_served_least_recently_and_remembered(self, here: Plant) -> None:
        users = [await here.somebody() for _ in range(3)]
        tasks = {user: [await here.request(user) for _ in range(3)] for user in users}
        served = [found.user_id for _ in range(9) if (found := await next_for(here)) is not None]
        assert served == users * 3
        assert await next_for(here) is None
        newcomer = await here.somebody()
        late = {user: await here.request(user) for user in (users[2], users[0], newcomer)}
        turns = [found.task_id for _ in range(3) if (found := await next_for(here)) is not None]
        assert turns == [late[newcomer], late[users[0]], late[users[2]]]
        assert len({task for of_one in tasks.values() for task in of_one} & set(turns)) == 0

    async def test_a_rebuild_does_not_forget_whose_turn_it_is(self, here: Plant) -> None:
        ann, bob = await here.somebody(), await here.somebody()
        for user in (ann, bob, ann, bob):
            await here.request(user)
        assert (found := await next_for(here)) is not None
        assert found.user_id == ann
        none = {"queue": 0, "queue_users": 0, "queue_lines": 0}
        assert (await asyncio.to_thread(rebuild, here.conninfo, VAULT, QUEUE)).differences == none
        assert (found := await next_for(here)) is not None
        assert found.user_id == bob

    async def test_a_higher_priority_goes_first_and_turns_are_taken_within_it(self, here: Plant) -> None:
        ann, bob = await here.somebody(), await here.somebody()
        plain = [await here.request(ann), await here.request(ann)]
        urgent = [await here.request(user, provider="urgent") for user in (ann, ann, bob)]
        turns = [found.task_id for _ in range(5) if (found := await next_for(here)) is not None]
        assert turns == [urgent[0], urgent[2], urgent[1], *plain]


class TestLimits:
    @pytest.mark.parametrize(("user_limit", "limit"), [(3, 100), (100, 5), (2, 3)])
    async def test_no_more_are_under_way_than_may_be_whatever_processes_there_are(
        self, conninfo: str, tmp_path: Path, far: Gated, user_limit: int, limit: int
    ) -> None:
        async with two(conninfo, tmp_path, far, slots=20, user_limit=user_limit, limits={"far": limit}) as (one, _):
            users = [await one.somebody() for _ in range(2)]
            await asyncio.gather(*(one.request(users[turn % 2]) for turn in range(30)))
            most = min(2 * user_limit, limit, 30)
            await until(lambda: asyncio.sleep(0, far.inside["all"] == most))
            await asyncio.sleep(0.2)
            assert far.inside["all"] == most
            far.gate.set()
            await all_over(one)
        people = [far.most[who] for who in far.most if who != "all"]
        assert (far.most["all"], max(people) <= user_limit) == (most, True)
        assert far.calls["create"] == 30, "and each of them was begun once"

    async def test_a_job_counts_at_its_provider_although_its_worker_died(self, here: Plant) -> None:
        sent, waiting = await here.request(), await here.request()
        found = await next_for(here)
        assert found is not None
        assert found.task_id == sent
        by: Any = {"fence": found.fence, "worker": "w"}
        await here.lifecycle.start(sent, **by)
        await here.lifecycle.dispatch(sent, job_id="ours", **by)
        here.clock.ahead = timedelta(minutes=1)
        again = await next_for(here, limit=1)
        assert again is not None, "it is gone on with whatever the limit"
        assert (again.task_id, again.job_id) == (sent, "ours")
        assert await next_for(here, limit=1) is None
        assert await next_for(here, user_limit=1) is None
        found = await next_for(here, limit=2)
        assert found is not None
        assert found.task_id == waiting

    async def test_nobody_claims_what_it_cannot_serve(self, here: Plant) -> None:
        await here.request(provider="other")
        assert await next_for(here) is None


class TestClaims:
    async def test_of_many_claims_at_once_no_two_get_the_same_task(self, here: Plant) -> None:
        tasks = {await here.request() for _ in range(12)}
        found = await asyncio.gather(*(next_for(here) for _ in range(20)))
        assert sorted(one.task_id for one in found if one is not None) == sorted(tasks)

    async def test_a_claim_is_renewed_only_by_who_has_it_and_while_the_task_goes_on(self, here: Plant) -> None:
        task = await here.request()
        first = await next_for(here)
        here.clock.ahead = timedelta(minutes=1)
        second = await next_for(here)
        assert first is not None
        assert second is not None
        assert (first.fence, second.fence) == (1, 2)

        async def is_renewed(one: Claim) -> bool:
            return await renew(here.db, task_id=task, fence=one.fence, until=here.clock(), progress=5)

        assert [await is_renewed(first), await is_renewed(second)] == [False, True]
        await put_back(here.db, task_id=task, fence=first.fence)
        await here.cancel(task)
        assert not await is_renewed(second)

    async def test_what_was_put_back_is_claimed_at_once(self, here: Plant) -> None:
        task = await here.request()
        found = await next_for(here)
        assert found is not None
        assert await next_for(here) is None
        await put_back(here.db, task_id=task, fence=found.fence)
        assert await next_for(here) is not None


class TestWaking:
    """Nobody looks by itself for half a minute here, longer than a test may take."""

    async def test_a_task_is_taken_up_when_it_is_accepted_in_another_process(
        self, conninfo: str, tmp_path: Path, here: Plant, far: Gated
    ) -> None:
        far.gate.set()
        async with plant(conninfo, tmp_path, {"far": far}, pace=NOT_POLLED) as worker:
            worker.work()
            # It has looked once, and found nothing.
            first = await here.request()
            await here.over(first)
            second = await here.request()
            assert (await here.over(second)).status == "completed"

    async def test_a_task_that_was_put_off_is_taken_up_when_it_is_due(self, here: Plant, far: Gated) -> None:
        far.gate.set()
        task = await here.request()
        await here.lifecycle.start(task, fence=1, worker="w")
        retry_at = utc_now() + timedelta(seconds=1)
        await here.lifecycle.defer(task, error_code="E", retry_at=retry_at, fence=1, worker="w")
        here.work()
        assert (await here.over(task)).status == "completed"
        (begun,) = (e.at for e in here.log() if isinstance(e.event, GenerationStarted) and e.event.attempt == 2)
        assert begun >= retry_at

    async def test_a_lease_that_ends_is_noticed(self, here: Plant, far: Gated) -> None:
        far.gate.set()
        task = await here.request()
        now = utc_now()
        soon = now + timedelta(seconds=1)
        assert await claim(here.db, worker="w", now=now, until=soon, limits={"far": 1}, user_limit=1) is not None
        here.work()
        assert (await here.over(task)).status == "completed"

    async def test_cancelling_in_another_process_stops_the_work(
        self, conninfo: str, tmp_path: Path, here: Plant
    ) -> None:
        far = Far()
        far.always = Running("x", again_in_s=3600.0)
        slow = replace(NOT_POLLED, renew_s=30.0)
        async with plant(conninfo, tmp_path, {"far": far}, pace=slow, slots=1) as worker:
            worker.work()
            task = await here.request()
            await until(lambda: asyncio.sleep(0, here.course(task)[-1] == "Submitted"))
            await here.cancel(task)
            far.always = None
            other = await here.request()
            # Its only slot is free again.
            assert (await here.over(other)).status == "completed"

    async def test_without_any_word_everything_still_happens(
        self, conninfo: str, tmp_path: Path, here: Plant, far: Gated, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        far.gate.set()
        async with plant(conninfo, tmp_path, {"far": far}) as worker:
            monkeypatch.setattr(worker.worker, "told", lambda _: None)
            worker.work()
            for _ in range(2):
                task = await here.request()
                assert (await here.over(task)).status == "completed"


async def test_what_was_put_back_is_not_taken_again_by_a_heartbeat_under_way(conninfo: str, tmp_path: Path) -> None:
    async with plant(conninfo, tmp_path, {}) as here:
        await here.request()
        now = utc_now()
        later = now + timedelta(seconds=30)
        asked: Any = {"worker": "w", "now": now, "until": later, "limits": {"far": 1}, "user_limit": 1}
        found = await claim(here.db, **asked)
        assert found is not None
        await put_back(here.db, task_id=found.task_id, fence=found.fence)
        assert not await renew(here.db, task_id=found.task_id, fence=found.fence, until=later, progress=1)
        again = await claim(here.db, **asked)
        assert again is not None
        assert (again.task_id, again.losses) == (found.task_id, 0)

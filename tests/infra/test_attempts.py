"""What providers do wrong, and what must not come of it: each test is named after how somebody lost money or time."""

import asyncio
from datetime import timedelta
from itertools import repeat
from pathlib import Path

import pytest
from msgspec.structs import replace

from mintage.application.providers import (
    FateUnknown,
    Finished,
    Job,
    JobMissing,
    JobRefused,
    NotSent,
    Running,
    Unreachable,
)
from mintage.application.works import Works
from mintage.domain.generation.events import GenerationClosed, GenerationDeferred, GenerationFailed
from mintage.infra import attempts, causes, products
from mintage.infra.asking import MISSING_MAX
from mintage.infra.storage import MediaFolder
from mintage.projections.works import works_of_tasks
from tests.conftest import until
from tests.infra.far import Far, called, finished, png
from tests.infra.kit import erase
from tests.infra.pipeline import PRICE, QUICK, Clock, Plant, plant

HAVING = 1_000
ALL = (HAVING, 0)
CHARGED = (HAVING - PRICE, 0)


async def closed(here: Plant, task_id: str) -> str:
    """How what was left to do after the end was closed, when it is."""

    async def is_closed() -> bool:
        return isinstance(here.events(task_id)[-1], GenerationClosed)

    await until(is_closed)
    last = here.events(task_id)[-1]
    assert isinstance(last, GenerationClosed)
    return last.outcome


class TestMoney:
    async def test_nobody_has_to_ask_for_a_task_to_be_made_and_charged_once(self, here: Plant, far: Far) -> None:
        task = await here.request()
        shown = await here.over(task)
        assert (shown.status, shown.charged, shown.renderer) == ("completed", PRICE, "far")
        assert here.ledger() == CHARGED
        assert here.course(task) == ["Requested", "Started", "Dispatched", "Submitted", "Completed"]
        assert far.calls["create"] == 1
        (job,) = far.jobs.values()
        assert (job.model, job.prompt, job.count) == ("their-model", "a cat", 1)
        assert here.user_id not in job.customer

    @pytest.mark.parametrize(
        ("blame", "ended"),
        [
            ("provider", causes.FAILED),
            ("user", causes.REQUEST_REFUSED),
            ("policy", causes.CONTENT_REFUSED),
        ],
    )
    @pytest.mark.parametrize("when", ["create", "poll"])
    async def test_a_failed_task_is_not_left_charged(
        self, here: Plant, far: Far, when: str, blame: str, ended: tuple[str, str]
    ) -> None:
        refused = JobRefused(blame, "their_code", "secret words of theirs")  # type: ignore[arg-type]
        (far.creates if when == "create" else far.polls).append(refused)
        task = await here.request()
        shown = await here.over(task)
        assert (shown.status, shown.error_code, shown.error_message, shown.charged) == ("failed", *ended, 0)
        assert here.ledger() == ALL
        (failure,) = (event for event in here.events(task) if isinstance(event, GenerationFailed))
        assert "their" not in str(failure), "what providers say is not shown to people"

    async def test_a_persons_mistake_is_not_told_from_the_providers_by_guessing(self) -> None:
        codes = [code for code, _ in causes.BLAMED.values()]
        assert len(set(codes)) == len(codes)

    @pytest.mark.parametrize(("come_out", "charged"), [(1, 3), (2, 6), (3, 10)])
    async def test_what_did_not_come_out_is_not_charged(
        self, here: Plant, far: Far, come_out: int, charged: int
    ) -> None:
        far.polls.append(lambda theirs: finished(far.jobs[theirs], come_out))
        task = await here.request(count=3)
        shown = await here.over(task)
        assert (shown.status, shown.delivered, shown.charged) == ("completed", come_out, charged)
        assert here.ledger() == (HAVING - charged, 0)

    async def test_what_is_no_picture_is_not_charged(self, here: Plant, far: Far) -> None:
        far.polls += [Finished((png(), b"<html>error</html>")), Finished((b"", b"{}"))]
        one, none = await here.request(count=2), None
        assert (await here.over(one)).charged == PRICE // 2
        none = await here.request(count=2)
        assert (await here.over(none)).error_code == "GENERATION_FAILED"
        assert here.ledger() == (HAVING - PRICE // 2, 0)
        assert len(here.files()) == 2

    @pytest.mark.parametrize("count", [0, 2, 5])
    async def test_a_provider_that_sends_another_number_than_was_asked_is_not_believed(
        self, here: Plant, far: Far, count: int
    ) -> None:
        far.polls.append(Finished((png(),) * count))
        task = await here.request(count=3)
        assert (await here.over(task)).error_code == "GENERATION_FAILED"
        assert here.ledger() == ALL

    async def test_a_mistake_in_reading_an_answer_does_not_destroy_what_was_paid_for(
        self, here: Plant, far: Far
    ) -> None:
        far.polls += [KeyError("cost"), ValueError("no JSON")]
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert here.ledger() == CHARGED

    async def test_a_disk_that_is_full_for_a_moment_does_not_destroy_what_was_paid_for(
        self, here: Plant, far: Far, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = iter([OSError("no space"), OSError("no space")])
        write = here.media.write

        def full(key: str, content: bytes) -> None:
            for error in left:
                raise error
            write(key, content)

        monkeypatch.setattr(here.media, "write", full)
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert (here.ledger(), far.calls["create"]) == (CHARGED, 1)

    async def test_whatever_of_ours_goes_wrong_the_credits_go_back(
        self, here: Plant, far: Far, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(products, "measured", lambda *_: 1 / 0)
        task = await here.request()
        assert (await here.over(task)).error_code == "GENERATION_FAILED"
        assert (here.ledger(), here.files()) == (ALL, [])


class TestSendingOnce:
    async def test_a_create_whose_fate_is_unknown_is_not_sent_twice(self, here: Plant, far: Far) -> None:
        far.creates.append(FateUnknown("read timeout"))
        task = await here.request()
        shown = await here.over(task)
        assert (shown.status, shown.error_code) == ("failed", "CREATE_AMBIGUOUS")
        assert (far.calls["create"], here.ledger()) == (1, ALL)
        assert here.course(task) == ["Requested", "Started", "Dispatched", "Failed"]

    async def test_a_create_that_is_never_answered_does_not_hold_a_slot_and_the_credits_for_ever(
        self, here: Plant, far: Far, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(attempts, "CREATE_GRACE_S", 0.1)
        far.creates.append(lambda _: asyncio.Event().wait())
        task = await here.request(provider="brief")
        assert (await here.over(task)).error_code == "CREATE_AMBIGUOUS"
        assert (far.calls["create"], here.ledger()) == (1, ALL)

    async def test_where_it_can_be_found_it_is_gone_on_with_and_not_given_up(self, here: Plant, far: Far) -> None:
        far.finds = True

        def taken(job: Job) -> None:
            far.take(job)
            raise FateUnknown("read timeout")

        far.creates.append(taken)
        far.findings += [Unreachable("503"), ConnectionError("a mistake of the adapter")]
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert (far.calls["create"], far.calls["find"], here.ledger()) == (1, 3, CHARGED)

    async def test_what_surely_never_arrived_is_sent_under_another_id(self, here: Plant, far: Far) -> None:
        far.finds = True
        sent: list[str] = []

        def lost(job: Job) -> None:
            sent.append(job.job_id)
            raise FateUnknown("connection reset")

        far.creates.append(lost)
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        (job,) = far.jobs.values()
        assert job.job_id != sent[0]
        assert far.calls["find"] == MISSING_MAX, "that it is not there has to be said as often as a 404"
        assert here.ledger() == CHARGED

    async def test_what_costs_nothing_is_simply_made_again(self, here: Plant, far: Far) -> None:
        far.repeats = True
        far.creates.append(FateUnknown("read timeout"))
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert (far.calls["create"], here.ledger()) == (2, CHARGED)
        assert "Dispatched" not in here.course(task)

    async def test_a_create_that_did_not_leave_is_not_given_up(self, here: Plant, far: Far) -> None:
        far.creates += [NotSent("connection refused"), NotSent("429", retry_in_s=0.05)]
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert (far.calls["create"], here.ledger()) == (3, CHARGED)
        again = ["Started", "Dispatched", "Deferred"]
        assert here.course(task) == ["Requested", *again, *again, "Started", "Dispatched", "Submitted", "Completed"]
        assert [e.deferrals for e in here.events(task) if isinstance(e, GenerationDeferred)] == [1, 2]

    async def test_it_is_not_retried_for_ever(self, here: Plant, far: Far) -> None:
        far.creates += repeat(NotSent("down"), 20)
        task = await here.request()
        assert (await here.over(task)).error_code == "PROVIDER_UNAVAILABLE"
        assert (far.calls["create"], here.ledger()) == (attempts.DEFERRALS_MAX + 1, ALL)

    async def test_retry_after_does_not_extend_the_deadline(self, here: Plant, far: Far) -> None:
        far.creates.append(NotSent("429", retry_in_s=3600 * 24))
        task = await here.request()
        assert (await here.over(task)).error_code == "PROVIDER_UNAVAILABLE"
        assert (far.calls["create"], here.ledger()) == (1, ALL)


class TestAsking:
    async def test_a_job_that_says_nothing_for_long_is_not_taken_for_failed(self, here: Plant, far: Far) -> None:
        far.polls += repeat(Running("theirs-1"), 10)
        task = await here.request()
        assert (await here.over(task)).status == "completed"

    async def test_one_404_does_not_end_a_live_job(self, here: Plant, far: Far) -> None:
        far.polls += [JobMissing("404"), JobMissing("404"), Running("theirs-1"), JobMissing("404"), JobMissing("404")]
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert here.ledger() == CHARGED

    async def test_a_job_that_is_gone_does_not_hold_credits_for_ever(self, here: Plant, far: Far) -> None:
        far.polls += repeat(JobMissing("404"), MISSING_MAX)
        task = await here.request()
        assert (await here.over(task)).error_code == "PROVIDER_UNAVAILABLE"
        assert (far.calls["poll"], here.ledger()) == (MISSING_MAX, ALL)

    async def test_an_answer_that_does_not_come_is_not_taken_for_a_failure(self, here: Plant, far: Far) -> None:
        far.polls += repeat(Unreachable("502", retry_in_s=0.03), 6)
        task = await here.request()
        assert (await here.over(task)).status == "completed"
        assert (far.calls["create"], here.ledger()) == (1, CHARGED)

    async def test_what_is_finished_at_the_deadline_is_not_timed_out(self, here: Plant, far: Far, clock: Clock) -> None:
        far.polls.append(Running("theirs-1", again_in_s=3600.0))
        task = await here.request(provider="brief")
        shown = await here.over(task)
        assert (shown.status, shown.charged, far.calls["poll"]) == ("completed", PRICE, 2)

    async def test_what_is_not_finished_then_does_not_go_on_being_paid_for(self, here: Plant, far: Far) -> None:
        far.always = Running("theirs-1", again_in_s=3600.0)
        task = await here.request(provider="brief")
        shown = await here.over(task)
        assert (shown.status, shown.error_code) == ("failed", "TIMED_OUT")
        assert here.ledger() == ALL

    async def test_progress_is_seen(self, here: Plant, far: Far) -> None:
        far.always = Running("theirs-1", progress=0.42)
        task = await here.request()

        async def is_seen() -> bool:
            return (await here.task(task)).progress == 42

        await until(is_seen)


class TestComingLate:
    async def late(self, here: Plant, far: Far, count: int = 1) -> str:
        """A task that has timed out while the provider goes on."""
        far.always = Running("theirs-1", again_in_s=3600.0)
        task = await here.request(provider="brief", count=count)
        assert (await here.over(task)).error_code == "TIMED_OUT"
        return task

    async def test_works_that_come_late_are_not_lost_and_not_charged(self, here: Plant, far: Far) -> None:
        task = await self.late(here, far, count=2)
        assert here.ledger() == ALL
        far.always = None
        await called(far, "poll", 3)

        async def is_given() -> bool:
            return (await here.task(task)).status == "completed"

        await until(is_given)
        shown = await here.task(task)
        assert (shown.delivered, shown.charged, shown.error_code, shown.error_message) == (2, 0, None, None)
        assert here.ledger() == ALL
        assert here.course(task)[-2:] == ["Failed", "DeliveredLate"]
        assert len(here.files()) == 4
        works = [entry.event for entry in here.log() if entry.stream.startswith("work-")]
        assert [type(event).__name__ for event in works[-2:]] == ["WorkCompleted"] * 2

    async def test_a_work_that_was_deleted_meanwhile_does_not_come_back(self, here: Plant, far: Far) -> None:
        task = await self.late(here, far, count=2)
        kept, deleted = (work.work_id for work in await works_of_tasks(here.db, [task]))
        await Works(here.journal, here.db, here.media).delete(here.user_id, deleted)
        far.always = None

        async def is_given() -> bool:
            return here.course(task)[-1] == "DeliveredLate" and len(here.files()) == 2

        await until(is_given)
        assert all(name.startswith(kept) for name in here.files())

    async def test_nothing_is_stored_for_who_was_erased_meanwhile(self, here: Plant, far: Far) -> None:
        task = await self.late(here, far)
        await here.journal.transact(erase(here.user_id), actor="system")
        far.always = None
        assert await closed(here, task) == "given_up"
        assert here.ledger() == ALL
        await until(lambda: asyncio.sleep(0, here.files() == []))

    @pytest.mark.parametrize(
        ("said", "outcome"),
        [(JobRefused("provider", "x", "y"), "failed"), (JobMissing("404"), "missing")],
        ids=["failed", "missing"],
    )
    async def test_nobody_watches_for_ever_what_brings_nothing(
        self, here: Plant, far: Far, said: Exception, outcome: str
    ) -> None:
        task = await self.late(here, far)
        far.polls += repeat(said, 3)
        assert await closed(here, task) == outcome
        assert (here.ledger(), (await here.task(task)).status) == (ALL, "failed")

    async def test_what_never_ends_is_given_up_by_the_reaper(self, here: Plant, far: Far, clock: Clock) -> None:
        task = await self.late(here, far)
        clock.ahead = timedelta(hours=23)
        await here.reaper.catch_up()
        assert here.course(task)[-1] == "Failed"
        clock.ahead = timedelta(days=1, minutes=1)
        await here.reaper.catch_up()
        assert await closed(here, task) == "given_up"


class TestCancelling:
    async def test_cancelling_what_waits_calls_no_provider(self, here: Plant, far: Far) -> None:
        task = await here.request(provider="other")
        await here.cancel(task)
        assert (here.course(task), here.ledger()) == (["Requested", "Cancelled"], ALL)
        assert not far.calls

    async def test_a_cancelled_job_does_not_go_on_at_our_cost_and_no_other_is_touched(
        self, here: Plant, far: Far
    ) -> None:
        far.cancels = True
        far.always = Running("x")
        other, task = await here.request(), None
        await called(far, "poll", 1)
        task = await here.request()

        async def are_there() -> bool:
            return len(far.jobs) == 2 and here.course(task)[-1] == "Submitted"

        await until(are_there)
        await here.cancel(task)
        far.stops.append(Unreachable("502"))
        assert await closed(here, task) == "stopped"
        assert set(far.cancelled) == {"theirs-2"}
        assert (await here.task(other)).status == "processing"
        assert here.ledger() == (HAVING - PRICE, PRICE)

    async def test_a_job_that_was_over_when_it_was_cancelled_is_not_charged(self, here: Plant, far: Far) -> None:
        far.cancels = True
        far.always = Running("x")
        far.stops.append(False)
        task = await here.request()
        await called(far, "poll")
        await here.cancel(task)
        assert await closed(here, task) == "over"
        assert here.ledger() == ALL

    async def test_what_cannot_be_cancelled_there_is_dropped_here(self, here: Plant, far: Far) -> None:
        far.always = Running("x")
        task = await here.request()
        await called(far, "poll")
        await here.cancel(task)
        asked = far.calls["poll"]
        far.always = None
        other = await here.request()
        await here.over(other)
        assert far.calls["cancel"] == 0
        assert far.calls["poll"] <= asked + 2, "nobody asks for a job that nobody wants"
        assert here.course(task)[-1] == "Cancelled"
        assert here.ledger() == CHARGED
        assert len(here.files()) == 2

    async def test_a_task_that_is_sent_again_does_not_have_its_old_job_cancelled(self, here: Plant, far: Far) -> None:
        """The one that a queue of another product got wrong: it then also charged for what never ran."""
        far.cancels = far.repeats = True
        far.polls += repeat(JobMissing("404"), MISSING_MAX)
        far.creates += [lambda job: Running(far.take(job)), NotSent("down", retry_in_s=60.0)]
        task = await here.request()

        async def is_put_off_twice() -> bool:
            return here.course(task).count("Deferred") == 2

        await until(is_put_off_twice)
        await here.cancel(task)
        assert here.course(task)[-1] == "Cancelled"
        assert (far.cancelled, here.ledger()) == ([], ALL)

    async def test_a_job_that_is_being_sent_when_its_task_is_cancelled_does_not_go_on(
        self, here: Plant, far: Far
    ) -> None:
        far.cancels = True
        gate = asyncio.Event()

        async def slow(job: Job) -> Running:
            await gate.wait()
            return Running(far.take(job))

        far.creates.append(slow)
        task = await here.request()
        await called(far, "create")
        await here.cancel(task)
        gate.set()
        await called(far, "cancel")
        assert far.cancelled == ["theirs-1"]
        assert (here.course(task)[-1], here.ledger()) == ("Cancelled", ALL)

    async def test_cancel_time_out_failure_and_success_at_once_move_the_credits_once(
        self, here: Plant, far: Far
    ) -> None:
        gate = asyncio.Event()

        async def all_at_once(theirs: str) -> Finished:
            await gate.wait()
            return finished(far.jobs[theirs])

        far.polls += repeat(all_at_once, 20)
        tasks = [await here.request() for _ in range(8)]
        await called(far, "poll", 8)
        gate.set()
        others = [here.cancel(task) for task in tasks] + [here.lifecycle.time_out(task) for task in tasks]
        await asyncio.gather(*others, return_exceptions=True)
        shown = [await here.over(task) for task in tasks]
        assert here.ledger() == (HAVING - sum(task.charged for task in shown), 0)


class TestTime:
    async def test_what_waited_too_long_is_not_begun(self, conninfo: str, tmp_path: Path) -> None:
        far, clock = Far(), Clock()
        async with plant(conninfo, tmp_path, {"far": far}, clock=clock) as here:
            task = await here.request()
            clock.ahead = timedelta(hours=2)
            here.work()
            assert (await here.over(task)).error_code == "TIMED_OUT"
            assert (here.ledger(), far.calls["create"]) == (ALL, 0)

    async def test_a_task_that_nobody_can_work_on_does_not_hold_credits_for_ever(
        self, here: Plant, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        task = await here.request(provider="other")
        clock.ahead = timedelta(minutes=59)
        await here.reaper.catch_up()
        assert here.ledger() == (HAVING - PRICE, PRICE)
        clock.ahead = timedelta(hours=1, seconds=1)
        with caplog.at_level("INFO"):
            await here.reaper.catch_up()
        assert ((await here.over(task)).error_code, here.ledger()) == ("TIMED_OUT", ALL)
        assert f"task {task} ran out of time while nobody worked on it" in caplog.text

    async def test_workers_that_were_away_at_the_deadline_ask_once_more_before_anything_is_lost(
        self, conninfo: str, tmp_path: Path
    ) -> None:
        far, clock = Far(), Clock()
        far.always = Running("x")
        async with plant(conninfo, tmp_path, {"far": far}, clock=clock) as here:
            here.work()
            task = await here.request()
            await called(far, "poll")
            await here.stop()
        far.always = None
        clock.ahead = timedelta(hours=1, seconds=30)
        async with plant(conninfo, tmp_path, {"far": far}, clock=clock) as later:
            later.user_id = here.user_id
            await later.reaper.catch_up()
            assert (await later.task(task)).status == "processing", "the reaper leaves it to them for a minute"
            later.work()
            assert (await later.over(task)).status == "completed"
            assert later.ledger() == CHARGED


class TestStopping:
    async def test_a_deployment_does_not_fail_or_repeat_what_is_under_way(self, conninfo: str, tmp_path: Path) -> None:
        far = Far()
        far.always = Running("x")
        async with plant(conninfo, tmp_path, {"far": far}) as here:
            here.work()
            task = await here.request()
            await called(far, "poll")
            await here.stop()
        far.always = None
        async with plant(conninfo, tmp_path, {"far": far}) as later:
            later.user_id = here.user_id
            later.work()
            assert (await later.over(task)).status == "completed"
            assert (far.calls["create"], later.ledger()) == (1, CHARGED)
            assert later.course(task)[-2:] == ["Resumed", "Completed"]

    async def test_a_create_under_way_is_waited_for_because_its_id_would_be_lost(
        self, conninfo: str, tmp_path: Path
    ) -> None:
        far, gate = Far(), asyncio.Event()

        async def slow(job: Job) -> Running:
            await gate.wait()
            far.told(0.1)
            return Running(far.take(job))

        far.creates.append(slow)
        async with plant(conninfo, tmp_path, {"far": far}) as here:
            here.work()
            task = await here.request()
            await called(far, "create")
            stopping = asyncio.create_task(here.stop())
            await asyncio.sleep(0.05)
            gate.set()
            await stopping
            assert here.course(task)[-1] == "Submitted"
        async with plant(conninfo, tmp_path, {"far": far}) as later:
            later.user_id = here.user_id
            later.work()
            assert (await later.over(task)).status == "completed"
            assert (far.calls["create"], later.ledger()) == (1, CHARGED)

    async def test_deployments_are_not_taken_for_workers_that_died(self, conninfo: str, tmp_path: Path) -> None:
        far = Far(repeats=True)
        user_id = task = ""

        async def paint(_: Job) -> None:
            while True:
                far.told(0.5)
                await asyncio.sleep(0.01)

        far.creates += repeat(paint, attempts.LOST_MAX + 1)
        for deployment in range(attempts.LOST_MAX + 1):
            async with plant(conninfo, tmp_path, {"far": far}) as here:
                here.user_id = user_id
                here.work()
                task = task or await here.request()
                user_id = here.user_id
                await called(far, "create", deployment + 1)
                await here.stop()
                assert here.course(task)[-1] == "Deferred"
        async with plant(conninfo, tmp_path, {"far": far}) as later:
            later.user_id = user_id
            later.work()
            assert (await later.over(task)).status == "completed"
            assert later.ledger() == CHARGED


class TestDying:
    async def test_what_takes_its_workers_down_with_it_is_not_tried_for_ever(
        self, conninfo: str, tmp_path: Path
    ) -> None:
        far = Far(repeats=True)
        async with plant(conninfo, tmp_path, {"far": far}) as here:
            task = await here.request()
            for fence in range(1, attempts.LOST_MAX + 1):
                await here.lifecycle.start(task, fence=fence, worker="dies")
            here.work()
            assert (await here.over(task)).error_code == "ABANDONED"
            assert (far.calls["create"], here.ledger()) == (0, ALL)

    async def test_the_files_of_a_claim_that_was_lost_are_not_left(self, conninfo: str, tmp_path: Path) -> None:
        far = Far()
        async with plant(conninfo, tmp_path, {"far": far}, pace=replace(QUICK, lease_s=0.5)) as here:
            task = await here.request()
            await here.lifecycle.start(task, fence=1, worker="dies")
            (work,) = await works_of_tasks(here.db, [task])
            here.media.write(MediaFolder.key_of(work.work_id, 1, ".png"), b"half of it")
            await here.db.execute("update queue set fence = 1")
            here.work()
            assert (await here.over(task)).status == "completed"

            async def is_tidy() -> bool:
                return len(here.files()) == 2

            await until(is_tidy)

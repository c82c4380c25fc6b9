"""What a review found in the pipeline, each as it would come back."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from mintage.application.generations import Generations
from mintage.application.providers import Job, Running, Unreachable
from mintage.application.transaction import Unavailable
from mintage.application.works import Works
from mintage.infra import aftermath as aftermath_module
from mintage.infra import worker as worker_module
from mintage.infra.attempts import LOST_MAX
from mintage.infra.avatars import AvatarFolder
from mintage.infra.identifiers import new_id
from mintage.infra.measure import measured
from mintage.infra.providers.stability import Options, Stability
from mintage.infra.providers.wire import Wire
from mintage.infra.store import Lost
from mintage.projections.works import works_of_tasks
from tests.conftest import until
from tests.infra.far import Far, called, png
from tests.infra.kit import Gated, grant, journal_on, register, some_id
from tests.infra.pipeline import CATALOGUE, PRICE, QUICK, Clock, Plant, model, plant


async def delivered_late(here: Plant, far: Far, count: int = 1) -> str:
    far.always = Running("theirs-1", again_in_s=3600.0)
    task = await here.request(count=count, provider="brief")
    assert (await here.over(task)).status == "failed"
    far.always = None

    async def is_completed() -> bool:
        return (await here.task(task)).status == "completed"

    await until(is_completed)
    return task


async def test_late_works_keep_their_files_when_the_house_is_tidied(here: Plant, far: Far) -> None:
    task = await delivered_late(here, far)
    await Works(here.journal, here.db, here.media).finish()
    (work,) = await works_of_tasks(here.db, [task])
    assert work.status == "completed"
    assert len(here.files()) == 2


async def being_given(here: Plant, far: Far) -> tuple[str, Gated]:
    """A task whose late works are being recorded: the gate lets their commit through."""
    far.always = Running("theirs-1", again_in_s=3600.0)
    task = await here.request(provider="brief")
    assert (await here.over(task)).status == "failed"
    here.journal._store = gated = Gated(here.journal._store)
    far.always = None
    await asyncio.wait_for(gated.waiting.wait(), 20)
    return task, gated


async def stays_whole(here: Plant, task: str) -> None:
    await asyncio.sleep(0.3)
    (work,) = await works_of_tasks(here.db, [task])
    assert work.status == "completed"
    assert len(here.files()) == 2


async def test_late_works_keep_their_files_when_a_server_stops_as_they_are_recorded(here: Plant, far: Far) -> None:
    task, gated = await being_given(here, far)
    stopping = asyncio.create_task(here.stop())
    await asyncio.sleep(0.3)
    gated.gate.set()
    await stopping
    await stays_whole(here, task)


async def test_late_works_keep_their_files_when_nobody_knows_whether_they_are_recorded(here: Plant, far: Far) -> None:
    here.journal._limits = replace(here.journal._limits, deadline_s=0.5)
    task, gated = await being_given(here, far)
    await asyncio.sleep(1.0)
    gated.gate.set()
    await stays_whole(here, task)


async def test_an_image_that_comes_after_the_lease_is_not_bought_again(
    conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is out of reach for longer than a lease while the provider paints."""
    posts = 0
    away = asyncio.Event()

    async def paint(_: httpx.Request) -> httpx.Response:
        nonlocal posts
        posts += 1
        if posts == 1:
            away.set()
            await asyncio.sleep(1.8)
            away.clear()
        headers = {"content-type": "image/png", "finish-reason": "SUCCESS"}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(png()))

    def lost_while_away(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(*given: Any, **more: Any) -> Any:
            if away.is_set():
                raise Lost("away")
            return await real(*given, **more)

        return ask

    for name in ("renew", "claim"):
        monkeypatch.setattr(worker_module, name, lost_while_away(getattr(worker_module, name)))
    wire = Wire("https://stability.test", "key", 60.0, httpx.MockTransport(paint))
    pace = replace(QUICK, lease_s=1.0)
    async with plant(conninfo, tmp_path, {"far": Stability(wire, Options())}, pace=pace) as here:
        core = replace(CATALOGUE, models=(model("plain", upstream="core"),))
        here.generations = Generations(here.journal, core, new_id, None)
        here.work()
        assert (await here.over(await here.request())).status == "completed"
        await here.stop()
    assert posts == 1


async def test_products_and_pictures_are_stored_in_threads_that_do_nothing_else(here: Plant, far: Far) -> None:
    threads: set[str] = set()
    write = here.media.write

    def watched(key: str, content: bytes) -> None:
        threads.add(threading.current_thread().name.partition("_")[0])
        write(key, content)

    here.media.write = watched  # type: ignore[method-assign]
    assert (await here.over(await here.request())).status == "completed"
    await delivered_late(here, far)
    await AvatarFolder(here.media, new_id).store(here.user_id, png())
    assert threads == {"files"}


async def test_one_that_cannot_be_put_back_leaves_no_other_to_itself(
    here: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = iter([SimpleNamespace(task_id=str(n), aftermath="watch", losses=0, renderer="far") for n in range(3)])
    looking = 0

    async def claim(*_: Any, **__: Any) -> Any:
        return next(claims, None)

    async def look(found: Any) -> None:
        nonlocal looking
        if found.task_id == "0":
            raise Unreachable("gone")
        looking += 1
        await asyncio.sleep(0.2)
        looking -= 1

    async def lost(*_: Any) -> None:
        raise Lost("away")

    monkeypatch.setattr(aftermath_module, "claim_aftermath", claim)
    monkeypatch.setattr(here.aftermath, "_look", look)
    monkeypatch.setattr(here.aftermath, "_later", lost)
    assert await here.aftermath._some() == 3
    assert looking == 0


async def test_who_ends_a_task_does_not_remove_what_comes_late(here: Plant, far: Far) -> None:
    """In a store that takes its time to say what it holds, as a bucket may."""
    kept = here.media.kept

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(0.2)
        return await kept(*given)

    here.media.kept = slow  # type: ignore[method-assign, assignment]
    await delivered_late(here, far, count=4)
    await asyncio.sleep(1.0)
    assert len(here.files()) == 8


async def test_who_is_told_to_leave_before_anything_is_sent_sends_nothing(conninfo: str, tmp_path: Path) -> None:
    far, inside, go = Far(), asyncio.Event(), asyncio.Event()
    async with plant(conninfo, tmp_path, {"far": far}) as here:
        start = here.lifecycle.start

        async def slow(*given: Any, **named: Any) -> None:
            inside.set()
            await go.wait()
            await start(*given, **named)

        here.lifecycle.start = slow  # type: ignore[method-assign]
        here.work()
        task = await here.request()
        await inside.wait()
        stopping = asyncio.create_task(here.stop())
        await asyncio.sleep(0.05)
        go.set()
        await stopping
        user_id = here.user_id
    assert not far.calls["create"]
    await goes_on(conninfo, tmp_path, user_id, task)


async def test_a_claim_that_comes_while_leaving_is_put_back(
    conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, inside, go = Far(), asyncio.Event(), asyncio.Event()
    claim = getattr(worker_module, "claim")  # noqa: B009 -- what the worker calls

    async def slow(*given: Any, **named: Any) -> Any:
        found = await claim(*given, **named)
        if found is not None:
            inside.set()
            await go.wait()
        return found

    async with plant(conninfo, tmp_path, {"far": far}) as here:
        monkeypatch.setattr(worker_module, "claim", slow)
        here.work()
        task = await here.request()
        await inside.wait()
        await here.worker.stop()
        go.set()
        await asyncio.sleep(0.2)
        await here.kill()
        user_id = here.user_id
    monkeypatch.setattr(worker_module, "claim", claim)
    assert not far.calls["create"]
    await goes_on(conninfo, tmp_path, user_id, task)


async def goes_on(conninfo: str, tmp_path: Path, user_id: str, task: str) -> None:
    """The task is made by the next process, with one create."""
    far = Far()
    async with plant(conninfo, tmp_path, {"far": far}) as here:
        here.user_id = user_id
        here.work()
        assert (await here.over(task)).status == "completed"
        assert far.calls["create"] == 1


async def test_what_takes_its_workers_down_is_not_gone_on_with_for_ever(conninfo: str, tmp_path: Path) -> None:
    far, clock, user_id, task = Far(), Clock(), "", ""

    async def hang(_: str) -> None:
        await asyncio.Event().wait()

    far.polls.extend([hang] * 50)
    for turn in range(LOST_MAX + 1):
        async with plant(conninfo, tmp_path, {"far": far}, clock=clock) as here:
            here.user_id = user_id
            task = task or await here.request()
            user_id = here.user_id
            here.work()
            if turn == LOST_MAX:
                shown = await here.over(task)
                assert (shown.status, shown.error_code) == ("failed", "ABANDONED")
                assert here.ledger() == (1_000, 0)
                return
            await called(far, "poll", turn + 1)
            await here.kill()
            clock.ahead += timedelta(seconds=40)


async def test_a_provider_is_not_asked_without_a_pause(here: Plant, far: Far) -> None:
    far.always = Running("theirs-1", again_in_s=0.0)
    here.work()
    task = await here.request()
    await called(far, "poll")
    before = far.calls["poll"]
    await asyncio.sleep(10 * QUICK.ask_min_s)
    assert far.calls["poll"] - before <= 12
    await here.cancel(task)


async def test_a_store_that_is_away_for_a_while_loses_nothing_that_was_paid_for(here: Plant) -> None:
    write, away = here.media.write, iter(range(7))

    def failing(key: str, content: bytes) -> None:
        if next(away, None) is not None:
            raise OSError("away")
        write(key, content)

    here.media.write = failing  # type: ignore[method-assign]
    task = await here.request()
    assert (await here.over(task)).status == "completed"
    assert here.ledger() == (1_000 - PRICE, 0)


async def test_what_could_not_be_stored_to_the_end_is_not_called_ambiguous(here: Plant) -> None:
    def failing(key: str, content: bytes) -> None:
        raise Unavailable("the store of files does not answer")

    here.media.write = failing  # type: ignore[method-assign]
    task = await here.request(provider="brief")
    shown = await here.over(task)
    assert (shown.status, shown.error_code) == ("failed", "NOT_STORED")
    assert here.ledger() == (1_000, 0)


async def test_who_slept_while_it_uploaded_sends_nothing_afterwards(conninfo: str, tmp_path: Path) -> None:
    far, clock, inside, go = Far(finds=True), Clock(), asyncio.Event(), asyncio.Event()

    async def uploads_first(job: Job) -> Running:
        told = far.told
        inside.set()
        await go.wait()
        told(0.0)
        return Running(far.take(job))

    far.creates.append(uploads_first)
    async with plant(conninfo, tmp_path, {"far": far}, clock=clock, pace=replace(QUICK, renew_s=600.0)) as slept:
        slept.work()
        task = await slept.request()
        await inside.wait()
        clock.ahead = timedelta(seconds=31)
        slept.wakes._told.clear()
        async with plant(conninfo, tmp_path, {"far": far}, clock=clock) as here:
            here.user_id = slept.user_id
            here.work()
            assert (await here.over(task)).status == "completed"
            go.set()
            await asyncio.sleep(0.3)
            assert len(far.jobs) == 1


async def test_jobs_that_wait_far_away_keep_nobody_elses_from_being_begun(conninfo: str, tmp_path: Path) -> None:
    far, other = Far(), Far()
    far.always = Running("x", again_in_s=600.0)
    limits = {"far": 4, "else": 4}
    async with plant(
        conninfo, tmp_path, {"far": far, "else": other}, slots=sum(limits.values()), limits=limits
    ) as here:
        here.work()
        for _ in range(4):
            await here.request()
        await called(far, "create", 4)
        somebody = await here.somebody()
        task = await here.request(somebody, provider="other")
        assert (await here.over(task, somebody)).status == "completed"


def test_broken_metadata_are_no_reason_to_lose_a_picture() -> None:
    good = png()
    # An eXIf chunk of two bytes, which no reader makes anything of.
    broken = good[:33] + bytes.fromhex("0000000265584966") + b"MM" + bytes.fromhex("06641700") + good[33:]
    made = measured(broken, "image")
    assert (made.width, made.height) == (16, 16)


@pytest.mark.parametrize("amount", [2**31, 2**63])
async def test_a_number_that_is_too_large_fails_alone(conninfo: str, amount: int) -> None:
    async with journal_on(conninfo) as journal:
        people = [some_id(), some_id()]
        for user_id in people:
            await journal.transact(register(user_id, f"u{user_id[-12:]}"), actor=user_id)
        asked: list[Awaitable[Any]] = [
            journal.transact(grant(user_id, some), actor=user_id)
            for user_id, some in zip(people, (5, amount), strict=True)
        ]
        fine, _ = await asyncio.gather(*asked, return_exceptions=True)
        assert fine == 5

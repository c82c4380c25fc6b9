"""Who lost a claim leaves no trace: a work has the files that its row names, and no others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from mintage.application.generations import Ask, Generations
from mintage.application.lifecycle import Lifecycle
from mintage.application.transaction import Journal
from mintage.application.works import Works
from mintage.infra import bucket as buckets
from mintage.infra.attempts import Attempt, Tools
from mintage.infra.bucket import MediaBucket
from mintage.infra.builtin import Builtin
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool
from mintage.infra.identifiers import new_id
from mintage.infra.pace import Pace
from mintage.infra.sources import Sources
from mintage.infra.storage import Media, MediaFolder
from mintage.projections.claims import Claim, claim
from mintage.projections.tasks import Task, task_of
from mintage.projections.works import works_of_tasks
from tests.conftest import BASE_URL, until
from tests.infra.kit import CATALOGUE, grant, journal_on, register, some_id

if TYPE_CHECKING:
    from tests.s3 import Shop

LEASE = timedelta(seconds=30)


class Interrupted(MediaFolder):
    """Storage in which something else happens just before the next file is written."""

    def __init__(self, folder: Path, happens: Callable[[], None]) -> None:
        super().__init__(folder, lambda: BASE_URL, b"k" * 32, utc_now)
        self._happens: Callable[[], None] | None = happens

    def write(self, key: str, content: bytes) -> None:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        super().write(key, content)


class Workshop:
    """One task of two works, and workers that take it from each other."""

    def __init__(self, db: Pool, journal: Journal, media: MediaFolder) -> None:
        self.db, self.works, self.media = db, Works(journal, db, media), media
        self.generations, self.lifecycle = Generations(journal, CATALOGUE, new_id), Lifecycle(journal, new_id)
        self.user_id = some_id()
        self.task_id = ""
        self.now = utc_now()

    async def request(self, prompt: str = "a cat") -> None:
        small = {"width": 64, "height": 64, "count": 2}
        ask = Ask(document="v1", task_type="text2img", prompt=prompt, parameters=small)
        accepted = (await self.generations.request(self.user_id, ask)).outcome
        assert accepted is not None
        self.task_id = accepted.task_id

    async def claim(self) -> Claim:
        """The task, for whose lease has just ended."""
        self.now += 2 * LEASE
        found = await claim(
            self.db, worker="worker", now=self.now, until=self.now + LEASE, limits={"builtin": 9}, user_limit=9
        )
        assert found is not None
        return found

    async def work_on(self, found: Claim, media: Media | None = None) -> None:
        tools = Tools(
            lifecycle=self.lifecycle,
            db=self.db,
            media=media or self.media,
            sources=cast(Sources, None),
            clock=lambda: self.now,
            pace=Pace(retry_s=0.01),
        )
        await Attempt(found, Builtin(), "worker", tools, self.now + LEASE).run()

    async def task(self) -> Task:
        found = await task_of(self.db, self.user_id, self.task_id)
        assert found is not None
        return found

    async def named(self) -> set[str | None]:
        works = await works_of_tasks(self.db, [self.task_id])
        return {key for work in works for key in (work.file, work.thumbnail)}

    def stored(self) -> set[str]:
        folder = self.media.folder
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
async def workshop(conninfo: str, tmp_path: Path) -> AsyncIterator[Workshop]:
    media = MediaFolder(tmp_path, lambda: BASE_URL, b"k" * 32, utc_now)
    db = Pool(conninfo)
    await db.open()
    try:
        async with journal_on(conninfo) as journal:
            shop = Workshop(db, journal, media)
            await journal.transact(register(shop.user_id, "ann"), actor="test")
            await journal.transact(grant(shop.user_id, 100), actor="test")
            yield shop
    finally:
        await db.close()


async def test_a_task_leaves_the_files_that_its_works_name(workshop: Workshop) -> None:
    await workshop.request()
    await workshop.work_on(await workshop.claim())
    assert len(workshop.stored()) == 4
    assert workshop.stored() == await workshop.named()


async def test_a_store_that_is_down_fails_no_task_and_leaves_nothing_half_stored(
    workshop: Workshop, s3: "Shop", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "RETRIES", 0)
    bucket = s3.bucket()
    media = MediaBucket(bucket, lambda: BASE_URL, b"k" * 32, utc_now)
    await workshop.request()
    first = await workshop.claim()
    s3.fault = "down"
    # The first file is stored, the others are not.
    s3.failing = lambda request: not request.endswith(f"{first.works[0]}-{first.fence}.png")
    working = asyncio.create_task(workshop.work_on(first, media))

    async def one_is_there() -> bool:
        return len(s3.held(bucket)) == 1

    await until(one_is_there)
    assert ((await workshop.task()).status, await workshop.named()) == ("processing", {None})
    s3.heal()
    await working
    assert ((await workshop.task()).status, len(s3.held(bucket))) == ("completed", 4)
    assert set(s3.held(bucket)) == await workshop.named()


@pytest.mark.parametrize("deleted", [False, True], ids=["finished", "deleted"])
async def test_who_lost_a_task_while_painting_touches_nothing_of_its_successor(
    workshop: Workshop, deleted: bool
) -> None:
    await workshop.request()
    first = await workshop.claim()
    versions = {}

    async def succeed() -> None:
        await workshop.work_on(await workshop.claim())
        assert (await workshop.task()).status == "completed"
        if deleted:
            for work_id in first.works:
                await workshop.works.delete(workshop.user_id, work_id)
        for key in workshop.stored():
            versions[key] = await workshop.media.stat(key)

    loop = asyncio.get_running_loop()
    late = Interrupted(workshop.media.folder, lambda: asyncio.run_coroutine_threadsafe(succeed(), loop).result(60))
    await workshop.work_on(first, late)
    assert len(versions) == (0 if deleted else 4)
    assert workshop.stored() == set(versions) == await workshop.named()
    assert {key: await workshop.media.stat(key) for key in versions} == versions


async def test_who_lost_a_task_that_goes_on_leaves_it_its_files(workshop: Workshop) -> None:
    await workshop.request()
    first, second = await workshop.claim(), await workshop.claim()
    await workshop.lifecycle.start(first.task_id, fence=second.fence, worker="second")
    theirs = MediaFolder.key_of(first.works[0], second.fence, ".png")
    workshop.media.write(theirs, b"x")
    workshop.media.write(MediaFolder.key_of(first.works[0], first.fence, ".png"), b"x")
    await workshop.work_on(first)
    assert workshop.stored() == {theirs}


@pytest.mark.parametrize(("prompt", "status"), [("a cat", "completed"), ("[fail]", "failed")])
async def test_what_a_killed_worker_left_goes_with_the_end_of_the_task(
    workshop: Workshop, prompt: str, status: str
) -> None:
    await workshop.request(prompt)
    killed = await workshop.claim()
    await workshop.lifecycle.start(killed.task_id, fence=killed.fence, worker="killed")
    workshop.media.write(MediaFolder.key_of(killed.works[0], killed.fence, ".png"), b"x")
    await workshop.work_on(await workshop.claim())
    assert (await workshop.task()).status == status
    assert workshop.stored() == await workshop.named() - {None}
    assert len(workshop.stored()) == (4 if status == "completed" else 0)

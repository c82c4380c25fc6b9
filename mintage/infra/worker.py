"""Workers take tasks off the queue under a lease, make their works, and end them with their settlement."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from mintage.application.generations import Generations, Output
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.generation.decider import LeaseLost, TaskOver
from mintage.domain.generation.events import GenerationRequested
from mintage.domain.recorded import Recorded
from mintage.domain.work.events import WorkType
from mintage.infra.renderer import ImageRequest, RenderingFailed, render, thumbnail
from mintage.infra.storage import MediaFolder
from mintage.infra.store import Lost
from mintage.projections.queue import Claim, claim, renew
from mintage.projections.sql import Database

_log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=30)
RENEW_S: Final = 10.0
POLL_S: Final = 0.5
ATTEMPTS_MAX: Final = 3
FAILED_MESSAGE: Final = "生成失败，未扣除积分"


class Worker:
    """Runs ``slots`` tasks at a time until cancelled; what it leaves unfinished is taken up when the lease ends."""

    def __init__(
        self,
        generations: Generations,
        db: Database,
        media: MediaFolder,
        *,
        clock: Callable[[], datetime],
        slots: int = 1,
    ) -> None:
        self._generations = generations
        self._db = db
        self._media = media
        self._clock = clock
        self._slots = slots
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._wake = asyncio.Event()

    def seen(self, entries: Sequence[Recorded]) -> None:
        """What the journal appended or saw appended: a new task is taken up at once."""
        if any(isinstance(entry.event, GenerationRequested) for entry in entries):
            self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for slot in range(self._slots):
                group.create_task(self._serve(f"{self._name}-{slot}"))

    async def _serve(self, name: str) -> None:
        while True:
            try:
                now = self._clock()
                found = await claim(self._db, worker=name, now=now, until=now + LEASE)
                if found is not None:
                    await self._work_on(found, name)
                    continue
            except Lost as error:
                _log.warning("worker %s is waiting for the database: %s", name, error)
            except Exception:  # noqa: BLE001 -- the other tasks go on; this one is taken up when its lease ends
                _log.exception("worker %s came upon something unforeseen", name)
            self._wake.clear()
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _work_on(self, found: Claim, name: str) -> None:
        heartbeat = asyncio.create_task(self._keep(found))
        try:
            if found.attempt >= ATTEMPTS_MAX:
                # Whatever takes its workers down with it is not tried for ever.
                await self._fail(found, name, "ABANDONED", "多次尝试后仍未完成", fence=None)
                return
            await self._generations.start(found.task_id, fence=found.fence, worker=name)
            try:
                outputs = await asyncio.to_thread(self._make, found)
            except RenderingFailed as error:
                _log.info("task %s was refused by its renderer: %s", found.task_id, error)
                await self._fail(found, name, "GENERATION_FAILED", FAILED_MESSAGE, fence=found.fence)
            except Exception:  # noqa: BLE001 -- whatever goes wrong, the credits go back
                _log.exception("task %s failed", found.task_id)
                await self._fail(found, name, "GENERATION_FAILED", FAILED_MESSAGE, fence=found.fence)
            else:
                kind: WorkType = "video" if found.task_type.endswith("video") else "image"
                await self._generations.succeed(found.task_id, outputs, kind=kind, fence=found.fence, worker=name)
        except (Lost, Unavailable, OutcomeUnknown) as error:
            _log.warning("task %s waits for its lease to end: %s", found.task_id, error)
        except (LeaseLost, TaskOver) as over:
            _log.info("task %s went on without %s: %s", found.task_id, name, over)
            if isinstance(over, TaskOver) and over.status != "completed":
                await self._discard(found)
        finally:
            heartbeat.cancel()

    async def _fail(self, found: Claim, name: str, code: str, message: str, fence: int | None) -> None:
        await self._generations.fail(found.task_id, error_code=code, error_message=message, fence=fence, worker=name)

    async def _keep(self, found: Claim) -> None:
        """Renew the lease for as long as the work goes on."""
        while True:
            await asyncio.sleep(RENEW_S)
            until = self._clock() + LEASE
            try:
                if not await renew(self._db, task_id=found.task_id, fence=found.fence, until=until, progress=50):
                    return
            except Lost as error:
                _log.warning("the lease of task %s could not be renewed: %s", found.task_id, error)

    def _make(self, found: Claim) -> list[Output | None]:
        """Paint and store every work of the task; runs in a thread, where numpy lets others go on."""
        return [self._paint(found, index, work_id) for index, work_id in enumerate(found.works)]

    def _paint(self, found: Claim, index: int, work_id: str) -> Output:
        parameters = found.parameters
        request = ImageRequest(
            prompt=found.prompt,
            negative_prompt=found.negative_prompt or "",
            width=parameters.get("width", 1024),
            height=parameters.get("height", 1024),
            style=found.style or parameters.get("style"),
            transparent=found.transparent,
            seed=parameters.get("seed", 0),
            index=index,
        )
        png = render(request)
        file, small = self._keys(work_id)
        self._media.write(file, png)
        self._media.write(small, thumbnail(png))
        return Output(
            file=file,
            thumbnail=small,
            content_type="image/png",
            file_size=len(png),
            width=request.width,
            height=request.height,
        )

    async def _discard(self, found: Claim) -> None:
        for work_id in found.works:
            await self._media.remove_all_of(work_id)

    def _keys(self, work_id: str) -> tuple[str, str]:
        return MediaFolder.key_of(work_id, ".png"), MediaFolder.key_of(work_id, "-thumbnail.webp")

"""Workers take tasks off the queue under a lease, make their works, and end them with their settlement."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from PIL import Image

from mintage.application.generations import Generations, Output, work_type_of
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.generation.decider import LeaseLost, TaskOver
from mintage.domain.generation.events import GenerationRequested
from mintage.domain.recorded import Recorded
from mintage.infra.builtin import make
from mintage.infra.measure import Made
from mintage.infra.renderer import RenderingFailed
from mintage.infra.sources import SourceRefused, Sources, SourceUnavailable
from mintage.infra.storage import Media
from mintage.infra.store import Lost
from mintage.projections.queue import Claim, claim, renew
from mintage.projections.sql import Database

_log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=30)
RENEW_S: Final = 1.0
POLL_S: Final = 0.5
ATTEMPTS_MAX: Final = 3
FETCHED_SHARE: Final = 0.05
"""How much of the whole way it is to the source image, for tasks that have one."""
FAILED_MESSAGE: Final = "生成失败，未扣除积分"
ABANDONED_MESSAGE: Final = "多次尝试后仍未完成"
SOURCE_UNAVAILABLE_MESSAGE: Final = "无法获取源图片，未扣除积分"
SOURCE_REFUSED_MESSAGE: Final = "源图片地址或内容不被接受，未扣除积分"


class Stopped(Exception):
    """Nobody waits for the work any more."""


class Progress:
    """How far a task is: told by the thread that works on it, read by the heartbeat, which may stop the thread."""

    def __init__(self) -> None:
        self.percent = 0
        self._stopped = threading.Event()

    def reached(self, share: float) -> None:
        """Raises ``Stopped``. Only the task's end makes it 100."""
        if self._stopped.is_set():
            raise Stopped
        self.percent = min(int(share * 100), 99)

    def stop(self) -> None:
        self._stopped.set()


class Worker:
    """Works on one task at a time until cancelled; what it leaves unfinished is taken up when the lease ends."""

    def __init__(
        self,
        generations: Generations,
        db: Database,
        media: Media,
        sources: Sources,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._generations = generations
        self._db = db
        self._media = media
        self._sources = sources
        self._clock = clock
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._wake = asyncio.Event()

    def seen(self, entries: Sequence[Recorded]) -> None:
        """What the journal appended or saw appended: a new task is taken up at once."""
        if any(isinstance(entry.event, GenerationRequested) for entry in entries):
            self._wake.set()

    async def run(self) -> None:
        await self._serve(f"{self._name}-0")

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
        progress = Progress()
        heartbeat = asyncio.create_task(self._keep(found, progress))
        try:
            if found.attempt >= ATTEMPTS_MAX:
                # Whatever takes its workers down with it is not tried for ever.
                await self._fail(found, name, "ABANDONED", ABANDONED_MESSAGE, fence=None)
                return
            await self._generations.start(found.task_id, fence=found.fence, worker=name)
            await self._attempt(found, name, progress)
        except (Lost, Unavailable, OutcomeUnknown) as error:
            _log.warning("task %s waits for its lease to end: %s", found.task_id, error)
        except (Stopped, LeaseLost, TaskOver) as over:
            _log.info("task %s went on without %s: %r", found.task_id, name, over)
            for work_id in found.works:
                await self._media.remove_attempt(work_id, found.fence)
        finally:
            heartbeat.cancel()
            # A thread cannot be cancelled: it stops by itself at its next step.
            progress.stop()

    async def _attempt(self, found: Claim, name: str, progress: Progress) -> None:
        """Make the works, store them and end the task with them or with what went wrong. Raises ``Stopped``."""
        try:
            outputs = await self._made(found, progress)
        except (Stopped, Unavailable):
            # Where the files are is down: that is not the task's fault, and it is tried again when its lease ends.
            raise
        except SourceUnavailable as error:
            _log.info("the source image of task %s is not to be had: %s", found.task_id, error)
            await self._fail(found, name, "SOURCE_UNAVAILABLE", SOURCE_UNAVAILABLE_MESSAGE, fence=found.fence)
        except SourceRefused as error:
            _log.info("the source image of task %s is refused: %s", found.task_id, error)
            await self._fail(found, name, "SOURCE_REFUSED", SOURCE_REFUSED_MESSAGE, fence=found.fence)
        except RenderingFailed as error:
            _log.info("task %s was refused by its renderer: %s", found.task_id, error)
            await self._fail(found, name, "GENERATION_FAILED", FAILED_MESSAGE, fence=found.fence)
        except Exception:  # noqa: BLE001 -- whatever goes wrong, the credits go back
            _log.exception("task %s failed", found.task_id)
            await self._fail(found, name, "GENERATION_FAILED", FAILED_MESSAGE, fence=found.fence)
        else:
            kind = work_type_of(found.task_type)
            await self._generations.succeed(found.task_id, outputs, kind=kind, fence=found.fence, worker=name)
            if found.attempt:
                for work_id in found.works:
                    await self._media.keep_attempt(work_id, found.fence)

    async def _fail(self, found: Claim, name: str, code: str, message: str, fence: int | None) -> None:
        await self._generations.fail(found.task_id, error_code=code, error_message=message, fence=fence, worker=name)
        for work_id in found.works:
            await self._media.remove_all_of(work_id)

    async def _keep(self, found: Claim, progress: Progress) -> None:
        """Renew the lease and say how far the work is, until it is not ours any more."""
        while True:
            await asyncio.sleep(RENEW_S)
            until, percent = self._clock() + LEASE, progress.percent
            try:
                if not await renew(self._db, task_id=found.task_id, fence=found.fence, until=until, progress=percent):
                    progress.stop()
                    return
            except Lost as error:
                _log.warning("the lease of task %s could not be renewed: %s", found.task_id, error)

    async def _made(self, found: Claim, progress: Progress) -> list[Output | None]:
        """Every work of the task, painted and stored in threads, where Pillow and the encoder let others go on."""
        source: Image.Image | None = None
        before = 0.0
        if found.source_image_url is not None:
            source, before = await self._sources.picture(found.source_image_url, found.source_file), FETCHED_SHARE
            progress.reached(before)
        files = await asyncio.to_thread(
            make, found, source, lambda share: progress.reached(before + (1 - before) * share)
        )
        return [
            await asyncio.to_thread(self._stored, work_id, found.fence, made)
            for work_id, made in zip(found.works, files, strict=True)
        ]

    def _stored(self, work_id: str, fence: int, made: Made) -> Output:
        file, small = (Media.key_of(work_id, fence, end) for end in (made.suffix, "-thumbnail.webp"))
        self._media.write(file, made.content)
        self._media.write(small, made.thumbnail)
        return Output(
            file=file,
            thumbnail=small,
            content_type=made.content_type,
            file_size=len(made.content),
            width=made.width,
            height=made.height,
            duration_s=made.duration_s,
        )

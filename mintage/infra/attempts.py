"""One claim's work on one task: sent at most once, gone on with where it was left, ended with its settlement.

What a provider says of failures is for operators, in the log of the process; people get one of our own sentences.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from mintage.application.lifecycle import Lifecycle, Output, work_type_of
from mintage.application.providers import FateUnknown, Finished, Job, JobRefused, NotSent, Provider, Running
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.decider import Refusal
from mintage.domain.generation.decider import TaskOver
from mintage.infra.asking import Asking, Failed, OutOfTime, PutOff
from mintage.infra.causes import (
    ABANDONED,
    BLAMED,
    FAILED,
    INTERRUPTED,
    NOT_STORED,
    PROVIDER_UNAVAILABLE,
    SOURCE_REFUSED,
    SOURCE_UNAVAILABLE,
    Cause,
)
from mintage.infra.measure import NotAWork
from mintage.infra.pace import Pace, Progress, Stopped
from mintage.infra.products import job_of, keep, png_of
from mintage.infra.sources import SourceRefused, Sources, SourceUnavailable
from mintage.infra.storage import Media, in_filing
from mintage.infra.store import Lost
from mintage.projections.claims import Claim, Serial, put_back
from mintage.projections.works import works_of_tasks

_log = logging.getLogger(__name__)

LOST_MAX: Final = 3
"""So many attempts may come to an unexplained end: whatever takes its workers down with it is not tried for ever."""
DEFERRALS_MAX: Final = 8
STORING_MAX: Final = 5
CREATE_MAX_S: Final = 3_600.0
CREATE_GRACE_S: Final = 120.0
FETCHED_SHARE: Final = 0.05
"""How much of the whole way it is to the source image, for tasks that have one."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What every attempt works with."""

    lifecycle: Lifecycle
    db: Serial
    media: Media
    sources: Sources
    clock: Callable[[], datetime]
    pace: Pace


class Attempt:
    """``worker`` is in the log as who did it; ``leased_until`` is for whoever renews the claim to keep."""

    def __init__(self, found: Claim, provider: Provider, worker: str, tools: Tools, leased_until: datetime) -> None:
        self.found = found
        self.provider = provider
        self.leased_until = leased_until
        self.progress = Progress()
        self._worker = worker
        self._tools = tools
        self._is_sent = found.job_id is not None or found.provider_job is not None
        self._is_sending = False
        self._is_leaving = False
        self._asking = Asking(found, provider, self.progress, tools.pace, tools.clock)

    # -- for the worker

    async def run(self) -> None:
        """To the task's end, or to where another can go on. Raises ``Lost``, ``Unavailable``, ``OutcomeUnknown``."""
        found = self.found
        try:
            if not self._is_sent and self._asking.is_late():
                await self._time_out(fence=None)
            elif found.losses >= LOST_MAX or (not self._is_sent and found.attempt - found.deferrals >= LOST_MAX):
                await self._fail(ABANDONED, fence=None)
            else:
                await self._work()
        except Stopped:
            await self._leave()
        except Refusal as over:
            _log.info("task %s went on without %s: %r", found.task_id, self._worker, over)
            await self._tidy()

    def is_late(self) -> bool:
        """Whether the task's time is over."""
        return self._asking.is_late()

    def leave(self) -> None:
        """Come to where the task can be left for another to go on; a create that costs money is waited for."""
        self._is_leaving = True
        if not self._is_sending:
            self.progress.stop("leaving")

    # -- the course of it

    async def _work(self) -> None:
        try:
            await (self._go_on() if self._is_sent else self._begin())
        except (Stopped, Refusal, Lost, Unavailable, OutcomeUnknown):
            raise
        except OutOfTime:
            await self._time_out(fence=self.found.fence)
        except PutOff as put_off:
            await self._put_off(put_off)
        except Exception as error:  # noqa: BLE001 -- whatever goes wrong, the credits go back
            await self._fail(self._cause_of(error), fence=self.found.fence)

    def _cause_of(self, error: Exception) -> Cause:
        match error:
            case Failed():
                cause = error.cause
            case JobRefused():
                cause = BLAMED[error.blame]
            case SourceUnavailable():
                cause = SOURCE_UNAVAILABLE
            case SourceRefused():
                cause = SOURCE_REFUSED
            case _:
                _log.error("task %s failed", self.found.task_id, exc_info=error)
                return FAILED
        is_theirs = isinstance(error, JobRefused) and error.blame == "provider"
        level = logging.WARNING if is_theirs else logging.INFO
        _log.log(level, "task %s fails at %s: %s", self.found.task_id, self.found.renderer, error)
        return cause

    async def _begin(self) -> None:
        await self._tools.lifecycle.start(self.found.task_id, fence=self.found.fence, worker=self._worker)
        job = job_of(self.found, self.found.attempt + 1, await self._source())
        if not self.provider.repeats:
            if self.progress.stopped.is_set():
                # Nothing of it has left: it is not to look as if something had.
                raise Stopped
            self._is_sending = True
            await self._note(
                lambda: self._tools.lifecycle.dispatch(self.found.task_id, job_id=job.job_id, **self._by())
            )
            self._is_sent = True
            self._told(0.0)
        try:
            async with asyncio.timeout(None if self.provider.repeats else self._create_s()):
                answer = await self.provider.create(job, self._told)
        except NotSent as error:
            raise PutOff(str(error), error.retry_in_s) from error
        except (FateUnknown, TimeoutError) as error:
            _log.warning("whether %s has task %s is not known: %s", self.found.renderer, self.found.task_id, error)
            answer = await self._asking.find_out(job)
        await self._finish(job, answer)

    def _told(self, share: float) -> None:
        """Before anything is sent providers say 0, that they are about to. Raises ``PutOff``, ``Stopped``."""
        if not share and not self.provider.repeats and self._tools.clock() >= self.leased_until:
            # Another may have found out by now that nothing had been sent.
            raise PutOff("this worker slept past its lease")
        self._asking.told(share)

    def _create_s(self) -> float:
        """How long a create may take, the deadline notwithstanding: its answer is worth more than a slot."""
        return min(max(self._asking.left_s(), 0.0), CREATE_MAX_S) + CREATE_GRACE_S

    async def _go_on(self) -> None:
        await self._tools.lifecycle.resume(self.found.task_id, fence=self.found.fence, worker=self._worker)
        job = job_of(self.found, self.found.attempt)
        if self.found.provider_job is not None:
            await self._complete(await self._asking.poll(job, self.found.provider_job, 0.0))
        else:
            await self._finish(job, await self._asking.find_out(job))

    async def _finish(self, job: Job, answer: Running | Finished) -> None:
        if isinstance(answer, Running):
            theirs = answer.provider_job
            await self._submitted(theirs)
            self._is_sending = False
            if self._is_leaving:
                self.progress.stop("leaving")
            answer = await self._asking.poll(job, theirs, self._asking.pause_s(answer, 0))
        await self._complete(answer)

    async def _submitted(self, theirs: str) -> None:
        by = self._by()
        cancels = self.provider.cancels
        try:
            await self._note(
                lambda: self._tools.lifecycle.submitted(self.found.task_id, provider_job=theirs, cancels=cancels, **by)
            )
        except TaskOver:
            # Given up while it was being sent: nobody else knows of this job.
            if cancels:
                await self._cancel(theirs)
            raise
        self._is_sent = True

    async def _complete(self, finished: Finished) -> None:
        found = self.found
        outputs = [
            None if product is None else await self._kept(work_id, product)
            for work_id, product in zip(found.works, finished.products, strict=True)
        ]
        if not any(outputs):
            raise JobRefused("provider", "unusable", "nothing of what came can be used")
        kind = work_type_of(found.task_type)
        await self._note(lambda: self._tools.lifecycle.succeed(found.task_id, outputs, kind=kind, **self._by()))
        if found.fence > 1:
            for work_id in found.works:
                await self._tools.media.keep_attempt(work_id, found.fence)

    # -- ends

    async def _put_off(self, put_off: PutOff) -> None:
        pause_s = max(put_off.retry_in_s or 0.0, self._tools.pace.backoff_s(self.found.deferrals + 1))
        if self.found.deferrals >= DEFERRALS_MAX or pause_s >= self._asking.left_s():
            _log.warning("task %s is given up: %s", self.found.task_id, put_off)
            await self._fail(PROVIDER_UNAVAILABLE, fence=self.found.fence)
            return
        _log.info("task %s is put off for %.1f s: %s", self.found.task_id, pause_s, put_off)
        await self._defer(PROVIDER_UNAVAILABLE[0], self._tools.clock() + timedelta(seconds=pause_s))

    async def _defer(self, error_code: str, retry_at: datetime) -> None:
        await self._note(
            lambda: self._tools.lifecycle.defer(
                self.found.task_id, error_code=error_code, retry_at=retry_at, **self._by()
            )
        )

    async def _fail(self, cause: Cause, fence: int | None) -> None:
        code, message = cause
        await self._note(
            lambda: self._tools.lifecycle.fail(
                self.found.task_id, error_code=code, error_message=message, fence=fence, worker=self._worker
            )
        )
        await self._remove_files()

    async def _time_out(self, fence: int | None) -> None:
        await self._note(lambda: self._tools.lifecycle.time_out(self.found.task_id, fence=fence, worker=self._worker))
        _log.info("task %s ran out of time", self.found.task_id)
        # Of what was sent the works may still come, late, and be stored by another at this moment.
        await (self._tidy() if self._is_sent else self._remove_files())

    async def _leave(self) -> None:
        """The work was stopped: because the task is over or another's, or its time is, or this process's."""
        try:
            if self.progress.why == "late":
                await self._time_out(fence=self.found.fence)
            elif self.progress.why == "leaving" and not self._is_sent:
                await self._tools.lifecycle.defer(
                    self.found.task_id, error_code=INTERRUPTED, retry_at=self._tools.clock(), **self._by()
                )
        except (Refusal, Stopped) as over:
            _log.info("task %s went on without %s: %r", self.found.task_id, self._worker, over)
        if self.progress.why == "leaving":
            await put_back(self._tools.db, task_id=self.found.task_id, fence=self.found.fence)
        await self._tidy()

    async def _cancel(self, theirs: str) -> None:
        try:
            await self.provider.cancel(theirs)
        except Exception as error:  # noqa: BLE001 -- nobody pays for it but us
            _log.warning("job %s of task %s goes on at its provider: %r", theirs, self.found.task_id, error)

    # -- files

    async def _source(self) -> bytes | None:
        url = self.found.source_image_url
        if url is None:
            return None
        picture = await self.progress.unless_stopped(self._tools.sources.picture(url, self.found.source_file))
        self._asking.before = FETCHED_SHARE
        self._asking.told(0.0)
        return await asyncio.to_thread(png_of, picture)

    async def _kept(self, work_id: str, content: bytes) -> Output | None:
        """What is stored of a product; None if it is none."""
        failures = 0
        while True:
            try:
                return await in_filing(keep, self._tools.media, self.found, work_id, content)
            except NotAWork as error:
                _log.warning("of task %s the work %s is unusable: %s", self.found.task_id, work_id, error)
                return None
            except (OSError, Unavailable) as error:
                # Somebody was paid for it: there is time to the deadline.
                failures += 1
                if failures >= STORING_MAX and self._asking.is_late():
                    raise Failed(NOT_STORED, error) from error
                _log.warning("work %s could not be stored: %s", work_id, error)
                await self.progress.wait(self._tools.pace.backoff_s(failures))

    async def _remove_files(self) -> None:
        for work_id in self.found.works:
            await self._tools.media.remove_all_of(work_id)

    async def _tidy(self) -> None:
        """Leave no file that no work names: what this claim stored may or may not have become the work."""
        named = {work.work_id: work.file or "" for work in await works_of_tasks(self._tools.db, [self.found.task_id])}
        for work_id in self.found.works:
            if not named.get(work_id, "").startswith(Media.key_of(work_id, self.found.fence, ".")):
                await self._tools.media.remove_attempt(work_id, self.found.fence)

    # -- small things

    def _by(self) -> dict[str, Any]:
        return {"fence": self.found.fence, "worker": self._worker}

    async def _note(self, record: Callable[[], Awaitable[object]]) -> None:
        """Record what happened, for as long as the claim is ours: the log being out of reach does not undo it.

        Raises ``Stopped``, and the refusals of what is recorded.
        """
        failures = 0
        while True:
            try:
                await record()
                return
            except (Lost, Unavailable, OutcomeUnknown) as error:
                failures += 1
                _log.warning("what became of task %s could not be recorded yet: %s", self.found.task_id, error)
            await self.progress.wait(min(self._tools.pace.backoff_s(failures), self._tools.pace.lease_s / 3))

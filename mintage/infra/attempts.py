"""One claim's work on one task: sent at most once, gone on with where it was left, ended with its settlement.

What a provider says of failures is for operators, in the log of the process; people get one of our own sentences.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from typing import Any, Final, Literal, TypeAlias, TypeVar
from uuid import UUID, uuid5

import msgspec
from PIL import Image

from mintage.application.generations import Generations, Output, work_type_of
from mintage.application.providers import (
    Blame,
    FateUnknown,
    Finished,
    Job,
    JobMissing,
    JobRefused,
    NotSent,
    Provider,
    Running,
    Unreachable,
)
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.decider import Refusal
from mintage.domain.generation.decider import TaskOver
from mintage.infra.measure import NotAWork, measured
from mintage.infra.sources import SourceRefused, Sources, SourceUnavailable
from mintage.infra.storage import MediaFolder
from mintage.infra.store import Lost
from mintage.projections.queue import Claim, Serial, put_back
from mintage.projections.works import works_of_tasks

_log = logging.getLogger(__name__)

T = TypeVar("T")
Why: TypeAlias = Literal["over", "late", "leaving"]
Ended: TypeAlias = tuple[str, str]
"""The code and the sentence with which a task fails."""

LOST_MAX: Final = 3
"""So many attempts may come to an unexplained end: whatever takes its workers down with it is not tried for ever."""
DEFERRALS_MAX: Final = 8
MISSING_MAX: Final = 3
"""So often in a row a provider has to say that it does not know a job."""
STORING_MAX: Final = 5
FETCHED_SHARE: Final = 0.05
"""How much of the whole way it is to the source image, for tasks that have one."""

FAILED: Final = "GENERATION_FAILED", "生成失败，未扣除积分"
ABANDONED: Final = "ABANDONED", "多次尝试后仍未完成"
SOURCE_UNAVAILABLE: Final = "SOURCE_UNAVAILABLE", "无法获取源图片，未扣除积分"
SOURCE_REFUSED: Final = "SOURCE_REFUSED", "源图片地址或内容不被接受，未扣除积分"
CONTENT_REFUSED: Final = "CONTENT_REFUSED", "内容不符合服务商的使用规定，未扣除积分"
REQUEST_REFUSED: Final = "REQUEST_REFUSED", "服务商不接受这些参数，未扣除积分"
PROVIDER_UNAVAILABLE: Final = "PROVIDER_UNAVAILABLE", "服务商暂时不可用，未扣除积分"
CREATE_AMBIGUOUS: Final = "CREATE_AMBIGUOUS", "无法确认服务商是否已收到请求，未扣除积分"
INTERRUPTED: Final = "INTERRUPTED"
"""Why an attempt is put off whose worker was told to stop."""
_BLAMED: Final[dict[Blame, Ended]] = {"user": REQUEST_REFUSED, "policy": CONTENT_REFUSED, "provider": FAILED}
_FAR: Final = datetime.max.replace(tzinfo=UTC)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long the pipeline waits for what, in seconds.

    A claim lasts ``lease_s`` and is renewed every ``renew_s``; the queue is looked at every ``poll_s`` even if nobody
    says that something is due. A job is asked after ``ask_s`` at first and less and less often; what failed is tried
    again after ``retry_s`` at first. What is under way has ``leave_s`` to come to where it can be left.
    """

    lease_s: float = 30.0
    renew_s: float = 1.0
    poll_s: float = 2.0
    ask_s: float = 1.0
    ask_max_s: float = 10.0
    retry_s: float = 1.0
    retry_max_s: float = 60.0
    leave_s: float = 20.0

    def backoff_s(self, failures: int) -> float:
        """How long to wait after so many failures, at least one; no two wait alike."""
        longest = min(self.retry_s * 2.0 ** (failures - 1), self.retry_max_s)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What every attempt works with."""

    generations: Generations
    db: Serial
    media: MediaFolder
    sources: Sources
    clock: Callable[[], datetime]
    pace: Pace


class Stopped(Exception):
    """This claim's work is not to go on."""


class _OutOfTime(Exception):
    """The provider was asked for the last time."""


class _PutOff(Exception):
    """The attempt had no effect, and another may have more luck."""

    def __init__(self, reason: str, retry_in_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_in_s = retry_in_s


class _Failed(Exception):
    """The task fails."""

    def __init__(self, ended: Ended, reason: object) -> None:
        super().__init__(f"{ended[0]}: {reason}")
        self.ended = ended


class Progress:
    """How far a task is: told by whoever works on it, also in a thread; read by the heartbeat, which may stop both."""

    def __init__(self) -> None:
        self.percent = 0
        self.why: Why | None = None
        self.stopped = asyncio.Event()
        self._stopped = threading.Event()

    def reached(self, share: float) -> None:
        """Raises ``Stopped``. Only the task's end makes it 100."""
        if self._stopped.is_set():
            raise Stopped
        self.percent = min(max(int(share * 100), 0), 99)

    def stop(self, why: Why) -> None:
        self.why = self.why or why
        self.stopped.set()
        self._stopped.set()


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
        self._before = 0.0

    # -- for the worker

    async def run(self) -> None:
        """To the task's end, or to where another can go on. Raises ``Lost``, ``Unavailable``, ``OutcomeUnknown``."""
        found = self.found
        try:
            if not self._is_sent and self.is_late():
                await self._time_out(fence=None)
            elif not self._is_sent and found.attempt - found.deferrals >= LOST_MAX:
                await self._fail(ABANDONED, fence=None)
            else:
                await self._work()
        except Stopped:
            await self._leave()
        except Refusal as over:
            _log.info("task %s went on without %s: %r", found.task_id, self._worker, over)
            await self._tidy()

    def is_late(self) -> bool:
        return self._left_s() <= 0

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
        except _OutOfTime:
            await self._time_out(fence=self.found.fence)
        except _PutOff as put_off:
            await self._put_off(put_off)
        except Exception as error:  # noqa: BLE001 -- whatever goes wrong, the credits go back
            await self._fail(self._ended_by(error), fence=self.found.fence)

    def _ended_by(self, error: Exception) -> Ended:
        ended = {SourceUnavailable: SOURCE_UNAVAILABLE, SourceRefused: SOURCE_REFUSED}.get(type(error))
        if isinstance(error, _Failed):
            ended = error.ended
        elif isinstance(error, JobRefused):
            ended = _BLAMED[error.blame]
        if ended is None:
            _log.error("task %s failed", self.found.task_id, exc_info=error)
            return FAILED
        _log.log(
            logging.WARNING if isinstance(error, JobRefused) and error.blame == "provider" else logging.INFO,
            "task %s fails at %s: %s",
            self.found.task_id,
            self.found.renderer,
            error,
        )
        return ended

    async def _begin(self) -> None:
        await self._tools.generations.start(self.found.task_id, fence=self.found.fence, worker=self._worker)
        job = self._job(self.found.attempt + 1, await self._source())
        if not self.provider.repeats:
            self._is_sending = True
            await self._note(
                lambda: self._tools.generations.dispatch(self.found.task_id, job_id=job.job_id, **self._by())
            )
            self._is_sent = True
            if self._tools.clock() >= self.leased_until:
                # Another may have found out by now that nothing had been sent.
                raise _PutOff("this worker slept past its lease")
        try:
            answer = await self.provider.create(job, self._told)
        except NotSent as error:
            raise _PutOff(str(error), error.retry_in_s) from error
        except FateUnknown as error:
            _log.warning("whether %s has task %s is not known: %s", self.found.renderer, self.found.task_id, error)
            answer = await self._find_out(job)
        await self._finish(job, answer)

    async def _go_on(self) -> None:
        await self._tools.generations.resume(self.found.task_id, fence=self.found.fence, worker=self._worker)
        job = self._job(self.found.attempt, None)
        if self.found.provider_job is not None:
            await self._complete(await self._poll(job, self.found.provider_job, 0.0))
        else:
            await self._finish(job, await self._find_out(job))

    async def _finish(self, job: Job, answer: Running | Finished) -> None:
        if isinstance(answer, Running):
            theirs = answer.provider_job
            await self._submitted(theirs)
            self._is_sending = False
            if self._is_leaving:
                self.progress.stop("leaving")
            answer = await self._poll(job, theirs, self._pause_s(answer, 0))
        await self._complete(answer)

    async def _submitted(self, theirs: str) -> None:
        by = self._by()
        cancels = self.provider.cancels
        try:
            await self._note(
                lambda: self._tools.generations.submitted(
                    self.found.task_id, provider_job=theirs, cancels=cancels, **by
                )
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
        await self._note(lambda: self._tools.generations.succeed(found.task_id, outputs, kind=kind, **self._by()))
        if found.fence > 1:
            for work_id in found.works:
                await self._tools.media.keep_attempt(work_id, found.fence)

    # -- asking the provider

    async def _poll(self, job: Job, theirs: str, wait_s: float) -> Finished:
        """Ask until it is finished, at last when the time is over. Raises ``JobRefused``, ``Stopped``."""
        asked = misses = failures = 0
        while True:
            await self._wait(min(wait_s, self._left_s()))
            is_last = self.is_late()
            try:
                answer = await self._unless_stopped(self.provider.poll(job, theirs))
            except JobMissing as error:
                misses, wait_s = misses + 1, self._tools.pace.ask_s
                if misses == MISSING_MAX:
                    if self.provider.repeats:
                        raise _PutOff(str(error)) from error
                    raise _Failed(PROVIDER_UNAVAILABLE, error) from error
            except (JobRefused, Stopped):
                raise
            except Exception as error:  # noqa: BLE001 -- a mistake of ours does not cost people what was made for them
                failures, wait_s = failures + 1, self._after(failures + 1, error)
            else:
                if isinstance(answer, Finished):
                    return answer
                asked, misses, failures = asked + 1, 0, 0
                if answer.progress is not None:
                    self._told(answer.progress)
                wait_s = self._pause_s(answer, asked)
            if is_last:
                raise _OutOfTime

    async def _find_out(self, job: Job) -> Running:
        """What became of a create of which nobody knows. Raises ``Stopped``."""
        if self.provider.repeats:
            raise _PutOff("it is not known what became of it, and it costs nothing")
        if not self.provider.finds:
            raise _Failed(CREATE_AMBIGUOUS, "the create may have been taken")
        wait_s = 0.0
        misses = failures = 0
        while True:
            await self._wait(min(wait_s, self._left_s()))
            is_last = self.is_late()
            try:
                theirs = await self._unless_stopped(self.provider.find(job))
            except Stopped:
                raise
            except Exception as error:  # noqa: BLE001 -- as above
                failures, wait_s = failures + 1, self._after(failures + 1, error)
            else:
                if theirs is not None:
                    return Running(theirs)
                misses, wait_s = misses + 1, self._tools.pace.ask_s
                if misses == MISSING_MAX:
                    raise _PutOff("the provider never took it")
            if is_last:
                raise _OutOfTime

    def _after(self, failures: int, error: Exception) -> float:
        """How long to wait after so many questions in a row that were not answered."""
        if not isinstance(error, Unreachable):
            _log.error("task %s: no answer can be made out", self.found.task_id, exc_info=error)
            return self._tools.pace.backoff_s(failures)
        _log.info("task %s: %s does not answer: %s", self.found.task_id, self.found.renderer, error)
        return max(error.retry_in_s or 0.0, self._tools.pace.backoff_s(failures))

    def _pause_s(self, answer: Running, asked: int) -> float:
        pace = self._tools.pace
        return min(pace.ask_s * 1.3**asked, pace.ask_max_s) if answer.again_in_s is None else answer.again_in_s

    # -- ends

    async def _put_off(self, put_off: _PutOff) -> None:
        pause_s = max(put_off.retry_in_s or 0.0, self._tools.pace.backoff_s(self.found.deferrals + 1))
        if self.found.deferrals >= DEFERRALS_MAX or pause_s >= self._left_s():
            _log.warning("task %s is given up: %s", self.found.task_id, put_off)
            await self._fail(PROVIDER_UNAVAILABLE, fence=self.found.fence)
            return
        _log.info("task %s is put off for %.1f s: %s", self.found.task_id, pause_s, put_off)
        await self._defer(PROVIDER_UNAVAILABLE[0], self._tools.clock() + timedelta(seconds=pause_s))

    async def _defer(self, error_code: str, retry_at: datetime) -> None:
        await self._note(
            lambda: self._tools.generations.defer(
                self.found.task_id, error_code=error_code, retry_at=retry_at, **self._by()
            )
        )

    async def _fail(self, ended: Ended, fence: int | None) -> None:
        code, message = ended
        await self._note(
            lambda: self._tools.generations.fail(
                self.found.task_id, error_code=code, error_message=message, fence=fence, worker=self._worker
            )
        )
        await self._remove_files()

    async def _time_out(self, fence: int | None) -> None:
        await self._note(lambda: self._tools.generations.time_out(self.found.task_id, fence=fence, worker=self._worker))
        _log.info("task %s ran out of time", self.found.task_id)
        await self._remove_files()

    async def _leave(self) -> None:
        """The work was stopped: because the task is over or another's, or its time is, or this process's."""
        try:
            if self.progress.why == "late":
                await self._time_out(fence=self.found.fence)
            elif self.progress.why == "leaving" and not self._is_sent:
                await self._tools.generations.defer(
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
        picture = await self._unless_stopped(self._tools.sources.picture(url, self.found.source_file))
        self._before = FETCHED_SHARE
        self._told(0.0)
        return await asyncio.to_thread(_png, picture)

    async def _kept(self, work_id: str, content: bytes) -> Output | None:
        """What is stored of a product; None if it is none."""
        failures = 0
        while True:
            try:
                return await asyncio.to_thread(keep, self._tools.media, self.found, work_id, content)
            except NotAWork as error:
                _log.warning("of task %s the work %s is unusable: %s", self.found.task_id, work_id, error)
                return None
            except (OSError, Unavailable) as error:
                failures += 1
                if failures == STORING_MAX:
                    raise
                _log.warning("work %s could not be stored: %s", work_id, error)
                await self._wait(self._tools.pace.backoff_s(failures))

    async def _remove_files(self) -> None:
        for work_id in self.found.works:
            await self._tools.media.remove_all_of(work_id)

    async def _tidy(self) -> None:
        """Leave no file that no work names: what this claim stored may or may not have become the work."""
        named = {work.work_id: work.file or "" for work in await works_of_tasks(self._tools.db, [self.found.task_id])}
        for work_id in self.found.works:
            if not named.get(work_id, "").startswith(MediaFolder.key_of(work_id, self.found.fence, ".")):
                await self._tools.media.remove_attempt(work_id, self.found.fence)

    # -- small things

    def _by(self) -> dict[str, Any]:
        return {"fence": self.found.fence, "worker": self._worker}

    def _job(self, attempt: int, source: bytes | None) -> Job:
        return job_of(self.found, attempt, source)

    def _told(self, share: float) -> None:
        self.progress.reached(self._before + (1 - self._before) * share)

    def _left_s(self) -> float:
        return ((self.found.deadline_at or _FAR) - self._tools.clock()).total_seconds()

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
            await self._wait(min(self._tools.pace.backoff_s(failures), self._tools.pace.lease_s / 3))

    async def _wait(self, seconds: float) -> None:
        """Raises ``Stopped``."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self.progress.stopped.wait()
        except TimeoutError:
            return
        raise Stopped

    async def _unless_stopped(self, call: Coroutine[Any, Any, T]) -> T:
        """Raises ``Stopped``, and then the call is given up."""
        calling, stopped = asyncio.ensure_future(call), asyncio.ensure_future(self.progress.stopped.wait())
        try:
            await asyncio.wait({calling, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise Stopped
            return calling.result()
        finally:
            calling.cancel()
            stopped.cancel()
            await asyncio.gather(calling, stopped, return_exceptions=True)


def job_of(found: Claim, attempt: int, source: bytes | None = None) -> Job:
    """An attempt at a task as a provider is asked for it; its id is the same whoever makes it."""
    return Job(
        job_id=found.job_id or str(uuid5(UUID(found.task_id), str(attempt))),
        customer=sha256(f"customer {found.user_id}".encode()).hexdigest()[:32],
        task_type=found.task_type,
        model=found.upstream or found.model_name,
        prompt=found.prompt,
        parameters=found.parameters,
        count=len(found.works),
        negative_prompt=found.negative_prompt,
        style=found.style,
        transparent=found.transparent,
        source=source,
    )


def keep(media: MediaFolder, found: Claim, work_id: str, content: bytes) -> Output:
    """Store a product and its thumbnail for a work. Raises ``NotAWork``, ``OSError``. Never on the event loop."""
    made = measured(content, work_type_of(found.task_type))
    file, small = (MediaFolder.key_of(work_id, found.fence, end) for end in (made.suffix, "-thumbnail.webp"))
    media.write(file, made.content)
    media.write(small, made.thumbnail)
    return Output(
        file=file,
        thumbnail=small,
        content_type=made.content_type,
        file_size=len(made.content),
        width=made.width,
        height=made.height,
        duration_s=made.duration_s,
    )


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()

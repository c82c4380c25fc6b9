"""A provider is asked about a job for as long as there is time, and only what it says clearly ends the job.

What is not answered is asked again, that a job is missing has to be said several times, nothing moves the deadline, and
at the deadline it is asked once more.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from mintage.application.providers import Finished, Job, JobMissing, JobRefused, Provider, Running, Unreachable
from mintage.infra.causes import CREATE_AMBIGUOUS, PROVIDER_UNAVAILABLE, Cause
from mintage.infra.pace import Pace, Progress, Stopped
from mintage.projections.claims import Claim

_log = logging.getLogger(__name__)

MISSING_MAX: Final = 3
"""So often in a row a provider has to say that it does not know a job."""
_FAR: Final = datetime.max.replace(tzinfo=UTC)


class OutOfTime(Exception):
    """The provider was asked for the last time."""


class PutOff(Exception):
    """The attempt had no effect, and another may have more luck."""

    def __init__(self, reason: str, retry_in_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_in_s = retry_in_s


class Failed(Exception):
    """The task fails."""

    def __init__(self, cause: Cause, reason: object) -> None:
        super().__init__(f"{cause[0]}: {reason}")
        self.cause = cause


class Asking:
    """About one task, under one claim; ``before`` is how much of the whole way was done before the provider had it."""

    def __init__(
        self, found: Claim, provider: Provider, progress: Progress, pace: Pace, clock: Callable[[], datetime]
    ) -> None:
        self.before = 0.0
        self._found = found
        self._provider = provider
        self._progress = progress
        self._pace = pace
        self._clock = clock

    def left_s(self) -> float:
        """To the task's deadline."""
        return ((self._found.deadline_at or _FAR) - self._clock()).total_seconds()

    def is_late(self) -> bool:
        return self.left_s() <= 0

    def told(self, share: float) -> None:
        """So much of what the provider does is done. Raises ``Stopped``."""
        self._progress.reached(self.before + (1 - self.before) * share)

    async def poll(self, job: Job, theirs: str, wait_s: float) -> Finished:
        """Ask until it is finished, at last when the time is over.

        Raises ``JobRefused``, ``Stopped``, ``OutOfTime``, ``PutOff``, ``Failed``.
        """
        asked = misses = failures = 0
        while True:
            await self._progress.wait(min(wait_s, self.left_s()))
            is_last = self.is_late()
            try:
                answer = await self._progress.unless_stopped(self._provider.poll(job, theirs))
            except JobMissing as error:
                misses, wait_s = misses + 1, self._pace.ask_s
                if misses == MISSING_MAX:
                    if self._provider.repeats:
                        raise PutOff(str(error)) from error
                    raise Failed(PROVIDER_UNAVAILABLE, error) from error
            except (JobRefused, Stopped):
                raise
            except Exception as error:  # noqa: BLE001 -- a mistake of ours does not cost people what was made for them
                failures, wait_s = failures + 1, self._after(failures + 1, error)
            else:
                if isinstance(answer, Finished):
                    return answer
                asked, misses, failures = asked + 1, 0, 0
                if answer.progress is not None:
                    self.told(answer.progress)
                wait_s = self.pause_s(answer, asked)
            if is_last:
                raise OutOfTime

    async def find_out(self, job: Job) -> Running:
        """What became of a create of which nobody knows. Raises ``Stopped``, ``OutOfTime``, ``PutOff``, ``Failed``."""
        if self._provider.repeats:
            raise PutOff("it is not known what became of it, and it costs nothing")
        if not self._provider.finds:
            raise Failed(CREATE_AMBIGUOUS, "the create may have been taken")
        wait_s = 0.0
        misses = failures = 0
        while True:
            await self._progress.wait(min(wait_s, self.left_s()))
            is_last = self.is_late()
            try:
                theirs = await self._progress.unless_stopped(self._provider.find(job))
            except Stopped:
                raise
            except Exception as error:  # noqa: BLE001 -- as above
                failures, wait_s = failures + 1, self._after(failures + 1, error)
            else:
                if theirs is not None:
                    return Running(theirs)
                misses, wait_s = misses + 1, self._pace.ask_s
                if misses == MISSING_MAX:
                    raise PutOff("the provider never took it")
            if is_last:
                raise OutOfTime

    def _after(self, failures: int, error: Exception) -> float:
        """How long to wait after so many questions in a row that were not answered."""
        if not isinstance(error, Unreachable):
            _log.error("task %s: no answer can be made out", self._found.task_id, exc_info=error)
            return self._pace.backoff_s(failures)
        _log.info("task %s: %s does not answer: %s", self._found.task_id, self._found.renderer, error)
        return max(error.retry_in_s or 0.0, self._pace.backoff_s(failures))

    def pause_s(self, answer: Running, asked: int) -> float:
        pace = self._pace
        if answer.again_in_s is not None:
            return max(answer.again_in_s, pace.ask_min_s)
        return min(pace.ask_s * 1.3**asked, pace.ask_max_s)

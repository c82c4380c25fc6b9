"""A provider for tests that does as it is told, counts what it is asked, and never forgets a job it took."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image

from mintage.application.providers import Finished, Job, JobMissing, Running, Told
from tests.conftest import until


def png(side: int = 16) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side), "teal").save(file, "PNG")
    return file.getvalue()


def finished(job: Job, come_out: int | None = None) -> Finished:
    count = job.count if come_out is None else come_out
    return Finished(tuple(png() if place < count else None for place in range(job.count)))


class Far:
    """Implements ``application.providers.Provider``.

    ``creates``, ``polls``, ``findings`` and ``stops`` are what the next calls come to, in turn: an exception is raised,
    a function is called with the job or its id, anything else is returned. Without them a create is taken and a job is
    finished when it is asked for. ``calls`` is everything that was asked, ``jobs`` what was taken.
    """

    def __init__(self, *, cancels: bool = False, finds: bool = False, repeats: bool = False) -> None:
        self.cancels = cancels
        self.finds = finds
        self.repeats = repeats
        self.creates: deque[Any] = deque()
        self.polls: deque[Any] = deque()
        self.findings: deque[Any] = deque()
        self.stops: deque[Any] = deque()
        self.always: Any = None
        """What every poll comes to that has nothing else to come to."""
        self.calls: Counter[str] = Counter()
        self.jobs: dict[str, Job] = {}
        self.cancelled: list[str] = []

    def take(self, job: Job) -> str:
        theirs = f"theirs-{len(self.jobs) + 1}"
        self.jobs[theirs] = job
        return theirs

    async def create(self, job: Job, told: Told) -> Running | Finished:
        self.calls["create"] += 1
        self.told = told
        # As every adapter does before anything is sent.
        told(0.0)
        answer: Running | Finished = await _said(self.creates, job, lambda: Running(self.take(job)))
        return answer

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:
        self.calls["poll"] += 1
        answer: Running | Finished = await _said(self.polls, provider_job, lambda: self._state(provider_job))
        return answer

    async def find(self, job: Job) -> str | None:
        self.calls["find"] += 1
        ours = [theirs for theirs, taken in self.jobs.items() if taken.job_id == job.job_id]
        found: str | None = await _said(self.findings, job, lambda: ours[0] if ours else None)
        return found

    async def cancel(self, provider_job: str) -> bool:
        self.calls["cancel"] += 1
        self.cancelled.append(provider_job)
        return bool(await _said(self.stops, provider_job, lambda: True))

    async def close(self) -> None:
        self.calls["close"] += 1

    def _state(self, theirs: str) -> Any:
        if theirs not in self.jobs:
            raise JobMissing(theirs)
        return self.always or finished(self.jobs[theirs])


async def _said(script: deque[Any], about: Any, otherwise: Callable[[], Any]) -> Any:
    said = script.popleft() if script else otherwise()
    if isinstance(said, BaseException) or (isinstance(said, type) and issubclass(said, BaseException)):
        raise said
    said = said(about) if callable(said) else said
    return await said if asyncio.iscoroutine(said) else said


async def called(far: Far, what: str, times: int = 1) -> None:
    """Come back when the provider was called so often."""

    async def is_so() -> bool:
        return far.calls[what] >= times

    await until(is_so)

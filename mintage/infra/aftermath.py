"""What is left to do at a provider after a task's end is done there: a job is cancelled, or watched for late works.

It moves no credits and takes no worker's slot. What takes too long is closed by the reaper.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Final

from mintage.application.lifecycle import Output
from mintage.application.providers import Finished, JobMissing, JobRefused, Provider, Running, Unreachable
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.generation.decider import TaskOver
from mintage.domain.generation.events import Outcome
from mintage.infra.asking import MISSING_MAX
from mintage.infra.attempts import LOST_MAX, Tools
from mintage.infra.measure import NotAWork
from mintage.infra.products import job_of, keep
from mintage.infra.storage import in_filing
from mintage.infra.store import Lost
from mintage.infra.wakes import DUE
from mintage.projections.claims import Claim, claim_aftermath, put_back

_log = logging.getLogger(__name__)

WORKER: Final = "aftermath"
AT_A_TIME: Final = 8
LEASE_S: Final = 120.0
"""Long enough to fetch and store a film; should it not be, it is fetched twice and given once."""
PAUSE_MAX_S: Final = 300.0


class Aftermath:
    """Sees to it until cancelled, a few at a time; ``told`` has to be told what ``Wakes`` says."""

    def __init__(self, tools: Tools, providers: Mapping[str, Provider]) -> None:
        self._tools = tools
        self._providers = providers
        self._wake = asyncio.Event()

    def told(self, word: str) -> None:
        if word == DUE:
            self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                while await self._some():
                    pass
            except Lost as error:
                _log.warning("what is left to do at providers waits for the database: %s", error)
            try:
                async with asyncio.timeout(self._tools.pace.poll_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _some(self) -> int:
        """See to what is due now, a few at a time; returns how many these were."""
        found: list[Claim] = []
        while len(found) < AT_A_TIME:
            now = self._tools.clock()
            until = now + timedelta(seconds=LEASE_S)
            one = await claim_aftermath(
                self._tools.db, worker=WORKER, now=now, until=until, renderers=list(self._providers)
            )
            if one is None:
                break
            found.append(one)
        await asyncio.gather(*map(self._see_to, found))
        return len(found)

    async def _see_to(self, found: Claim) -> None:
        step = self._stop if found.aftermath == "cancel" else self._look
        if found.losses >= LOST_MAX:
            step = self._give_up
        try:
            await self._take(step, found)
        except (Lost, Unavailable, OutcomeUnknown) as error:
            _log.warning("what is left of task %s waits for its lease to end: %s", found.task_id, error)

    async def _take(self, step: Callable[[Claim], Coroutine[Any, Any, None]], found: Claim) -> None:
        try:
            await step(found)
        except Unreachable as error:
            _log.info("task %s: %s does not answer: %s", found.task_id, found.renderer, error)
            await self._later(found, error.retry_in_s or 0.0)
        except (Lost, Unavailable, OutcomeUnknown):
            raise
        except Exception:  # noqa: BLE001 -- the others go on
            _log.exception("what is left of task %s came upon something unforeseen", found.task_id)
            await self._later(found, PAUSE_MAX_S)

    async def _later(self, found: Claim, pause_s: float) -> None:
        """The longer it has lasted, the less often; no job is asked for less than once in five minutes."""
        age_s = (self._tools.clock() - found.due_at).total_seconds()
        pause_s = max(pause_s, min(max(age_s / 10, self._tools.pace.ask_s), PAUSE_MAX_S))
        until = self._tools.clock() + timedelta(seconds=pause_s)
        await put_back(self._tools.db, task_id=found.task_id, fence=found.fence, until=until)

    async def _stop(self, found: Claim) -> None:
        assert found.provider_job is not None
        is_stopped = await self._providers[found.renderer].cancel(found.provider_job)
        outcome: Outcome = "stopped" if is_stopped else "over"
        await self._tools.lifecycle.close(found.task_id, outcome, worker=WORKER)
        _log.info("job %s of the cancelled task %s: %s", found.provider_job, found.task_id, outcome)

    async def _give_up(self, found: Claim) -> None:
        """What takes down whoever looks at it is not looked at for ever."""
        _log.warning("what is left of task %s took its workers down, and is given up", found.task_id)
        await self._tools.lifecycle.close(found.task_id, "given_up", worker=WORKER)

    async def _look(self, found: Claim) -> None:
        try:
            answer = await self._answer(found)
        except JobRefused as error:
            _log.info("task %s had timed out, and brings nothing late: %s", found.task_id, error)
            await self._tools.lifecycle.close(found.task_id, "failed", worker=WORKER)
        except JobMissing as error:
            _log.info("task %s had timed out, and its job is gone: %s", found.task_id, error)
            await self._tools.lifecycle.close(found.task_id, "missing", worker=WORKER)
        else:
            await (self._later(found, 0.0) if isinstance(answer, Running) else self._give(found, answer))

    async def _answer(self, found: Claim) -> Running | Finished:
        assert found.provider_job is not None
        misses = 0
        while True:
            try:
                return await self._providers[found.renderer].poll(job_of(found, found.attempt), found.provider_job)
            except JobMissing:
                misses += 1
                if misses == MISSING_MAX:
                    raise
            await asyncio.sleep(self._tools.pace.ask_s)

    async def _give(self, found: Claim, finished: Finished) -> None:
        outputs: list[Output | None] = []
        for work_id, product in zip(found.works, finished.products, strict=True):
            output = None
            if product is not None:
                try:
                    output = await in_filing(keep, self._tools.media, found, work_id, product)
                except NotAWork as error:
                    _log.warning("of task %s the late work %s is unusable: %s", found.task_id, work_id, error)
            outputs.append(output)
        wanted: frozenset[str] = frozenset()
        try:
            if any(outputs):
                wanted = await self._tools.lifecycle.deliver_late(found.task_id, outputs, worker=WORKER)
                _log.info("task %s had timed out; %d works came late, for nothing", found.task_id, len(wanted))
            else:
                await self._tools.lifecycle.close(found.task_id, "failed", worker=WORKER)
        except TaskOver:
            _log.info("the late works of task %s were given by another", found.task_id)
        # Not when it is unknown what became of it, or we are stopped meanwhile: then the log may name these files.
        for work_id in set(found.works) - wanted:
            await self._tools.media.remove_attempt(work_id, found.fence)
        for work_id in wanted:
            await self._tools.media.keep_attempt(work_id, found.fence)

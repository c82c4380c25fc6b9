"""Workers take tasks off the queue under a lease, keep it while they work, and leave tasks so that others can go on."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from mintage.application.providers import Provider
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.infra.attempts import Attempt, Tools
from mintage.infra.store import Lost
from mintage.infra.wakes import DUE
from mintage.projections.claims import claim, next_due, put_back, renew

_log = logging.getLogger(__name__)

USER_CONCURRENCY: Final = 4


class Worker:
    """Works on up to ``slots`` tasks at a time until cancelled.

    ``limits`` says how many tasks each provider may have under way, ``user_limit`` how many each person, in all
    processes together. ``told`` has to be told what ``Wakes`` says.
    """

    def __init__(
        self,
        tools: Tools,
        providers: Mapping[str, Provider],
        limits: Mapping[str, int],
        *,
        slots: int,
        user_limit: int = USER_CONCURRENCY,
    ) -> None:
        self._tools = tools
        self._providers = providers
        self._limits = limits
        self._user_limit = user_limit
        self._free = set(range(slots))
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._wake = asyncio.Event()
        self._under_way: dict[str, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    def told(self, word: str) -> None:
        """Something is due, or the task of this id is over."""
        if word == DUE:
            self._wake.set()
        elif word in self._under_way:
            self._under_way[word].progress.stop("over")

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                pause_s = self._tools.pace.poll_s
                try:
                    pause_s = await self._fill()
                except Lost as error:
                    _log.warning("worker %s is waiting for the database: %s", self._name, error)
                except Exception:  # noqa: BLE001 -- what is under way goes on
                    _log.exception("worker %s cannot take tasks", self._name)
                try:
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Take nothing more, and come to where what is under way can be left for others to go on with."""
        self._is_leaving = True
        self._wake.set()
        for attempt in self._under_way.values():
            attempt.leave()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._tools.pace.leave_s)

    def _takes_more(self) -> bool:
        return not self._is_leaving

    async def _fill(self) -> float:
        """Take tasks for as long as there are any and room for them; returns for how long there is nothing to do."""
        pace = self._tools.pace
        while self._free and self._takes_more():
            now = self._tools.clock()
            slot = min(self._free)
            until = now + timedelta(seconds=pace.lease_s)
            found = await claim(
                self._tools.db,
                worker=f"{self._name}-{slot}",
                now=now,
                until=until,
                limits=self._limits,
                user_limit=self._user_limit,
            )
            if found is None:
                due = await next_due(self._tools.db, now)
                return pace.poll_s if due is None else min((due - now).total_seconds(), pace.poll_s)
            if not self._takes_more():
                await put_back(self._tools.db, task_id=found.task_id, fence=found.fence)
                break
            self._free.remove(slot)
            worker = f"{self._name}-{slot}"
            attempt = Attempt(found, self._providers[found.renderer], worker, self._tools, until)
            self._under_way[found.task_id] = attempt
            task = asyncio.create_task(self._work_on(attempt, slot))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return pace.poll_s

    async def _work_on(self, attempt: Attempt, slot: int) -> None:
        found = attempt.found
        heartbeat = asyncio.create_task(self._keep(attempt))
        try:
            await attempt.run()
        except (Lost, Unavailable, OutcomeUnknown) as error:
            _log.warning("task %s waits for its lease to end: %s", found.task_id, error)
        except Exception:  # noqa: BLE001 -- the other tasks go on; this one is taken up when its lease ends
            _log.exception("task %s came upon something unforeseen", found.task_id)
        finally:
            heartbeat.cancel()
            # A thread cannot be cancelled: it stops by itself at its next step.
            attempt.progress.stop("over")
            if self._under_way.get(found.task_id) is attempt:
                del self._under_way[found.task_id]
            self._free.add(slot)
            self._wake.set()

    async def _keep(self, attempt: Attempt) -> None:
        """Renew the lease and say how far the work is, until it is not ours any more."""
        found, pace = attempt.found, self._tools.pace
        while True:
            await asyncio.sleep(pace.renew_s)
            if attempt.provider.repeats and attempt.is_late():
                # The others are asked once more when the time is over; what runs here would only go on.
                attempt.progress.stop("late")
            until = self._tools.clock() + timedelta(seconds=pace.lease_s)
            try:
                if not await renew(
                    self._tools.db,
                    task_id=found.task_id,
                    fence=found.fence,
                    until=until,
                    progress=attempt.progress.percent,
                ):
                    attempt.progress.stop("over")
                    return
            except Lost as error:
                _log.warning("the lease of task %s could not be renewed: %s", found.task_id, error)
            else:
                attempt.leased_until = until

"""Word of tasks that ended: at once in this process, within half a second from another."""

import asyncio
from collections.abc import Sequence
from typing import Final

from mintage.domain.generation.events import GenerationCancelled, GenerationCompleted, GenerationFailed
from mintage.domain.recorded import Recorded
from mintage.projections.sql import Database
from mintage.projections.tasks import task_of

POLL_S: Final = 0.5


class TaskEndings:
    """Implements ``application.ports.Endings``."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: dict[str, asyncio.Event] = {}
        self._released = False

    def seen(self, entries: Sequence[Recorded]) -> None:
        """What the journal appended or saw appended."""
        if not self._waiting:
            return
        for entry in entries:
            if isinstance(entry.event, GenerationCompleted | GenerationFailed | GenerationCancelled):
                event = self._waiting.get(entry.key)
                if event is not None:
                    event.set()

    def release(self) -> None:
        self._released = True
        for event in self._waiting.values():
            event.set()

    async def wait(self, user_id: str, task_id: str, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        ended = self._waiting.setdefault(task_id, asyncio.Event())
        try:
            while not ended.is_set() and not self._released and loop.time() < end:
                task = await task_of(self._db, user_id, task_id)
                if task is None or task.over:
                    return
                try:
                    async with asyncio.timeout(min(POLL_S, end - loop.time())):
                        await ended.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiting.pop(task_id, None)

"""Word of tasks: of what happens in this process at once, of the rest within half a second.

Whoever watches is told of one look at the read models; it is one query, however many watch.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from mintage.application.refusals import RateLimited
from mintage.application.transaction import Unavailable
from mintage.domain.generation.decider import GENERATION
from mintage.domain.generation.events import GenerationEvent
from mintage.domain.recorded import Recorded
from mintage.infra.codec import decode
from mintage.infra.store import Lost
from mintage.projections.outlook import TaskState, states_of
from mintage.projections.sql import Database

LOOK_S: Final = 0.5
WATCHES_OF_PERSON: Final = 10
WATCHES_MAX: Final = 2_000
RETRY_S: Final = 5

_EVENTS: Final = """
select notification_id as position, originator_id as stream, originator_version as version, topic, state
from stored_events where originator_id = %s and originator_version < %s order by originator_version"""

_log = logging.getLogger(__name__)


class _Event(msgspec.Struct):
    position: int
    stream: str
    version: int
    topic: str
    state: bytes


class TaskWatch:
    """Implements ``ports.news.Watch``."""

    def __init__(self) -> None:
        self.stopping = False
        self._state: TaskState | None = None
        self._fresh = False
        self._wake = asyncio.Event()

    def told(self, state: TaskState) -> None:
        known, self._state = self._state, state
        if known is None or (known.reached, known.queue_position) != (state.reached, state.queue_position):
            self._fresh = True
            self._wake.set()

    def stop(self) -> None:
        self.stopping = True
        self._wake.set()

    async def change(self, timeout_s: float) -> TaskState | None:
        if not self.stopping:
            await _woken(self._wake, timeout_s)
        fresh, self._fresh = self._fresh, False
        return self._state if fresh else None


class TaskNews:
    """Implements ``ports.news.News``; ``run`` has to run beside it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watches: dict[str, set[TaskWatch]] = {}
        self._people: Counter[str] = Counter()
        self._look = asyncio.Event()
        self._released = False

    def seen(self, entries: Sequence[Recorded]) -> None:
        """What the journal appended or saw appended."""
        if self._watches and any(entry.key in self._watches for entry in entries):
            self._look.set()

    def release(self) -> None:
        self._released = True
        for watches in self._watches.values():
            for watch in watches:
                watch.stop()

    async def wait(self, task_id: str, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        with self._watching(task_id) as watch:
            while not watch.stopping and (left := end - loop.time()) > 0:
                state = await watch.change(left)
                if state is not None and state.over:
                    return

    @contextmanager
    def watch(self, user_id: str, task_id: str) -> Iterator[TaskWatch]:
        if self._people[user_id] >= WATCHES_OF_PERSON:
            raise RateLimited(RETRY_S)
        if self._people.total() >= WATCHES_MAX:
            raise Unavailable("too many watch their tasks")
        self._people[user_id] += 1
        try:
            with self._watching(task_id) as watch:
                yield watch
        finally:
            self._people[user_id] -= 1
            if not self._people[user_id]:
                del self._people[user_id]

    async def steps(self, state: TaskState, after: int) -> list[TaskState]:
        if state.version <= after + 1:
            return []
        rows = await self._db.fetch(_Event, _EVENTS, (GENERATION.stream(state.task_id), state.version))
        task, steps = GENERATION.initial, []
        for row in rows:
            entry = decode(row.position, row.stream, row.version, row.topic, bytes(row.state))
            assert isinstance(entry.event, GenerationEvent)
            before, task = task, GENERATION.evolve(task, entry.event)
            # The rest of what is in the log is between us and those who work on it.
            if entry.version > after and (task.status, task.attempt) != (before.status, before.attempt):
                steps.append(
                    msgspec.structs.replace(
                        state,
                        version=entry.version,
                        status=task.status,
                        progress=0,
                        queue_position=None,
                        usual_s=None,
                        at_work=None,
                        updated_at=entry.at,
                    )
                )
        return steps

    async def run(self) -> None:
        """Look when something happens here, and every half second while anybody watches, until cancelled."""
        while True:
            await _woken(self._look, LOOK_S if self._watches else None)
            if not self._watches:
                continue
            try:
                states = await states_of(self._db, list(self._watches))
            except Lost as error:
                _log.warning("nobody hears of tasks while the database is out of reach: %s", error)
                await asyncio.sleep(LOOK_S)
                continue
            for state in states:
                for watch in self._watches.get(state.task_id, ()):
                    watch.told(state)

    @contextmanager
    def _watching(self, task_id: str) -> Iterator[TaskWatch]:
        watch = TaskWatch()
        watches = self._watches.setdefault(task_id, set())
        watches.add(watch)
        if self._released:
            watch.stop()
        # How it is now, to begin with.
        self._look.set()
        try:
            yield watch
        finally:
            watches.remove(watch)
            if not watches:
                del self._watches[task_id]


async def _woken(event: asyncio.Event, timeout_s: float | None) -> None:
    """When the event is set, which is taken back, or when the time is over.

    Not by ``asyncio.timeout``, in which a cancellation may be lost (Python 3.11).
    """
    timer = None if timeout_s is None else asyncio.get_running_loop().call_later(timeout_s, event.set)
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()
    event.clear()

"""One writer per process, many commands per commit: what is answered is stored, exactly once.

While one batch commits, the next one gathers; no timer is involved. The lock is taken before anything is decided, so
that journals of several processes take turns and never conflict. A refused work leaves no trace and hurts nobody; a
work that breaks its batch is found by halving and fails alone; a connection lost around COMMIT is resolved by looking
the commands up under the lock before anything is tried again.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from mintage.application.transaction import (
    NotLoaded,
    Outcome,
    OutcomeUnknown,
    Stage,
    Transaction,
    Unavailable,
    Work,
)
from mintage.domain.decider import Refusal
from mintage.domain.recorded import Recorded
from mintage.infra.states import States
from mintage.infra.store import BEGINNING, Breach, Full, Lost, Needs, Stale, Store

_log = logging.getLogger(__name__)

BATCH_MAX: Final = 500
STALE_MAX: Final = 5
COMMAND_STORED: Final = "stored_events_command"
ROUNDS_MAX: Final = 100
"""So often a work may ask for one more thing to be loaded."""
WATCH_S: Final = 0.1
RECONNECT_S: Final = 0.2


class JournalLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``queue_max`` works may wait, each at most ``deadline_s``; the states of ``streams_max`` streams are kept.

    A queue of up to ``whole_max`` is taken whole into a batch, of a longer one half. If every caller were in one batch,
    all would come back at once with their next command, and processor and database would take turns instead of working
    at the same time (measured over HTTP at 64 connections: 0.46 of a no-op's rate when taken whole, 0.60 by halves).
    """

    queue_max: int = 5_000
    deadline_s: float = 10.0
    streams_max: int = 50_000
    whole_max: int = 32


class _Request:
    """A work in the queue, and the caller waiting for it."""

    __slots__ = ("actor", "after", "command_id", "deadline", "error", "future", "outcome", "tried", "work")

    def __init__(
        self, work: Work[Any], command_id: str, actor: str, deadline: float, future: "asyncio.Future[Any]"
    ) -> None:
        self.work = work
        self.command_id = command_id
        self.actor = actor
        self.deadline = deadline
        self.future = future
        self.tried = False
        self.outcome: Any = None
        self.error: BaseException | None = None
        self.after: Sequence[Callable[[], None]] = ()


class PostgresJournal:
    """Implements ``application.transaction.Journal``; use between ``start`` and ``drain`` on one event loop.

    ``clock`` gives UTC times, ``new_id`` command ids; ``refusals`` says which refusal the breach of a database
    constraint means; ``seen`` is told of every batch of events of this and other processes as they are seen.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        refusals: Mapping[str, type[Refusal]] | None = None,
        limits: JournalLimits | None = None,
        seen: Callable[[Sequence[Recorded]], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._refusals = refusals or {}
        self._limits = limits or JournalLimits()
        self._seen = seen
        self._queue: deque[_Request] = deque()
        self._flying: Sequence[_Request] = ()
        self._states = States(self._limits.streams_max)
        self._position: int | None = None
        self._last_at = BEGINNING
        self._wake = asyncio.Event()
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []

    # -- for callers

    async def transact(self, work: Work[Outcome], *, actor: str) -> Outcome:
        if not self.is_taking():
            raise Unavailable("the server is shutting down")
        if len(self._queue) >= self._limits.queue_max:
            raise Unavailable("too many commands are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        deadline = loop.time() + self._limits.deadline_s
        self._queue.append(_Request(work, self._new_id(), actor, deadline, future))
        self._wake.set()
        return await future

    def is_taking(self) -> bool:
        """Whether commands are taken: started, and not draining."""
        return bool(self._tasks) and not self._draining

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._serve()), asyncio.create_task(self._watch())]

    async def drain(self) -> None:
        """Refuse what comes now, finish what is waiting, let go of the store."""
        self._draining = True
        self._wake.set()
        if not self._tasks:
            return
        writer, watcher = self._tasks
        await asyncio.wait({writer}, timeout=2 * self._limits.deadline_s)
        for task in (writer, watcher):
            task.cancel()
        await asyncio.gather(writer, watcher, return_exceptions=True)
        self._tasks = []
        await self._store.close()

    # -- the writer

    async def _serve(self) -> None:
        while True:
            while self._queue and self._queue[0].future.done():
                self._queue.popleft()
            if not self._queue:
                if self._draining:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._serve_batch()
            except Lost as lost:
                _log.warning("the log is out of reach: %s", lost)
                await asyncio.sleep(RECONNECT_S)
            except Exception:  # noqa: BLE001 -- the writer outlives whatever a batch does to it
                _log.exception("a batch failed for no foreseen reason")
                self._states.forget()
                await self._store.close()
                self._fail(self._flying, OutcomeUnknown("the command failed for an unforeseen reason"))
                await asyncio.sleep(RECONNECT_S)
            finally:
                self._flying = ()

    async def _serve_batch(self) -> None:
        # The lock first, then the queue: what arrives while waiting for the lock is in the batch.
        await self._lock()
        self._flying = batch = list(self._take())
        try:
            await self._settle(batch)
        except Lost:
            # Nothing of these was stored: what may have been is settled inside. They go first when the log is back.
            again = [request for request in batch if not request.future.done()]
            for request in again:
                request.tried = False
            self._queue.extendleft(reversed(again))
            raise

    def _take(self) -> Iterator[_Request]:
        now = asyncio.get_running_loop().time()
        taken = 0
        most = min(BATCH_MAX, max(self._limits.whole_max, len(self._queue) // 2))
        while self._queue and taken < most:
            request = self._queue.popleft()
            if request.future.done():
                continue
            if request.deadline < now:
                request.future.set_exception(Unavailable("the command waited too long"))
                continue
            taken += 1
            yield request

    async def _lock(self) -> None:
        """Take the lock and bring numbers and cached states up to date with what other processes appended."""
        tail = await self._store.lock(self._position)
        self._last_at = max(self._last_at, tail.at)
        if tail.entries is None:
            self._states.forget()
        else:
            self._states.catch_up(tail.entries)
        self._position = tail.position
        if tail.entries:
            self._tell(tail.entries)

    async def _settle(self, requests: Sequence[_Request], stale: int = 0) -> None:
        """Decide and store a batch under the lock, which is let go at the end; every request gets its answer."""
        try:
            stage = await self._decide(requests)
        except Breach as breach:
            await self._isolate(requests, breach)
            return
        if not stage.entries and not stage.records:
            await self._store.unlock()
            self._states.evict()
            self._answer(requests)
            return
        try:
            await self._store.commit(stage.entries, stage.records, self._states.snapshots(stage))
        except Stale as breach:
            _log.warning("somebody writes to the log without its lock: %s", breach)
            self._states.forget()
            if stale == STALE_MAX:
                self._fail(requests, Unavailable("the log keeps changing under us"))
                return
            await asyncio.sleep(random.uniform(0, 0.005) * (stale + 1))  # noqa: S311 -- jitter
            await self._lock()
            await self._settle(requests, stale + 1)
        except Breach as breach:
            await self._isolate(requests, breach)
        except Full as full:
            _log.error("nothing can be stored: %s", full)
            self._fail(requests, Unavailable("the database is full"))
        except Lost as lost:
            await self._resolve(requests, stage, lost)
        else:
            self._adopt(stage)
            self._answer(requests)

    async def _isolate(self, requests: Sequence[_Request], breach: Breach) -> None:
        """Something in the batch broke it: by halves, until what breaks it stands alone and fails alone."""
        if len(requests) == 1:
            refusal = self._refusals.get(breach.constraint or "")
            if refusal is not None:
                self._fail(requests, refusal())
            elif breach.constraint == COMMAND_STORED:
                self._fail(requests, OutcomeUnknown("the command is in the log already"))
            else:
                _log.error("the database refused a command: %s", breach)
                self._fail(requests, breach)
            return
        middle = len(requests) // 2
        for half in (requests[:middle], requests[middle:]):
            await self._lock()
            await self._settle(half)

    async def _resolve(self, requests: Sequence[_Request], stage: Stage, lost: Lost) -> None:
        """The connection went while the batch was being stored: find out, under the lock, before anything else."""
        _log.warning("the outcome of a batch of %d is unknown: %s", len(requests), lost)
        command_ids = {entry.command_id for entry in stage.entries}
        while True:
            await asyncio.sleep(RECONNECT_S)
            try:
                await self._lock()
                stored = bool(command_ids) and await self._store.stored(command_ids)
                break
            except Lost as again:
                _log.warning("still out of reach: %s", again)
        if stored:
            # Answered first: should the connection go again, these must not be run again.
            _log.warning("the batch of %d had been stored", len(requests))
            self._answer(requests)
            await self._store.unlock()
        else:
            await self._settle([request for request in requests if not request.future.done()])

    async def _decide(self, requests: Sequence[_Request]) -> Stage:
        """Run every work on what those before it decided; load what they lack and run these again."""
        now = max(self._clock(), self._last_at)
        stage = Stage(self._states.versioned, self._states.numbers, self._position or 0, now)
        for _ in range(ROUNDS_MAX):
            needs = Needs()
            again = [request for request in requests if not self._run(request, stage, needs)]
            if not again:
                return stage
            loaded = await self._store.load(needs)
            self._states.load(loaded)
            stage.receipts.update(loaded.receipts)
            stage.numbers.update(loaded.numbers)
            requests = again
        for request in requests:
            request.error = RuntimeError("the work asks for something else whenever it is run")
        return stage

    def _run(self, request: _Request, stage: Stage, needs: Needs) -> bool:
        """Run one work; False if it needs something loaded first."""
        transaction = Transaction(stage, request.command_id, request.actor)
        request.tried, request.error = True, None
        try:
            request.outcome = request.work(transaction)
        except NotLoaded as missing:
            if missing.stream is not None:
                needs.streams.add(missing.stream)
            elif missing.receipt is not None:
                needs.receipts.add(missing.receipt)
            elif missing.number is not None:
                needs.numbers.add(missing.number)
            return False
        except Exception as error:  # noqa: BLE001
            # A refusal, or a mistake in the work: its own caller's either way, and the batch goes on.
            request.error = error
            request.after = ()
        else:
            request.after = transaction.after
            stage.adopt(transaction)
        return True

    def _adopt(self, stage: Stage) -> None:
        self._states.adopt(stage)
        if stage.entries:
            self._position = stage.entries[-1].position
        self._last_at = stage.now
        self._tell(stage.entries)

    def _tell(self, entries: Sequence[Recorded]) -> None:
        try:
            self._seen(entries)
        except Exception:  # noqa: BLE001 -- the events are stored whoever listens
            _log.exception("a listener failed")

    def _answer(self, requests: Sequence[_Request]) -> None:
        for request in requests:
            if not request.future.done():
                if request.error is None:
                    request.future.set_result(request.outcome)
                else:
                    request.future.set_exception(request.error)
            for callback in request.after:
                try:
                    callback()
                except Exception:  # noqa: BLE001 -- the command is stored whatever its followers do
                    _log.exception("what was to follow a command failed")

    def _fail(self, requests: Sequence[_Request], error: BaseException) -> None:
        for request in requests:
            if not request.future.done():
                request.future.set_exception(error)

    # -- the watch

    async def _watch(self) -> None:
        """Answer callers whose time is over, whatever the database is doing."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_S)
            now = loop.time()
            late = [request for request in (*self._queue, *self._flying) if request.deadline < now]
            for request in late:
                if request.future.done():
                    continue
                if request.tried:
                    request.future.set_exception(OutcomeUnknown("the database did not answer in time"))
                else:
                    request.future.set_exception(Unavailable("the command waited too long"))

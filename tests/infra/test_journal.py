"""The journal over a log in memory: who is answered what and when, whatever else is in the batch."""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mintage.application.once import KeyReused, Repeatable, once
from mintage.application.records import Record
from mintage.application.transaction import OutcomeUnknown, Transaction, Unavailable
from mintage.domain.credits.decider import CREDITS, InsufficientCredits
from mintage.domain.recorded import Recorded
from mintage.infra import journal as module
from mintage.infra.journal import JournalLimits, PostgresJournal
from mintage.infra.memory_store import MemoryLog, MemoryStore
from mintage.infra.store import Full, Loaded, Lost, Needs, Snapshot, Stale, Tail
from tests.conftest import until
from tests.infra.kit import (
    Gated,
    Through,
    consume,
    grant,
    journal_on,
    of,
    outcomes,
    receipt,
    register,
    some_id,
)
from tests.infra.test_store import consumed, entry


class Mistake(Exception):
    """What nobody foresaw."""


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def store(log: MemoryLog) -> Through:
    return Through(MemoryStore(log))


@pytest.fixture
def gated(log: MemoryLog) -> Gated:
    return Gated(MemoryStore(log))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECONNECT_S", 0.01)
    monkeypatch.setattr(module, "WATCH_S", 0.01)


def entries(log: MemoryLog) -> list[Recorded]:
    return log.read(0, 10_000)


# -- many commands, one commit


async def test_what_waits_while_a_batch_commits_is_the_next_batch(gated: Gated, log: MemoryLog) -> None:
    user_id = some_id()
    async with journal_on(gated, whole_max=200) as journal:
        first = asyncio.create_task(journal.transact(grant(user_id, 500), actor="test"))
        await gated.waiting.wait()
        others = [asyncio.create_task(journal.transact(consume(user_id, 1), actor="test")) for _ in range(200)]
        await asyncio.sleep(0)
        gated.gate.set()
        assert await first == 500
        assert [await other for other in others] == list(range(499, 299, -1))
    assert gated.calls["commit"] == 2
    assert gated.calls["lock"] == 2
    assert len(entries(log)) == 201


async def test_a_batch_has_its_limit(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_MAX", 10)
    gated.gate.set()
    async with journal_on(gated, whole_max=200) as journal:
        results = await outcomes([grant(some_id(), 1) for _ in range(95)], journal)
    assert results == [1] * 95
    assert gated.calls["commit"] == 10


async def test_a_long_queue_is_taken_by_halves(gated: Gated) -> None:
    user_id = some_id()
    async with journal_on(gated, whole_max=25) as journal:
        first = asyncio.create_task(journal.transact(grant(user_id, 500), actor="test"))
        await gated.waiting.wait()
        others = [asyncio.create_task(journal.transact(consume(user_id, 1), actor="test")) for _ in range(200)]
        await asyncio.sleep(0)
        gated.gate.set()
        assert [await other for other in (first, *others)] == list(range(500, 299, -1))
    assert gated.calls["commit"] == 5, "1, 100, 50, 25, 25"


async def test_nothing_to_store_takes_no_commit(store: Through) -> None:
    user_id = some_id()
    async with journal_on(store) as journal:
        (refused,) = await outcomes([consume(user_id, 1)], journal)
        assert isinstance(refused, InsufficientCredits)
        assert await journal.transact(lambda transaction: transaction.state(CREDITS, user_id).available, actor="t") == 0
    assert (store.calls["commit"], store.calls["unlock"]) == (0, 2)


async def test_answers_and_what_follows_come_only_after_the_commit(gated: Gated) -> None:
    followed: list[str] = []
    user_id = some_id()

    def work(transaction: Transaction) -> int:
        transaction.after.append(lambda: followed.append("after"))
        return grant(user_id, 7)(transaction)

    async with journal_on(gated) as journal:
        answer = asyncio.create_task(journal.transact(work, actor="test"))
        await gated.waiting.wait()
        await asyncio.wait({answer}, timeout=0.1)
        assert not answer.done()
        assert not followed
        gated.gate.set()
        assert await answer == 7
        await until(lambda: _so(followed == ["after"]))


async def _so(fact: bool) -> bool:
    return fact


async def test_a_callback_that_fails_hurts_nobody(store: Through) -> None:
    followed: list[int] = []
    user_id = some_id()

    def work(transaction: Transaction) -> None:
        transaction.after += [lambda: followed.append(1), lambda: 1 / 0, lambda: followed.append(2)]  # type: ignore[list-item]
        grant(user_id, 1)(transaction)

    async with journal_on(store) as journal:
        assert await outcomes([work, work], journal) == [None, None]
    assert followed == [1, 2, 1, 2]


# -- alone in failing


async def test_a_refused_work_leaves_no_trace_and_hurts_nobody(store: Through, log: MemoryLog) -> None:
    user_id, newcomer, asked = some_id(), some_id(), some_id()
    followed: list[str] = []

    def refused(transaction: Transaction) -> None:
        transaction.after.append(lambda: followed.append("refused"))
        transaction.record(receipt(asked))
        register(asked, "refused")(transaction)
        grant(asked, 50)(transaction)
        consume(user_id, 1_000)(transaction)

    async with journal_on(store) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        results = await outcomes([consume(user_id, 3), refused, register(newcomer, "n"), consume(user_id, 4)], journal)
        assert (results[0], results[2], results[3]) == (7, 1, 3)
        assert isinstance(results[1], InsufficientCredits)
        assert results[1].required == 1_000
        assert await journal.transact(register(asked, "again"), actor="test") == 2
    assert not followed
    assert not log.receipts
    assert not [found for found in entries(log) if found.stream == f"credits-{asked}"]


async def test_a_mistake_in_a_work_is_its_own_callers(store: Through, log: MemoryLog) -> None:
    user_id = some_id()

    def mistaken(transaction: Transaction) -> None:
        consume(user_id, 5)(transaction)
        raise Mistake

    async with journal_on(store) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        results = await outcomes([consume(user_id, 1), mistaken, consume(user_id, 1)], journal)
        assert isinstance(results.pop(1), Mistake)
        assert results == [9, 8]
    assert len(entries(log)) == 3


async def test_a_work_that_never_stops_asking_for_more_fails_alone(store: Through, log: MemoryLog) -> None:
    user_id = some_id()

    def asking(transaction: Transaction) -> int:
        return grant(some_id(), 1)(transaction)

    async with journal_on(store) as journal:
        results = await outcomes([grant(user_id, 1), asking, grant(user_id, 1)], journal)
    assert isinstance(results.pop(1), RuntimeError)
    assert results == [1, 2]
    assert len(entries(log)) == 2


async def test_a_receipt_counts_for_the_rest_of_its_batch(gated: Gated, log: MemoryLog) -> None:
    user_id = some_id()
    asked = Repeatable(user_id, "/consume", "k", b"digest")
    other = Repeatable(user_id, "/consume", "k", b"another digest")
    async with journal_on(gated) as journal:
        first = asyncio.create_task(journal.transact(grant(user_id, 10), actor="test"))
        await gated.waiting.wait()
        works = [once(key, consume(user_id, 1), lambda left: b"%d" % left) for key in (asked, asked, other, asked)]
        repeats = [asyncio.create_task(journal.transact(work, actor="test")) for work in works]
        await asyncio.sleep(0)
        gated.gate.set()
        await first
        results = await asyncio.gather(*repeats, return_exceptions=True)
    assert isinstance(results.pop(2), KeyReused)
    assert [result.body for result in results if not isinstance(result, BaseException)] == [b"9", b"9", b"9"]
    assert len(entries(log)) == 2


async def test_a_listener_that_fails_hurts_nobody(store: Through, log: MemoryLog) -> None:
    def listen(_: Sequence[Recorded]) -> None:
        raise Mistake

    user_id = some_id()
    async with journal_on(store, seen=listen) as journal, journal_on(MemoryStore(log), seen=listen) as other:
        assert await outcomes([grant(user_id, 2), grant(user_id, 2)], journal, other) in ([2, 4], [4, 2])
        assert await journal.transact(consume(user_id, 1), actor="test") == 3


async def test_listeners_hear_of_every_event_once_whoever_appended_it(log: MemoryLog) -> None:
    heard: list[int] = []
    user_id = some_id()
    listener = journal_on(MemoryStore(log), seen=lambda events: heard.extend(found.position for found in events))
    async with listener as journal, journal_on(MemoryStore(log)) as other:
        for _ in range(5):
            await outcomes([grant(user_id, 1) for _ in range(6)], journal, other)
        await journal.transact(grant(user_id, 1), actor="test")
    assert heard == list(range(1, 32))


async def test_the_writer_outlives_whatever_a_batch_does_to_it(log: MemoryLog) -> None:
    class Broken(Through):
        async def load(self, needs: Needs) -> Loaded:
            if self.calls["load"] == 0:
                self.calls["load"] += 1
                raise Mistake
            return await super().load(needs)

    user_id = some_id()
    async with journal_on(Broken(MemoryStore(log))) as journal:
        assert isinstance((await outcomes([grant(user_id, 5)], journal))[0], OutcomeUnknown)
        assert await journal.transact(grant(user_id, 5), actor="test") == 5


async def test_what_a_full_database_refuses_was_not_done(log: MemoryLog) -> None:
    class Filled(Through):
        async def commit(self, *batch: Any) -> None:
            if self.calls["commit"] == 0:
                self.calls["commit"] += 1
                # As the real one does, which drops its connection.
                await self.unlock()
                raise Full("DiskFull: could not extend file")
            await super().commit(*batch)

    user_id = some_id()
    async with journal_on(Filled(MemoryStore(log))) as journal:
        assert isinstance((await outcomes([grant(user_id, 5)], journal))[0], Unavailable)
        assert await journal.transact(grant(user_id, 5), actor="test") == 5


# -- the outcome of a commit is in doubt


class Doubtful(Through):
    """Loses the connection around the next commits: before they arrive (False) or after they are stored (True).

    ``again`` methods lose it once more when they are called after that.
    """

    def __init__(self, log: MemoryLog, *fates: bool, again: Sequence[str] = ()) -> None:
        super().__init__(MemoryStore(log))
        self.fates = deque(fates)
        self.again = list(again)

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        if not self.fates:
            return await super().commit(entries, records, snapshots)
        if self.fates.popleft():
            await super().commit(entries, records, snapshots)
        await self.inner.close()
        self.calls["lost"] += 1
        raise Lost("around the commit")

    async def _lose(self, method: str) -> None:
        if self.calls["lost"] and method in self.again:
            self.again.remove(method)
            await self.inner.close()
            raise Lost(method)

    async def lock(self, after: int | None) -> Tail:
        await self._lose("lock")
        return await super().lock(after)

    async def stored(self, command_ids: Collection[str]) -> bool:
        await self._lose("stored")
        return await super().stored(command_ids)

    async def unlock(self) -> None:
        await self._lose("unlock")
        await super().unlock()


@pytest.mark.parametrize("again", [(), ("lock",), ("stored",), ("lock", "stored", "lock"), ("unlock",)])
@pytest.mark.parametrize("fates", [(True,), (False,), (False, True), (False, False, True)])
async def test_what_is_in_doubt_happens_exactly_once(
    log: MemoryLog, fates: tuple[bool, ...], again: tuple[str, ...]
) -> None:
    user_id, followed = some_id(), [0]

    def follow(transaction: Transaction) -> int:
        transaction.after.append(lambda: followed.append(1))
        transaction.record(receipt(user_id))
        return consume(user_id, 3)(transaction)

    store = Doubtful(log)
    async with journal_on(store) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        store.fates.extend(fates)
        store.again = list(again)
        results = await outcomes([follow, consume(user_id, 100), consume(user_id, 2), follow], journal)
        assert isinstance(results.pop(1), InsufficientCredits)
        assert results == [7, 5, 2]
        assert await journal.transact(consume(user_id, 1), actor="test") == 1
    assert followed == [0, 1, 1]
    assert len(entries(log)) == 5


async def test_another_process_goes_on_while_the_outcome_is_in_doubt(log: MemoryLog) -> None:
    user_id = some_id()
    store = Doubtful(log, False, again=["lock"] * 3)
    async with journal_on(MemoryStore(log)) as other:
        await other.transact(grant(user_id, 10), actor="test")
        async with journal_on(store) as journal:
            mine = asyncio.create_task(journal.transact(consume(user_id, 8), actor="test"))
            await until(lambda: _so(store.calls["lost"] == 1))
            theirs = (await outcomes([consume(user_id, 8)], other))[0]
            ours = (await asyncio.gather(mine, return_exceptions=True))[0]
    # Whoever was first: one debit fits.
    assert [type(result) for result in (theirs, ours)].count(InsufficientCredits) == 1
    assert len(entries(log)) == 2


class Behind(Through):
    """Somebody appends between our lock and our commit, without the lock."""

    def __init__(self, log: MemoryLog, times: int, user_id: str) -> None:
        super().__init__(MemoryStore(log))
        self.log, self.times, self.user_id = log, times, user_id

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        if self.times:
            self.times -= 1
            version = len(self.log.recorder.select_events(f"credits-{self.user_id}")) + 1
            position = (self.log.recorder.max_notification_id() or 0) + 1
            rogue = MemoryStore(self.log)
            await rogue.commit(
                [entry(position, f"credits-{self.user_id}", version, consumed(4), at=datetime.now(UTC))], (), ()
            )
        await super().commit(entries, records, snapshots)


async def test_who_writes_without_the_lock_makes_us_decide_again(log: MemoryLog) -> None:
    user_id = some_id()
    store = Behind(log, 0, user_id)
    async with journal_on(store) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        store.times = 2
        first, second = await outcomes([consume(user_id, 1), consume(user_id, 3)], journal)
        assert first == 1
        assert isinstance(second, InsufficientCredits)
        assert (second.required, second.available) == (3, 1)
        assert await journal.transact(consume(user_id, 1), actor="test") == 0


async def test_journals_that_take_turns_never_conflict(log: MemoryLog) -> None:
    user_id = some_id()
    stores = [Through(MemoryStore(log)) for _ in range(2)]
    async with journal_on(stores[0]) as first, journal_on(stores[1]) as second:
        for turn in range(1, 11):
            assert await first.transact(grant(user_id, 2), actor="test") == turn + 1
            assert await second.transact(consume(user_id, 1), actor="test") == turn
            assert await first.transact(register(some_id(), "a"), actor="test") == 2 * turn - 1
            assert await second.transact(register(some_id(), "b"), actor="test") == 2 * turn
    for store in stores:
        assert store.calls["commit"] == store.calls["lock"] == 20, "nothing was decided twice"
        assert store.calls["load"] <= 2, "what is known is kept up to date, not read again"


async def test_who_always_writes_without_the_lock_gets_callers_sent_away(log: MemoryLog) -> None:
    user_id = some_id()

    class Always(Through):
        async def commit(self, *_: object) -> None:
            await self.inner.unlock()
            raise Stale("stored_events_pkey", "once more")

    async with journal_on(Always(MemoryStore(log))) as journal:
        assert isinstance((await outcomes([grant(user_id, 1)], journal))[0], Unavailable)
    assert not entries(log)


# -- bounds


async def test_a_full_queue_sends_away_at_once(gated: Gated, log: MemoryLog) -> None:
    user_id = some_id()
    async with journal_on(gated, queue_max=5) as journal:
        flying = asyncio.create_task(journal.transact(grant(user_id, 1), actor="test"))
        await gated.waiting.wait()
        waiting = [asyncio.create_task(journal.transact(grant(user_id, 1), actor="test")) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await journal.transact(grant(user_id, 1), actor="test")
        assert refused.value.retry_after_s >= 1
        assert not gated.gate.is_set()
        gated.gate.set()
        assert [await flying, *[await one for one in waiting]] == [1, 2, 3, 4, 5, 6]
        assert await journal.transact(grant(user_id, 1), actor="test") == 7
    assert len(entries(log)) == 7


async def test_what_was_not_tried_in_time_is_not_stored(log: MemoryLog) -> None:
    other, user_id = MemoryStore(log), some_id()
    await other.lock(0)
    async with journal_on(MemoryStore(log), deadline_s=0.1) as journal:
        results = await outcomes([grant(user_id, 1) for _ in range(3)], journal)
        assert [type(result) for result in results] == [Unavailable] * 3
        await other.unlock()
        assert await journal.transact(grant(user_id, 5), actor="test") == 5, "the three were never stored"
    assert len(entries(log)) == 1


async def test_what_waited_too_long_is_not_tried_any_more(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when nobody has looked at the clock since."""
    monkeypatch.setattr(module, "WATCH_S", 60)
    other = MemoryStore(log)
    await other.lock(0)
    async with journal_on(MemoryStore(log), deadline_s=0.05) as journal:
        late = asyncio.create_task(journal.transact(grant(some_id(), 1), actor="test"))
        await asyncio.sleep(0.1)
        await other.unlock()
        with pytest.raises(Unavailable):
            await late
    assert not entries(log)


async def test_what_was_being_stored_when_the_time_ran_out_is_unknown(gated: Gated, log: MemoryLog) -> None:
    user_id, followed = some_id(), [0]

    def work(transaction: Transaction) -> int:
        transaction.after.append(lambda: followed.append(1))
        return grant(user_id, 5)(transaction)

    async with journal_on(gated, deadline_s=0.1) as journal:
        assert isinstance((await outcomes([work], journal))[0], OutcomeUnknown)
        late = asyncio.create_task(journal.transact(grant(user_id, 1), actor="test"))
        assert isinstance((await asyncio.gather(late, return_exceptions=True))[0], Unavailable)
        gated.gate.set()
        assert await journal.transact(consume(user_id, 1), actor="test") == 4
    assert followed == [0, 1], "it was stored after all"
    assert len(entries(log)) == 2


async def test_what_could_not_even_be_decided_is_known_not_to_be_stored(log: MemoryLog) -> None:
    class Blind(Through):
        async def load(self, needs: Needs) -> Loaded:
            await self.inner.close()
            raise Lost("while loading")

    async with journal_on(Blind(MemoryStore(log)), deadline_s=0.2) as journal:
        assert isinstance((await outcomes([grant(some_id(), 1)], journal))[0], Unavailable)


async def test_a_caller_who_left_is_not_served(gated: Gated, log: MemoryLog) -> None:
    user_id = some_id()
    async with journal_on(gated) as journal:
        flying = asyncio.create_task(journal.transact(grant(user_id, 1), actor="test"))
        await gated.waiting.wait()
        leaving = asyncio.create_task(journal.transact(grant(user_id, 100), actor="test"))
        staying = asyncio.create_task(journal.transact(grant(user_id, 1), actor="test"))
        await asyncio.sleep(0)
        leaving.cancel()
        gated.gate.set()
        assert (await flying, await staying) == (1, 2)
    assert len(entries(log)) == 2


@pytest.mark.parametrize("streams_max", [0, 1, 3])
async def test_few_states_are_kept_and_any_number_can_be_used(log: MemoryLog, streams_max: int) -> None:
    users = [some_id() for _ in range(8)]
    balance = dict.fromkeys(users, 0)
    async with journal_on(MemoryStore(log), streams_max=streams_max) as journal:
        for turn in range(40):
            here = [users[turn % 8], users[(turn * 3) % 8], users[turn % 8]]
            for user_id, result in zip(here, await outcomes([grant(one, 1) for one in here], journal), strict=True):
                balance[user_id] += 1
                assert result == balance[user_id] or here.count(user_id) > 1
            assert len(journal._states) <= streams_max
        await outcomes([consume(some_id(), 1) for _ in range(20)], journal)
        assert len(journal._states) <= streams_max, "not for works that were refused, either"
        assert [await journal.transact(grant(user_id, 1), actor="t") for user_id in users] == [
            amount + 1 for amount in balance.values()
        ]


async def test_a_tail_too_long_to_read_makes_the_journal_forget(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mintage.infra.memory_store.TAIL_MAX", 5)
    user_id, newcomers = some_id(), [some_id() for _ in range(3)]
    async with journal_on(MemoryStore(log)) as journal, journal_on(MemoryStore(log)) as other:
        await journal.transact(grant(user_id, 100), actor="test")
        assert await journal.transact(register(newcomers[0], "a"), actor="test") == 1
        assert await other.transact(register(newcomers[1], "b"), actor="test") == 2
        await outcomes([consume(user_id, 10) for _ in range(9)], other)
        assert await journal.transact(register(newcomers[2], "c"), actor="test") == 3
        assert await journal.transact(consume(user_id, 4), actor="test") == 6


# -- shutting down


async def test_draining_answers_everything_accepted_and_refuses_the_rest(gated: Gated, log: MemoryLog) -> None:
    user_id = some_id()
    journal = PostgresJournal(gated, clock=lambda: datetime.now(UTC), new_id=some_id, limits=JournalLimits())
    with pytest.raises(Unavailable):
        await journal.transact(grant(user_id, 1), actor="test")
    await journal.start()
    assert journal.is_taking()
    accepted = [asyncio.create_task(journal.transact(grant(user_id, 1), actor="test")) for _ in range(50)]
    await gated.waiting.wait()
    accepted += [asyncio.create_task(journal.transact(grant(user_id, 1), actor="test")) for _ in range(50)]
    await asyncio.sleep(0)
    draining = asyncio.create_task(journal.drain())
    await asyncio.sleep(0)
    assert not journal.is_taking()
    with pytest.raises(Unavailable):
        await journal.transact(grant(user_id, 1), actor="test")
    gated.gate.set()
    await draining
    assert [await one for one in accepted] == list(range(1, 101))
    assert len(entries(log)) == 100


async def test_draining_ends_when_the_log_is_out_of_reach(log: MemoryLog) -> None:
    class Away(Through):
        async def lock(self, after: int | None) -> Tail:
            raise Lost("away")

    async with journal_on(Away(MemoryStore(log)), deadline_s=0.1) as journal:
        calls = [asyncio.create_task(journal.transact(grant(some_id(), 1), actor="test")) for _ in range(3)]
        await asyncio.sleep(0)
        await journal.drain()
        results = await asyncio.gather(*calls, return_exceptions=True)
        await journal.start()
    assert [type(result) for result in results] == [Unavailable] * 3


# -- time and numbers


async def test_time_never_runs_backwards_when_the_clock_does(log: MemoryLog) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    hours = iter([0, -1, -30, 2, 1, 1, 3])
    user_id = some_id()
    async with journal_on(MemoryStore(log), clock=lambda: noon + timedelta(hours=next(hours))) as journal:
        for _ in range(4):
            await journal.transact(grant(user_id, 1), actor="test")
    async with journal_on(MemoryStore(log), clock=lambda: noon + timedelta(hours=next(hours))) as successor:
        for _ in range(3):
            await successor.transact(grant(user_id, 1), actor="test")
    assert [(found.at - noon) / timedelta(hours=1) for found in entries(log)] == [0, 0, 0, 2, 2, 2, 3]


async def test_numbers_have_no_gap_over_two_journals_and_refusals(log: MemoryLog) -> None:
    nobody = some_id()

    def refused(transaction: Transaction) -> int:
        register(nobody, "refused")(transaction)
        raise Mistake

    async with journal_on(MemoryStore(log)) as first, journal_on(MemoryStore(log)) as second:
        works = [refused if turn % 3 == 0 else register(some_id(), f"u{turn}") for turn in range(60)]
        results = await outcomes(works, first, second)
    assert len(of(Mistake, results)) == 20
    assert sorted(result for result in results if isinstance(result, int)) == list(range(1, 41))

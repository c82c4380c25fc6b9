"""What a store promises the journal, whichever it is: in memory over the library's recorder, or in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from mintage.application.records import Receipt
from mintage.domain import catalogue
from mintage.domain.catalogue import AnyEvent
from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import CREDITS
from mintage.domain.credits.events import CreditsConsumed, CreditsGranted, Slice
from mintage.domain.generation.events import GenerationRequested
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased, PersonRegistered
from mintage.infra import memory_store, postgres_store
from mintage.infra.memory_store import MemoryLog, MemoryStore
from mintage.infra.store import BEGINNING, Breach, Needs, Snapshot, Stale, Store
from mintage.infra.vault import PREFIX
from tests.infra.kit import postgres_store as new_postgres_store
from tests.infra.kit import receipt, some_id

NewStore = Callable[[], Store]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
async def new_store(request: pytest.FixtureRequest) -> AsyncIterator[NewStore]:
    """Makes stores of one log, as the processes of one system have them."""
    log = MemoryLog()
    conninfo = request.getfixturevalue("conninfo") if request.param == "postgres" else ""
    stores: list[Store] = []

    def make() -> Store:
        stores.append(new_postgres_store(conninfo) if conninfo else MemoryStore(log))
        return stores[-1]

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store()


@pytest.fixture
def other(new_store: NewStore) -> Store:
    return new_store()


def granted(amount: int, *, lot: int = 1) -> CreditsGranted:
    return CreditsGranted(transaction_id=some_id(), lot=lot, amount=amount, source="adjustment", description="granted")


def consumed(amount: int) -> CreditsConsumed:
    return CreditsConsumed(transaction_id=some_id(), amount=amount, description="spent", taken=(Slice(1, amount),))


def registered(user_id: str, number: int = 1) -> PersonRegistered:
    return PersonRegistered(
        user_id=user_id,
        number=number,
        document="v1",
        username=f"canary-{number}",
        referral_code=f"CODE{number}",
    )


def asked(user_id: str) -> GenerationRequested:
    return GenerationRequested(
        user_id=user_id,
        number=1,
        document="v1",
        task_type="text2img",
        model_provider="p",
        model_name="m",
        renderer="builtin",
        prompt="canary",
        parameters={},
        price=1,
        works=(some_id(),),
    )


def entry(
    position: int, stream: str, version: int, event: AnyEvent, *, command_id: str = "", at: datetime = NOON
) -> Recorded:
    return Recorded(position, stream, version, at, "system", command_id or some_id(), event)


def new_stream() -> str:
    return f"credits-{some_id()}"


async def append(store: Store, *entries: Recorded, after: int = 0) -> None:
    await store.lock(after)
    await store.commit(entries, (), ())


async def log_of(store: Store) -> list[Recorded]:
    tail = await store.lock(0)
    await store.unlock()
    assert tail.entries is not None
    assert [found.position for found in tail.entries] == list(range(1, len(tail.entries) + 1))
    return list(tail.entries)


async def load(store: Store, *streams: str) -> dict[str, tuple[int, Any]]:
    await store.lock(0)
    loaded = await store.load(Needs(set(streams)))
    await store.unlock()
    return loaded.streams


class TestLock:
    @pytest.mark.parametrize("end", ["commit", "unlock", "close", "breach"])
    async def test_keeps_every_other_writer_out_until_its_end(self, store: Store, other: Store, end: str) -> None:
        stream = new_stream()
        first, second = entry(1, stream, 1, granted(5)), entry(2, stream, 2, consumed(1))
        await append(store, first)
        await store.lock(1)
        waiting = asyncio.create_task(other.lock(0))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done, "two writers at once"
        match end:
            case "commit":
                await store.commit([second], (), ())
            case "unlock":
                await store.unlock()
            case "close":
                await store.close()
            case "breach":
                with pytest.raises(Breach):
                    await store.commit([entry(2, stream, 1, granted(1))], (), ())
        tail = await asyncio.wait_for(waiting, 10)
        assert tail.entries == ([first, second] if end == "commit" else [first]), "who has the lock sees everything"

    async def test_an_empty_log_has_an_empty_tail(self, store: Store) -> None:
        tail = await store.lock(0)
        assert (tail.position, list(tail.entries or ()), tail.at) == (0, [], BEGINNING)

    async def test_brings_what_others_appended_since(self, store: Store, other: Store) -> None:
        stream = new_stream()
        entries = [
            entry(1, stream, 1, granted(9)),
            entry(2, stream, 2, consumed(1)),
            entry(3, stream, 3, consumed(2), at=NOON + timedelta(seconds=1)),
        ]
        await append(store, *entries)
        tail = await other.lock(1)
        assert tail.entries == entries[1:]
        assert (tail.position, tail.at) == (3, entries[-1].at)
        await other.unlock()
        assert not (await other.lock(3)).entries

    async def test_a_tail_too_long_to_read_is_not_read(
        self, store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (memory_store, postgres_store):
            monkeypatch.setattr(module, "TAIL_MAX", 3)
        stream = new_stream()
        later = NOON + timedelta(seconds=1)
        await append(store, entry(1, stream, 1, granted(9)), *[entry(n, stream, n, consumed(1)) for n in (2, 3)])
        tail = await other.lock(0)
        assert tail.entries is not None
        assert len(tail.entries) == 3
        await other.commit([entry(4, stream, 4, consumed(1), at=later)], (), ())
        tail = await other.lock(0)
        assert (tail.entries, tail.position, tail.at) == (None, 4, later)


class TestLoad:
    async def test_what_is_not_there_is_said_so(self, store: Store) -> None:
        stream, key = new_stream(), (some_id(), "/consume", "k")
        await store.lock(0)
        loaded = await store.load(Needs({stream, "work-1"}, {key}, {"user", "task"}))
        assert loaded.streams == {stream: (0, CREDITS.initial), "work-1": (0, catalogue.decider_of("work-1").initial)}
        assert loaded.receipts == {key: None}
        assert loaded.numbers == {"user": 0, "task": 0}

    async def test_what_was_committed_is_there(self, store: Store, other: Store) -> None:
        user_id = some_id()
        kept = receipt(user_id)
        key = (user_id, kept.path, kept.key)
        await store.lock(0)
        await store.commit(
            [
                entry(1, f"registration-{user_id}", 1, registered(user_id, number=7)),
                entry(2, f"credits-{user_id}", 1, granted(9)),
                entry(3, f"credits-{user_id}", 2, consumed(4)),
            ],
            [kept],
            (),
        )
        await other.lock(0)
        loaded = await other.load(Needs({f"credits-{user_id}"}, {key}, {"user", "task"}))
        assert loaded.numbers == {"user": 7, "task": 0}
        assert loaded.receipts == {key: kept}
        version, account = loaded.streams[f"credits-{user_id}"]
        assert (version, account.available, account.lots_granted) == (2, 5, 1)

    async def test_a_later_receipt_replaces_an_earlier_one(self, store: Store, other: Store) -> None:
        user_id = some_id()
        for body in (b"first", b"second"):
            await store.lock(0)
            await store.commit((), [receipt(user_id, body=body)], ())
        await other.lock(0)
        (found,) = (await other.load(Needs(receipts={(user_id, "/consume", "k")}))).receipts.values()
        assert isinstance(found, Receipt)
        assert found.body == b"second"

    async def test_a_snapshot_and_the_tail_after_it_are_as_good_as_the_history(
        self, store: Store, other: Store
    ) -> None:
        stream = new_stream()
        entries = [
            entry(1, stream, 1, granted(9)),
            entry(2, stream, 2, consumed(4)),
            entry(3, stream, 3, granted(3, lot=2)),
        ]
        state = CREDITS.fold(CREDITS.initial, [granted(9), consumed(4)])
        await store.lock(0)
        await store.commit(entries, (), [Snapshot(stream, 2, state)])
        expected = CREDITS.fold(CREDITS.initial, [found.event for found in entries])  # type: ignore[misc]
        assert await load(other, stream) == {stream: (3, expected)}

    async def test_the_history_before_a_snapshot_is_not_read(self, store: Store, other: Store) -> None:
        stream = new_stream()
        told = CreditAccount(available=1_000, lots_granted=1)
        await store.lock(0)
        await store.commit([entry(1, stream, 1, granted(9))], (), [Snapshot(stream, 1, told)])
        assert await load(other, stream) == {stream: (1, told)}

    async def test_a_newer_snapshot_replaces_an_older_one(self, store: Store, other: Store) -> None:
        stream = new_stream()
        for version in (1, 2):
            await store.lock(0)
            told = CreditAccount(available=1_000 * version)
            new = entry(version, stream, version, granted(9, lot=version))
            await store.commit([new], (), [Snapshot(stream, version, told)])
        assert await load(other, stream) == {stream: (2, CreditAccount(available=2_000))}

    async def test_a_snapshot_of_another_shape_is_ignored(
        self, store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stream = new_stream()
        await store.lock(0)
        wrong = Snapshot(stream, 1, CreditAccount(available=1_000))
        await store.commit([entry(1, stream, 1, granted(9))], (), [wrong])
        monkeypatch.setitem(catalogue.DECIDERS, "credits", replace(CREDITS, shape=CREDITS.shape + 1))
        ((version, account),) = (await load(other, stream)).values()
        assert (version, account.available) == (1, 9)


class TestCommit:
    async def test_all_of_a_batch_or_nothing(self, store: Store, other: Store) -> None:
        user_id, stream = some_id(), new_stream()
        first = entry(1, stream, 1, granted(9))
        await append(store, first)
        await store.lock(1)
        refused = [
            entry(2, f"registration-{user_id}", 1, registered(user_id)),
            entry(3, f"credits-{user_id}", 1, granted(1)),
            entry(4, stream, 1, granted(1)),
        ]
        told = Snapshot(stream, 1, CreditAccount(available=1_000))
        with pytest.raises(Stale):
            await store.commit(refused, [receipt(user_id)], [told])
        assert await log_of(other) == [first]
        await other.lock(0)
        needs = Needs({stream, f"credits-{user_id}"}, {(user_id, "/consume", "k")}, {"user"})
        loaded = await other.load(needs)
        assert loaded.numbers == {"user": 0}
        assert set(loaded.receipts.values()) == {None}
        assert loaded.streams[stream][1].available == 9
        assert loaded.streams[f"credits-{user_id}"][0] == 0
        assert not await other.stored([found.command_id for found in refused])

    async def test_a_version_that_is_taken_is_stale(self, store: Store) -> None:
        stream = new_stream()
        await append(store, entry(1, stream, 1, granted(9)))
        with pytest.raises(Stale):
            await append(store, entry(2, stream, 1, granted(1)))

    async def test_a_position_that_is_taken_is_stale(self, store: Store) -> None:
        await append(store, entry(1, new_stream(), 1, granted(9)))
        with pytest.raises(Stale):
            await append(store, entry(1, new_stream(), 1, granted(1)))

    async def test_a_command_is_stored_once(self, store: Store) -> None:
        command_id = some_id()
        await append(store, entry(1, new_stream(), 1, granted(9), command_id=command_id))
        with pytest.raises(Breach) as refused:
            await append(store, entry(2, new_stream(), 1, granted(9), command_id=command_id))
        assert refused.value.constraint == "stored_events_command"
        assert type(refused.value) is not Stale, "to be tried again would not help"
        assert len(await log_of(store)) == 1

    async def test_a_command_may_have_many_events(self, store: Store) -> None:
        stream, command_id = new_stream(), some_id()
        await append(
            store,
            entry(1, stream, 1, granted(9), command_id=command_id),
            entry(2, stream, 2, consumed(1), command_id=command_id),
            entry(3, new_stream(), 1, granted(1), command_id=command_id),
        )
        assert {found.command_id for found in await log_of(store)} == {command_id}

    async def test_says_which_commands_are_stored(self, store: Store, other: Store) -> None:
        first, second = entry(1, new_stream(), 1, granted(1)), entry(2, new_stream(), 1, granted(1))
        await append(store, first, second)
        await other.lock(0)
        assert await other.stored([first.command_id])
        assert await other.stored([some_id(), second.command_id])
        assert not await other.stored([some_id()])

    async def test_positions_have_no_gap_after_refusals(self, store: Store, other: Store) -> None:
        stream = new_stream()
        for version in range(1, 5):
            await append(store, entry(version, stream, version, granted(1, lot=version)))
            with pytest.raises(Stale):
                await append(other, entry(version + 1, stream, version, granted(1)))
            await other.lock(0)
            await other.unlock()
        assert [found.version for found in await log_of(store)] == [1, 2, 3, 4]

    async def test_what_is_let_go_of_is_not_stored(self, store: Store, other: Store) -> None:
        await store.lock(0)
        await store.unlock()
        assert await log_of(other) == []


class TestPersonal:
    async def test_personal_fields_lie_sealed(self, store: Store, other: Store) -> None:
        user_id = some_id()
        await append(
            store,
            entry(1, f"registration-{user_id}", 1, registered(user_id)),
            entry(2, f"generation-{some_id()}", 1, asked(user_id)),
        )
        person, task = [found.event for found in await log_of(other)]
        assert isinstance(person, PersonRegistered)
        assert isinstance(task, GenerationRequested)
        assert person.username.startswith(PREFIX)
        assert task.prompt.startswith(PREFIX)
        assert b"canary" not in msgspec.json.encode([person, task])

    async def test_nothing_is_sealed_for_who_has_no_key(self, store: Store, other: Store) -> None:
        with pytest.raises(Breach):
            await append(store, entry(1, f"generation-{some_id()}", 1, asked(some_id())))
        await append(other, entry(1, new_stream(), 1, granted(1)))
        assert len(await log_of(other)) == 1

    async def test_erasing_drops_the_key_in_every_process(self, store: Store, other: Store) -> None:
        user_id = some_id()
        await append(store, entry(1, f"registration-{user_id}", 1, registered(user_id)))
        await append(other, entry(2, f"generation-{some_id()}", 1, asked(user_id)))
        await append(other, entry(3, f"registration-{user_id}", 2, PersonErased(user_id=user_id)))
        # The one has yet to hear of it, the other did it.
        for number, one in ((2, store), (3, other)):
            task = msgspec.structs.replace(asked(user_id), number=number)
            with pytest.raises(Breach) as refused:
                await append(one, entry(4, f"generation-{some_id()}", 1, task), after=number)
            assert refused.value.constraint is None, "nothing but the key is missing"

    async def test_a_refused_erasure_keeps_the_key(self, store: Store, other: Store) -> None:
        user_id, stream = some_id(), new_stream()
        await append(store, entry(1, f"registration-{user_id}", 1, registered(user_id)))
        await append(store, entry(2, stream, 1, granted(1)))
        gone = entry(3, f"registration-{user_id}", 2, PersonErased(user_id=user_id))
        with pytest.raises(Stale):
            await append(store, gone, entry(4, stream, 1, granted(1)))
        for position, one in ((3, store), (4, other)):
            task = msgspec.structs.replace(asked(user_id), number=position)
            await append(one, entry(position, f"generation-{some_id()}", 1, task))

"""Every stored event carries a hash over itself and all that came before it in its stream."""

from hashlib import sha256
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintage.infra import chain
from mintage.infra.chain import GENESIS, event_hash
from tests.infra.kit import Day, a_day, consume, erase, grant, journal_on, outcomes, rows, some_id

THE_LOG = "select notification_id, originator_version, originator_id, topic, state, hash from stored_events order by 1"


def the_hashes(conninfo: str) -> list[tuple[bytes, bytes]]:
    """Each event's hash as it is stored and as it comes out when it is worked out from the first event on."""
    heads: dict[str, bytes] = {}
    hashes = []
    for position, version, stream, topic, state, stored in rows(conninfo, THE_LOG):
        # Written out, from the description in the decision and not with the program's own function.
        parts = [stream.encode(), topic.encode(), state]
        numbers = position.to_bytes(8, "big") + version.to_bytes(8, "big")
        body = numbers + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        heads[stream] = sha256(b"\0mintage event 1\0" + heads.get(stream, bytes(32)) + body).digest()
        hashes.append((stored, heads[stream]))
    return hashes


def assert_chained(conninfo: str) -> None:
    hashes = the_hashes(conninfo)
    assert hashes
    assert all(stored == right for stored, right in hashes)


def test_the_first_event_of_all() -> None:
    # Worked out with printf and sha256sum.
    right = "2d9a5dd7fa85f71031b4110e26fb4722bcabe82c90846e95b2f4f9a3826acd73"
    assert event_hash(GENESIS, 1, 1, "a", "b", b"{}").hex() == right


EVENTS = st.tuples(
    st.binary(min_size=32, max_size=32),
    st.integers(1, 2**63 - 1),
    st.integers(1, 2**63 - 1),
    st.text(max_size=8),
    st.text(max_size=8),
    st.binary(max_size=8),
)


@given(EVENTS, EVENTS)
def test_two_events_are_never_mistaken_for_one_another(one: Any, other: Any) -> None:
    assert (event_hash(*one) == event_hash(*other)) == (one == other)


@given(st.text("ab", max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_nothing_can_be_moved_from_one_part_to_the_next(text: str, one: int, other: int) -> None:
    def cut(at: int) -> bytes:
        return event_hash(GENESIS, 1, 1, text[:at], text[at:], b"")

    assert (cut(one) == cut(other)) == (text[:one] == text[:other])


async def test_the_whole_log_is_chained(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    assert_chained(conninfo)


async def test_many_events_of_one_account_in_one_batch(conninfo: str) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 1_000), actor="test")
        await outcomes([consume(user_id, 1) for _ in range(200)], journal)
    assert_chained(conninfo)


async def test_two_journals_take_turns_on_one_account(conninfo: str) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as one, journal_on(conninfo) as other:
        await one.transact(grant(user_id, 1_000), actor="test")
        for _ in range(10):
            await outcomes([consume(user_id, 1) for _ in range(6)], one, other)
    assert_chained(conninfo)


async def test_whoever_starts_anew_goes_on_where_the_chain_ended(conninfo: str) -> None:
    user_id = some_id()
    for _ in range(3):
        async with journal_on(conninfo) as journal:
            await journal.transact(grant(user_id, 10), actor="test")
            await journal.transact(consume(user_id, 1), actor="test")
    assert_chained(conninfo)


async def test_heads_that_were_forgotten_are_read(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "HEADS_MAX", 2)
    people = [some_id() for _ in range(5)]
    async with journal_on(conninfo) as journal:
        for _ in range(3):
            await outcomes([grant(user_id, 10) for user_id in people], journal)
    assert_chained(conninfo)


async def test_a_batch_that_was_refused_leaves_no_head_behind(conninfo: str) -> None:
    user_id, used = some_id(), some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        await journal.transact(consume(user_id, 1, transaction_id=used), actor="test")
        # The database refuses the second use of the id, and with it what was hashed for it.
        (refused,) = await outcomes([consume(user_id, 1, transaction_id=used)], journal)
        assert isinstance(refused, Exception)
        await journal.transact(consume(user_id, 2), actor="test")
    assert_chained(conninfo)


async def test_erasing_somebody_changes_no_hash(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        day: Day = await a_day(journal)
        before = the_hashes(conninfo)
        await journal.transact(erase(day.people[0]), actor="system")
    assert the_hashes(conninfo)[: len(before)] == before
    assert_chained(conninfo)


def test_an_event_without_a_whole_hash_is_refused_by_the_database(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "insert into stored_events (originator_id, originator_version, topic, state, notification_id, hash) "
            "values ('credits-x', 1, 'credits.granted', '{}', 1, '\\x00')"
        )

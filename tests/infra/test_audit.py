"""The audit agrees with an honest log, and names the stream and the event wherever somebody lent a hand."""

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mintage.application.generations import Generations
from mintage.application.lifecycle import Lifecycle
from mintage.domain.catalogue import EVENT_TYPES
from mintage.infra.audit import DIFFERENCES_MAX, verify
from mintage.infra.audit.plan import planned, reading
from mintage.infra.audit.replay import replay
from mintage.infra.audit.rules import RULES
from mintage.infra.audit.tables import ORIGINS
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.identifiers import new_id
from mintage.infra.postgres_store import LOG_LOCK
from mintage.projections import READ_MODELS
from mintage.projections.ledger import CREDIT_EVENTS
from tests.conftest import VAULT
from tests.infra.audit_kit import (
    Audit,
    Named,
    Story,
    a_story,
    auditing,
    checkpoints,
    follow,
    names,
    rehash,
    shown,
    tamper,
)
from tests.infra.kit import (
    ASK,
    CATALOGUE,
    FILE,
    Day,
    a_day,
    consume,
    erase,
    grant,
    journal_on,
    one,
    outcomes,
    register,
    rows,
    run_sql,
    some_id,
)


@pytest.fixture
def audit(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Audit]:
    with auditing(postgres.conninfo, tmp_path / "state") as audit:
        yield audit


@pytest.fixture
async def day(conninfo: str) -> Day:
    async with journal_on(conninfo) as journal:
        day = await a_day(journal)
        await outcomes([consume(day.people[0], 1) for _ in range(5)], journal)
    follow(conninfo)
    return day


@pytest.fixture
async def story(conninfo: str, tmp_path: Path) -> Story:
    return await a_story(conninfo, tmp_path / "checkpoints")


def test_an_honest_log_agrees(conninfo: str, story: Story, audit: Audit, tmp_path: Path) -> None:
    findings = audit(conninfo, checkpoints=checkpoints(conninfo, tmp_path / "checkpoints"))
    assert findings.differences == []
    assert findings.found == 0
    assert findings.events == one(conninfo, "select count(*) from stored_events")
    assert findings.accounts == one(conninfo, "select count(*) from credit_accounts")
    totals = findings.totals
    served = rows(conninfo, "select sum(available), sum(held), -sum(owed) from credit_accounts")[0]
    assert (totals.available, totals.held, totals.owed) == served
    assert (totals.credits, totals.fen) == (0, 0)
    assert totals.revenue > 0
    topics = {topic for (topic,) in rows(conninfo, "select distinct topic from stored_events")}
    assert {kind.__struct_config__.tag for kind in CREDIT_EVENTS} <= topics, "every kind of credit event was judged"


def test_a_server_of_its_own_is_used_and_cleared_away(conninfo: str, day: Day, tmp_path: Path) -> None:
    heard = []
    state, scratch = tmp_path / "state", tmp_path / "scratch"
    findings = verify(conninfo, VAULT, lambda *told: heard.append(told), jobs=2, state=state, scratch=scratch)
    assert findings.differences == []
    assert findings.rate > 0
    assert list(state.iterdir()) == list(scratch.iterdir()) == []
    phases = {"replay", "order", "read models", "comparison"}
    assert {phase for phase, _, _ in heard} == phases
    for phase in phases:
        told = [(done, whole) for name, done, whole in heard if name == phase]
        assert told == sorted(told)
        assert told[-1][0] == told[-1][1]


def test_every_event_has_a_rule_and_every_table_an_origin() -> None:
    assert set(RULES) | set(CREDIT_EVENTS) == set(EVENT_TYPES)
    named_by_their_own_keys = {"statistics", "numbers", "webhook_deliveries"}
    assert {table for model in READ_MODELS.values() for table in model.tables} == set(ORIGINS) | named_by_their_own_keys


async def test_an_honest_log_agrees_under_traffic(conninfo: str, day: Day, audit: Audit) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100_000), actor="test")
        verifying = asyncio.create_task(asyncio.to_thread(audit, conninfo))
        spent = 0
        while not verifying.done():
            await outcomes([consume(user_id, 1) for _ in range(20)], journal)
            spent += 20
        findings = await verifying
    assert findings.differences == []
    assert spent > 20


async def test_a_task_that_comes_out_just_after_its_person_was_erased_agrees(conninfo: str, audit: Audit) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(register(user_id, "somebody"), actor=user_id)
        await journal.transact(grant(user_id, 100), actor=user_id)
        reply = await Generations(journal, CATALOGUE, new_id).request(user_id, ASK)
        assert reply.outcome is not None
        lifecycle, task_id = Lifecycle(journal, new_id), reply.outcome.task_id
        await lifecycle.start(task_id, fence=1, worker="w")
        await journal.transact(erase(user_id), actor="system")
        await lifecycle.succeed(task_id, [FILE] * 3, kind="image", fence=1, worker="w")
    follow(conninfo)
    assert shown(audit(conninfo)) == ""


def test_an_empty_log_agrees(conninfo: str, audit: Audit) -> None:
    assert audit(conninfo).found == 0


def test_the_audited_database_is_only_read(conninfo: str, story: Story, audit: Audit) -> None:
    """By somebody who may only read, and on a server that takes no writes, as a replica does not."""
    auditor = f"auditor_{some_id().replace('-', '')}"
    run_sql(
        conninfo,
        f"create role {auditor} login",
        f"grant usage on schema public to {auditor}",
        f"grant select on all tables in schema public to {auditor}",
        f"alter role {auditor} set default_transaction_read_only = on",
    )
    try:
        findings = audit(make_conninfo(conninfo, user=auditor))
        assert findings.differences == []
        assert findings.events > 100
    finally:
        run_sql(conninfo, f"drop owned by {auditor}", f"drop role {auditor}")


def the_debit(conninfo: str, user_id: str) -> tuple[str, int, int]:
    """The stream, version and position of an account's first debit."""
    found = rows(
        conninfo,
        "select originator_id, originator_version, notification_id from stored_events "
        "where originator_id = %s and topic = 'credits.consumed' order by 2 limit 1",
        (f"credits-{user_id}",),
    )
    return found[0]  # type: ignore[no-any-return]


def _replaced(position: int, old: str, new: str) -> str:
    state = f"convert_to(replace(convert_from(state, 'utf8'), '{old}', '{new}'), 'utf8')"
    return f"update stored_events set state = {state} where notification_id = {position}"


Tampering = Callable[[str, Day], list[Named]]
"""Does something to the database; returns what must be named."""


def amount_changed(conninfo: str, day: Day) -> list[Named]:
    stream, version, position = the_debit(conninfo, day.people[0])
    tamper(
        conninfo,
        _replaced(position, '"amount":1', '"amount":3'),
    )
    return [
        (stream, version, "its hash is not"),
        (stream, version, "a row of table transactions differs in amount"),
    ]


def event_removed(conninfo: str, day: Day) -> list[Named]:
    stream, version, position = the_debit(conninfo, day.people[0])
    after = rows(
        conninfo,
        "select originator_id, originator_version from stored_events where notification_id = %s",
        (position + 1,),
    )[0]
    tamper(conninfo, f"delete from stored_events where notification_id = {position}")
    return [
        (stream, version + 1, f"version {version + 1} follows {version - 1}"),
        (*after, f"position {position + 1} follows {position - 1}"),
    ]


def last_event_removed(conninfo: str, day: Day) -> list[Named]:
    tamper(
        conninfo, "delete from stored_events where notification_id = (select max(notification_id) from stored_events)"
    )
    stream = f"credits-{day.people[0]}"
    last = one(conninfo, "select max(originator_version) from stored_events where originator_id = %s", (stream,))
    return [(stream, last, "the database serves")]


def balance_changed(conninfo: str, day: Day) -> list[Named]:
    run_sql(conninfo, f"update credit_accounts set available = available + 1 where user_id = '{day.people[1]}'")
    stream = f"credits-{day.people[1]}"
    last = one(conninfo, "select max(originator_version) from stored_events where originator_id = %s", (stream,))
    return [(stream, last, "the log comes to"), (stream, 0, "a row of table credit_accounts differs in available")]


def account_added(conninfo: str, day: Day) -> list[Named]:
    user_id = some_id()
    run_sql(conninfo, f"insert into credit_accounts values ('{user_id}', 5, 0, 0, 1, now(), now())")
    return [(f"credits-{user_id}", 0, "the database serves a row of table credit_accounts that the log has not")]


def line_added(conninfo: str, day: Day) -> list[Named]:
    stream, version, _ = the_debit(conninfo, day.people[0])
    run_sql(
        conninfo,
        f"""insert into transactions select gen_random_uuid(), user_id, type, kind, amount, description, payment_method,
        balance_after, null, position, created_at from transactions
        where user_id = '{day.people[0]}' and type = 'consume' order by position limit 1""",
    )
    return [(stream, version, "the database serves a row of table transactions")]


def line_changed(conninfo: str, day: Day) -> list[Named]:
    stream, version, position = the_debit(conninfo, day.people[1])
    run_sql(conninfo, f"update transactions set balance_after = balance_after + 1 where position = {position}")
    return [(stream, version, "a row of table transactions")]


def two_events_swapped(conninfo: str, day: Day) -> list[Named]:
    stream = f"credits-{day.people[0]}"
    found = rows(conninfo, "select notification_id from stored_events where originator_id = %s order by 1", (stream,))
    (first,), (second,) = found[0], found[-1]
    tamper(
        conninfo,
        f"update stored_events set notification_id = -1 where notification_id = {first}",
        f"update stored_events set notification_id = {first} where notification_id = {second}",
        f"update stored_events set notification_id = {second} where notification_id = -1",
    )
    return [(stream, len(found), "its hash is not"), (stream, 1, "its hash is not")]


def hold_released_twice(conninfo: str, day: Day) -> list[Named]:
    sql = """select originator_id, notification_id from stored_events where topic = 'credits.released'
    and convert_from(state, 'utf8') like %s"""
    stream, position = rows(conninfo, sql, (f"%{day.failed}%",))[0]
    tamper(
        conninfo,
        f"""insert into stored_events select originator_id,
            (select max(originator_version) + 1 from stored_events where originator_id = '{stream}'), topic,
            state, (select max(notification_id) + 1 from stored_events), gen_random_uuid(), hash
        from stored_events where notification_id = {position}""",
    )
    last = one(conninfo, "select max(originator_version) from stored_events where originator_id = %s", (stream,))
    return [(stream, last, "is not open")]


def end_of_task_removed(conninfo: str, day: Day) -> list[Named]:
    """Renumbered by a careful hand, so that no gap is left."""
    found = rows(
        conninfo,
        "select notification_id from stored_events where originator_id = %s and topic = 'generation.completed'",
        (f"generation-{day.completed}",),
    )
    tamper(
        conninfo,
        f"delete from stored_events where notification_id = {found[0][0]}",
        f"update stored_events set notification_id = -notification_id where notification_id > {found[0][0]}",
        "update stored_events set notification_id = -notification_id - 1 where notification_id < 0",
    )
    sql = """select originator_id, originator_version from stored_events where topic = 'credits.captured'
    and convert_from(state, 'utf8') like %s"""
    stream, version = rows(conninfo, sql, (f"%{day.completed}%",))[0]
    return [
        (stream, version, f"captured hold without the other half, which generation-{day.completed}"),
        (f"generation-{day.completed}", 0, "a row of table tasks"),
    ]


def event_damaged(conninfo: str, day: Day) -> list[Named]:
    stream, version, position = the_debit(conninfo, day.people[0])
    tamper(conninfo, f"update stored_events set state = 'nonsense' where notification_id = {position}")
    return [(stream, version, "cannot be read")]


def time_turned_back(conninfo: str, day: Day) -> list[Named]:
    stream, version, position = the_debit(conninfo, day.people[0])
    tamper(
        conninfo,
        f"""update stored_events set state = convert_to(regexp_replace(convert_from(state, 'utf8'),
            '"at":"20..', '"at":"2001'), 'utf8') where notification_id = {position}""",
    )
    return [(stream, version, "recorded before")]


def task_served_otherwise(conninfo: str, day: Day) -> list[Named]:
    run_sql(conninfo, f"update tasks set charged = charged - 1 where task_id = '{day.completed}'")
    return [(f"generation-{day.completed}", 0, "a row of table tasks")]


def person_served_otherwise(conninfo: str, day: Day) -> list[Named]:
    run_sql(conninfo, f"update people set email = 'thief@example.org' where user_id = '{day.people[0]}'")
    return [(f"registration-{day.people[0]}", 0, "a row of table people")]


TAMPERINGS: list[Tampering] = [
    amount_changed,
    event_removed,
    last_event_removed,
    balance_changed,
    account_added,
    line_added,
    line_changed,
    two_events_swapped,
    hold_released_twice,
    end_of_task_removed,
    event_damaged,
    time_turned_back,
    task_served_otherwise,
    person_served_otherwise,
]


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering.__name__)
def test_tampering_is_found_and_named(conninfo: str, day: Day, tampering: Tampering, audit: Audit) -> None:
    expected = tampering(conninfo, day)
    findings = audit(conninfo)
    assert findings.found >= len(findings.differences) > 0
    assert all(names(findings, named) for named in expected), shown(findings)
    assert b"thief" not in msgspec.json.encode(findings), "who somebody is does not belong in an audit's output"


def test_a_careful_thief_who_changes_event_hashes_and_balance_is_found(conninfo: str, day: Day, audit: Audit) -> None:
    stream, version, position = the_debit(conninfo, day.people[0])
    tamper(
        conninfo,
        _replaced(position, '"amount":1', '"amount":0'),
        f"update credit_accounts set available = available + 1 where user_id = '{day.people[0]}'",
    )
    rehash(conninfo)
    assert names(audit(conninfo), (stream, version, "an amount of 0"))


def test_what_breaks_a_read_model_is_a_difference_and_not_the_end(conninfo: str, day: Day, audit: Audit) -> None:
    position = one(conninfo, "select min(notification_id) from stored_events where topic = 'credits.granted'")
    tamper(conninfo, _replaced(position, '"amount":100', '"amount":-100'))
    run_sql(conninfo, f"update tasks set price = price + 1 where task_id = '{day.failed}'")
    findings = audit(conninfo)
    stream = f"credits-{day.people[0]}"
    assert names(findings, (stream, 1, "read model ledger cannot be made"))
    assert names(findings, (stream, 1, "an amount of -100"))
    assert names(findings, (f"generation-{day.failed}", 0, "differs in price"))


def test_all_differences_are_counted_and_some_are_named(conninfo: str, day: Day, audit: Audit) -> None:
    run_sql(
        conninfo,
        f"""insert into credit_accounts select gen_random_uuid(), 5, 0, 0, 1, now(), now()
        from generate_series(1, {2 * DIFFERENCES_MAX})""",
    )
    findings = audit(conninfo)
    assert findings.found == 2 * DIFFERENCES_MAX
    assert len(findings.differences) == DIFFERENCES_MAX


def test_the_audit_needs_no_lock(conninfo: str, day: Day, audit: Audit) -> None:
    with psycopg.connect(conninfo) as writer:
        writer.execute("select pg_advisory_xact_lock(%s)", (LOG_LOCK,))
        assert audit(conninfo).found == 0


async def test_memory_stays_flat(conninfo: str) -> None:
    """However many events a stream has, and however many streams there are."""
    peaks = []
    people = [some_id() for _ in range(40)]
    async with journal_on(conninfo) as journal:
        await outcomes([grant(user_id, 100_000) for user_id in people], journal)
        for events in (6_000, 24_000):
            for _ in range(events // 1_000):
                await outcomes([consume(people[turn % 40 * (turn % 2)], 1) for turn in range(1_000)], journal)
            peaks.append(await asyncio.to_thread(peak_of_replay, conninfo))
    assert peaks[1] < 1.2 * peaks[0], peaks


def peak_of_replay(conninfo: str) -> int:
    with reading(conninfo) as connection:
        plan = planned(connection)
        tracemalloc.start()
        for streams in plan.pieces:
            replay(connection, streams, plan.end, lambda _: None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak

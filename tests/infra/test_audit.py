"""The audit agrees with an honest log, and names the stream and the event wherever somebody lent a hand."""

import asyncio
from collections.abc import Callable

import msgspec
import psycopg
import pytest

from mintage.infra.audit import DIFFERENCES_MAX, Findings, verify
from mintage.infra.postgres_store import LOG_LOCK
from tests.conftest import VAULT
from tests.infra.kit import Day, a_day, consume, grant, journal_on, one, outcomes, rows, run_sql, some_id


@pytest.fixture
async def day(conninfo: str) -> Day:
    async with journal_on(conninfo) as journal:
        day = await a_day(journal)
        await outcomes([consume(day.people[0], 1) for _ in range(5)], journal)
    return day


def audit(conninfo: str) -> Findings:
    return verify(conninfo, VAULT)


def tamper(conninfo: str, *statements: str) -> None:
    """As a superuser can, who knows how to get round the triggers."""
    run_sql(
        conninfo,
        "alter table stored_events disable trigger user",
        *statements,
        "alter table stored_events enable trigger user",
    )


Named = tuple[str, int, str]
"""A stream, an event's version, and what is said of it."""


def names(findings: Findings, named: Named) -> bool:
    stream, version, what = named
    return any(
        (found.stream, found.version) == (stream, version) and what in found.what for found in findings.differences
    )


def test_an_honest_log_agrees(conninfo: str, day: Day) -> None:
    findings = audit(conninfo)
    assert findings.differences == []
    assert findings.found == 0
    assert findings.events == one(conninfo, "select count(*) from stored_events")
    assert findings.accounts == 5
    totals = findings.totals
    assert (totals.available, totals.held) == rows(conninfo, "select sum(available), sum(held) from credit_accounts")[0]
    assert -totals.issued == totals.available + totals.held + totals.spent + totals.expired
    assert totals.spent > 0


async def test_an_honest_log_agrees_under_traffic(conninfo: str, day: Day) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100_000), actor="test")
        verifying = asyncio.create_task(asyncio.to_thread(audit, conninfo))
        while not verifying.done():
            await outcomes([consume(user_id, 1) for _ in range(20)], journal)
        assert (await verifying).differences == []


def test_an_empty_log_agrees(conninfo: str) -> None:
    assert audit(conninfo).found == 0


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
    return [(stream, version, "the log comes to a row of table transactions")]


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
    return [(stream, last, "the log comes to"), (stream, 0, "a row of table credit_accounts")]


def account_added(conninfo: str, day: Day) -> list[Named]:
    user_id = some_id()
    run_sql(conninfo, f"insert into credit_accounts values ('{user_id}', 5, 0, 1, now(), now())")
    return [(f"credits-{user_id}", 0, "the database serves 5")]


def line_added(conninfo: str, day: Day) -> list[Named]:
    stream, version, _ = the_debit(conninfo, day.people[0])
    run_sql(
        conninfo,
        f"""insert into transactions select gen_random_uuid(), user_id, type, kind, amount, description, payment_method,
        balance_after, position, created_at from transactions where user_id = '{day.people[0]}' and type = 'consume'
        order by position limit 1""",
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
    return [(stream, len(found), "follows 0"), (stream, 1, "version 1 follows")]


def hold_released_twice(conninfo: str, day: Day) -> list[Named]:
    sql = """select originator_id, notification_id from stored_events where topic = 'credits.released'
    and convert_from(state, 'utf8') like %s"""
    stream, position = rows(conninfo, sql, (f"%{day.failed}%",))[0]
    tamper(
        conninfo,
        f"""insert into stored_events select originator_id,
            (select max(originator_version) + 1 from stored_events where originator_id = '{stream}'), topic,
            state, (select max(notification_id) + 1 from stored_events), gen_random_uuid()
        from stored_events where notification_id = {position}""",
    )
    last = one(conninfo, "select max(originator_version) from stored_events where originator_id = %s", (stream,))
    return [(stream, last, "HoldReleased of a lot or hold that is not there")]


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
    return [(f"generation-{day.completed}", 0, "captured without the other half")]


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
def test_tampering_is_found_and_named(conninfo: str, day: Day, tampering: Tampering) -> None:
    expected = tampering(conninfo, day)
    findings = audit(conninfo)
    assert findings.found >= len(findings.differences) > 0
    assert all(names(findings, named) for named in expected), findings.differences
    assert b"thief" not in msgspec.json.encode(findings), "who somebody is does not belong in an audit's output"


def test_a_careful_thief_who_changes_event_and_balance_is_found(conninfo: str, day: Day) -> None:
    stream, version, position = the_debit(conninfo, day.people[0])
    tamper(
        conninfo,
        _replaced(position, '"amount":1', '"amount":0'),
        f"update credit_accounts set available = available + 1 where user_id = '{day.people[0]}'",
    )
    assert names(audit(conninfo), (stream, version, "an amount of 0"))


def test_what_breaks_a_read_model_is_a_difference_and_not_the_end(conninfo: str, day: Day) -> None:
    position = one(conninfo, "select min(notification_id) from stored_events where topic = 'credits.granted'")
    tamper(conninfo, _replaced(position, '"amount":100', '"amount":-100'))
    findings = audit(conninfo)
    assert names(findings, ("read model ledger", 0, "cannot be made from the log"))
    assert names(findings, (f"credits-{day.people[0]}", 1, "an amount of -100"))


def test_all_differences_are_counted_and_some_are_named(conninfo: str, day: Day) -> None:
    run_sql(
        conninfo,
        f"""insert into credit_accounts select gen_random_uuid(), 5, 0, 1, now(), now()
        from generate_series(1, {2 * DIFFERENCES_MAX})""",
    )
    findings = audit(conninfo)
    assert findings.found >= 2 * DIFFERENCES_MAX
    assert len(findings.differences) == DIFFERENCES_MAX


def test_the_audit_needs_no_lock_while_it_replays(conninfo: str, day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mintage.infra.audit.INLINE", ())
    with psycopg.connect(conninfo) as writer:
        writer.execute("select pg_advisory_xact_lock(%s)", (LOG_LOCK,))
        assert audit(conninfo).found == 0

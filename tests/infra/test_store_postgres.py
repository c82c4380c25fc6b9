"""What only the PostgreSQL store promises: what the database itself refuses, hides, and shows the library's readers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import Notification
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from mintage.application.records import PasswordSet
from mintage.domain.catalogue import AnyEvent
from mintage.domain.credits.events import CreditsConsumed, HoldReleased
from mintage.infra import keyring
from mintage.infra import postgres_store as postgres_store_module
from mintage.infra.clock import utc_now
from mintage.infra.database import connect
from mintage.infra.exchange import Exchange
from mintage.infra.identifiers import new_id
from mintage.infra.postgres_store import PostgresStore
from mintage.infra.store import Breach, Lost, Stale
from mintage.projections import INLINE
from tests.conftest import VAULT
from tests.infra.kit import (
    TERMINATE,
    a_day,
    account,
    consume,
    grant,
    journal_on,
    one,
    outcomes,
    postgres_store,
    receipt,
    register,
    rows,
    run_sql,
    some_id,
    the_log,
)
from tests.infra.test_store import append, asked, consumed, entry, granted, new_stream


@pytest.fixture
async def store(conninfo: str) -> AsyncIterator[PostgresStore]:
    store = postgres_store(conninfo)
    yield store
    await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "update stored_events set state = state",
        "delete from stored_events",
        "truncate stored_events",
        "truncate stored_events cascade",
        "merge into stored_events e using (select 1) x on true when matched then delete",
    ],
)
async def test_the_log_is_append_only(store: PostgresStore, conninfo: str, statement: str) -> None:
    await append(store, entry(1, new_stream(), 1, granted(5)))
    with psycopg.connect(conninfo, autocommit=True) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute(statement.encode())
    assert len(the_log(conninfo)) == 1


OVERDRAFTS: list[tuple[str, AnyEvent]] = [
    ("credit_accounts_available", consumed(6)),
    ("credit_accounts_held", HoldReleased(hold_id=new_id(), amount=1, returned=(), reason="failed")),
]


@pytest.mark.parametrize(("constraint", "event"), OVERDRAFTS)
async def test_no_balance_below_zero_whatever_the_code_believes(
    store: PostgresStore, conninfo: str, constraint: str, event: AnyEvent
) -> None:
    stream = new_stream()
    await append(store, entry(1, stream, 1, granted(5)))
    with pytest.raises(Breach) as refused:
        await append(store, entry(2, stream, 2, event), entry(3, new_stream(), 1, granted(1)))
    assert refused.value.constraint == constraint
    assert account(conninfo, stream.removeprefix("credits-")) == (5, 0)
    assert len(the_log(conninfo)) == 1


async def test_an_account_that_is_not_where_the_events_left_off_is_refused(store: PostgresStore, conninfo: str) -> None:
    stream = new_stream()
    await append(store, entry(1, stream, 1, granted(5)))
    run_sql(conninfo, "update credit_accounts set version = 7")
    with pytest.raises(Breach):
        await append(store, entry(2, stream, 2, consumed(1)))
    assert len(the_log(conninfo)) == 1


async def test_a_gap_in_an_accounts_versions_is_refused(store: PostgresStore, conninfo: str) -> None:
    stream = new_stream()
    await append(store, entry(1, stream, 1, granted(5)))
    with pytest.raises(Breach):
        await append(store, entry(2, stream, 3, consumed(1)))
    assert account(conninfo, stream.removeprefix("credits-")) == (5, 0)


async def test_what_a_row_cannot_hold_is_a_breach_and_the_store_goes_on(store: PostgresStore, conninfo: str) -> None:
    spent = CreditsConsumed(transaction_id=some_id(), amount=1, description="nul \x00", taken=())
    too_long = "".join(some_id() for _ in range(1_000))
    for record, event in (
        (receipt(some_id(), key=too_long), granted(1)),  # longer than an index row may be
        (PasswordSet("no uuid", "hash"), granted(1)),
        (receipt(some_id()), spent),
    ):
        await store.lock(0)
        with pytest.raises(Breach) as refused:
            await store.commit([entry(1, new_stream(), 1, event)], [record], ())
        assert type(refused.value) is not Stale
    await append(store, entry(1, new_stream(), 1, granted(5)))
    assert len(the_log(conninfo)) == 1


async def test_a_lost_connection_is_said_so_and_replaced(store: PostgresStore, conninfo: str) -> None:
    await store.lock(0)
    run_sql(conninfo, TERMINATE)
    with pytest.raises(Lost):
        await store.commit([entry(1, new_stream(), 1, granted(5))], (), ())
    await append(store, entry(1, new_stream(), 1, granted(5)))
    assert len(the_log(conninfo)) == 1


async def test_a_commit_that_did_not_commit_is_an_error(conninfo: str) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with ROLLBACK, and sees nothing wrong in it."""
    async with await connect(conninfo) as connection:
        await connection.execute("begin")
        with pytest.raises(psycopg.DataError):
            await connection.execute("select 1 / 0")
        with pytest.raises(psycopg.OperationalError):
            await Exchange(connection).commit([])


async def test_a_database_out_of_reach_is_lost() -> None:
    store = PostgresStore("host=/nowhere", VAULT, INLINE)
    with pytest.raises(Lost):
        await store.lock(0)
    await store.close()


async def test_a_silent_server_is_given_up(
    store: PostgresStore, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = postgres_store(conninfo)
    await other.lock(0)
    monkeypatch.setattr(postgres_store_module, "OPERATION_S", 0.3)
    with pytest.raises(Lost):
        await store.lock(0)
    await other.unlock()
    await other.close()
    await append(store, entry(1, new_stream(), 1, granted(5)))


async def test_few_keys_are_kept_and_any_number_can_be_used(
    store: PostgresStore, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "KEYS_MAX", 3)
    people = [some_id() for _ in range(10)]
    async with journal_on(store) as journal:
        for user_id in people:
            await journal.transact(register(user_id, user_id), actor="test")
    for position, user_id in enumerate(people, start=11):
        task = replace(asked(user_id), number=position)
        await append(store, entry(position, f"generation-{some_id()}", 1, task, at=utc_now()))
        assert len(store._keys._keys) <= 5
    assert len(the_log(conninfo)) == 20


# -- personal data


def tables(connection: psycopg.Connection[Any]) -> list[str]:
    found = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return [name for (name,) in found]


def bytes_of(conninfo: str) -> dict[str, bytes]:
    """Everything that lies in each table, byte for byte."""
    content: dict[str, bytes] = {}
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for name in tables(connection):
            with connection.cursor() as cursor:
                copying = SQL("copy {} to stdout (format binary)").format(Identifier(name))
                with cursor.copy(copying) as copy:
                    content[name] = b"".join(bytes(block) for block in copy)
    return content


READ_MODEL_TABLES = {table for model in INLINE for table in model.tables}


async def test_personal_fields_lie_in_clear_in_read_models_only(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        day = await a_day(journal)
        # Enough for snapshots to be taken.
        await outcomes([grant(day.people[0], 1) for _ in range(120)], journal)
    content = bytes_of(conninfo)
    assert one(conninfo, "select count(*) from snapshots") > 0
    in_clear = {name for name, found in content.items() if b"canary" in found.lower()}
    assert in_clear == {"people", "tasks", "characters", "works", "webhooks"}, "the canary sings where it is looked for"
    assert in_clear <= READ_MODEL_TABLES


async def test_erasing_drops_the_key_and_clears_the_read_models(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        day = await a_day(journal)
    gone = set(day.gone)
    keys = {user_id for (user_id,) in rows(conninfo, "select user_id::text from person_keys")}
    assert keys == set(day.people)
    content = bytes_of(conninfo)
    for user_id in gone:
        tag = f"canary{user_id[-12:]}".encode()
        assert not [name for name, found in content.items() if tag in found.lower()]
    prompts = rows(conninfo, "select prompt, negative_prompt from tasks where user_id::text = any(%s)", (list(gone),))
    assert set(prompts) == {("", None)}
    # What finance needs is untouched.
    assert all(account(conninfo, user_id) != (0, 0) for user_id in gone)


# -- the library's own readers


@pytest.fixture
def recorder(conninfo: str) -> Iterator[PostgresApplicationRecorder]:
    """The eventsourcing library as an application that never heard of us would set it up."""
    parts = conninfo_to_dict(conninfo)
    datastore = PostgresDatastore(
        dbname=str(parts["dbname"]),
        host=str(parts["host"]),
        port=str(parts["port"]),
        user="postgres",
        password="",
        pool_size=2,
        originator_id_type="text",
    )
    with datastore:
        yield PostgresApplicationRecorder(datastore, events_table_name="stored_events")


async def test_the_librarys_recorder_reads_our_log(conninfo: str, recorder: PostgresApplicationRecorder) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    log = the_log(conninfo)
    assert await asyncio.to_thread(recorder.max_notification_id) == len(log)
    notifications: list[Notification] = []
    while portion := await asyncio.to_thread(recorder.select_notifications, len(notifications) + 1, 7):
        notifications += portion
    assert [(n.id, n.originator_id, n.originator_version) for n in notifications] == [
        (found.position, found.stream, found.version) for found in log
    ]
    for stream in {found.stream for found in log}:
        events = await asyncio.to_thread(recorder.select_events, stream)
        assert [event.originator_version for event in events] == [
            found.version for found in log if found.stream == stream
        ]


async def test_the_librarys_subscription_sees_every_event_once_and_in_order(
    conninfo: str, recorder: PostgresApplicationRecorder
) -> None:
    users = [some_id() for _ in range(3)]
    expected = len(users) + 400
    seen: list[tuple[int, str, int]] = []

    subscription = recorder.subscribe(gt=0)

    def read() -> None:
        for notification in subscription:
            seen.append((notification.id, str(notification.originator_id), notification.originator_version))
            if len(seen) == expected:
                return

    with subscription:
        reading = asyncio.create_task(asyncio.to_thread(read))
        try:
            async with journal_on(conninfo) as first, journal_on(conninfo) as second:
                await outcomes([grant(user_id, 1_000) for user_id in users], first)
                for _ in range(4):
                    await outcomes([consume(users[turn % 3], 1) for turn in range(100)], first, second)
            await asyncio.wait({reading}, timeout=30)
        finally:
            subscription.stop()
            await reading
    assert seen == [(found.position, found.stream, found.version) for found in the_log(conninfo)]


async def test_the_writer_reads_no_table_from_end_to_end(conninfo: str) -> None:
    # A statement planned while the log was small would go on doing so until somebody analyzes the tables.
    scans = "select sum(seq_scan) from pg_stat_user_tables where relname in ('stored_events', 'credit_accounts')"
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 1_000), actor="test")
    before = one(conninfo, scans)
    async with journal_on(conninfo) as journal:
        for _ in range(20):
            await journal.transact(consume(user_id, 1), actor="test")
    assert one(conninfo, scans) == before

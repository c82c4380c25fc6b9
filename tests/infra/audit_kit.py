"""What the tests of the audit share: a log with everything in it, hands that change it, and the audit of a copy."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from mintage.application.adjustments import Adjustments, Wish
from mintage.application.recharges import Recharges
from mintage.application.reversals import Reversals
from mintage.application.transaction import Transaction, Work
from mintage.domain.credits.decider import CREDITS, ExpireCredits, GrantCredits
from mintage.domain.recharge.decider import RecordRefund
from mintage.infra.audit import Findings, audit
from mintage.infra.chain import GENESIS, event_hash
from mintage.infra.database import Pool, connect_sync
from mintage.infra.follower import follow_once
from mintage.infra.gateways import SandboxGateway
from mintage.infra.identifiers import new_id
from mintage.infra.log_reader import head
from mintage.infra.migrate import migrate
from mintage.infra.rebuild import fill
from mintage.infra.seal.notes import Checkpoint, read_notes
from mintage.infra.seal.sealer import Sealing, signer_of
from mintage.infra.spendings import LoggedSpendings
from mintage.projections import FOLLOWED, READ_MODELS
from tests.conftest import VAULT, on_database
from tests.infra.kit import CATALOGUE, Day, a_day, consume, journal_on, one, outcomes, register, rows, run_sql, some_id

SEED: Final = b"the key that seals all the tests"
FINANCE: Final = ("finance-1", "finance-2")


class Story(msgspec.Struct):
    """A day, and who then recharged, spent, was refunded, owed and paid; and a spending that was given back."""

    day: Day
    payer: str
    reversed_id: str
    order: str


async def a_story(conninfo: str, folder: Path) -> Story:
    """Some hundred events, every kind of credit event among them, sealed three times on the way."""
    clock = [datetime.now(UTC) - timedelta(hours=1)]
    async with journal_on(conninfo, clock=lambda: clock[0]) as journal:
        day = await a_day(journal)
        seal(conninfo, folder)
        recharges = Recharges(journal, SandboxGateway(), CATALOGUE.money, new_id)
        adjustments = Adjustments(journal, new_id)
        payer, other = some_id(), day.people[0]
        await journal.transact(register(payer, "payer"), actor=payer)
        await recharges.recharge(payer, 20, "stripe", render=lambda _: b"")
        order = rows(conninfo, "select recharge_id::text from recharges where user_id = %s", (payer,))[0][0]
        reversed_id = some_id()
        await journal.transact(consume(payer, 30, transaction_id=reversed_id), actor=payer)
        db = Pool(conninfo)
        await db.open()
        reversals = Reversals(journal, LoggedSpendings(db), new_id)
        await reversals.reverse(reversed_id, "a broken picture", actor=FINANCE[0], render=lambda _: b"")
        await db.close()
        await outcomes([consume(payer, 40) for _ in range(4)], journal)
        refund = RecordRefund(refund_reference="r1", amount_fen=1_500, reason="chargeback")
        await recharges.refund(order, refund, actor=FINANCE[0], render=lambda _: b"")
        for user_id, amount in ((payer, 500), (other, -5), (other, 2_000)):
            wish = Wish(user_id=user_id, amount=amount, reason="as agreed")
            done = (await adjustments.request(wish, actor=FINANCE[0])).outcome
            assert done is not None
            if done.status == "pending":
                await adjustments.approve(done.adjustment_id, actor=FINANCE[1])
        seal(conninfo, folder)
        for due in (clock[0] + timedelta(minutes=1), clock[0] + timedelta(minutes=3)):
            await journal.transact(bonus(other, 7, due), actor="system")
        clock[0] += timedelta(minutes=2)
        await journal.transact(
            lambda transaction: transaction.execute(CREDITS, other, ExpireCredits(now=transaction.now)), actor="system"
        )
        await outcomes([consume(other, 9), consume(other, 1), consume(payer, 11)], journal)
    follow(conninfo)
    seal(conninfo, folder)
    return Story(day, payer, reversed_id, order)


def bonus(user_id: str, amount: int, expires_at: datetime) -> Work[int]:
    """For a while."""
    transaction_id = some_id()

    def work(transaction: Transaction) -> int:
        command = GrantCredits(
            transaction_id=transaction_id,
            amount=amount,
            source="signup_bonus",
            description="for a while",
            expires_at=expires_at,
            now=transaction.now,
        )
        return transaction.execute(CREDITS, user_id, command).available

    return work


def follow(conninfo: str) -> None:
    """Bring every followed read model to the end of the log."""
    with connect_sync(conninfo) as connection:
        for model in FOLLOWED:
            while follow_once(connection, VAULT, model):
                pass


def seal(conninfo: str, folder: Path) -> None:
    sealing = Sealing(SEED, folder)
    with connect_sync(conninfo) as connection:
        while sealing.once(connection, datetime.now(UTC)):
            pass


def checkpoints(conninfo: str, folder: Path) -> list[Checkpoint]:
    with connect_sync(conninfo) as connection:
        return read_notes(folder, signer_of(connection, SEED))


Audit = Callable[..., Findings]


@contextmanager
def auditing(server: str, folder: Path) -> Iterator[Audit]:
    """An audit with a database on the tests' own server for its scratch, which saves starting one each time."""
    with database(server, "audit_scratch") as scratch:
        name = one(scratch, "select current_database()")
        run_sql(scratch, f"alter database {name} set synchronous_commit = off")
        yield lambda conninfo, **options: audit(conninfo, VAULT, scratch, folder, **options)


@contextmanager
def database(server: str, prefix: str, template: str = "template0") -> Iterator[str]:
    """A database for as long as this lasts."""
    name = f"{prefix}_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template} strategy wal_log".encode())
        try:
            yield on_database(server, name)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


class Sealed(msgspec.Struct):
    """The database with the story, to be copied, what was signed of it, and what audits the copies."""

    server: str
    template: str
    checkpoints: list[Checkpoint]
    audit: Audit


@contextmanager
def sealed_story(server: str, folder: Path) -> Iterator[Sealed]:
    """A story that agrees and was sealed three times."""
    with auditing(server, folder / "state") as audit, database(server, "story") as conninfo:
        migrate(conninfo, VAULT)
        story(conninfo, folder / "checkpoints")
        signed = checkpoints(conninfo, folder / "checkpoints")
        assert audit(conninfo, checkpoints=signed).differences == []
        assert len({note.size for note in signed}) == 3
        yield Sealed(server, one(conninfo, "select current_database()"), signed, audit)


def tamper(conninfo: str, *statements: str) -> None:
    """As a superuser can, who knows how to get round the triggers."""
    run_sql(
        conninfo,
        "alter table stored_events disable trigger user",
        *statements,
        "alter table stored_events enable trigger user",
    )


def rehash(conninfo: str) -> None:
    """As one can who knows the format: make every hash of every chain follow from what is stored now."""
    found = rows(
        conninfo,
        "select notification_id, originator_version, originator_id, topic, state from stored_events "
        "order by originator_id, originator_version",
    )
    hashes: list[tuple[bytes, int]] = []
    for _, events in groupby(found, key=lambda row: row[2]):
        previous = GENESIS
        for position, version, stream, topic, state in events:
            previous = event_hash(previous, position, version, stream, topic, state)
            hashes.append((previous, position))
    with psycopg.connect(conninfo) as connection:
        connection.execute("alter table stored_events disable trigger user")
        with connection.cursor() as cursor:
            cursor.executemany("update stored_events set hash = %s where notification_id = %s", hashes)
        connection.execute("alter table stored_events enable trigger user")


Named = tuple[str, int, str]
"""A stream, an event's version, and what is said of it."""


def names(findings: Findings, named: Named) -> bool:
    stream, version, what = named
    return any(
        (found.stream, found.version) == (stream, version) and what in found.what for found in findings.differences
    )


def shown(findings: Findings) -> str:
    return "\n".join(map(str, findings.differences))


def story(conninfo: str, folder: Path) -> Story:
    """``a_story`` for who is not in an event loop."""
    return asyncio.run(a_story(conninfo, folder))


def refill(conninfo: str) -> None:
    """As one can who has the program and the keys: make every read model anew from the log as it is now."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        upto = head(connection)
        for model in READ_MODELS.values():
            for table in model.tables:
                connection.execute(SQL("truncate {}").format(Identifier(table)))
            fill(connection, VAULT, model, upto)
            connection.execute("update checkpoints set position = %s where name = %s", (upto, model.name))

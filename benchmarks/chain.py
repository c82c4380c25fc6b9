"""What tamper evidence costs the write path: debits with hash chain and sealer, beside the same without either.

What is compared is the time on the processors for each debit, of this process and of PostgreSQL together. Run as
``python -m benchmarks.chain DATA_DIR``; prints one line of JSON.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import uvloop
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mintage.application.ledger import Ledger
from mintage.application.transaction import Transaction
from mintage.bootstrap import Site, sealer_of, site
from mintage.domain.credits.decider import CREDITS, GrantCredits
from mintage.domain.recorded import Recorded
from mintage.infra import postgres_store
from mintage.infra.chain import Heads
from mintage.infra.codec import encode, tag_of
from mintage.infra.identifiers import new_id
from mintage.infra.journal import PostgresJournal
from mintage.infra.migrate import migrate
from mintage.infra.postgres_store import PostgresStore
from mintage.infra.settings import Settings
from mintage.projections import INLINE
from mintage.projections.sql import Statement

SECONDS = 1.0
ROUNDS = 20
CALLERS = 256
ACCOUNTS = 100

_BARE = """
insert into stored_events (originator_id, originator_version, topic, state, notification_id, command_id)
select * from unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::uuid[])"""
_chained = postgres_store._append


def bare(
    entries: Sequence[Recorded],
    keys: Mapping[str, Any],  # noqa: ARG001
    before: Mapping[str, bytes],  # noqa: ARG001
) -> tuple[list[Statement], dict[str, tuple[int, bytes]]]:
    """The append as it would be without the chain. Debits hold nothing personal and are a command each."""
    rows = [
        (entry.stream, entry.version, tag_of(entry), encode(entry), entry.position, entry.command_id)
        for entry in entries
    ]
    return [Statement(_BARE, tuple(zip(*rows, strict=True)))], {}


class NoHeads(Heads):
    async def before(self, *_: Any) -> dict[str, bytes]:
        return {}


@asynccontextmanager
async def journal_on(place: Site, *, chained: bool) -> AsyncIterator[PostgresJournal]:
    migrate(place.conninfo, place.vault)
    store = PostgresStore(place.conninfo, place.vault, INLINE)
    if not chained:
        with psycopg.connect(place.conninfo, autocommit=True) as connection:
            connection.execute("alter table stored_events drop column hash")
        store._heads = NoHeads()
    journal = PostgresJournal(store, clock=lambda: datetime.now(UTC), new_id=new_id)
    await journal.start()
    try:
        yield journal
    finally:
        await journal.drain()


class Spent(msgspec.Struct):
    """So many debits in so many seconds of processor time."""

    debits: int = 0
    seconds: float = 0

    def add(self, more: "Spent") -> None:
        self.debits += more.debits
        self.seconds += more.seconds


def processor_s(data_dir: Path) -> float:
    """Seconds that this process and the PostgreSQL of the data directory have had a processor."""
    (pid_file,) = data_dir.glob("**/postmaster.pid")
    postmaster = pid_file.read_text().splitlines()[0]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = rest.rpartition(") ")[2].split()
        if pid == postmaster:
            # Its own time and that of backends that are gone.
            ticks += sum(map(int, fields[11:15]))
        elif fields[1] == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


async def debits(journal: PostgresJournal, users: list[str], data_dir: Path) -> Spent:
    ledger, done = Ledger(journal, new_id), 0
    began = processor_s(data_dir)
    end = time.perf_counter() + SECONDS

    async def caller(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await ledger.consume(users[number % ACCOUNTS], 1, "生成AI图片", render=lambda _: b"")
            done += 1

    await asyncio.gather(*map(caller, range(CALLERS)))
    return Spent(done, processor_s(data_dir) - began)


async def accounts(journal: PostgresJournal) -> list[str]:
    users = [new_id() for _ in range(ACCOUNTS)]

    async def grant(user: str) -> None:
        def work(transaction: Transaction) -> None:
            command = GrantCredits(
                transaction_id=new_id(),
                amount=10**8,
                source="signup_bonus",
                description="bench",
                now=transaction.now,
            )
            transaction.begin(CREDITS, user, command)

        await journal.transact(work, actor="bench")

    await asyncio.gather(*map(grant, users))
    return users


async def measure(settings: Settings, place: Site, other: Site) -> tuple[Spent, Spent]:
    """What was done with both, and what without."""
    all_with, all_without = Spent(), Spent()
    async with journal_on(place, chained=True) as chained, journal_on(other, chained=False) as plain:
        users = await accounts(chained)
        postgres_store._append = bare
        others = await accounts(plain)
        for turn in range(ROUNDS + 1):

            async def with_both() -> Spent:
                postgres_store._append = _chained
                sealing = asyncio.create_task(sealer_of(settings, place).run())
                spent = await debits(chained, users, settings.data_dir)
                sealing.cancel()
                await asyncio.gather(sealing, return_exceptions=True)
                return spent

            async def without() -> Spent:
                postgres_store._append = bare
                return await debits(plain, others, settings.data_dir)

            # Whoever goes first in one round goes second in the next.
            if turn % 2:
                one, two = await with_both(), await without()
            else:
                two, one = await without(), await with_both()
            if turn:
                all_with.add(one)
                all_without.add(two)
    return all_with, all_without


def main(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir)
    with site(settings) as place:
        with psycopg.connect(place.conninfo, autocommit=True) as connection:
            connection.execute("create database bare")
        parts: dict[str, Any] = {**conninfo_to_dict(place.conninfo), "dbname": "bare"}
        other = Site(make_conninfo(**parts), place.vault, None)
        both, neither = uvloop.run(measure(settings, place, other))
    cost = (both.seconds / both.debits) / (neither.seconds / neither.debits) - 1
    print(msgspec.json.encode({"cost": cost, "with": both, "without": neither}).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The journal without HTTP, beside the eventsourcing library used the ordinary way, on one PostgreSQL.

Run as ``python -m benchmarks.in_process DATA_DIR``; prints one line of JSON.
"""

import asyncio
import sys
import threading
import time
from pathlib import Path
from statistics import median
from uuid import UUID

import msgspec
import psycopg
import uvloop
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.people import people
from mintage.bootstrap import running
from mintage.infra.settings import Settings
from mintage.infra.site import site

SECONDS = 3.0
ROUNDS = 3
CALLERS = 256
THREADS = 16
ACCOUNTS = 100


class Account(Aggregate):
    """A credit account as the library's own documentation would write it."""

    def __init__(self, balance: int) -> None:
        self.balance = balance

    @event("Consumed")
    def consume(self, amount: int, description: str) -> None:  # noqa: ARG002 -- stored in the event
        if amount > self.balance:
            raise ValueError("insufficient")
        self.balance -= amount


async def journal(settings: Settings, place: object) -> float:
    """Debits a second through the journal by 256 callers over 100 accounts."""
    async with running(settings, place, base_url=lambda: "", worker=False) as services:  # type: ignore[arg-type]
        users, _ = await people(services, ACCOUNTS)
        done = 0
        end = time.perf_counter() + SECONDS

        async def caller(number: int) -> None:
            nonlocal done
            user = users[number % ACCOUNTS]
            while time.perf_counter() < end:
                await services.ledger.consume(user, 1, "生成AI图片", render=lambda _: b"")
                done += 1

        await asyncio.gather(*map(caller, range(CALLERS)))
        return done / SECONDS


def library(conninfo: str) -> float:
    """Debits a second through the library by 16 threads over 100 accounts, one aggregate saved per command."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create database library")
    try:
        return _library(conninfo)
    finally:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("drop database library with (force)")


def _library(conninfo: str) -> float:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    app: Application[UUID] = Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": "library",
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts.get("port", "5432")),
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "",
            "POSTGRES_POOL_SIZE": str(THREADS),
            "AGGREGATE_CACHE_MAXSIZE": "1000",
        }
    )
    try:
        accounts = [Account(10**9) for _ in range(ACCOUNTS)]
        app.save(*accounts)
        counts = [0] * THREADS
        end = time.perf_counter() + SECONDS

        def caller(number: int) -> None:
            # Each thread has accounts of its own, so that it never meets a conflict: the library at its best.
            mine = [account.id for account in accounts[number::THREADS]]
            while time.perf_counter() < end:
                account: Account = app.repository.get(mine[counts[number] % len(mine)])
                account.consume(1, "生成AI图片")
                app.save(account)
                counts[number] += 1

        threads = [threading.Thread(target=caller, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / SECONDS
    finally:
        app.close()


def main(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir)
    rates: dict[str, list[float]] = {"journal": [], "library": []}
    with site(settings) as place:
        for _ in range(ROUNDS):
            with psycopg.connect(place.conninfo, autocommit=True) as connection:
                connection.execute("drop schema public cascade")
                connection.execute("create schema public")
            rates["journal"].append(uvloop.run(journal(settings, place)))
            rates["library"].append(library(place.conninfo))
    print(msgspec.json.encode({name: median(values) for name, values in rates.items()}).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

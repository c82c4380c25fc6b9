"""What tamper evidence costs: processor time of durable debits over HTTP, the server's and PostgreSQL's.

Two servers that do the very same differ by more than what is to be measured, and so does a machine from one second to
the next. So one server, while debits come in, does each batch's append in both ways, one right after the other; and one
connection of PostgreSQL stores the same rows in a table with hashes and in one without.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import msgspec
import psycopg

from benchmarks.processors import Processors, processor_s
from mintage.domain.recorded import Recorded
from mintage.infra import postgres_store
from mintage.infra.chain import Heads
from mintage.infra.codec import encode, owner_of, tag_of
from mintage.infra.columns import execute, packed
from mintage.infra.seal.sealer import Sealing
from mintage.infra.site import Site
from mintage.projections.sql import Statement, Value

WARM_UP_S = 3.0
WHOLE_S = 20.0
CLOSE_S = 15.0
SECONDS = WARM_UP_S + WHOLE_S + CLOSE_S + 1
"""How long the debits have to go on."""
BATCHES = 1_000
BATCH = 32

_BARE = """
insert into stored_events (originator_id, originator_version, topic, state, notification_id, command_id)
select * from unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::uuid[])"""


class Cost(msgspec.Struct):
    """Microseconds of processor time: a debit in all; of it the chain's, in server and PostgreSQL; the sealer's."""

    debit_us: float
    server_us: float
    postgres_us: float
    sealer_us: float

    @property
    def chain_us(self) -> float:
        return self.server_us + self.postgres_us

    def percent(self, part_us: float) -> float:
        """A part beside what a debit would cost without chain and sealer."""
        return part_us / (self.debit_us - self.chain_us - self.sealer_us) * 100


class Meter:
    """Takes its measures in the server's own process while debits come in."""

    def __init__(self, place: Site, data_dir: Path) -> None:
        self._conninfo = place.conninfo
        self._data_dir = data_dir
        self._first = asyncio.Event()
        self._appended = self._sealed = 0
        self._is_close = False
        self._with_s = self._without_s = self._sealing_s = 0.0
        self._turn = False
        self._append, before = postgres_store._append, Heads.before
        stored, once = Heads.stored, Sealing.once

        async def timed_before(own: Heads, *given: Any) -> dict[str, bytes]:
            with self._timing():
                return await before(own, *given)

        def timed_stored(own: Heads, heads: Mapping[str, tuple[int, bytes]]) -> None:
            with self._timing():
                stored(own, heads)

        def timed_once(own: Sealing, connection: psycopg.Connection[Any], at: Any) -> int:
            backend = connection.info.backend_pid
            began = time.thread_time() + processor_s(backend)
            events = once(own, connection, at)
            self._sealing_s += time.thread_time() + processor_s(backend) - began
            self._sealed += events
            return events

        postgres_store._append = self._appending
        Heads.before, Heads.stored, Sealing.once = timed_before, timed_stored, timed_once  # type: ignore[method-assign, assignment]

    async def run(self) -> Cost:
        """What it comes to, once there are debits and for as long as ``SECONDS``."""
        await self._first.wait()
        await asyncio.sleep(WARM_UP_S)
        processors = Processors(self._data_dir)
        appended, sealed, sealing_s, began = self._appended, self._sealed, self._sealing_s, processors.spent_s()
        await asyncio.sleep(WHOLE_S)
        debit_us = (processors.spent_s() - began) / (self._appended - appended) * 1e6
        sealer_us = (self._sealing_s - sealing_s) / (self._sealed - sealed) * 1e6
        appended, self._with_s, self._is_close = self._appended, 0.0, True
        await asyncio.sleep(CLOSE_S)
        self._is_close = False
        server_us = (self._with_s - self._without_s) / (self._appended - appended) * 1e6
        return Cost(debit_us, server_us, await asyncio.to_thread(stored_us, self._conninfo), sealer_us)

    @contextmanager
    def _timing(self) -> Iterator[None]:
        """What is only done for the chain."""
        began = time.thread_time()
        yield
        self._with_s += time.thread_time() - began

    def _appending(
        self, entries: Sequence[Recorded], keys: Mapping[str, Any], heads: dict[str, bytes]
    ) -> tuple[list[Statement], dict[str, tuple[int, bytes]]]:
        self._appended += len(entries)
        self._first.set()
        if not self._is_close:
            return self._append(entries, keys, heads)
        # What is done second finds warm caches; each is second as often as first.
        self._turn = not self._turn
        if self._turn:
            self._without_s += _timed_bare(entries, keys)
        with self._timing():
            made = self._append(entries, keys, heads)
        if not self._turn:
            self._without_s += _timed_bare(entries, keys)
        with self._timing():
            packed("bytea", made[0][0].params[-1])
        return made


def _timed_bare(entries: Sequence[Recorded], keys: Mapping[str, Any]) -> float:
    """Seconds for the append as it would be without the chain."""
    began = time.thread_time()
    rows: list[tuple[Value, ...]] = []
    previous = None
    for entry in entries:
        owner = owner_of(entry)
        state = encode(entry, keys[owner] if owner is not None else None)
        command_id = entry.command_id if entry.command_id != previous else None
        rows.append((entry.stream, entry.version, tag_of(entry), state, entry.position, command_id))
        previous = entry.command_id
    Statement(_BARE, tuple(zip(*rows, strict=True)))
    return time.thread_time() - began


def stored_us(conninfo: str) -> float:
    """Microseconds that PostgreSQL takes longer to store an event with its hash than without."""
    state = b"x" * 300
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for table in ("hashed", "bare"):
            connection.execute(f"create table {table} (like stored_events including all)".encode())
        connection.execute("alter table bare drop column hash")
        backend = connection.info.backend_pid
        more = []
        for first in range(1, BATCHES * BATCH, BATCH):
            places = range(first, first + BATCH)
            streams = [f"credits-{place % 100}" for place in places]
            ids = [str(uuid4()) for _ in places]
            columns = (streams, list(places), ["credits.consumed"] * BATCH, [state] * BATCH, list(places), ids)
            hashes = [sha256(str(place).encode()).digest() for place in places]
            statements = {
                "hashed": Statement(_in("hashed", postgres_store._APPEND), (*columns, hashes)),
                "bare": Statement(_in("bare", _BARE), columns),
            }
            spent = {}
            for table in random.sample(("hashed", "bare"), 2):
                began = processor_s(backend)
                execute(connection, statements[table])
                spent[table] = processor_s(backend) - began
            more.append(spent["hashed"] - spent["bare"])
        connection.execute("drop table hashed, bare")
    return median(more) / BATCH * 1e6


def _in(table: str, append: str) -> str:
    """The append to the log as one to a table like it."""
    return append.replace("stored_events", table)

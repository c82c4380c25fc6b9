"""What tamper evidence costs the write path: processor time of durable debits over HTTP, the server's and PostgreSQL's.

Two processes that do the very same differ by more than what is to be measured, and so does a machine from one second to
the next. So one server turns its hash chain off and on three times a second; what its sealer takes is counted as such.
"""

import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import psycopg

from benchmarks.processors import Processors, processor_s
from mintage.bootstrap import Site
from mintage.domain.recorded import Recorded
from mintage.infra import follower, postgres_store
from mintage.infra.chain import GENESIS, Heads
from mintage.infra.codec import encode, owner_of, tag_of
from mintage.infra.seal.sealer import Sealing
from mintage.projections.sql import Statement, Value

WARM_UP_S = 3.0
WHOLE_S = 20.0
PAIRS = 150
TURN_S = 0.2
SETTLING_S = 0.05
SECONDS = WARM_UP_S + WHOLE_S + PAIRS * 2 * (SETTLING_S + TURN_S) + 5
"""How long the debits have to go on."""

_BARE = """
insert into stored_events (originator_id, originator_version, topic, state, notification_id, command_id)
select * from unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::uuid[])"""


class Cost(msgspec.Struct):
    """Microseconds of processor time: for each debit in all, for each event of the sealer, and of the chain."""

    debit_us: float
    sealer_us: float
    chain_us: float

    @property
    def percent(self) -> float:
        """How much more a debit costs than one without chain and seals."""
        more = self.chain_us + self.sealer_us
        return more / (self.debit_us - more) * 100


class Meter:
    """Takes its measures in the server's own process while debits come in."""

    def __init__(self, place: Site, data_dir: Path) -> None:
        self._conninfo = place.conninfo
        self._data_dir = data_dir
        self._sealed, self._sealing_s = 0, 0.0
        self._has_chain = self._has_followers = True
        self._appended = 0
        self._first = asyncio.Event()
        append, before, once = postgres_store._append, Heads.before, Sealing.once
        follow_once = follower.follow_once

        def appended(
            entries: Sequence[Recorded], keys: Mapping[str, Any], hashes: Mapping[str, bytes]
        ) -> tuple[list[Statement], dict[str, tuple[int, bytes]]]:
            self._appended += len(entries)
            self._first.set()
            return append(entries, keys, hashes) if self._has_chain else (_bare(entries, keys), {})

        async def heads(own: Heads, connection: Any, entries: Sequence[Recorded]) -> Mapping[str, bytes]:
            if not self._has_chain:
                return {}
            # After a turn without there is none.
            return {stream: head or GENESIS for stream, head in (await before(own, connection, entries)).items()}

        def seal(own: Sealing, connection: psycopg.Connection[Any], at: Any) -> int:
            if not self._has_followers:
                return 0
            backend = connection.info.backend_pid
            began = time.thread_time() + processor_s(backend)
            events = once(own, connection, at)
            self._sealing_s += time.thread_time() + processor_s(backend) - began
            self._sealed += events
            return events

        def follow(*given: Any) -> int:
            return follow_once(*given) if self._has_followers else 0

        follower.follow_once = follow  # type: ignore[assignment]
        postgres_store._append = appended  # type: ignore[assignment]
        Heads.before, Sealing.once = heads, seal  # type: ignore[method-assign, assignment]

    async def run(self) -> Cost:
        """What it comes to, once there are debits and for as long as ``SECONDS``."""
        await self._first.wait()
        await asyncio.sleep(WARM_UP_S)
        processors = Processors(self._data_dir)
        sealed, sealing_s = self._sealed, self._sealing_s
        debit_us = await self._each_us(processors, WHOLE_S)
        sealer_us = (self._sealing_s - sealing_s) / (self._sealed - sealed) * 1e6
        # What trails the log works in bursts of its own.
        self._has_followers = False
        # What has no hash cannot be sealed; nobody will ask for this log again.
        async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
            await connection.execute("alter table stored_events alter column hash drop not null")
        draw = random.Random(1)
        more = []
        for _ in range(PAIRS):
            each_us = {}
            for has_chain in draw.sample([True, False], 2):
                self._has_chain = has_chain
                # The batch under way is of the turn before, and heads have to be read again.
                await asyncio.sleep(SETTLING_S)
                each_us[has_chain] = await self._each_us(processors, TURN_S)
            more.append(each_us[True] - each_us[False])
        import statistics

        print(
            sorted(map(int, more)),
            statistics.mean(more),
            median(more),
            statistics.stdev(more) / len(more) ** 0.5,
            file=sys.stderr,
        )
        return Cost(debit_us, sealer_us, median(more))

    async def _each_us(self, processors: Processors, seconds: float) -> float:
        events, began = self._appended, processors.spent_s()
        await asyncio.sleep(seconds)
        return (processors.spent_s() - began) / (self._appended - events) * 1e6


def _bare(entries: Sequence[Recorded], keys: Mapping[str, Any]) -> list[Statement]:
    """The append as it would be without the chain."""
    rows: list[tuple[Value, ...]] = []
    previous = None
    for entry in entries:
        owner = owner_of(entry)
        state = encode(entry, keys[owner] if owner is not None else None)
        command_id = entry.command_id if entry.command_id != previous else None
        rows.append((entry.stream, entry.version, tag_of(entry), state, entry.position, command_id))
        previous = entry.command_id
    return [Statement(_BARE, tuple(zip(*rows, strict=True)))] if rows else []

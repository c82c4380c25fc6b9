"""What tamper evidence costs the write path: durable debits over HTTP, beside the same without chain and sealer.

What is compared is the time on the processors for each debit, of the server and its PostgreSQL together: the load
generator's is not in it.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from benchmarks import load
from mintage import bootstrap
from mintage.bootstrap import Site
from mintage.domain.recorded import Recorded
from mintage.infra import postgres_store
from mintage.infra.chain import Heads
from mintage.infra.codec import encode, owner_of, tag_of
from mintage.infra.migrate import migrate
from mintage.projections.sql import Statement, Value

SECONDS = 3.0
ROUNDS = 16
CONNECTIONS = 64

_BARE = """
insert into stored_events (originator_id, originator_version, topic, state, notification_id, command_id)
select * from unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::uuid[])"""


def take_away(place: Site) -> None:
    """From here on this process, and its database, has neither the chain nor a sealer."""
    migrate(place.conninfo, place.vault)
    with psycopg.connect(place.conninfo, autocommit=True) as connection:
        connection.execute("alter table stored_events drop column hash")
    postgres_store._append = _bare
    Heads.before = _no_heads  # type: ignore[method-assign, assignment]
    bootstrap.sealer_of = lambda *_: _NoSealer()  # type: ignore[assignment]


def _bare(
    entries: Sequence[Recorded],
    keys: Mapping[str, Any],
    before: Mapping[str, bytes],  # noqa: ARG001
) -> tuple[list[Statement], dict[str, tuple[int, bytes]]]:
    """The append as it would be without the chain."""
    rows: list[tuple[Value, ...]] = []
    previous = None
    for entry in entries:
        owner = owner_of(entry)
        state = encode(entry, keys[owner] if owner is not None else None)
        command_id = entry.command_id if entry.command_id != previous else None
        rows.append((entry.stream, entry.version, tag_of(entry), state, entry.position, command_id))
        previous = entry.command_id
    return [Statement(_BARE, tuple(zip(*rows, strict=True)))] if rows else [], {}


async def _no_heads(*_: Any) -> dict[str, bytes]:
    return {}


class _NoSealer:
    async def run(self) -> None:
        await asyncio.Event().wait()


class Spent(msgspec.Struct):
    """So many debits in so many seconds of processor time."""

    debits: float = 0
    seconds: float = 0

    def add(self, more: "Spent") -> None:
        self.debits += more.debits
        self.seconds += more.seconds

    @property
    def each_us(self) -> float:
        return self.seconds / self.debits * 1e6


def processor_s(server: int, data_dir: Path | str) -> float:
    """Seconds that a server and the PostgreSQL of its data directory have had a processor."""
    (pid_file,) = Path(data_dir).glob("**/postmaster.pid")
    postmaster = int(pid_file.read_text().splitlines()[0])
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = rest.rpartition(") ")[2].split()
        if int(pid) == postmaster:
            # Its own time and that of backends that are gone.
            ticks += sum(map(int, fields[11:15]))
        elif int(pid) == server or int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def spent(server: int, data_dir: str, port: int, requests: list[bytes]) -> Spent:
    """Debit for some seconds, and until what trails the log has caught up."""
    began = processor_s(server, data_dir)
    measured = await load.run(port, requests, connections=CONNECTIONS, seconds=SECONDS)
    if measured.failed:
        raise SystemExit(f"{measured.failed} requests failed")
    # The follower and the sealer take their turns each second.
    await asyncio.sleep(1.1)
    return Spent(measured.rate * SECONDS, processor_s(server, data_dir) - began)

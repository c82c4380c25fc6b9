"""An audit of a million events, and what of its replay is reading, hashing and decoding, without which there is none.

Run as ``python -m benchmarks.replay DATA_DIR EVENTS EACH``, ``EACH`` being how many events an account has; prints one
line of JSON.
"""

import asyncio
import gc
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import psycopg
import uvloop

from benchmarks.people import people
from mintage.bootstrap import running
from mintage.infra.audit.plan import planned, reading
from mintage.infra.audit.replay import Streams, replay, rows_of
from mintage.infra.chain import event_hash
from mintage.infra.codec import unpack
from mintage.infra.garbage import collect_seldom
from mintage.infra.settings import Settings
from mintage.infra.site import Site, site

CALLERS = 256
BEHIND = """
select exists (select from checkpoints where position < (select max(notification_id) from stored_events))
    or (select max(size) from seals) < (select max(notification_id) from stored_events)"""


class Replay(msgspec.Struct):
    """What the command says of itself, and how long it took.

    And microseconds of the processor for an event, the median of the pieces that an audit cuts the log into.
    """

    rate: float
    whole_s: float
    whole_us: float
    bare_us: float


async def fill(settings: Settings, place: Site, events: int, each: int) -> None:
    """People with one event of their own and one grant, and the rest debits, of each account in turn."""
    async with running(settings, place, base_url=lambda: "", worker=False) as services:
        users, _ = await people(services, events // each)
        debits = iter(user for _ in range(each - 2) for user in users)

        async def caller() -> None:
            for user in debits:
                await services.ledger.consume(user, 1, "生成AI图片", render=lambda _: b"")

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        await asyncio.to_thread(catch_up, place.conninfo)


def catch_up(conninfo: str) -> None:
    """Wait for what trails the log."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while connection.execute(BEHIND).fetchone() != (False,):
            time.sleep(0.1)


def audited(data_dir: Path) -> tuple[float, float]:
    """Events replayed in a second of one core, and the seconds of it all, by the command itself."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "mintage", "audit", "verify", "--data-dir", str(data_dir)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=1200)
    seconds = time.perf_counter() - began
    print(done.stdout, file=sys.stderr, flush=True)
    said = re.search(r"replayed at ([\d,]+) events/s", done.stdout)
    assert said
    return float(said[1].replace(",", "")), seconds


def bare(connection: psycopg.Connection[Any], streams: Streams, end: int) -> float:
    """Seconds of the processor in which the events are read, hashed and decoded, and nothing else."""
    began = time.thread_time()
    for rows in rows_of(connection, streams, end):
        for position, stream, version, topic, state, stored, _ in rows:
            event_hash(stored, position, version, stream, topic, state)
            unpack(topic, state)
    return time.thread_time() - began


def compared(conninfo: str) -> tuple[float, float]:
    """Microseconds for an event of a replay, and of what it cannot do without."""
    collect_seldom()
    whole, without = list[float](), list[float]()
    with reading(conninfo) as connection:
        plan = planned(connection)
        for streams in plan.pieces:
            replayed = replay(connection, streams, plan.end, lambda _: None)
            assert not replayed.differences.found
            whole.append(replayed.seconds / replayed.events)
            without.append(bare(connection, streams, plan.end) / replayed.events)
            gc.collect()
    return median(whole) * 1e6, median(without) * 1e6


def main(data_dir: Path, events: int, each: int) -> None:
    settings = Settings(data_dir=data_dir, log_level="WARNING", cached_streams=2 * events // each + 1_000)
    with site(settings) as place:
        uvloop.run(fill(settings, place, events, each))
        rate, seconds = audited(data_dir)
        found = Replay(rate, seconds, *compared(place.conninfo))
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

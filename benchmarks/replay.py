"""What of a replay is reading, hashing and decoding, without which there is none.

Run as ``python -m benchmarks.replay CONNINFO``; prints one line of JSON.
"""

import gc
import sys
import time
from statistics import median
from typing import Any

import msgspec
import psycopg

from mintage.infra.audit.plan import planned, reading
from mintage.infra.audit.replay import Streams, replay, rows_of
from mintage.infra.chain import event_hash
from mintage.infra.codec import unpack
from mintage.infra.garbage import collect_seldom


class Replay(msgspec.Struct):
    """Microseconds of the processor for an event, the median of the pieces that an audit cuts the log into."""

    whole_us: float
    bare_us: float


def bare(connection: psycopg.Connection[Any], streams: Streams, end: int) -> float:
    """Seconds of the processor in which the events are read, hashed and decoded, and nothing else."""
    began = time.thread_time()
    for rows in rows_of(connection, streams, end):
        for position, stream, version, topic, state, stored, _ in rows:
            event_hash(stored, position, version, stream, topic, state)
            unpack(topic, state)
    return time.thread_time() - began


def main(conninfo: str) -> None:
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
    print(msgspec.json.encode(Replay(median(whole) * 1e6, median(without) * 1e6)).decode())


if __name__ == "__main__":
    main(sys.argv[1])

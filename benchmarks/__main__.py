"""``make bench``: measures everything in one run on one machine, prints a table, writes bench.json.

Only ratios are promised: each round measures the things compared one right after the other, and the median of the
rounds' ratios is reported, so that what else the machine does falls on both.
"""

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any

import msgspec
import uvloop

from benchmarks import load
from benchmarks.chain import SECONDS as CHAIN_SECONDS
from benchmarks.chain import Cost
from benchmarks.depth import Depth
from benchmarks.pipeline import Measured
from benchmarks.replay import Replay
from benchmarks.server import Serving

ROUNDS = 5
SECONDS = 2.0
ACCOUNTS = 100
MANY_ACCOUNTS = 100_000
MILLION = 1_000_000
EVENTS_EACH = (10, 100)
BODY = msgspec.json.encode({"amount": 1, "description": "生成AI图片"})


class Row(msgspec.Struct, frozen=True):
    """One line of the table: what was measured, the figure, and what it must reach and what is good."""

    what: str
    figure: float
    must: str = ""
    good: str = ""
    unit: str = ""


@contextmanager
def started(accounts: int, *options: str) -> Iterator[IO[bytes]]:
    """The measured server as a process of its own, with its own database, for as long as this lasts: what it says."""
    with tempfile.TemporaryDirectory(prefix="mintage-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.server", folder, str(accounts), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.terminate()
            process.wait(timeout=60)
            process.stdout.close()


@contextmanager
def serving(accounts: int) -> Iterator[Serving]:
    with started(accounts) as said:
        yield msgspec.json.decode(said.readline(), type=Serving)


def requests(path: str, tokens: list[str]) -> list[bytes]:
    return [load.request(path, token, BODY) for token in tokens]


async def http(server: Serving) -> list[Row]:
    """Consume beside the no-op and the conventional way, at several numbers of connections."""
    consume = requests("/api/credits/consume", server.tokens)
    paths = {
        "consume": (server.port, consume),
        "hot": (server.port, consume[:1]),
        "noop": (server.port, requests("/api/bench/noop", server.tokens)),
        "conventional": (server.port, requests("/api/bench/conventional", server.tokens)),
        "plain": (server.plain_port, requests("/noop", server.tokens)),
    }
    results: dict[tuple[str, int], list[load.Measured]] = {}
    plan = [("noop", 64), ("consume", 64), ("conventional", 64), ("hot", 64)]
    plan += [("consume", 16), ("conventional", 16), ("plain", 256), ("consume", 256), ("conventional", 256)]
    for round_number in range(ROUNDS + 1):
        for name, connections in plan:
            port, wanted = paths[name]
            # The first round only warms up.
            seconds = SECONDS if round_number else 1.0
            measured = await load.run(port, wanted, connections=connections, seconds=seconds)
            if measured.failed:
                raise SystemExit(f"{name}: {measured.failed} requests failed")
            if round_number:
                results.setdefault((name, connections), []).append(measured)
                note(f"round {round_number} {name} x{connections}: {measured.rate:,.0f}/s p99 {measured.p99:.1f} ms")

    def ratio(one: tuple[str, int], other: tuple[str, int], figure: str = "rate") -> float:
        pairs = zip(results[one], results[other], strict=True)
        return float(median(getattr(a, figure) / getattr(b, figure) for a, b in pairs))

    def rate(name: str, connections: int) -> float:
        return median(measured.rate for measured in results[(name, connections)])

    return [
        Row("consume, 64 connections", rate("consume", 64), unit="/s"),
        Row("no-op of the same app, 64 connections", rate("noop", 64), unit="/s"),
        Row("conventional way, 64 connections", rate("conventional", 64), unit="/s"),
        Row("consume / no-op, 64 connections", ratio(("consume", 64), ("noop", 64)), ">= 0.5", ">= 0.65"),
        Row("consume / conventional, 64 connections", ratio(("consume", 64), ("conventional", 64)), ">= 2.2", ">= 3.5"),
        Row("all on one account / spread over 100", ratio(("hot", 64), ("consume", 64)), ">= 0.9", ">= 1"),
        Row(
            "p99 consume / conventional, 16 connections",
            ratio(("consume", 16), ("conventional", 16), "p99"),
            "<= 1",
            "<= 0.7",
        ),
        Row("consume / conventional, 256 connections", ratio(("consume", 256), ("conventional", 256))),
        Row("consume, 256 connections", rate("consume", 256), unit="/s"),
        Row("plain no-op with PyJWT, 256 connections", rate("plain", 256), unit="/s"),
        Row("consume / plain no-op, 256 connections", ratio(("consume", 256), ("plain", 256)), ">= 0.6"),
    ]


async def memory(server: Serving) -> list[Row]:
    """The server's resident memory before, after half a million and after a million commands over 100,000 accounts."""
    wanted = requests("/api/credits/consume", server.tokens)
    rows = [Row("server memory, 100,000 accounts, before", resident_mib(server.pid), unit="MiB")]
    for done in (MILLION // 2, MILLION):
        # Each connection walks its own part of the accounts; the second half starts where the first ended.
        await load.run(server.port, wanted, connections=250, total=MILLION // 2)
        rows.append(Row(f"server memory after {done:,} commands", resident_mib(server.pid), unit="MiB"))
    return rows


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("memory is read from /proc")


def child(module: str, *options: str) -> Any:
    """What a benchmark of its own process, with a folder for its data, says in the end."""
    with tempfile.TemporaryDirectory(prefix="mintage-bench-") as folder:
        command = [sys.executable, "-m", module, folder, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=1200)
        return msgspec.json.decode(done.stdout.splitlines()[-1])


def in_process() -> list[Row]:
    rates = child("benchmarks.in_process")
    return [
        Row("journal in process, 256 callers", rates["journal"], unit="/s"),
        Row("eventsourcing library, 16 threads", rates["library"], unit="/s"),
        Row("journal / library", rates["journal"] / rates["library"], ">= 8", ">= 12"),
    ]


def depth() -> list[Row]:
    found = msgspec.convert(child("benchmarks.depth", str(MILLION)), Depth)
    return [
        Row("account of 1,000,000 events / new one, warm", found.warm_long_ms / found.warm_new_ms, "<= 1.2", "1"),
        Row("account of 1,000,000 events / new one, cold", found.cold_long_ms / found.cold_new_ms, "<= 1.2", "1"),
    ]


def chain() -> list[Row]:
    """Debits come in for as long as the server takes to measure what its own hash chain and sealer cost."""
    with started(ACCOUNTS, "chain") as said:
        server = msgspec.json.decode(said.readline(), type=Serving)
        consume = requests("/api/credits/consume", server.tokens)
        measured = uvloop.run(load.run(server.port, consume, connections=64, seconds=CHAIN_SECONDS))
        if measured.failed:
            raise SystemExit(f"{measured.failed} debits failed")
        cost = msgspec.json.decode(said.readline(), type=Cost)
    note(
        f"processor time for a debit over HTTP: {cost.debit_us:.1f} us; of it the hash chain's {cost.server_us:.1f} us "
        f"in the server, {cost.postgres_us:.1f} us in PostgreSQL, and the sealer's {cost.sealer_us:.1f} us behind it"
    )
    return [
        Row("hash chain: more processor time for each debit over HTTP", cost.percent(cost.chain_us), "< 3", unit="%"),
        Row("the sealer behind it, beside the same", cost.percent(cost.sealer_us), unit="%"),
    ]


def pipeline() -> list[Row]:
    found = msgspec.convert(child("benchmarks.pipeline"), Measured)
    return [
        Row("a task accepted while nothing is under way: until it is claimed, p50", found.wait_p50_ms, unit="ms"),
        Row(
            "a task accepted while nothing is under way: until it is claimed, p99",
            found.wait_p99_ms,
            "< 100",
            unit="ms",
        ),
        Row("the pipeline's own cost of a task: processors", found.processor_ms, unit="ms"),
        Row("the pipeline's own cost of a task: time, 400 at once", found.took_ms, unit="ms"),
    ]


def replay() -> list[Row]:
    """Short accounts are the harder ones: each account has work of its own beside that for its events."""
    rows = []
    for each in EVENTS_EACH:
        found = msgspec.convert(child("benchmarks.replay", str(MILLION), str(each)), Replay)
        what = f"audit verify of {MILLION:,} events, {each} for each account"
        rows += [
            Row(f"{what}: replay, per core", found.rate, ">= 150,000", ">= 300,000", "events/s"),
            Row(f"{what}: all of it, {os.cpu_count()} cores", found.whole_s, unit="s"),
            Row(
                f"rate of a replay / of reading, hashing and decoding alone, {each} events for each account",
                found.bare_us / found.whole_us,
            ),
        ]
    return rows


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(rows: list[Row]) -> str:
    lines = ["| what | measured | must reach | good |", "|---|---|---|---|"]
    for row in rows:
        figure = f"{row.figure:,.0f}" if row.figure >= 100 else f"{row.figure:.2f}"
        lines.append(f"| {row.what} | {figure}{' ' * bool(row.unit)}{row.unit} | {row.must} | {row.good} |")
    return "\n".join(lines)


def main() -> None:
    with serving(ACCOUNTS) as server:
        rows = uvloop.run(http(server))
    rows += chain()
    for stage in (in_process, depth, pipeline):
        note(show(rows))
        rows += stage()
    note(show(rows))
    with serving(MANY_ACCOUNTS) as server:
        rows += uvloop.run(memory(server))
    note(show(rows))
    rows += replay()
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    report = {"machine": machine, "rows": msgspec.to_builtins(rows)}
    Path("bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(f"PostgreSQL with fsync and synchronous_commit on; {machine}\n\n{show(rows)}")


if __name__ == "__main__":
    main()

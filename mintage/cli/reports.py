"""``mintage audit`` with the name of a report: what finance asks of the ledger, as of any moment."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from mintage.application.books import BOOKS, as_book
from mintage.application.reports import Report, Reports
from mintage.application.tables import TABLES
from mintage.application.transaction import Unavailable
from mintage.cli.admin import moment, told, user_id_of
from mintage.cli.database import readable_site
from mintage.domain.fields import InvalidFields
from mintage.domain.registration.decider import PersonUnknown
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool
from mintage.infra.freshness import BroughtUp
from mintage.infra.settings import Settings
from mintage.infra.site import Site

Asked: TypeAlias = Callable[[Reports, Pool, argparse.Namespace], Awaitable[Report]]
Content: TypeAlias = AsyncIterator[bytes]

FIRST_ROWS: Final = 1_000


async def _statement(reports: Reports, db: Pool, options: argparse.Namespace) -> Report:
    return await reports.statement(await user_id_of(db, options.user), options.as_of, options.since)


REPORTS: Final[dict[str, tuple[str, Asked]]] = {
    "statement": ("what a person had, and how it came and went", _statement),
    "trial-balance": (
        "every account, in credits and in fen",
        lambda reports, _, asked: reports.trial_balance(asked.as_of),
    ),
    "deferred-revenue": (
        "the money of paid credits that are not spent yet",
        lambda reports, _, asked: reports.deferred_revenue(asked.as_of),
    ),
    "revenue": (
        "what was earned per UTC day and product",
        lambda reports, _, asked: reports.revenue(asked.as_of, asked.since),
    ),
    "breakage": (
        "what was lost unspent per UTC day",
        lambda reports, _, asked: reports.breakage(asked.as_of, asked.since),
    ),
    "holds": ("what was held for tasks that had not ended", lambda reports, _, asked: reports.holds(asked.as_of)),
}
SINCE: Final = ("statement", "revenue", "breakage")


def add_to(audits: Any, common: argparse.ArgumentParser) -> None:
    for name, (about, asked) in REPORTS.items():
        report = audits.add_parser(name, parents=[common], help=about)
        if name == "statement":
            report.add_argument("user", metavar="USER", help="the person's UUID, username, e-mail or phone")
        if name in SINCE:
            report.add_argument("--from", dest="since", type=moment, metavar="T", help="the first moment that counts")
        report.add_argument("--format", choices=("table", *TABLES), default="table")
        report.set_defaults(asked=asked)
    export = audits.add_parser("export", parents=[common], help="the whole ledger: every posting")
    export.add_argument("--format", choices=(*BOOKS, "csv", "parquet"), required=True)
    export.set_defaults(asked=lambda reports, _, asked: reports.ledger(asked.as_of))
    for parser in (*map(audits.choices.get, REPORTS), export):
        parser.add_argument(
            "--as-of", type=moment, metavar="T", help="what was recorded up to then, as 2026-01-31T00:00:00+08:00"
        )
        parser.add_argument("--output", type=Path, metavar="FILE", required=parser is export)
        parser.set_defaults(run=run_report)


def run_report(settings: Settings, options: argparse.Namespace) -> int:
    if options.format == "parquet" and options.output is None and sys.stdout.isatty():
        return _failed("a terminal cannot show a Parquet file: say --output FILE")
    with readable_site(settings) as place:
        try:
            asyncio.run(_write(place, options))
        except PersonUnknown:
            return _failed(f"nobody is registered as {options.user}", code=1)
        except InvalidFields as invalid:
            return _failed(told(invalid))
        except Unavailable as error:
            return _failed(str(error))
    return 0


async def _write(place: Site, options: argparse.Namespace) -> None:
    db = Pool(place.conninfo, size=1)
    await db.open()
    try:
        reports = Reports(db, BroughtUp(db, place.conninfo, place.vault), utc_now)
        report = await options.asked(reports, db, options)
        if options.format in BOOKS:
            content = as_book(report, reports, BOOKS[options.format]())
        else:
            content = {**TABLES, "table": _as_table}[options.format](report)
        with _sink(options.output) as sink:
            async for portion in content:
                sink.write(portion)
    finally:
        await db.close()


@contextmanager
def _sink(output: Path | None) -> Any:
    """Where to write to: a file is there when it is whole, or not at all."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    output = output.resolve()
    if output.exists() and not output.is_file():
        # A pipe or a device is written to, and never replaced.
        with output.open("wb") as sink:
            yield sink
        return
    try:
        temporary = tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False)  # noqa: SIM115
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(output)) from None
    with temporary as beside:
        try:
            yield beside
            beside.flush()
            os.fsync(beside.fileno())
        except BaseException:
            Path(beside.name).unlink()
            raise
    Path(beside.name).replace(output)


async def _as_table(report: Report) -> Content:
    """For the eye: columns as wide as the first rows need."""
    scope = msgspec.to_builtins(report.scope)
    yield "".join(f"{name}: {_shown(value)}\n" for name, value in scope.items()).encode()
    waiting = [list(report.row.__struct_fields__)]
    widths: list[int] = []
    async for page in report.rows:
        waiting += [[_shown(value) for value in msgspec.to_builtins(row).values()] for row in page]
        if widths or len(waiting) > FIRST_ROWS:
            widths = widths or _widths(waiting)
            yield _lines(waiting, widths)
            waiting = []
    yield _lines(waiting, widths or _widths(waiting))


def _widths(rows: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _lines(rows: list[list[str]], widths: list[int]) -> bytes:
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines).encode()


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in value.items())
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _failed(message: str, code: int = 2) -> int:
    print(f"mintage: {message}", file=sys.stderr)
    return code

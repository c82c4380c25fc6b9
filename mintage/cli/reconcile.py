"""``mintage audit reconcile``: the recorded payments of a gateway against its own statement."""

import argparse
import csv
import sys
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from mintage.application.reconciliation import Movement, Period, Reconciled, reconcile
from mintage.application.tables import FORMULA
from mintage.cli.admin import moment
from mintage.cli.database import counted, readable_site
from mintage.infra.gateways import GATEWAYS
from mintage.infra.payments import booked
from mintage.infra.settings import Settings
from mintage.infra.statement import NEUTRAL, OF_REFUNDS, TYPES, Layout, StatementRefused, read_statement

ZONES: Final[dict[str, tzinfo]] = {
    "wechat": timezone(timedelta(hours=8)),
    "alipay": timezone(timedelta(hours=8)),
    "stripe": UTC,
}
"""In which each gateway writes times that do not name their zone."""
SKIP: Final = "skip"


def add_to(audits: Any, common: argparse.ArgumentParser) -> None:
    parser = audits.add_parser(
        "reconcile",
        parents=[common],
        help="compare recorded payments with a gateway's statement; exits 0 when they agree, 1 on a difference",
    )
    parser.add_argument("file", nargs="+", type=Path, metavar="FILE", help="the statement: CSV in UTF-8 or GB18030")
    parser.add_argument("--gateway", required=True, choices=GATEWAYS)
    parser.add_argument("--from", dest="since", type=moment, metavar="T", help="the first moment that counts")
    parser.add_argument("--to", dest="until", type=moment, metavar="T", help="the first that does not count any more")
    parser.add_argument(
        "--columns", type=_columns, default=NEUTRAL, metavar="NAME=COLUMN,…", help="what they are called"
    )
    parser.add_argument("--types", type=_types, default=TYPES, metavar="WORD=TYPE,…", help="payment, refund or skip")
    parser.add_argument("--zone", type=_zone, metavar="+HH:MM", help="of times that do not name their zone")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.set_defaults(run=run_reconcile)


def run_reconcile(settings: Settings, options: argparse.Namespace) -> int:
    period = Period(options.since, options.until)
    if period.since and period.until and period.since >= period.until:
        print("mintage: --from has to be before --to", file=sys.stderr)
        return 2
    layout = Layout(options.zone or ZONES[options.gateway], options.columns, options.types)
    with readable_site(settings) as place:
        try:
            found = reconcile(
                read_statement(options.file, layout), partial(booked, place.conninfo, options.gateway, period), period
            )
        except StatementRefused as refused:
            for problem in refused.problems:
                print(f"mintage: {problem}", file=sys.stderr)
            return 2
    _FORMATS[options.format](found)
    return 1 if found.differences else 0


def _table(found: Reconciled) -> None:
    for difference in found.differences:
        stated, recorded = difference.stated, difference.booked
        # Of a line stated twice it is not asked whether it was recorded.
        there, here = "not stated", "stated before" if difference.kind == "stated_twice" else "not recorded"
        if stated:
            there = f"{stated.file}, line {stated.line}: {_money(stated.amount_fen)} {stated.currency} at {stated.at}"
        if recorded:
            here = f"recorded {_money(recorded.amount_fen)} CNY at {recorded.at} for order {recorded.recharge_id}"
        print(f"{difference.kind}: {difference.movement} {difference.reference}; {there}; {here}")
    print(
        f"{counted(found.stated.entries, 'entry', 'entries')} stated, {_money(found.stated.fen)} CNY; "
        f"{found.booked.entries:,} recorded, {_money(found.booked.fen)} CNY; "
        f"{counted(len(found.differences), 'difference')}"
    )


_COLUMNS: Final = (
    *("difference", "type", "reference", "stated_fen", "currency", "stated_at", "file", "line"),
    *("recorded_fen", "recorded_at", "recharge_id"),
)


def _csv(found: Reconciled) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(_COLUMNS)
    for difference in found.differences:
        stated, recorded = difference.stated, difference.booked
        there: list[str | int] = [""] * 5
        if stated:
            there = [stated.amount_fen, stated.currency, stated.at.isoformat(), _harmless(stated.file), stated.line]
        here: list[str | int] = [""] * 3
        if recorded:
            here = [recorded.amount_fen, recorded.at.isoformat(), recorded.recharge_id]
        writer.writerow([difference.kind, difference.movement, _harmless(difference.reference), *there, *here])


def _json(found: Reconciled) -> None:
    print(msgspec.json.encode(found).decode())


_FORMATS: Final = {"table": _table, "csv": _csv, "json": _json}


def _money(fen: int) -> str:
    yuan, cents = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{yuan:,}.{cents:02}"


def _harmless(text: str) -> str:
    """What a spreadsheet takes for text and not for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _zone(text: str) -> tzinfo:
    try:
        zone = datetime.strptime(text, "%z").tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no zone like +08:00")
    return zone


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE,NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _columns(text: str) -> dict[str, str]:
    given = _pairs(text)
    for name, called in given.items():
        if name not in {*NEUTRAL, *OF_REFUNDS}:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join((*NEUTRAL, *OF_REFUNDS))}")
        if not called and name != "currency":
            raise argparse.ArgumentTypeError(f"{name} has to be called something")
    return {**NEUTRAL, **given}


def _types(text: str) -> dict[str, Movement | None]:
    meanings: dict[str, Movement | None] = {**TYPES, SKIP: None}
    given = _pairs(text)
    for meaning in given.values():
        if meaning not in meanings:
            raise argparse.ArgumentTypeError(f"{meaning!r} is none of {', '.join(meanings)}")
    return {word: meanings[meaning] for word, meaning in given.items()}

"""Reads a gateway's statement (CSV): every line is understood exactly, or named with its column and refused."""

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from mintage.application.reconciliation import CURRENCY, Movement, Stated

ValueT = TypeVar("ValueT")

NEUTRAL: Final = {name: name for name in ("reference", "type", "amount", "currency", "time")}
"""The columns of the neutral layout, and what each is called there."""
OF_REFUNDS: Final = ("refund_reference", "refund_amount")
"""Where a layout may have the reference and the amount of refunds, if not where payments have them."""
TYPES: Final[dict[str, Movement | None]] = {"payment": "payment", "refund": "refund"}

_AMOUNT: Final = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,2}))?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_ROUNDED: Final = re.compile(r"[0-9.]+E\+[0-9]+")
_TOTALS: Final = "总交易单数"
"""What a WeChat bill ends with: this heading and a line of figures."""
_CHUNK: Final = 1 << 20
_NAMED: Final = 20


class StatementRefused(Exception):
    """Lines of the statement cannot be understood; ``problems`` names the first of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Layout(msgspec.Struct, frozen=True):
    """How a gateway lays its statements out.

    ``columns`` says what each column is called; a currency called nothing is CNY in every line. ``types`` says what
    the words of the type column mean; lines of which it is None are no payments and no refunds. ``zone`` is that of
    times that do not name theirs.
    """

    zone: tzinfo
    columns: dict[str, str]
    types: dict[str, Movement | None]


class _Wrong(Exception):
    """What cannot be understood, and why."""


def read_statement(paths: Iterable[Path], layout: Layout) -> Iterator[Stated]:
    """The lines of the files, one at a time; raises ``OSError``, and ``StatementRefused`` after the last line."""
    problems: list[str] = []
    for path in paths:
        yield from _File(path, layout, problems).lines()
    if problems:
        raise StatementRefused(problems[:_NAMED])


class _File:
    def __init__(self, path: Path, layout: Layout, problems: list[str]) -> None:
        self._path = path
        self._layout = layout
        self._problems = problems
        self._called = {name: called for name, called in layout.columns.items() if called}
        self._places: dict[str, int] = {}
        self._width = 0

    def lines(self) -> Iterator[Stated]:
        with self._path.open(encoding=_encoding(self._path), newline="") as file:
            rows = csv.reader(file, strict=True)
            try:
                for cells in self._under_heading(rows):
                    try:
                        line = self._line(rows.line_num, cells)
                    except _Wrong as wrong:
                        self._problem(rows.line_num, wrong)
                        continue
                    if line is not None:
                        yield line
            except (csv.Error, _Wrong) as error:
                self._problem(rows.line_num or 1, error)

    def _problem(self, number: int, error: Exception) -> None:
        self._problems.append(f"{self._path.name}, line {number}: {error}")

    def _under_heading(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        """The cells of each line under the heading, without remarks (``#``), empty lines and totals."""
        stripped = ([cell.strip().removeprefix("`") for cell in row] for row in rows)
        told = (cells for cells in stripped if any(cells) and not cells[0].startswith("#"))
        self._find_columns(told)
        for cells in told:
            if cells[0] == _TOTALS:
                next(told, None)
                break
            yield cells
        if next(told, None) is not None:
            raise _Wrong("there is more after the totals")

    def _find_columns(self, told: Iterator[list[str]]) -> None:
        heading = next((cells for cells in told if set(self._called.values()) <= set(cells)), None)
        if heading is None:
            raise _Wrong(f"up to here is no heading with the columns {', '.join(self._called.values())}")
        for called in self._called.values():
            if heading.count(called) > 1:
                raise _Wrong(f"several columns are called {called}")
        self._places = {name: heading.index(called) for name, called in self._called.items()}
        self._width = len(heading)

    def _line(self, number: int, cells: list[str]) -> Stated | None:
        if len(cells) < self._width or any(cells[self._width :]):
            raise _Wrong(f"{len(cells)} cells under a heading of {self._width}")
        movement = self._read(cells, "type", self._movement)
        if movement is None:
            return None
        own = self._places.keys() & set(OF_REFUNDS) if movement == "refund" else set[str]()
        fen = self._read(cells, "refund_amount" if "refund_amount" in own else "amount", _fen)
        if fen < 0 and movement == "payment":
            raise _Wrong(f"{self._called['amount']}: a payment below zero")
        return Stated(
            movement=movement,
            reference=self._read(cells, "refund_reference" if "refund_reference" in own else "reference", _reference),
            # Some gateways write what went back with a minus.
            amount_fen=abs(fen),
            currency=self._read(cells, "currency", _currency) if "currency" in self._places else CURRENCY,
            at=self._read(cells, "time", self._time),
            file=self._path.name,
            line=number,
        )

    def _read(self, cells: list[str], name: str, read: Callable[[str], ValueT]) -> ValueT:
        try:
            return read(cells[self._places[name]])
        except ValueError as error:
            raise _Wrong(f"{self._called[name]}: {error}") from None

    def _movement(self, cell: str) -> Movement | None:
        try:
            return self._layout.types[cell]
        except KeyError:
            raise ValueError(f"{cell!r} is none of {', '.join(self._layout.types)}") from None

    def _time(self, cell: str) -> datetime:
        try:
            time = datetime.fromisoformat(cell)
            return (time if time.tzinfo else time.replace(tzinfo=self._layout.zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValueError(f"{cell!r} is no time like 2026-01-31 23:59:59") from None


def _fen(cell: str) -> int:
    found = _AMOUNT.fullmatch(cell)
    if found is None:
        raise ValueError(f"{cell!r} is no amount in yuan like 12.50")
    sign, yuan, cents = found.groups(default="")
    return int(f"{sign}{yuan}{cents:0<2}")


def _reference(cell: str) -> str:
    if not cell or not cell.isprintable():
        raise ValueError(f"{cell!r} is no reference")
    if _ROUNDED.fullmatch(cell):
        raise ValueError(f"{cell!r} was rounded by a spreadsheet; take the file as the gateway gave it")
    return cell


def _currency(cell: str) -> str:
    currency = cell.upper()
    if not _CURRENCY.fullmatch(currency):
        raise ValueError(f"{cell!r} is no currency like {CURRENCY}")
    return currency


def _encoding(path: Path) -> str:
    """UTF-8, or GB18030, in which Chinese gateways write; tried on the whole file, so that no line is a guess."""
    for encoding in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        with path.open("rb") as file:
            try:
                while chunk := file.read(_CHUNK):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                continue
        return encoding
    raise StatementRefused([f"{path.name}: is neither UTF-8 nor GB18030"])

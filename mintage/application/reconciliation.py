"""Recorded payments and refunds against a gateway's own statement: every difference is named, and nothing else is."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

CURRENCY: Final = "CNY"

Movement: TypeAlias = Literal["payment", "refund"]
Kind: TypeAlias = Literal[
    "not_recorded", "not_at_gateway", "amount_differs", "currency_differs", "stated_twice", "recorded_twice"
]


class Stated(msgspec.Struct, frozen=True, gc=False):
    """A line of the statement: money that came (a payment) or went back (a refund), in whole fen of ``currency``."""

    movement: Movement
    reference: str
    amount_fen: int
    currency: str
    at: datetime
    file: str
    line: int


class Booked(msgspec.Struct, frozen=True, gc=False):
    """A payment or a refund as the log has it; ``at`` is when it was recorded."""

    movement: Movement
    reference: str
    amount_fen: int
    recharge_id: str
    at: datetime


class Period(msgspec.Struct, frozen=True):
    """From ``since`` on, up to and without ``until``; None is without an end."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


class Difference(msgspec.Struct, frozen=True):
    """What one side says and the other does not; the side that is None has no such entry.

    Of what is stated twice only the repeat is told: whether it was recorded is the first line's matter.
    """

    kind: Kind
    movement: Movement
    reference: str
    stated: Stated | None
    booked: Booked | None


class Totals(msgspec.Struct):
    """How many entries of a side lie in the period, and the fen of its payments less its refunds."""

    entries: int = 0
    fen: int = 0

    def add(self, entry: Stated | Booked) -> None:
        self.entries += 1
        self.fen += entry.amount_fen if entry.movement == "payment" else -entry.amount_fen


class Reconciled(msgspec.Struct):
    """What came of it; the statement's total counts what is in CNY."""

    stated: Totals
    booked: Totals
    differences: list[Difference]


def reconcile(
    statement: Iterable[Stated], booked: Callable[[Collection[str]], Iterable[Booked]], period: Period
) -> Reconciled:
    """Match by reference, whatever the clocks of the two sides say.

    ``booked`` gives all that was recorded in the period, and beyond it what has one of these references. A line of the
    period has to be recorded, at whatever time; what was recorded in the period has to be stated, wherever in the
    statement. So a statement that reaches a little further than the period shows no false difference at its edges.
    """
    result = Reconciled(Totals(), Totals(), [])
    lines = _lines(statement, period, result)
    matched: dict[Movement, set[str]] = {movement: set() for movement in lines}
    for entry in booked(set().union(*lines.values())):
        line = lines[entry.movement].get(entry.reference)
        if entry.at in period:
            result.booked.add(entry)
        elif line is None or line.at not in period:
            continue
        twice = entry.reference in matched[entry.movement]
        matched[entry.movement].add(line.reference if line else entry.reference)
        kind: Kind | None = "recorded_twice" if twice else _compared(line, entry)
        if kind is not None:
            result.differences.append(Difference(kind, entry.movement, entry.reference, line, entry))
    for movement, by_reference in lines.items():
        for reference, line in by_reference.items():
            if reference not in matched[movement] and line.at in period:
                result.differences.append(Difference("not_recorded", movement, reference, line, None))
    return result


def _lines(statement: Iterable[Stated], period: Period, result: Reconciled) -> dict[Movement, dict[str, Stated]]:
    """The statement by reference; a line that repeats another is a difference by itself."""
    lines: dict[Movement, dict[str, Stated]] = {"payment": {}, "refund": {}}
    for line in statement:
        if line.at in period and line.currency == CURRENCY:
            result.stated.add(line)
        first = lines[line.movement].setdefault(line.reference, line)
        if first is not line and (line.at in period or first.at in period):
            result.differences.append(Difference("stated_twice", line.movement, line.reference, line, None))
    return lines


def _compared(line: Stated | None, entry: Booked) -> Kind | None:
    if line is None:
        return "not_at_gateway"
    if line.currency != CURRENCY:
        return "currency_differs"
    return "amount_differs" if line.amount_fen != entry.amount_fen else None

"""The whole ledger as a plain-text journal that Beancount or hledger checks: one transaction for each event.

Commodities are CREDIT and CNY. What the house's accounts come to is asserted at the end of each UTC day on which they
moved, what every account comes to at the end.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from mintage.application.reports import Report, Reports
from mintage.domain.credits.decider import CREDITS
from mintage.projections.reports import PersonBalance, PostingRow

Leg: TypeAlias = tuple[str, str, int]
"""Account, commodity, and how much: whole credits or fen."""
CREDIT: Final = "CREDIT"
CNY: Final = "CNY"


class Dialect(Protocol):
    """How one of the programs wants it written; each method brings whole lines."""

    def head(self) -> str: ...

    def opened(self, day: date, account: str) -> str: ...

    def transaction(self, day: date, row: PostingRow, legs: Iterable[Leg]) -> str: ...

    def assertion(self, day: date, legs: Iterable[Leg]) -> str:
        """That the accounts have this much at the end of the day."""
        ...


class Beancount:
    def head(self) -> str:
        return (
            'option "title" "mintage"\noption "operating_currency" "CNY"\n'
            "1970-01-01 commodity CREDIT\n1970-01-01 commodity CNY\n"
        )

    def opened(self, day: date, account: str) -> str:
        return f"{day} open {account}\n"

    def transaction(self, day: date, row: PostingRow, legs: Iterable[Leg]) -> str:
        about = "".join(f"  {name}: {_quoted(value)}\n" for name, value in _about(row))
        return f'\n{day} * "{row.event}"\n{about}' + "".join(
            f"  {account}  {_amount(kind, n)}\n" for account, kind, n in legs
        )

    def assertion(self, day: date, legs: Iterable[Leg]) -> str:
        # Beancount asserts what there is when a day begins; without a tolerance of zero it would let a fen pass.
        return "".join(
            f"{day + timedelta(1)} balance {account}  {_number(kind, n)} ~ {_number(kind, 0)} {kind}\n"
            for account, kind, n in legs
        )


class Hledger:
    def head(self) -> str:
        return "commodity 1000. CREDIT\ncommodity 1000.00 CNY\n"

    def opened(self, day: date, account: str) -> str:  # noqa: ARG002 -- hledger's accounts are open at all times
        return f"account {account}\n"

    def transaction(self, day: date, row: PostingRow, legs: Iterable[Leg]) -> str:
        about = "".join(f"    ; {name}:{value}\n" for name, value in _about(row))
        return f"\n{day} * {row.event}\n{about}" + "".join(
            f"    {account}  {_amount(kind, n)}\n" for account, kind, n in legs
        )

    def assertion(self, day: date, legs: Iterable[Leg]) -> str:
        asserted = "".join(f"    {account}  {_amount(kind, 0)} = {_amount(kind, n)}\n" for account, kind, n in legs)
        return f"\n{day} * balances at the end of the day\n{asserted}" if asserted else ""


BOOKS: Final[Mapping[str, Callable[[], Dialect]]] = {"beancount": Beancount, "hledger": Hledger}


async def as_book(ledger: Report, reports: Reports, dialect: Dialect) -> AsyncIterator[bytes]:
    """``ledger`` (as ``Reports.ledger`` brings it) as the text of a journal, in portions."""
    yield dialect.head().encode()
    book = _Book(dialect)
    async for page in ledger.rows:
        yield "".join(line for row in page for line in book.enter(row)).encode()
    if book.day is None:
        return
    yield book.end_of_day(book.house).encode()
    # What the database says of every person by itself, not what the lines above add up to.
    async for people in reports.people(ledger.scope.position):
        yield dialect.assertion(book.day, (leg for person in people for leg in _balances(person))).encode()


class _Book:
    """Where the house's accounts stand as the postings go by."""

    def __init__(self, dialect: Dialect) -> None:
        self.house: dict[tuple[str, str], int] = {}
        self.day: date | None = None
        self._dialect = dialect
        self._moved: set[tuple[str, str]] = set()

    def enter(self, row: PostingRow) -> Iterator[str]:
        day = row.at.date()
        if self.day is not None and day != self.day:
            yield self.end_of_day(self._moved)
            self._moved.clear()
        self.day = day
        if row.version == 1:
            yield from (self._dialect.opened(day, account) for account, _, _ in _people(row.user_id, 0, 0, 0))
        legs = [leg for leg in _legs(row) if leg[2]]
        for account, kind, amount in legs:
            if account.startswith(PEOPLE):
                continue
            if (account, CREDIT) not in self.house and (account, CNY) not in self.house:
                yield self._dialect.opened(day, account)
            self.house[account, kind] = self.house.get((account, kind), 0) + amount
            self._moved.add((account, kind))
        yield self._dialect.transaction(day, row, legs)

    def end_of_day(self, accounts: Iterable[tuple[str, str]]) -> str:
        assert self.day is not None
        return self._dialect.assertion(
            self.day, [(account, kind, self.house[account, kind]) for account, kind in sorted(accounts)]
        )


PEOPLE: Final = "Assets:People:"


def _people(user_id: UUID, available: int, held: int, owed: int) -> Iterator[Leg]:
    for name, amount in (("Available", available), ("Held", held), ("Owed", owed)):
        yield f"{PEOPLE}P-{user_id}:{name}", CREDIT, amount


def _balances(person: PersonBalance) -> Iterator[Leg]:
    return _people(person.user_id, person.available, person.held, person.owed)


def _legs(row: PostingRow) -> Iterator[Leg]:
    yield from _people(row.user_id, row.available, row.held, row.owed)
    earned = f"Income:Revenue:{_component(row.product, 'Other')}"
    yield from (("Liabilities:Paid", CREDIT, row.paid), ("Liabilities:Paid", CNY, row.paid_fen))
    yield "Equity:Promotional", CREDIT, row.promotional
    yield from ((earned, CREDIT, row.revenue), (earned, CNY, row.revenue_fen))
    yield from (("Income:Breakage", CREDIT, row.breakage), ("Income:Breakage", CNY, row.breakage_fen))
    yield f"Assets:Receivable:{_component(row.gateway, 'Unknown')}", CNY, row.receivable_fen


def _component(name: str | None, unnamed: str) -> str:
    """A part of an account's name: a capital or a digit, then letters, digits and hyphens, as both programs take it.

    The first letter becomes a capital, any other character its code between hyphens.
    """
    if name is None:
        return unnamed
    plain = re.sub("[^A-Za-z0-9-]", lambda found: f"-{ord(found.group()):x}-", name[:1].upper() + name[1:])
    return plain if plain[:1].isalnum() else f"X{plain}"


def _about(row: PostingRow) -> Iterator[tuple[str, int | str]]:
    yield "position", row.position
    yield "stream", CREDITS.stream(str(row.user_id))
    yield "version", row.version
    yield "recorded", row.at.isoformat()
    if row.transaction_id is not None:
        yield "transaction", str(row.transaction_id)
    if row.reference is not None:
        yield "reference", str(row.reference)


def _quoted(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _number(kind: str, amount: int) -> str:
    if kind == CREDIT:
        return str(amount)
    return f"{'-' * (amount < 0)}{abs(amount) // 100}.{abs(amount) % 100:02}"


def _amount(kind: str, amount: int) -> str:
    return f"{_number(kind, amount)} {kind}"

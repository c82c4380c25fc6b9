"""Finance's reports, each as of any moment by what was recorded then, and never of a stale read model."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import asdict

from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import PersonUnknown
from mintage.projections import reports as queries
from mintage.projections.reports import Balances
from mintage.projections.sql import Database


class Freshness(Protocol):
    async def reach(self, as_of: datetime | None) -> None:
        """Come back when the postings hold all that is recorded now, as far as a report as of a moment needs it.

        Raises ``Unavailable`` if they do not get there in time.
        """
        ...


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a report takes in: everything recorded up to ``as_of``, which ends with the event at ``position``."""

    as_of: datetime
    position: int


class StatementScope(Scope, frozen=True, kw_only=True):
    """``opening`` is what there was before the lines, ``closing`` after them."""

    user_id: UUID
    since: datetime | None = msgspec.field(name="from")
    opening: Balances
    closing: Balances


class StatementLine(msgspec.Struct, frozen=True):
    """One event: what it changed, and what the person had after it; the first line is the opening balance.

    ``reference`` is the order (a recharge) or the adjustment that it belongs to. ``balance_after`` is what was
    available or held, less what was owed.
    """

    position: int | None
    at: datetime | None
    event: str
    transaction_id: UUID | None
    reference: UUID | None
    description: str | None
    product: str | None
    gateway: str | None
    available: int
    held: int
    owed: int
    available_after: int
    held_after: int
    owed_after: int
    balance_after: int


class TrialBalanceScope(Scope, frozen=True, kw_only=True):
    """All accounts added up: zero, in credits and in fen."""

    credits: int
    fen: int


class AccountBalance(msgspec.Struct, frozen=True):
    """What an account comes to, debit above zero and credit below."""

    account: str
    credits: int
    fen: int


class DeferredScope(Scope, frozen=True, kw_only=True):
    fen: int


class RevenueScope(Scope, frozen=True, kw_only=True):
    since: datetime | None = msgspec.field(name="from")
    credits: int
    fen: int


class HoldsScope(Scope, frozen=True, kw_only=True):
    credits: int


Rows: TypeAlias = AsyncIterator[Sequence[Any]]


class Report(msgspec.Struct, frozen=True):
    """``scope`` says what the report is of and what it comes to, ``rows`` bring its lines, each a ``row``, in pages."""

    name: str
    scope: Scope
    row: type[msgspec.Struct]
    rows: Rows


class Reports:
    """Each takes the moment that it is as of (None: now) and, where there is one, the moment it begins at.

    All raise ``InvalidFields`` for moments that cannot be, and ``Unavailable``.
    """

    def __init__(self, db: Database, freshness: Freshness, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._freshness = freshness
        self._clock = clock

    async def statement(self, user_id: str, as_of: datetime | None, since: datetime | None) -> Report:
        """What a person had, and how it came and went. Raises ``PersonUnknown``."""
        scope = await self._scope(as_of, since)
        if not await queries.is_known(self._db, user_id):
            raise PersonUnknown
        upto = scope.position
        opening = Balances(0, 0, 0) if since is None else await queries.balances(self._db, user_id, upto, since)
        of_person = StatementScope(
            as_of=scope.as_of,
            position=upto,
            user_id=UUID(user_id),
            since=since,
            opening=opening,
            closing=await queries.balances(self._db, user_id, upto),
        )
        return Report(f"statement-{user_id}", of_person, StatementLine, self._lines(of_person))

    async def trial_balance(self, as_of: datetime | None) -> Report:
        """Every account that is not zero, and the house's own in any case."""
        scope = await self._scope(as_of)
        totals = await queries.totals(self._db, scope.position)
        house = [
            AccountBalance("paid", totals.paid, totals.paid_fen),
            AccountBalance("promotional", totals.promotional, 0),
            AccountBalance("revenue", totals.revenue, totals.revenue_fen),
            AccountBalance("breakage", totals.breakage, totals.breakage_fen),
        ]
        for owing in await queries.receivables(self._db, scope.position):
            house.append(AccountBalance(f"receivable:{owing.gateway or 'unknown'}", 0, owing.fen))
        balanced = TrialBalanceScope(as_of=scope.as_of, position=scope.position, credits=totals.credits, fen=totals.fen)
        return Report("trial-balance", balanced, AccountBalance, self._accounts(house, scope.position))

    async def deferred_revenue(self, as_of: datetime | None) -> Report:
        """The money of paid credits that are not spent yet, in all and per person."""
        scope = await self._scope(as_of)
        totals = await queries.totals(self._db, scope.position)
        in_all = DeferredScope(as_of=scope.as_of, position=scope.position, fen=-totals.paid_fen)
        return Report("deferred-revenue", in_all, queries.Deferred, self._deferred(scope.position))

    async def revenue(self, as_of: datetime | None, since: datetime | None) -> Report:
        """What was earned per UTC day and product."""
        scope = await self._scope(as_of, since)
        days = await queries.revenue(self._db, scope.position, since)
        in_all = RevenueScope(
            as_of=scope.as_of,
            position=scope.position,
            since=since,
            credits=sum(day.credits for day in days),
            fen=sum(day.fen for day in days),
        )
        return Report("revenue", in_all, queries.Revenue, _one_page(days))

    async def breakage(self, as_of: datetime | None, since: datetime | None) -> Report:
        """What was lost unspent per UTC day."""
        scope = await self._scope(as_of, since)
        days = await queries.breakage(self._db, scope.position, since)
        in_all = RevenueScope(
            as_of=scope.as_of,
            position=scope.position,
            since=since,
            credits=sum(day.expired_credits + day.removed_credits for day in days),
            fen=sum(day.expired_fen + day.removed_fen for day in days),
        )
        return Report("breakage", in_all, queries.Breakage, _one_page(days))

    async def holds(self, as_of: datetime | None) -> Report:
        """What was held for tasks that had not ended."""
        scope = await self._scope(as_of)
        totals = await queries.totals(self._db, scope.position)
        in_all = HoldsScope(as_of=scope.as_of, position=scope.position, credits=totals.held)
        return Report("holds", in_all, queries.OpenHold, self._holds(scope.as_of))

    async def ledger(self, as_of: datetime | None) -> Report:
        """Every posting there is."""
        scope = await self._scope(as_of)
        return Report("ledger", scope, queries.PostingRow, self._postings(scope.position))

    async def people(self, upto: int) -> AsyncIterator[Sequence[queries.PersonBalance]]:
        """What everybody had at a position, by their ids."""
        after = None
        while page := await queries.people_accounts(self._db, upto, after):
            yield page
            after = page[-1].user_id

    async def _scope(self, as_of: datetime | None, since: datetime | None = None) -> Scope:
        now = self._clock()
        if as_of is not None and as_of > now:
            raise InvalidFields({"as_of": Reason("future")})
        if since is not None and since > (as_of or now):
            raise InvalidFields({"from": Reason("after_as_of")})
        await self._freshness.reach(as_of)
        newest = await queries.newest(self._db, as_of)
        if newest is None:
            return Scope(as_of=as_of or now, position=0)
        # Another process's clock may be ahead of ours.
        return Scope(as_of=as_of or max(now, newest.at), position=newest.position)

    async def _lines(self, scope: StatementScope) -> Rows:
        now = scope.opening
        nothing = {**dict.fromkeys(queries.Entry.__struct_fields__), "available": 0, "held": 0, "owed": 0}
        yield [_line(nothing | {"at": scope.since, "event": "opening"}, now)]
        after = 0
        while page := await queries.entries(self._db, str(scope.user_id), after, scope.position, scope.since):
            lines = []
            for entry in page:
                now = Balances(now.available + entry.available, now.held + entry.held, now.owed + entry.owed)
                lines.append(_line(asdict(entry), now))
            yield lines
            after = page[-1].position

    async def _accounts(self, house: Iterable[AccountBalance], upto: int) -> Rows:
        yield list(house)
        async for page in self.people(upto):
            legs = (
                AccountBalance(f"{name}:{person.user_id}", amount, 0)
                for person in page
                for name, amount in (("available", person.available), ("held", person.held), ("owed", person.owed))
            )
            yield [leg for leg in legs if leg.credits]

    async def _deferred(self, upto: int) -> Rows:
        after = None
        while page := await queries.deferred(self._db, upto, after):
            yield page
            after = page[-1].user_id

    async def _holds(self, as_of: datetime) -> Rows:
        after = None
        while page := await queries.holds(self._db, as_of, after):
            yield page
            after = page[-1]

    async def _postings(self, upto: int) -> Rows:
        after = 0
        while page := await queries.postings(self._db, after, upto):
            yield page
            after = page[-1].position


def _line(entry: Mapping[str, Any], after: Balances) -> StatementLine:
    return StatementLine(
        **entry,
        available_after=after.available,
        held_after=after.held,
        owed_after=after.owed,
        balance_after=after.available + after.held - after.owed,
    )


async def _one_page(rows: Sequence[Any]) -> Rows:
    yield rows

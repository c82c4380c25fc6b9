"""Every report, as of any moment, is what a naive replay of the log up to then comes to."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import pytest
from msgspec.structs import astuple

from mintage.application.reports import AccountBalance, Reports, StatementLine
from mintage.domain.recorded import Recorded
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.projections import reports as queries
from mintage.projections.reports import Balances, Breakage, Deferred, OpenHold
from tests.infra.kit import the_log
from tests.infra.months import Replayed, lines, months_in, reports_on

MOMENTS: Final = 1_000


@pytest.fixture(scope="module")
def past(postgres: EmbeddedPostgres) -> Iterator[str]:
    with months_in(postgres, seed=4, events=1_200) as conninfo:
        yield conninfo


@pytest.fixture(scope="module")
def log(past: str) -> list[Recorded]:
    return the_log(past)


@pytest.fixture
async def reports(past: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reports]:
    monkeypatch.setattr(queries, "PAGE", 7)
    async with reports_on(past) as opened:
        yield opened


def moments(log: Sequence[Recorded], how_many: int) -> Iterator[tuple[datetime, Random]]:
    """At events, just before and after them, between them, and beyond both ends."""
    choose = Random(4)
    first, last = log[0].at - timedelta(days=1), log[-1].at + timedelta(days=1)
    for _ in range(how_many):
        at = choose.choice(log).at + timedelta(microseconds=choose.choice((-1, 0, 0, 1)))
        yield (at if choose.random() < 0.7 else first + (last - first) * choose.random()), choose


def earlier(log: Sequence[Recorded], as_of: datetime, choose: Random) -> datetime | None:
    """A moment to begin at, if any: at an event, or between them."""
    began = choose.choice((None, choose.choice(log).at, as_of - timedelta(days=choose.random() * 40)))
    return None if began is None else min(began, as_of)


class TestAsOfAnyMoment:
    async def test_statements(self, reports: Reports, log: list[Recorded]) -> None:
        people = sorted({entry.key for entry in log})
        for as_of, choose in moments(log, MOMENTS):
            user_id = choose.choice(people)
            since = earlier(log, as_of, choose)
            report = await reports.statement(user_id, as_of, since)
            now = Replayed(entry for entry in log if entry.at <= as_of)
            history = now.history.get(user_id, [])
            before = [after for entry, after in history if since is not None and entry.at < since]
            shown = [(entry, after) for entry, after in history if since is None or entry.at >= since]
            opening = Balances(*(before[-1] if before else (0, 0, 0)))
            scope: Any = report.scope
            assert (scope.as_of, scope.position, scope.since) == (as_of, now.position, since)
            assert (scope.opening, scope.closing) == (opening, Balances(*now.people[user_id]))
            first, *found = await lines(report)
            assert (first.event, first.at, balances(first)) == ("opening", since, astuple(opening))
            assert [(line.position, line.at, balances(line)) for line in found] == [
                (entry.position, entry.at, after) for entry, after in shown
            ]
            previous = first
            for line, (entry, _) in zip(found, shown, strict=True):
                after, changes = balances(line), (line.available, line.held, line.owed)
                assert after == tuple(map(sum, zip(balances(previous), changes, strict=True)))
                assert line.balance_after == after[0] + after[1] - after[2]
                described: Any = entry.event
                if line.event in {"credits.granted", "credits.consumed", "credits.captured", "credits.clawed_back"}:
                    assert (str(line.transaction_id), line.description) == (
                        described.transaction_id,
                        described.description,
                    )
                previous = line

    async def test_the_other_reports(self, reports: Reports, log: list[Recorded]) -> None:
        for as_of, choose in moments(log, MOMENTS):
            now = Replayed(entry for entry in log if entry.at <= as_of)
            since = earlier(log, as_of, choose)
            later = now if since is None else _since(log, since, as_of)
            await self._deferred(reports, as_of, now)
            await self._holds(reports, as_of, now)
            await self._revenue(reports, as_of, since, later)
            await self._breakage(reports, as_of, since, later)
            await self._trial_balance(reports, as_of, now)

    async def _deferred(self, reports: Reports, as_of: datetime, now: Replayed) -> None:
        report = await reports.deferred_revenue(as_of)
        wanted = {who: money for who, money in now.deferred.items() if money}
        assert await lines(report) == [Deferred(UUID(who), wanted[who]) for who in sorted(wanted)]
        assert report.scope.fen == sum(wanted.values())  # type: ignore[attr-defined]

    async def _holds(self, reports: Reports, as_of: datetime, now: Replayed) -> None:
        report = await reports.holds(as_of)
        wanted = [
            OpenHold(
                UUID(hold_id), UUID(entry.key), held.amount, held.product, held.description, entry.at, held.expires_at
            )
            for hold_id, (entry, held) in now.holds.items()
        ]
        assert await lines(report) == sorted(wanted, key=lambda hold: (hold.created_at, hold.hold_id))
        assert report.scope.credits == sum(hold.amount for hold in wanted)  # type: ignore[attr-defined]

    async def _revenue(self, reports: Reports, as_of: datetime, since: datetime | None, now: Any) -> None:
        report = await reports.revenue(as_of, since)
        found = {(row.day, row.product): [row.credits, row.fen] for row in await lines(report)}
        # A day on which everything was given back is shown with zeros: it had postings.
        assert {key: row for key, row in found.items() if row != [0, 0]} == {
            key: row for key, row in now.revenue.items() if row != [0, 0]
        }
        totals = tuple(map(sum, zip(*now.revenue.values(), strict=True))) or (0, 0)
        assert (report.scope.credits, report.scope.fen) == totals  # type: ignore[attr-defined]
        assert list(found) == sorted(found, key=lambda key: (key[0], key[1] is not None, key[1] or ""))

    async def _breakage(self, reports: Reports, as_of: datetime, since: datetime | None, now: Any) -> None:
        report = await reports.breakage(as_of, since)
        assert await lines(report) == [Breakage(day, *now.breakage[day]) for day in sorted(now.breakage)]

    async def _trial_balance(self, reports: Reports, as_of: datetime, now: Replayed) -> None:
        report = await reports.trial_balance(as_of)
        assert (report.scope.credits, report.scope.fen) == (0, 0)  # type: ignore[attr-defined]
        found = await lines(report)
        spent, earned = (sum(row[column] for row in now.revenue.values()) for column in (0, 1))
        lost, kept = (sum(row[column] + row[column + 2] for row in now.breakage.values()) for column in (0, 1))
        wanted = [
            AccountBalance("paid", -now.sold, -sum(now.deferred.values())),
            AccountBalance("promotional", -now.given, 0),
            AccountBalance("revenue", spent, -earned),
            AccountBalance("breakage", lost, -kept),
        ]
        wanted += [AccountBalance(f"receivable:{who}", 0, now.receivable[who]) for who in sorted(now.receivable)]
        for who in sorted(now.people):
            available, held, owed = now.people[who]
            legs = (("available", available), ("held", held), ("owed", -owed))
            wanted += [AccountBalance(f"{name}:{who}", amount, 0) for name, amount in legs if amount]
        assert found == wanted
        assert (sum(row.credits for row in found), sum(row.fen for row in found)) == (0, 0)


def _since(log: Sequence[Recorded], since: datetime, as_of: datetime) -> Any:
    """What the revenue and the breakage of a time come to: those until its end without those before it."""
    upto, before = (Replayed(entry for entry in log if entry.at <= as_of), Replayed(e for e in log if e.at < since))
    return _Difference(upto, before)


class _Difference:
    def __init__(self, upto: Replayed, before: Replayed) -> None:
        self.revenue = _minus(upto.revenue, before.revenue, 2)
        self.breakage = {key: row for key, row in _minus(upto.breakage, before.breakage, 4).items() if any(row)}


def _minus(upto: Mapping[Any, list[int]], before: Mapping[Any, list[int]], columns: int) -> dict[Any, list[int]]:
    nothing = [0] * columns
    return {key: [a - b for a, b in zip(row, before.get(key, nothing), strict=True)] for key, row in upto.items()}


def balances(line: StatementLine) -> tuple[int, int, int]:
    return line.available_after, line.held_after, line.owed_after

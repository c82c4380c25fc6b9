"""Whatever callers ask for in whatever order, no prefix of an account's events loses or invents a credit or a fen."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final, NamedTuple
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import CREDITS
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    SpendingReversed,
)
from mintage.domain.credits.postings import Posting, posting_of
from mintage.domain.decider import Refusal
from tests.asks import KINDS, Ask, Caller, asks
from tests.thorough import examples

START: Final = datetime(2026, 1, 1, tzinfo=UTC)

asked: Final = st.lists(st.tuples(asks(*KINDS, "grant", "grant"), st.integers(0, 6)), max_size=60)
"""What is asked for, and how many hours later the next."""


class Moment(NamedTuple):
    """An event, the account after it, and whether a command has just ended with it."""

    event: CreditEvent
    account: CreditAccount
    settled: bool


def history(asked: list[tuple[Ask, int]]) -> Iterator[Moment]:
    """What really happens when all of this is asked for in turn; what is refused leaves no trace."""
    numbers = count(1)
    caller = Caller(lambda: str(UUID(int=next(numbers))))
    account, now = CREDITS.initial, START
    for ask, hours in asked:
        command = caller.command(ask, account, now)
        now += timedelta(hours=hours)
        try:
            events = CREDITS.decide(command, account) if command is not None else ()
        except Refusal:
            continue
        for number, event in enumerate(events, start=1):
            account = CREDITS.evolve(account, event)
            caller.see(event)
            yield Moment(event, account, number == len(events))


@given(asked)
@settings(max_examples=examples(400), deadline=None)
def test_at_every_prefix_the_postings_sum_to_zero_and_are_the_account(asked: list[tuple[Ask, int]]) -> None:
    totals = Posting()
    for event, account, settled in history(asked):
        posting = posting_of(event)
        assert (posting.credits, posting.fen) == (0, 0)
        totals = Posting(*map(sum, zip(astuple(totals), astuple(posting), strict=True)))
        assert (totals.credits, totals.fen) == (0, 0)
        assert (totals.available, totals.held, totals.owed) == (account.available, account.held, -account.owed)
        assert min(account.available, account.held, account.owed) >= 0
        assert not settled or account.owed == 0 or account.available == 0
        held = [lot for hold in account.holds.values() for lot in hold.lots]
        assert account.available == sum(lot.amount for lot in account.lots)
        assert account.held == sum(lot.amount for lot in held)
        assert -totals.paid_fen == sum(lot.fen for lot in (*account.lots, *held)), "what is owed in services"
        house = totals.paid + totals.promotional + totals.revenue + totals.breakage
        assert house == -(account.available + account.held - account.owed)


@given(asked)
@settings(max_examples=examples(400), deadline=None)
def test_the_accounts_of_the_house_say_what_became_of_all_credits_and_all_money(
    asked: list[tuple[Ask, int]],
) -> None:
    """Each account of the house is summed up a second time, from what the events say in words."""
    events = [moment.event for moment in history(asked)]
    totals = Posting(*map(sum, zip(*map(astuple, [Posting(), *map(posting_of, events)]), strict=True)))

    granted = [event for event in events if isinstance(event, CreditsGranted)]
    undone = [event for event in events if isinstance(event, CreditsClawedBack)]
    spent = [event for event in events if isinstance(event, CreditsConsumed | HoldCaptured)]
    back = [event for event in events if isinstance(event, SpendingReversed)]
    lost = [event for event in events if isinstance(event, CreditsExpired | CreditsRemoved)]
    debts = [event for event in events if isinstance(event, DebtPaid)]
    sold = sum(event.amount for event in granted if event.paid_fen)
    assert -totals.paid == sold - sum(event.amount for event in undone)
    assert -totals.promotional == sum(event.amount for event in granted if not event.paid_fen)
    assert totals.revenue == sum(event.amount for event in spent) - sum(event.amount for event in back)
    assert totals.breakage == sum(event.amount for event in lost)
    assert -totals.owed == sum(event.owed for event in undone) - sum(event.amount for event in debts)

    refunded = sum(event.refunded_fen for event in undone)
    assert totals.receivable_fen == sum(event.paid_fen for event in granted) - refunded
    earned = sum(part.fen for event in [*spent, *debts] for part in event.taken)
    earned += sum(part.fen for event in undone for part in event.taken)
    assert -totals.revenue_fen == earned - refunded - sum(lot.fen for event in back for lot in event.returned)
    expired = sum(event.fen for event in lost if isinstance(event, CreditsExpired))
    removed = sum(part.fen for event in lost if isinstance(event, CreditsRemoved) for part in event.taken)
    assert -totals.breakage_fen == expired + removed

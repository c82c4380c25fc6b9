"""The credit account does what an independent model does: every command, every refusal, every credit, every fen."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from itertools import count
from typing import Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import CREDITS, CreditCommand
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    Lot,
    SpendingReversed,
)
from mintage.domain.credits.postings import posting_of
from tests.asks import HOUR, Ask, Caller, asks
from tests.purse import AVAILABLE, DEBT, EXPIRED, Part, Purse, same, step_of
from tests.thorough import examples

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class CreditAccountMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        numbers = count(1)
        self.caller = Caller(lambda: str(UUID(int=next(numbers))))
        self.purse = Purse()
        self.account = CREDITS.initial
        self.history: list[CreditEvent] = []
        self.now = START

    # -- what callers do

    @initialize(first=st.lists(asks("grant"), min_size=1, max_size=4))
    def begin(self, first: list[Ask]) -> None:
        for ask in first:
            self.give(ask)

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(ask=asks("grant"))
    def grant(self, ask: Ask) -> None:
        self.give(ask)

    @precondition(lambda self: self.account.available)
    @rule(ask=asks("consume", "remove"))
    def spend(self, ask: Ask) -> None:
        self.give(ask)

    @precondition(lambda self: self.account.available)
    @rule(ask=asks("hold"))
    def hold(self, ask: Ask) -> None:
        self.give(ask)

    @precondition(lambda self: self.caller.holds)
    @rule(ask=asks("capture"))
    def capture(self, ask: Ask) -> None:
        self.give(ask)

    @precondition(lambda self: self.caller.holds)
    @rule(ask=asks("release"))
    def release(self, ask: Ask) -> None:
        self.give(ask)

    @precondition(lambda self: self.account.lots)
    @rule(ask=asks("expire"))
    def expire(self, ask: Ask) -> None:
        self.give(ask)
        assert not self.give(ask), "what expired does so once"

    @precondition(lambda self: self.caller.spent)
    @rule(ask=asks("reverse"))
    def reverse(self, ask: Ask) -> None:
        self.give(ask)

    @rule(ask=asks("claw back whole", "claw back part"))
    def claw_back(self, ask: Ask) -> None:
        self.give(ask)

    def give(self, ask: Ask) -> list[CreditEvent]:
        command = self.caller.command(ask, self.account, self.now)
        return [] if command is None else self.tell(command)

    def tell(self, command: CreditCommand) -> list[CreditEvent]:
        """Tell decider and model the same; both must refuse with the same words, or do the same step by step."""
        if (refusal := self.purse.refusal(command)) is not None:
            with pytest.raises(type(refusal)) as refused:
                CREDITS.decide(command, self.account)
            assert same(refused.value, refusal)
            return []
        decided = CREDITS.decide(command, self.account)
        assert [step_of(event) for event in decided] == self.purse.tell(command)
        self.check_words(command, decided)
        for event in decided:
            self.happened(event)
        return list(decided)

    def check_words(self, command: CreditCommand, events: Iterable[CreditEvent]) -> None:
        """What the command says, and the event has a field for, is what the event says."""
        for event in events:
            if not isinstance(event, CreditsExpired | DebtPaid):
                for field in set(command.__struct_fields__) & set(event.__struct_fields__):
                    assert getattr(event, field) == getattr(command, field), field

    def happened(self, event: CreditEvent) -> None:
        """At every single event the account must be one that may exist."""
        self.check_dates(event)
        kept = msgspec.json.decode(msgspec.json.encode(self.account), type=CreditAccount)
        stored = msgspec.json.decode(msgspec.json.encode(event), type=CreditEvent)
        self.account = CREDITS.evolve(self.account, event)
        assert CREDITS.evolve(kept, stored) == self.account, "a snapshot is as good as what it was made of"
        self.history.append(event)
        self.caller.see(event)
        posting = posting_of(event)
        assert (posting.credits, posting.fen) == (0, 0)
        assert event.amount > (-1 if isinstance(event, CreditsClawedBack) else 0)
        assert min(self.account.available, self.account.held, self.account.owed) >= 0
        parts = [*self.account.lots, *(lot for hold in self.account.holds.values() for lot in hold.lots)]
        assert all(part.amount > 0 and part.fen >= 0 for part in parts)

    def check_dates(self, event: CreditEvent) -> None:
        """What is past its date is never taken, and nothing expires before it."""
        dates = {grant.lot: grant.expires_at for grant in self.caller.granted}
        match event:
            case CreditsConsumed() | CreditsHeld() | CreditsRemoved() | CreditsClawedBack() | DebtPaid():
                for part in event.taken:
                    date = dates[part.lot]
                    assert date is None or date > self.now
            case CreditsExpired(lot=lot):
                date = dates[lot]
                assert date is not None
                assert date <= self.now

    # -- what always holds

    @invariant()
    def the_account_is_what_the_model_says(self) -> None:
        account, purse = self.account, self.purse
        assert account.available == len(purse.all_at("available"))
        assert account.held == len(purse.all_at("held"))
        assert account.owed == purse.owed
        assert account.reversed_ids == purse.reversed
        assert account.lots_granted == len(purse.grants)
        assert parts_of(account.lots) == purse.parts_at(AVAILABLE)
        assert set(account.holds) == purse.holds
        for hold_id, hold in account.holds.items():
            assert parts_of(hold.lots) == purse.parts_at(("held", hold_id))

    @invariant()
    def who_owes_has_nothing(self) -> None:
        assert self.account.owed == 0 or self.account.available == 0

    @invariant()
    def parts_keep_the_terms_of_their_lots(self) -> None:
        held = [lot for hold in self.account.holds.values() for lot in hold.lots]
        for lot in (*self.account.lots, *held):
            (granted,) = (grant for grant in self.caller.granted if grant.lot == lot.number)
            for field in lot.terms.__struct_fields__:
                assert getattr(lot.terms, field) == getattr(granted, field), field

    @invariant()
    def holds_keep_what_they_are_for(self) -> None:
        open_for = {event.hold_id: event for event in self.history if isinstance(event, CreditsHeld)}
        for hold_id, hold in self.account.holds.items():
            assert (hold.product, hold.expires_at) == (open_for[hold_id].product, open_for[hold_id].expires_at)

    @invariant()
    def every_lot_keeps_its_credits_and_its_money(self) -> None:
        """By the events alone: what came in is there, held, or went, and nothing of it went to another lot."""
        amounts, fen = Counter[int](), Counter[int]()
        for event in self.history:
            for number, amount, money in went(event):
                amounts[number] += amount
                fen[number] += money
        for lot in (*self.account.lots, *(lot for hold in self.account.holds.values() for lot in hold.lots)):
            amounts[lot.number] += lot.amount
            fen[lot.number] += lot.fen
        assert amounts == {grant.lot: grant.amount for grant in self.caller.granted}
        assert fen == {grant.lot: grant.paid_fen for grant in self.caller.granted}

    @invariant()
    def no_part_is_far_from_its_fair_price(self) -> None:
        """At p/q fen a credit (in lowest terms) at most 1 - 1/q fen are gone too early; at whole fen, none.

        As many more may be gone too early, or too late, for each time that credits came back astray.
        """
        sizes = Counter((coin.lot.number, coin.place) for coin in self.purse.coins)
        for number, grant in self.purse.grants.items():
            one = 1 - Fraction(1, grant.price.denominator)
            late = self.purse.astray[number] * one
            early = late + one
            parts = [(place, fen) for (lot, place), fen in self.purse.money.items() if lot == number]
            astray = {place: fen - sizes[number, place] * grant.price for place, fen in parts}
            gone = sum(fen for place, fen in astray.items() if place[0] not in ("available", "held"))
            assert -late <= gone <= early
            assert all(abs(fen) <= early for place, fen in astray.items() if place not in (EXPIRED, DEBT))

    @invariant()
    def every_hold_ends_exactly_once(self) -> None:
        begun = Counter(event.hold_id for event in self.history if isinstance(event, CreditsHeld))
        ended = Counter(event.hold_id for event in self.history if isinstance(event, HoldCaptured | HoldReleased))
        assert set(begun.values()) <= {1}
        assert begun - ended == Counter(self.purse.holds)
        assert ended <= begun

    @invariant()
    def nothing_is_reversed_twice(self) -> None:
        undone = Counter(event.reverses for event in self.history if isinstance(event, SpendingReversed))
        assert set(undone.values()) <= {1}
        assert undone.keys() <= {spent.transaction_id for spent in self.caller.spent}

    def teardown(self) -> None:
        """Replaying the history, as it was stored, leads to the same account."""
        stored = msgspec.json.decode(msgspec.json.encode(self.history), type=list[CreditEvent])
        assert stored == self.history
        assert CREDITS.fold(CREDITS.initial, stored) == self.account


def parts_of(lots: Iterable[Lot]) -> tuple[Part, ...]:
    return tuple((lot.number, lot.amount, lot.fen) for lot in lots)


def went(event: CreditEvent) -> tuple[Part, ...]:
    """What of each lot an event took out of the account; what came back counts as less than nothing."""
    match event:
        case CreditsConsumed() | CreditsRemoved() | CreditsClawedBack() | DebtPaid() | HoldCaptured():
            return tuple((part.lot, part.amount, part.fen) for part in event.taken)
        case CreditsExpired():
            return ((event.lot, event.amount, event.fen),)
        case SpendingReversed():
            return tuple((lot.number, -lot.amount, -lot.fen) for lot in event.returned)
    return ()


CreditAccountMachine.TestCase.settings = settings(max_examples=examples(300), stateful_step_count=50, deadline=None)


TestCreditAccount = CreditAccountMachine.TestCase

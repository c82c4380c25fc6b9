"""The audit's own reading of the rules and the code that decides agree on whatever can happen to an account."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from msgspec.structs import replace

from mintage.domain.credits.account import CreditAccount, Hold
from mintage.domain.credits.decider import (
    CREDITS,
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    ReleaseHold,
    RemoveCredits,
    ReverseSpending,
)
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    Lot,
    Terms,
)
from mintage.domain.credits.postings import posting_of
from mintage.domain.decider import Refusal
from mintage.infra.audit.accounts import fen_left, followed, overdue
from mintage.infra.audit.findings import Broken
from tests.infra.kit import some_id

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
STEPS: Final = 40


class Life:
    """An account that random things happen to; each event is judged."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.account = CreditAccount()
        self.now = START
        self.events: list[CreditEvent] = []
        self.shifted: set[type[CreditEvent]] = set()

    def live(self) -> None:
        for _ in range(STEPS):
            self.now += timedelta(seconds=self._random.choice([0, 1, 5]))
            try:
                events = CREDITS.decide(self._random.choice(list(self._commands())), self.account)
            except Refusal:
                continue
            for event in events:
                self._shift_fen(event)
                self.account = followed(self.account, event, self.now)
                self.events.append(event)
            if events and not (isinstance(events[-1], HoldCaptured) and not events[-1].returned):
                assert overdue(self.account, self.now) is None
            assert not (self.account.owed and self.account.available)
            assert fen_left(self.account) == -sum(posting_of(event).paid_fen for event in self.events)

    def _shift_fen(self, event: CreditEvent) -> None:
        """One fen more or less in any slice taken is refused, though the sums are right."""
        for place, part in enumerate(getattr(event, "taken", ())):
            for more in (-1, 1):
                taken = list(event.taken)  # type: ignore[union-attr]
                taken[place] = replace(part, fen=part.fen + more)
                changes: dict[str, Any] = {"taken": tuple(taken)}
                if isinstance(event, HoldCaptured):
                    changes["returned"] = tuple(
                        replace(back, fen=back.fen - more) if back.lot == part.lot else back for back in event.returned
                    )
                with pytest.raises(Broken, match="are due"):
                    followed(self.account, replace(event, **changes), self.now)
                self.shifted.add(type(event))

    def _commands(self) -> Iterator[CreditCommand]:
        """One of each kind that there is something for."""
        draw, now = self._random, self.now
        yield GrantCredits(
            transaction_id=some_id(),
            amount=draw.randint(1, 9),
            source="recharge",
            description="",
            now=now,
            paid_fen=draw.choice([0, draw.randint(1, 40)]),
            expires_at=draw.choice([None, now + timedelta(seconds=draw.randint(1, 30))]),
            priority=draw.choice([50, 10]),
            reference=draw.choice(["o1", "o2"]),
        )
        amount = draw.randint(1, 6)
        yield ConsumeCredits(transaction_id=some_id(), amount=amount, description="", now=now)
        yield RemoveCredits(transaction_id=some_id(), amount=amount, description="", reference="a1", now=now)
        yield HoldCredits(hold_id=some_id(), amount=amount, description="", product="p", now=now)
        yield ExpireCredits(now=now)
        yield ClawBack(
            transaction_id=some_id(),
            recharge_id=draw.choice(["o1", "o2"]),
            reference="r",
            reason="refund",
            amount=draw.randint(0, 8),
            refunded_fen=draw.randint(1, 20),
            payment_method="stripe",
            description="",
            now=now,
        )
        for hold_id, hold in self.account.holds.items():
            amount = draw.randint(1, sum(lot.amount for lot in hold.lots))
            yield CaptureHold(hold_id=hold_id, transaction_id=some_id(), amount=amount, description="", now=now)
            yield ReleaseHold(hold_id=hold_id, reason="failed", now=now)
        terms = {
            event.lot: Terms(event.amount, event.paid_fen, event.expires_at, event.priority, event.reference)
            for event in self.events
            if isinstance(event, CreditsGranted)
        }
        for spent in self.events:
            if isinstance(spent, CreditsConsumed | HoldCaptured):
                yield ReverseSpending(transaction_id=some_id(), spent=spent, terms=terms, description="", now=now)


@pytest.mark.parametrize("start", range(0, 1_000, 100))
def test_what_is_decided_is_what_the_audit_lets_pass(start: int) -> None:
    judged = 0
    shifted: set[type[CreditEvent]] = set()
    for seed in range(start, start + 100):
        life = Life(seed)
        life.live()
        judged += len(life.events)
        shifted |= life.shifted
    assert judged > 1_000
    assert shifted == {CreditsConsumed, CreditsHeld, HoldCaptured, CreditsRemoved, CreditsClawedBack, DebtPaid}


def test_who_captures_a_whole_hold_captures_all_of_its_money() -> None:
    """Rounding may have left less beside the hold than its share; the hold has to make up for nothing of it."""
    terms = Terms(amount=6, paid_fen=27)
    hold = Hold((Lot(1, 1, 5, terms),), "p")
    account = CreditAccount(available=2, held=1, lots=(Lot(1, 2, 8, terms),), holds={"h": hold}, lots_granted=1)
    command = CaptureHold(hold_id="h", transaction_id="t", amount=1, description="", now=START)
    (captured,) = CREDITS.decide(command, account)
    assert fen_left(followed(account, captured, START)) == 8


def test_nothing_is_spent_past_its_date() -> None:
    terms = Terms(amount=6, expires_at=START)
    account = CreditAccount(available=6, lots=(Lot(1, 6, 0, terms),), lots_granted=1)
    for amount in (2, 6):
        command = ConsumeCredits(transaction_id="t", amount=amount, description="", now=START - timedelta(seconds=1))
        (consumed,) = CREDITS.decide(command, account)
        assert followed(account, consumed, command.now).available == 6 - amount
        with pytest.raises(Broken, match="which expired before"):
            followed(account, consumed, START)

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
from mintage.domain.credits.postings import Posting, posting_of
from mintage.domain.decider import Refusal
from mintage.domain.recorded import Recorded
from mintage.infra.audit.accounts import fen_left, followed, overdue
from mintage.infra.audit.findings import Broken, total
from mintage.infra.audit.fold import Fold, Row
from mintage.infra.chain import GENESIS, event_hash
from mintage.infra.codec import encode, tag_of
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


class Debited:
    """An account that is granted something now and then and spends all the time; for every third by date, too."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.account = CreditAccount()
        self.events: list[CreditEvent] = []
        for _ in range(120):
            command: CreditCommand = ConsumeCredits(
                transaction_id=some_id(), amount=draw.choice([1, 1, 2, 7]), description="", now=START
            )
            if not self.events or draw.random() < 0.08:
                command = GrantCredits(
                    transaction_id=some_id(),
                    amount=draw.choice([10, 60]),
                    source="recharge",
                    description="",
                    now=START,
                    paid_fen=draw.choice([0, draw.randint(1, 300)]),
                    expires_at=START + timedelta(days=1) if seed % 3 == 0 and draw.random() < 0.3 else None,
                    priority=draw.choice([50, 50, 10]),
                )
            try:
                events = CREDITS.decide(command, self.account)
            except Refusal:
                continue
            self.account = CREDITS.fold(self.account, events)
            self.events += events


def taken(events: list[CreditEvent], portion: int) -> tuple[Fold, list[Posting], list[tuple[int, str]]]:
    """The events folded so many at a time, their postings, and what was reported of which."""
    reports: list[tuple[int, str]] = []
    fold = Fold("credits-a", lambda _, version, what: reports.append((version, what)))
    rows: list[Row] = []
    head = GENESIS
    for version, event in enumerate(events, 1):
        entry = Recorded(version, "credits-a", version, START, "a", some_id(), event)
        state = encode(entry)
        head = event_hash(head, version, version, entry.stream, tag_of(entry), state)
        rows.append((version, entry.stream, version, tag_of(entry), state, head, entry.command_id))
    for start in range(0, len(rows), portion):
        fold.take(rows[start : start + portion])
    fold.finish()
    return fold, fold.postings, reports


@pytest.mark.parametrize("seed", range(60))
def test_debits_in_a_row_come_to_what_they_come_to_one_by_one(seed: int) -> None:
    life = Debited(seed)
    fold, postings, reports = taken(life.events, portion=seed % 50 + 1)
    assert reports == []
    assert fold.state == life.account
    assert total(postings) == total(map(posting_of, life.events))
    if seed % 3 and seed % 50 > 30:
        assert len(postings) < len(life.events) / 2, "hardly any were folded as one"


@pytest.mark.parametrize("change", [{"amount": 1}, {"amount": -8}, {"lot": 1}, {"lot": -1}, {"fen": 1}, {"fen": -1}])
def test_of_debits_in_a_row_the_wrong_one_is_named(change: dict[str, int]) -> None:
    for seed in range(10):
        events = Debited(seed).events
        for place, event in enumerate(events):
            if not isinstance(event, CreditsConsumed):
                continue
            part = event.taken[0]
            changed = replace(part, **{field: getattr(part, field) + more for field, more in change.items()})
            wrong = replace(event, taken=(changed, *event.taken[1:]))
            _, _, reports = taken([*events[:place], wrong, *events[place + 1 :]], portion=40)
            assert [version for version, _ in reports] == [place + 1]


def test_a_debit_of_nothing_or_less_is_refused_among_others() -> None:
    events = Debited(0).events
    place = next(place for place, event in enumerate(events) if isinstance(event, CreditsConsumed))
    debit = events[place]
    assert isinstance(debit, CreditsConsumed)
    for amount in (0, -3):
        wrong = replace(debit, amount=amount, taken=(replace(debit.taken[0], amount=amount, fen=0),))
        _, _, reports = taken([*events[: place + 1], wrong, *events[place + 1 :]], portion=200)
        assert reports == [(place + 2, f"an amount of {amount}")]

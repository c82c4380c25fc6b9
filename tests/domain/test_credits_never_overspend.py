"""Whatever callers do in whatever order, no credit is lost, invented or spent twice.

The model knows nothing of lots as sums: every single credit is an object that lies in one place, and the next one
to be spent is found by asking each about every other.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from msgspec.structs import astuple

from mintage.domain.credits.decider import (
    CREDITS,
    CaptureExceedsHold,
    CaptureHold,
    ConsumeCredits,
    CreditAccount,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    HoldExists,
    HoldNotOpen,
    InsufficientCredits,
    ReleaseHold,
)
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    HoldCaptured,
    HoldReleased,
    Release,
    Slice,
)
from mintage.domain.credits.postings import Posting, posting_of

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

amounts = st.integers(1, 12)
lots = st.tuples(st.integers(1, 25), st.booleans(), st.none() | st.integers(1, 48))
"""Of how many credits, paid for or not, and how many hours they last."""
releases: st.SearchStrategy[Release] = st.sampled_from(["failed", "cancelled", "timed_out"])


@dataclass(eq=False)
class Coin:
    """One credit."""

    lot: int
    paid: bool
    expires_at: datetime | None
    place: Literal["available", "held", "spent", "expired"] = "available"
    hold: str | None = None

    def goes_before(self, other: "Coin") -> bool:
        if self.expires_at != other.expires_at:
            if self.expires_at is None or other.expires_at is None:
                return other.expires_at is None
            return self.expires_at < other.expires_at
        if self.paid != other.paid:
            return other.paid
        return self.lot < other.lot


class Purse:
    """Every credit that an account ever had."""

    def __init__(self) -> None:
        self.coins: list[Coin] = []

    def lying(self, place: str, hold: str | None = None) -> list[Coin]:
        return [coin for coin in self.coins if coin.place == place and (hold is None or coin.hold == hold)]

    def expire(self, now: datetime) -> Counter[int]:
        late = [coin for coin in self.lying("available") if coin.expires_at is not None and coin.expires_at <= now]
        for coin in late:
            coin.place = "expired"
        return Counter(coin.lot for coin in late)

    def move(
        self, amount: int, of: list[Coin], to: Literal["available", "held", "spent"], hold: str | None = None
    ) -> list[tuple[int, int]]:
        """Move the first credits in line one by one; returns the lots in the order in which they were touched."""
        touched: list[tuple[int, int]] = []
        for _ in range(amount):
            first = of[0]
            for coin in of:
                if coin.goes_before(first):
                    first = coin
            of.remove(first)
            first.place, first.hold = to, hold
            if touched and touched[-1][0] == first.lot:
                touched[-1] = (first.lot, touched[-1][1] + 1)
            else:
                touched.append((first.lot, 1))
        return touched


def pairs(slices: Iterable[Slice]) -> list[tuple[int, int]]:
    return [(part.lot, part.amount) for part in slices]


class CreditAccountMachine(RuleBasedStateMachine):
    holds = Bundle("holds")
    """Holds that are open, and some that have ended."""

    def __init__(self) -> None:
        super().__init__()
        self.account = CREDITS.initial
        self.history: list[CreditEvent] = []
        self.purse = Purse()
        self.now = START
        self.open: set[str] = set()
        self.asked = 0
        self.lots = 0

    def tell(self, command: CreditCommand) -> tuple[CreditEvent, ...]:
        """Give a command; at every single event the account must be one that may exist."""
        events = CREDITS.decide(command, self.account)
        for event in events:
            self.account = CREDITS.evolve(self.account, event)
            self.history.append(event)
            assert self.account.available >= 0
            assert self.account.held >= 0
            assert all(lot.amount > 0 for lot in self.account.lots)
            assert sum(astuple(posting_of(event))) == 0
        return events

    def touch(self, command: CreditCommand) -> CreditEvent:
        """Give a command that lets go of what is past its date before it does anything; returns the last event."""
        *expired, last = self.tell(command)
        self.check_expired(expired)
        return last

    def check_expired(self, events: Iterable[CreditEvent]) -> None:
        gone: Counter[int] = Counter()
        for event in events:
            assert isinstance(event, CreditsExpired)
            assert event.lot not in gone, "a lot expires once at a time"
            gone[event.lot] = event.amount
        assert gone == self.purse.expire(self.now)

    def spendable(self) -> int:
        """What a command finds available now, without what is past its date."""
        dates = (coin.expires_at for coin in self.purse.lying("available"))
        return sum(date is None or date > self.now for date in dates)

    # -- what callers do

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @initialize(first=st.lists(lots, min_size=1, max_size=5))
    def begin(self, first: list[tuple[int, bool, int | None]]) -> None:
        for lot in first:
            self.grant(lot)

    @rule(lot=lots)
    def grant(self, lot: tuple[int, bool, int | None]) -> None:
        amount, paid, lasts = lot
        expires_at = None if lasts is None else self.now + lasts * HOUR
        self.lots += 1
        (event,) = self.tell(
            GrantCredits(
                transaction_id="grant",
                amount=amount,
                source="recharge" if paid else "signup_bonus",
                description="",
                paid_fen=amount if paid else 0,
                expires_at=expires_at,
            )
        )
        assert isinstance(event, CreditsGranted)
        assert (event.lot, event.amount, event.paid) == (self.lots, amount, paid)
        self.purse.coins += [Coin(self.lots, paid, expires_at) for _ in range(amount)]

    @rule(amount=amounts)
    def consume(self, amount: int) -> None:
        command = ConsumeCredits(transaction_id="spend", amount=amount, description="", now=self.now)
        if amount > (spendable := self.spendable()):
            with pytest.raises(InsufficientCredits) as refused:
                self.tell(command)
            assert (refused.value.required, refused.value.available) == (amount, spendable)
            return
        event = self.touch(command)
        assert isinstance(event, CreditsConsumed)
        assert event.amount == amount
        assert pairs(event.taken) == self.purse.move(amount, self.purse.lying("available"), "spent")

    @rule(less=st.integers(-1, 2))
    def consume_nearly_everything(self, less: int) -> None:
        self.consume(max(1, self.spendable() - less))

    @rule(target=holds, amount=amounts)
    def hold(self, amount: int) -> str | MultipleResults[str]:
        self.asked += 1
        hold_id = f"hold-{self.asked}"
        command = HoldCredits(hold_id=hold_id, amount=amount, description="", now=self.now)
        if amount > self.spendable():
            with pytest.raises(InsufficientCredits):
                self.tell(command)
            return multiple()
        event = self.touch(command)
        assert isinstance(event, CreditsHeld)
        assert event.amount == amount
        assert pairs(event.taken) == self.purse.move(amount, self.purse.lying("available"), "held", hold_id)
        self.open.add(hold_id)
        return hold_id

    @rule(hold_id=holds, amount=amounts)
    def hold_again(self, hold_id: str, amount: int) -> None:
        if hold_id in self.open:
            with pytest.raises(HoldExists):
                self.tell(HoldCredits(hold_id=hold_id, amount=amount, description="", now=self.now))

    @rule(hold_id=consumes(holds), less=st.integers(0, 5))
    def capture_most(self, hold_id: str, less: int) -> None:
        self.capture(hold_id, max(1, len(self.purse.lying("held", hold_id)) - less))

    @rule(hold_id=holds, amount=amounts)
    def capture(self, hold_id: str, amount: int) -> None:
        command = CaptureHold(hold_id=hold_id, transaction_id="capture", amount=amount, description="")
        coins = self.purse.lying("held", hold_id)
        if not coins or amount > len(coins):
            with pytest.raises(CaptureExceedsHold if coins else HoldNotOpen):
                self.tell(command)
            return
        (event,) = self.tell(command)
        assert isinstance(event, HoldCaptured)
        assert event.amount == amount
        assert pairs(event.taken) == self.purse.move(amount, coins, "spent", hold_id)
        assert pairs(event.returned) == self.purse.move(len(coins), coins, "available")
        self.open.remove(hold_id)

    @rule(hold_id=holds, reason=releases)
    def release(self, hold_id: str, reason: Release) -> None:
        command = ReleaseHold(hold_id=hold_id, reason=reason)
        coins = self.purse.lying("held", hold_id)
        if not coins:
            with pytest.raises(HoldNotOpen):
                self.tell(command)
            return
        (event,) = self.tell(command)
        assert isinstance(event, HoldReleased)
        assert (event.amount, event.reason) == (len(coins), reason)
        assert pairs(event.returned) == self.purse.move(len(coins), coins, "available")
        self.open.remove(hold_id)

    @rule()
    def expire(self) -> None:
        self.check_expired(self.tell(ExpireCredits(now=self.now)))
        assert self.tell(ExpireCredits(now=self.now)) == ()

    # -- what always holds

    @invariant()
    def the_account_is_what_the_model_says(self) -> None:
        available = self.purse.lying("available")
        assert self.account.available == len(available)
        assert [(lot.number, lot.amount, lot.paid, lot.expires_at) for lot in self.account.lots] == lots_of(available)
        assert self.account.held == len(self.purse.lying("held"))
        assert set(self.account.holds) == self.open
        for hold_id, lots in self.account.holds.items():
            expected = lots_of(self.purse.lying("held", hold_id))
            assert [(lot.number, lot.amount, lot.paid, lot.expires_at) for lot in lots] == expected
        assert self.account.lots_granted == self.lots

    @invariant()
    def postings_add_up_to_the_account(self) -> None:
        totals = Posting(*(sum(column) for column in zip(*map(astuple, map(posting_of, self.history)), strict=True)))
        assert (totals.available, totals.held) == (self.account.available, self.account.held)
        assert (-totals.issued, totals.spent, totals.expired) == (
            len(self.purse.coins),
            len(self.purse.lying("spent")),
            len(self.purse.lying("expired")),
        )

    @invariant()
    def every_hold_ends_exactly_once(self) -> None:
        begun = Counter(event.hold_id for event in self.history if isinstance(event, CreditsHeld))
        ended = Counter(event.hold_id for event in self.history if isinstance(event, HoldCaptured | HoldReleased))
        assert set(begun.values()) <= {1}
        assert begun - ended == Counter(self.open)
        assert ended <= begun

    @invariant()
    def a_snapshot_is_as_good_as_the_history(self) -> None:
        kept = msgspec.json.decode(msgspec.json.encode(self.account), type=CreditAccount)
        assert kept == self.account

    def teardown(self) -> None:
        """Replaying the history, as it was stored, leads to the same account."""
        stored = msgspec.json.decode(msgspec.json.encode(self.history), type=list[CreditEvent])
        assert CREDITS.fold(CREDITS.initial, stored) == self.account


def lots_of(coins: list[Coin]) -> list[tuple[int, int, bool, datetime | None]]:
    """The lots that credits make up, in the order in which they will be spent."""
    sizes = Counter(coin.lot for coin in coins)
    firsts = list({coin.lot: coin for coin in coins}.values())
    line = []
    while firsts:
        first = next(coin for coin in firsts if not any(other.goes_before(coin) for other in firsts))
        firsts.remove(first)
        line.append((first.lot, sizes[first.lot], first.paid, first.expires_at))
    return line


CreditAccountMachine.TestCase.settings = settings(max_examples=250, stateful_step_count=50, deadline=None)
TestCreditAccount = CreditAccountMachine.TestCase

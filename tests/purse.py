"""A credit account kept by counting coins: what the decider and the journal are compared with.

It knows nothing of lots as sums: every single credit is an object that lies in one place and knows what was paid for
it as an exact fraction of a fen. To spend is to sort what is there and to pop the first.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import groupby
from math import floor, inf
from typing import Any, Final, NamedTuple, TypeAlias, assert_never

from mintage.domain.credits.decider import (
    AlreadyReversed,
    CaptureExceedsHold,
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    HoldExists,
    HoldNotOpen,
    InsufficientCredits,
    ReleaseHold,
    RemoveCredits,
    ReverseSpending,
)
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    SpendingReversed,
)
from mintage.domain.decider import Refusal

Part: TypeAlias = tuple[int, int, int]
"""A lot, how many of its credits, and how many fen went with them."""
Place: TypeAlias = tuple[str, str]
"""What is done with a credit, and by which hold, transaction or order."""
AVAILABLE: Final[Place] = ("available", "")
EXPIRED: Final[Place] = ("expired", "")
DEBT: Final[Place] = ("debt", "")


class Step(NamedTuple):
    """What an event comes to: which credits moved, and what else it says in numbers."""

    what: type[CreditEvent]
    parts: tuple[Part, ...]
    back: tuple[Part, ...] = ()
    owed: int = 0


@dataclass(frozen=True)
class Grant:
    number: int
    amount: int
    price: Fraction
    """Of each of its credits, in fen."""
    expires_at: datetime | None
    priority: int
    reference: str | None

    @property
    def lasts_until(self) -> float:
        return inf if self.expires_at is None else self.expires_at.timestamp()


@dataclass(eq=False)
class Coin:
    """One credit."""

    lot: Grant
    place: Place = AVAILABLE


def in_line(coins: Iterable[Coin]) -> list[Coin]:
    """The credits in the order in which they are to be spent: sorted by what matters least first."""
    line = sorted(coins, key=lambda coin: coin.lot.number)
    line.sort(key=lambda coin: coin.lot.price != 0)
    line.sort(key=lambda coin: coin.lot.lasts_until)
    line.sort(key=lambda coin: coin.lot.priority)
    return line


class Purse:
    """Every credit that an account ever had."""

    def __init__(self) -> None:
        self.coins: list[Coin] = []
        self.money: Counter[tuple[int, Place]] = Counter()
        """The fen that lie with the credits of a lot at a place."""
        self.astray: Counter[int] = Counter()
        """How often credits of a lot came back, or may come back, beside others that were shared out meanwhile."""
        self.last: dict[int, Place] = {}
        """Where the credits of a lot went that were the last to move."""
        self.grants: dict[int, Grant] = {}
        self.owed = 0
        self.reversed: set[str] = set()
        self.clawed_back = 0
        self.refunded_fen = 0

    # -- what lies where

    def at(self, place: Place) -> list[Coin]:
        return in_line(coin for coin in self.coins if coin.place == place)

    def all_at(self, what: str) -> list[Coin]:
        return [coin for coin in self.coins if coin.place[0] == what]

    def fen_at(self, *what: str) -> int:
        return sum(fen for (_, place), fen in self.money.items() if place[0] in what)

    def parts_at(self, place: Place) -> tuple[Part, ...]:
        """The lots that lie there, in the order in which they will be spent."""
        line = groupby(self.at(place), key=lambda coin: coin.lot.number)
        return tuple((number, len(list(some)), self.money[number, place]) for number, some in line)

    @property
    def holds(self) -> set[str]:
        return {coin.place[1] for coin in self.all_at("held")}

    def spendable(self, now: datetime) -> int:
        return sum(not overdue(coin, now) for coin in self.at(AVAILABLE))

    # -- what is asked

    def refusal(self, command: CreditCommand) -> Refusal | None:
        """What the decider has to refuse with."""
        match command:
            case ConsumeCredits(amount=amount, now=now) | RemoveCredits(amount=amount, now=now):
                return self._short_of(amount, now)
            case HoldCredits(hold_id=hold_id, amount=amount, now=now):
                return HoldExists(hold_id) if hold_id in self.holds else self._short_of(amount, now)
            case CaptureHold(hold_id=hold_id, amount=amount) if amount > (held := len(self.at(("held", hold_id)))) > 0:
                return CaptureExceedsHold(amount=amount, held=held)
            case CaptureHold(hold_id=hold_id) | ReleaseHold(hold_id=hold_id):
                return None if hold_id in self.holds else HoldNotOpen(hold_id)
            case ReverseSpending(spent=spent) if spent.transaction_id in self.reversed:
                return AlreadyReversed()
        return None

    def tell(self, command: CreditCommand) -> list[Step]:
        """What has to happen, step by step, if it is not refused."""
        match command:
            case GrantCredits():
                return self._grant(command)
            case ConsumeCredits(amount=amount, now=now):
                return self._spend(CreditsConsumed, amount, now, ("spent", command.transaction_id))
            case RemoveCredits(amount=amount, now=now):
                return self._spend(CreditsRemoved, amount, now, ("removed", command.transaction_id))
            case HoldCredits(hold_id=hold_id, amount=amount, now=now):
                steps = self._spend(CreditsHeld, amount, now, ("held", hold_id))
                self.astray.update(number for number, _, _ in steps[-1].parts)
                return steps
            case CaptureHold():
                return self._capture(command)
            case ReleaseHold(hold_id=hold_id, now=now):
                self._end(("held", hold_id))
                back = self._move(self.at(("held", hold_id)), AVAILABLE)
                return [Step(HoldReleased, (), back), *self._settle(now)]
            case ExpireCredits(now=now):
                return self._expire(now)
            case ReverseSpending():
                return self._reverse(command)
            case ClawBack():
                return self._claw_back(command)
            case _:
                assert_never(command)

    def _grant(self, command: GrantCredits) -> list[Step]:
        price = Fraction(command.paid_fen, command.amount)
        number = len(self.grants) + 1
        grant = Grant(number, command.amount, price, command.expires_at, command.priority, command.reference)
        self.grants[number] = grant
        self.coins += [Coin(grant) for _ in range(command.amount)]
        self.money[number, AVAILABLE] = command.paid_fen
        came = Step(CreditsGranted, ((number, command.amount, command.paid_fen),))
        return [came, *self._settle(command.now)]

    def _capture(self, command: CaptureHold) -> list[Step]:
        held = self.at(("held", command.hold_id))
        self._end(("held", command.hold_id))
        spent = self._move(held[: command.amount], ("spent", command.transaction_id))
        back = self._move(held[command.amount :], AVAILABLE)
        return [Step(HoldCaptured, spent, back), *(self._settle(command.now) if back else ())]

    def _reverse(self, command: ReverseSpending) -> list[Step]:
        self.reversed.add(command.spent.transaction_id)
        back = self._move(self.at(("spent", command.spent.transaction_id)), AVAILABLE)
        self.astray.update(number for number, _, _ in back)
        return [Step(SpendingReversed, (), back), *self._settle(command.now)]

    def _claw_back(self, command: ClawBack) -> list[Step]:
        expired = self._expire(command.now)
        line = self.at(AVAILABLE)
        own = [coin for coin in line if coin.lot.reference == command.recharge_id]
        line = own + [coin for coin in line if coin not in own]
        taken = self._move(line[: command.amount], ("clawed back", command.transaction_id))
        missing = max(0, command.amount - len(line))
        self.owed += missing
        self.clawed_back += command.amount
        self.refunded_fen += command.refunded_fen
        return [*expired, Step(CreditsClawedBack, taken, owed=missing)]

    # -- what happens then

    def _short_of(self, amount: int, now: datetime) -> Refusal | None:
        there = self.spendable(now)
        return InsufficientCredits(required=amount, available=there) if amount > there else None

    def _spend(self, what: type[CreditEvent], amount: int, now: datetime, to: Place) -> list[Step]:
        expired = self._expire(now)
        line = self.at(AVAILABLE)
        return [*expired, Step(what, self._move([line.pop(0) for _ in range(amount)], to))]

    def _settle(self, now: datetime) -> list[Step]:
        """Something came in: what is late goes, what is owed is paid."""
        steps = self._expire(now)
        if paying := self.at(AVAILABLE)[: self.owed]:
            self.owed -= len(paying)
            steps.append(Step(DebtPaid, self._move(paying, DEBT)))
        return steps

    def _expire(self, now: datetime) -> list[Step]:
        late = groupby([coin for coin in self.at(AVAILABLE) if overdue(coin, now)], key=lambda coin: coin.lot.number)
        return [Step(CreditsExpired, self._move(list(coins), EXPIRED)) for _, coins in late]

    def _end(self, hold: Place) -> None:
        """Of a lot that lies as it did when the hold was taken, the rest comes back as if it had never been away."""
        self.astray.subtract(number for number, _, _ in self.parts_at(hold) if self.last[number] == hold)

    def _move(self, coins: list[Coin], to: Place) -> tuple[Part, ...]:
        """Put these credits, which lie at one place, in another, with their money.

        If a lot is parted, what is not moved is worth whole fen together with what is available of it, where it lies
        or will lie, and keeps them as far as they are there: none goes the other way.
        """
        parts = []
        for number, some in groupby(coins, key=lambda coin: coin.lot.number):
            group = list(some)
            place = group[0].place
            for coin in group:
                coin.place = to
            self.last[number] = to
            fen = there = self.money[number, place]
            if any(coin.place == place and coin.lot.number == number for coin in self.coins):
                home = {place, AVAILABLE}
                worth = sum(coin.lot.price for coin in self.coins if coin.place in home and coin.lot.number == number)
                keep = floor(worth) - sum(self.money[number, other] for other in home - {place})
                fen -= min(max(keep, 0), there)
            self.money[number, place] -= fen
            self.money[number, to] += fen
            parts.append((number, len(group), fen))
        return tuple(parts)


def overdue(coin: Coin, now: datetime) -> bool:
    return coin.lot.expires_at is not None and coin.lot.expires_at <= now


def step_of(event: CreditEvent) -> Step:
    """What the decider says happened, in the model's words; fails if its numbers are not those of its parts."""
    match event:
        case CreditsGranted():
            parts: tuple[Part, ...] = ((event.lot, event.amount, event.paid_fen),)
            return Step(type(event), parts)
        case CreditsExpired():
            return Step(type(event), ((event.lot, event.amount, event.fen),))
        case HoldCaptured():
            step = Step(type(event), _parts(event.taken), _parts(event.returned))
        case HoldReleased():
            step = Step(type(event), (), _parts(event.returned))
            assert event.amount == sum(amount for _, amount, _ in step.back)
            return step
        case SpendingReversed():
            step = Step(type(event), (), tuple((lot.number, lot.amount, lot.fen) for lot in event.returned))
            assert event.amount == sum(amount for _, amount, _ in step.back)
            return step
        case CreditsClawedBack():
            step = Step(type(event), _parts(event.taken), owed=event.owed)
        case _:
            step = Step(type(event), _parts(event.taken))
    assert event.amount == sum(amount for _, amount, _ in step.parts) + step.owed
    return step


def _parts(taken: Iterable[Any]) -> tuple[Part, ...]:
    return tuple((part.lot, part.amount, part.fen) for part in taken)


def same(refusal: object, other: object) -> bool:
    """Whether two refusals say the same."""
    return type(refusal) is type(other) and vars(refusal) == vars(other)

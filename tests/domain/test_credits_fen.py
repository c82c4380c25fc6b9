"""The fen of a lot are neither lost nor made, and go with its credits as near as whole fen can, however it is cut."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Final

import pytest

from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import CREDITS, CreditCommand, ReverseSpending
from mintage.domain.credits.events import CreditsConsumed, HoldCaptured, Slice, Terms
from tests.domain.test_credits_machine import START, CreditAccountMachine, parts_of
from tests.domain.test_credits_seldom import after, capture, consume, grant, hold, last_of, release
from tests.purse import AVAILABLE, Coin, Grant, Purse, step_of

HOLDS: Final = (1, 2, 3)


def ways_on(account: CreditAccount) -> Iterator[CreditCommand]:
    """What can be done with an account of one lot, by consuming and by up to three holds."""
    there = range(1, account.available + 1)
    yield from map(consume, there)
    free = [number for number in HOLDS if f"held {number}" not in account.holds]
    yield from (hold(amount, free[0]) for amount in there if free)
    for number in set(HOLDS) - set(free):
        (held,) = account.holds[f"held {number}"].lots
        yield release(number)
        yield from (capture(amount, number) for amount in range(1, held.amount + 1))


def purse_of(account: CreditAccount, amount: int, fen: int) -> Purse:
    """The model of an account that has one lot, of so many credits for so many fen."""
    purse = Purse()
    purse.grants[1] = lot = Grant(1, amount, Fraction(fen, amount), None, 50, None)
    purse.last[1] = AVAILABLE
    places = {AVAILABLE: account.lots} | {("held", hold_id): hold.lots for hold_id, hold in account.holds.items()}
    for place, parts in places.items():
        purse.coins += [Coin(lot, place) for part in parts for _ in range(part.amount)]
        purse.money[1, place] = sum(part.fen for part in parts)
    return purse


@pytest.mark.parametrize(("amount", "fen"), [(4, 2), (5, 2), (6, 3), (6, 4), (5, 7)])
def test_whatever_can_become_of_a_small_lot_is_what_the_model_says(amount: int, fen: int) -> None:
    """Not by chance: every state that can be reached, and every way on from it."""
    todo, seen = [after(grant(amount, fen)).account], set()
    while todo:
        account = todo.pop()
        state = account.lots, tuple(sorted(parts_of(hold.lots) for hold in account.holds.values()))
        if state in seen:
            continue
        seen.add(state)
        for command in ways_on(account):
            purse = purse_of(account, amount, fen)
            before = purse.fen_at("available", "held")
            (event,) = CREDITS.decide(command, account)
            assert [step_of(event)] == purse.tell(command)
            assert purse.fen_at("available", "held", "spent") == before
            todo.append(CREDITS.evolve(account, event))
            assert parts_of(todo[-1].lots) == purse.parts_at(AVAILABLE)
    assert ((), ()) in seen, "all of it can be spent"


def spent_by(machine: CreditAccountMachine) -> list[tuple[int, int]]:
    """How many credits, for how many fen, of each lot each time."""
    events = [event for event in machine.history if isinstance(event, CreditsConsumed | HoldCaptured)]
    return [(part.amount, part.fen) for event in events for part in event.taken]


def test_what_is_captured_has_its_share_of_what_there_is_not_of_what_was_held() -> None:
    machine = after(grant(5, 2), hold(3), capture(1), consume(1))
    assert spent_by(machine) == [(1, 1), (1, 0)]
    machine = after(grant(1, 1), grant(5, 2), hold(4), capture(2))
    assert spent_by(machine) == [(1, 1), (1, 1)], "of the second lot as of the first"


ROUNDS: Final = range(100)


@pytest.mark.parametrize(
    "tasks",
    [
        [command for number in ROUNDS for command in (hold(2, number), capture(1, number))],
        [*(hold(2, number) for number in ROUNDS), *(capture(1, number) for number in ROUNDS)],
    ],
    ids=["one after the other", "all at once"],
)
def test_a_hundred_tasks_that_half_succeed_cost_what_they_are_worth(tasks: list[CreditCommand]) -> None:
    assert spent_by(after(grant(1_000, 999), *tasks)) == [(1, 1)] * 100


@pytest.mark.parametrize("captured", range(1, 8))
def test_a_hold_during_which_nothing_else_happens_costs_what_consuming_would(captured: int) -> None:
    for fen in range(30):
        meanwhile: list[CreditCommand] = [hold(3, 0), consume(1, 2), release(0)]
        before = [grant(13, fen), consume(2), *(meanwhile if fen % 2 else ())]
        held, consumed = after(*before, hold(7), capture(captured)), after(*before, consume(captured, 3))
        assert spent_by(held) == spent_by(consumed)
        assert held.account.lots == consumed.account.lots
        assert after(*before, hold(7), release()).account.lots == after(*before).account.lots


def test_what_a_hold_took_whole_has_all_its_money_whatever_became_of_the_rest() -> None:
    (captured,) = last_of(grant(4, 2), consume(1), hold(1, 1), hold(1, 2), release(1), capture(1, 2))
    assert isinstance(captured, HoldCaptured)
    assert captured.taken == (Slice(1, 1, 1),)


class TestTheBoundIsReached:
    """A credit costs a tenth of a fen, so each time 0.9 fen may go astray; what is spent later makes up for it."""

    def gone_too_early(self, machine: CreditAccountMachine) -> Fraction:
        return sum(fen - amount * Fraction(1, 10) for amount, fen in spent_by(machine)) + Fraction()

    def test_too_early_beside_holds_that_come_back(self) -> None:
        rounds: list[tuple[CreditCommand, ...]] = [
            (hold(9 * number, number), consume(1, number), release(number)) for number in range(1, 10)
        ]
        commands: list[CreditCommand] = [grant(100, 10), consume(1, 0), *chain(*rounds)]
        machine = after(*commands)
        assert spent_by(machine) == [(1, 1)] * 10
        assert self.gone_too_early(machine) == (1 + 9) * Fraction(9, 10)
        assert spent_by(after(*commands, consume(40, 10), consume(50, 11)))[-2:] == [(40, 0), (50, 0)]

    def test_too_late_beside_holds_that_are_open(self) -> None:
        rounds: list[tuple[CreditCommand, ...]] = [
            (hold(1, number), hold(9, -number), capture(9, -number)) for number in range(1, 11)
        ]
        commands: list[CreditCommand] = [grant(100, 10), *chain(*rounds)]
        machine = after(*commands)
        assert spent_by(machine) == [(9, 0)] * 10
        assert self.gone_too_early(machine) == -10 * Fraction(9, 10)
        back = [release(number) for number in range(1, 11)]
        assert spent_by(after(*commands, *back, consume(1)))[-1] == (1, 10)

    def test_too_early_beside_what_is_reversed(self) -> None:
        rounds: list[tuple[CreditCommand, ...]] = [(consume(9, number), consume(1, -number)) for number in range(1, 6)]
        machine = after(grant(100, 10), consume(1, 0), *chain(*rounds))
        dear = self.gone_too_early(machine)
        cheap = [event for event in machine.history if isinstance(event, CreditsConsumed) and event.amount == 9]
        for event in cheap:
            machine.tell(ReverseSpending("", event, {1: Terms(100, 10)}, "", START))
            machine.no_part_is_far_from_its_fair_price()
            dear += 9 * Fraction(1, 10)
        assert dear == (1 + 5) * Fraction(9, 10)

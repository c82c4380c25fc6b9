"""A statement that is broken in a known way: the differences named are exactly what was done to it."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mintage.application.reconciliation import (
    Booked,
    Difference,
    Movement,
    Period,
    Reconciled,
    Stated,
    reconcile,
)

NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALWAYS: Final = Period()
HOUR: Final = timedelta(hours=1)


def booking(reference: str, amount_fen: int = 1000, *, movement: Movement = "payment", at: datetime = NOON) -> Booked:
    return Booked(movement, reference, amount_fen, f"order of {reference}", at)


def line_of(entry: Booked, number: int = 1, *, at: datetime | None = None) -> Stated:
    return Stated(entry.movement, entry.reference, entry.amount_fen, "CNY", at or entry.at, "bill.csv", number)


class Books:
    """What was recorded, given out as the database does; remembers what it was asked for."""

    def __init__(self, entries: Iterable[Booked], period: Period = ALWAYS) -> None:
        self._entries = list(entries)
        self._period = period

    def __call__(self, references: Collection[str]) -> Iterable[Booked]:
        return (entry for entry in self._entries if entry.at in self._period or entry.reference in references)


def differences(
    statement: Sequence[Stated], entries: Sequence[Booked], period: Period = ALWAYS
) -> list[tuple[str, Movement, str]]:
    found = reconcile(statement, Books(entries, period), period)
    return [(difference.kind, difference.movement, difference.reference) for difference in found.differences]


@st.composite
def days(draw: st.DrawFn) -> list[Booked]:
    """Payments and refunds with references of their own; a refund may have the reference of a payment."""
    keys = st.tuples(st.sampled_from(["payment", "refund"]), st.text("0123456789ab", min_size=1, max_size=4))
    found: list[tuple[Movement, str]] = draw(st.lists(keys, min_size=1, max_size=30, unique=True))  # type: ignore[arg-type]
    return [
        Booked(movement, reference, draw(st.integers(1, 10**9)), f"order {turn}", NOON + turn * HOUR)
        for turn, (movement, reference) in enumerate(found)
    ]


class TestWhatIsDoneToAStatementIsWhatIsFound:
    @given(days(), st.randoms(use_true_random=False))
    def test_nothing(self, day: list[Booked], random: object) -> None:
        lines = [line_of(entry, turn) for turn, entry in enumerate(day)]
        random.shuffle(lines)  # type: ignore[attr-defined]
        found = reconcile(lines, Books(day), ALWAYS)
        sums = {"payment": 0, "refund": 0}
        for entry in day:
            sums[entry.movement] += entry.amount_fen
        assert found.differences == []
        assert found.stated == found.booked
        assert (found.booked.entries, found.booked.fen) == (len(day), sums["payment"] - sums["refund"])

    @given(days(), st.data())
    def test_several_things_at_once(self, day: list[Booked], data: st.DataObject) -> None:
        """Every entry is left alone or broken in one way; the differences are those, each with both its sides."""
        ways = ["left alone", "not_recorded", "not_at_gateway", "amount_differs", "currency_differs"]
        ways += ["stated_twice", "recorded_twice"]
        statement: list[Stated] = []
        books: list[Booked] = []
        expected: set[tuple[str, Movement, str]] = set()
        for number, entry in enumerate(day):
            line, way = line_of(entry, number), data.draw(st.sampled_from(ways))
            match way:
                case "not_at_gateway":
                    books.append(entry)
                case "not_recorded":
                    statement.append(line)
                case "amount_differs":
                    other = entry.amount_fen + data.draw(st.integers(1, 10**9))
                    statement.append(replace(line, amount_fen=other))
                    books.append(entry)
                case "currency_differs":
                    statement.append(replace(line, currency="USD"))
                    books.append(entry)
                case "stated_twice":
                    statement += [line, replace(line, line=number + 1000)]
                    books.append(entry)
                case "recorded_twice":
                    statement.append(line)
                    books += [entry, replace(entry, recharge_id="another")]
                case _:
                    statement.append(line)
                    books.append(entry)
            if way != "left alone":
                expected.add((way, entry.movement, entry.reference))
        found = reconcile(data.draw(st.permutations(statement)), Books(data.draw(st.permutations(books))), ALWAYS)
        assert len(found.differences) == len(expected)
        assert {(one.kind, one.movement, one.reference) for one in found.differences} == expected
        for one in found.differences:
            assert (one.stated is None) == (one.kind == "not_at_gateway")
            assert (one.booked is None) == (one.kind in {"not_recorded", "stated_twice"})

    @given(days(), st.data())
    def test_clocks_that_disagree_make_no_difference_where_the_statement_reaches_further(
        self, day: list[Booked], data: st.DataObject
    ) -> None:
        """The gateway's clock is up to an hour off; it states everything, the period is a part of it."""
        since = NOON + data.draw(st.integers(0, 30)) * HOUR
        period = Period(since, since + data.draw(st.integers(1, 10)) * HOUR)
        off = st.integers(-3600, 3600).map(lambda seconds: timedelta(seconds=seconds))
        lines = [line_of(entry, at=entry.at + data.draw(off)) for entry in day]
        assert differences(lines, day, period) == []
        (broken, *rest) = data.draw(st.permutations(day))
        others = [line for line in lines if (line.movement, line.reference) != (broken.movement, broken.reference)]
        missing = ("not_at_gateway", broken.movement, broken.reference)
        assert differences(others, day, period) == ([missing] if broken.at in period else [])
        (line,) = [line for line in lines if line not in others]
        unknown = ("not_recorded", broken.movement, broken.reference)
        assert differences(lines, rest, period) == ([unknown] if line.at in period else [])


class TestEdges:
    def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(self) -> None:
        period = Period(NOON, NOON + HOUR)
        assert [NOON + turn * HOUR / 2 in period for turn in range(-1, 4)] == [False, True, True, False, False]
        assert differences([], [booking("a"), booking("b", at=NOON + HOUR)], period) == [
            ("not_at_gateway", "payment", "a")
        ]

    def test_an_amount_that_differs_is_found_from_either_side_of_the_edge(self) -> None:
        period = Period(NOON, NOON + HOUR)
        late = booking("late", at=NOON + 2 * HOUR)
        line = replace(line_of(late, at=NOON), amount_fen=1)
        assert differences([line], [late], period) == [("amount_differs", "payment", "late")]
        assert differences([replace(line, at=late.at)], [late], period) == []
        assert differences([replace(line, at=late.at)], [replace(late, at=NOON)], period) == [
            ("amount_differs", "payment", "late")
        ]

    def test_a_payment_is_no_refund(self) -> None:
        entry = booking("same")
        assert differences([line_of(replace(entry, movement="refund"))], [entry]) == [
            ("not_at_gateway", "payment", "same"),
            ("not_recorded", "refund", "same"),
        ]

    def test_every_repetition_is_named_and_the_first_line_counts(self) -> None:
        entry = booking("a")
        lines = [line_of(entry, 2), replace(line_of(entry, 3), amount_fen=7), line_of(entry, 4)]
        found = reconcile(lines, Books([entry]), ALWAYS).differences
        assert [(one.kind, one.stated and one.stated.line) for one in found] == [
            ("stated_twice", 3),
            ("stated_twice", 4),
        ]

    def test_repetitions_beyond_the_period_are_the_next_periods(self) -> None:
        entry = booking("a")
        assert differences([line_of(entry), line_of(entry)], [entry], Period(NOON + HOUR, None)) == []

    def test_money_of_another_currency_is_in_no_sum(self) -> None:
        entry = booking("a")
        found = reconcile([replace(line_of(entry), currency="USD", amount_fen=5)], Books([entry]), ALWAYS)
        assert (found.stated.entries, found.stated.fen, found.booked.fen) == (0, 0, 1000)
        assert [one.kind for one in found.differences] == ["currency_differs"]

    @pytest.mark.parametrize("movement", ["payment", "refund"])
    def test_who_paid_is_found_by_the_order(self, movement: Movement) -> None:
        entry = booking("a", movement=movement)
        found: Reconciled = reconcile([], Books([entry]), ALWAYS)
        assert found.differences == [Difference("not_at_gateway", movement, "a", None, entry)]

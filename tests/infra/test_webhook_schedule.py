"""A message is tried ten times within a day, further and further apart, and as the receiver says within that day."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mintage.infra.webhooks.schedule import DAY, DELAYS_S, next_try

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def later(tries: int, *, after: timedelta = timedelta(0), retry_after: str | None = None, jitter: float = 0) -> float:
    """How many seconds after ``after`` the next try is due."""
    now = BEGUN + after
    due = next_try(begun_at=BEGUN, tries=tries, now=now, retry_after=retry_after, jitter=jitter)
    assert due is not None
    return (due - now).total_seconds()


def test_the_pauses_are_as_published() -> None:
    hour = 3_600
    assert [later(tries) for tries in range(1, 10)] == [
        *(5, 30, 120, 600),
        *(hour, 2 * hour, 4 * hour, 6 * hour, 8 * hour),
    ]


@pytest.mark.parametrize("jitter", [0, 0.5, 1])
def test_all_ten_tries_are_within_the_day_however_the_pauses_fall(jitter: float) -> None:
    now, times = BEGUN, 1
    while (due := next_try(begun_at=BEGUN, tries=times, now=now, retry_after=None, jitter=jitter)) is not None:
        assert due > now
        now, times = due, times + 1
    assert times == len(DELAYS_S) + 1 == 10
    assert timedelta(hours=21) < now - BEGUN < DAY


def test_a_pause_is_longer_by_a_tenth_at_most() -> None:
    assert (later(4, jitter=0), later(4, jitter=1)) == (600, 660)


def test_when_the_day_is_over_it_is_given_up() -> None:
    late = BEGUN + DAY - timedelta(seconds=4)
    assert next_try(begun_at=BEGUN, tries=1, now=late, retry_after=None, jitter=0) is None
    assert next_try(begun_at=BEGUN, tries=1, now=late, retry_after="1", jitter=0) is None


def test_who_says_later_is_asked_later_and_never_sooner() -> None:
    assert later(1, retry_after="90") == 90
    assert later(4, retry_after="90") == 600
    assert later(1, retry_after=format_datetime(BEGUN + timedelta(hours=1), usegmt=True)) == 3_600
    assert later(1, retry_after=format_datetime(BEGUN - timedelta(hours=1), usegmt=True)) == 5


@pytest.mark.parametrize("says", ["86401", "999999999", "9" * 400])
def test_who_says_after_the_day_is_asked_at_its_end(says: str) -> None:
    assert later(1, after=timedelta(hours=1), retry_after=says) == 23 * 3_600


@pytest.mark.parametrize("says", ["", "soon", "-5", "1.5", "٣", "Fri, 99 Foo 2026 00:00:00 GMT"])
def test_what_is_not_understood_is_as_if_it_were_not_said(says: str) -> None:
    assert later(1, retry_after=says) == 5

"""When a message is tried again: ten tries within a day, further and further apart, or when the receiver says."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DELAYS_S: Final = (
    *(5.0, 30.0, 2 * MINUTE_S, 10 * MINUTE_S),
    *(1 * HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S, 8 * HOUR_S),
)
"""The pauses between the tries; together a little over 21 hours."""
JITTER: Final = 0.1
"""By so much of itself a pause may be longer, so that what failed together does not come back together."""
DAY: Final = timedelta(days=1)


def next_try(
    *, begun_at: datetime, tries: int, now: datetime, retry_after: str | None, jitter: float
) -> datetime | None:
    """When to try again after so many tries since ``begun_at``; None if it is time to give up.

    ``retry_after`` is the header of that name, and may put the next try off until the day is over, not further.
    ``jitter`` is from 0 to 1.
    """
    if tries > len(DELAYS_S):
        return None
    due, end = now + timedelta(seconds=DELAYS_S[tries - 1] * (1 + JITTER * jitter)), begun_at + DAY
    if due > end:
        return None
    wanted = _moment(retry_after, now)
    return due if wanted is None else min(max(due, wanted), end)


def _moment(retry_after: str | None, now: datetime) -> datetime | None:
    """What ``Retry-After`` says: seconds, or a date; None if nothing that can be understood."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        # Whoever asks for centuries is asked at the end of the day.
        return now + timedelta(seconds=min(int(text[:9]), 9 * 10**8))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)

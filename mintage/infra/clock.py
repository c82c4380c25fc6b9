"""The time as the log has it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)

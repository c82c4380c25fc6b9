"""Moments as both documents write them: RFC 3339, UTC, whole seconds, Z."""

from datetime import UTC, datetime


def whole(at: datetime) -> datetime:
    """Encodes as ``2024-01-01T00:00:00Z``: the fraction is cut off, never rounded up into the future."""
    return at.astimezone(UTC).replace(microsecond=0)


def whole_or_none(at: datetime | None) -> datetime | None:
    return None if at is None else whole(at)

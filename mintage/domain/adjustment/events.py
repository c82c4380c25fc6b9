"""What can happen to an adjustment.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. ``reason`` is finance's own and lies in the log in clear: no names in it.
"""

from datetime import datetime
from typing import TypeAlias

from mintage.domain.decider import Event


class AdjustmentRequested(Event, frozen=True, tag="adjustment.requested"):
    """Somebody of finance wants to add ``amount`` credits to an account or, if it is below zero, to remove them.

    It took effect at once unless it ``needs_approval``, being above the ``limit`` of that time. ``expires_at`` and
    ``priority`` are the terms of what is added.
    """

    user_id: str
    amount: int
    reason: str
    requested_by: str
    priority: int
    limit: int
    needs_approval: bool
    expires_at: datetime | None = None


class AdjustmentApproved(Event, frozen=True, tag="adjustment.approved"):
    """A second person agreed, and with that it took effect."""

    approved_by: str


class AdjustmentRejected(Event, frozen=True, tag="adjustment.rejected"):
    """It never took effect, and never will."""

    rejected_by: str


AdjustmentEvent: TypeAlias = AdjustmentRequested | AdjustmentApproved | AdjustmentRejected

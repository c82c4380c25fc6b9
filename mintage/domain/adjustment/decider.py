"""An adjustment above the limit takes effect only when a second person agrees, and each is decided once.

Nobody has a say in an adjustment of their own account.
"""

from datetime import datetime
from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from mintage.domain.adjustment.events import (
    AdjustmentApproved,
    AdjustmentEvent,
    AdjustmentRejected,
    AdjustmentRequested,
)
from mintage.domain.decider import Command, Decider, Refusal


class RequestAdjustment(Command, frozen=True):
    """``limit`` is the most credits, added or removed, that need no second person."""

    user_id: str
    amount: int
    reason: str
    requested_by: str
    limit: int
    priority: int
    expires_at: datetime | None = None


class ApproveAdjustment(Command, frozen=True):
    approved_by: str


class RejectAdjustment(Command, frozen=True):
    """Also how who asked takes it back."""

    rejected_by: str


AdjustmentCommand: TypeAlias = RequestAdjustment | ApproveAdjustment | RejectAdjustment

Status: TypeAlias = Literal["unknown", "pending", "applied", "rejected"]


class AdjustmentUnknown(Refusal):
    """There is no such adjustment."""


class AdjustmentExists(Refusal):
    """The adjustment's id was used already."""


class AdjustmentDecided(Refusal):
    """The adjustment was decided before and stays as it is."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"the adjustment is {status}")
        self.status = status


class OwnAccount(Refusal):
    """Finance acts on the accounts of others only."""

    def __init__(self, user_id: str) -> None:
        super().__init__(f"{user_id} acts on their own account")
        self.user_id = user_id


class SecondPersonNeeded(Refusal):
    """Who asked for an adjustment cannot approve it."""

    def __init__(self, requested_by: str) -> None:
        super().__init__(f"{requested_by} asked for it")
        self.requested_by = requested_by


class Adjustment(msgspec.Struct, frozen=True):
    status: Status = "unknown"
    user_id: str = ""
    amount: int = 0
    requested_by: str = ""
    priority: int = 0
    expires_at: datetime | None = None


def decide(command: AdjustmentCommand, adjustment: Adjustment) -> tuple[AdjustmentEvent, ...]:
    match command:
        case RequestAdjustment(amount=amount):
            if adjustment.status != "unknown":
                raise AdjustmentExists
            assert amount
            _require_another(command.requested_by, command.user_id)
            return (
                AdjustmentRequested(
                    user_id=command.user_id,
                    amount=amount,
                    reason=command.reason,
                    requested_by=command.requested_by,
                    priority=command.priority,
                    limit=command.limit,
                    needs_approval=abs(amount) > command.limit,
                    expires_at=command.expires_at,
                ),
            )
        case ApproveAdjustment(approved_by=person):
            _require_pending(adjustment)
            _require_another(person, adjustment.user_id)
            if person == adjustment.requested_by:
                raise SecondPersonNeeded(person)
            return (AdjustmentApproved(approved_by=person),)
        case RejectAdjustment(rejected_by=person):
            _require_pending(adjustment)
            _require_another(person, adjustment.user_id)
            return (AdjustmentRejected(rejected_by=person),)
        case _:
            assert_never(command)


def evolve(adjustment: Adjustment, event: AdjustmentEvent) -> Adjustment:
    match event:
        case AdjustmentRequested(needs_approval=needs_approval):
            return Adjustment(
                status="pending" if needs_approval else "applied",
                user_id=event.user_id,
                amount=event.amount,
                requested_by=event.requested_by,
                priority=event.priority,
                expires_at=event.expires_at,
            )
        case AdjustmentApproved():
            return replace(adjustment, status="applied")
        case AdjustmentRejected():
            return replace(adjustment, status="rejected")
        case _:
            assert_never(event)


def _require_pending(adjustment: Adjustment) -> None:
    if adjustment.status == "unknown":
        raise AdjustmentUnknown
    if adjustment.status != "pending":
        raise AdjustmentDecided(adjustment.status)


def _require_another(person: str, user_id: str) -> None:
    if person == user_id:
        raise OwnAccount(user_id)


ADJUSTMENT: Decider[Adjustment, AdjustmentCommand, AdjustmentEvent] = Decider(
    "adjustment", Adjustment(), decide, evolve
)

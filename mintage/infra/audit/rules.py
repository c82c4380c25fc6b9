"""In which state each event may happen, for every aggregate but the credit account, which has rules of its own."""

from collections.abc import Callable
from typing import Any, Final

from mintage.domain.adjustment import events as adjustment
from mintage.domain.character import events as character
from mintage.domain.decider import Event
from mintage.domain.generation import events as generation
from mintage.domain.recharge import events as recharge
from mintage.domain.recorded import Recorded
from mintage.domain.registration import events as registration
from mintage.domain.webhook import events as webhook
from mintage.domain.work import events as work
from mintage.infra.audit.findings import Broken

Rule = Callable[[Any, Any], bool]

_OPEN: Final = {"pending", "processing"}
_OVER: Final = {"completed", "failed", "expired"}


def _is_known(person: Any, event: Any) -> bool:
    return bool(person.user_id) and not person.erased and event.user_id == person.user_id


def _is_tried(task: Any, attempt: int) -> bool:
    return bool(task.status == "processing" and task.is_tried and attempt == task.attempt)


def _has_webhook(hooks: Any, event: Any) -> bool:
    return event.webhook_id in hooks.enabled


def _in(*statuses: str) -> Rule:
    return lambda state, _: state.status in statuses


_unknown: Final = _in("unknown")

RULES: Final[dict[type[Event], Rule]] = {
    generation.GenerationRequested: lambda task, event: task.status == "unknown" and event.price > 0 and event.works,
    generation.GenerationStarted: lambda task, event: (
        task.status in _OPEN and event.attempt == task.attempt + 1 and event.fence > task.fence and not task.is_sent
    ),
    generation.GenerationDispatched: lambda task, event: (
        _is_tried(task, event.attempt) and not task.is_sent and bool(event.job_id)
    ),
    generation.GenerationSubmitted: lambda task, event: (
        _is_tried(task, event.attempt) and task.provider_job is None and bool(event.provider_job)
    ),
    generation.GenerationResumed: lambda task, event: (
        task.status == "processing" and task.is_sent and event.fence > task.fence
    ),
    generation.GenerationDeferred: lambda task, event: (
        _is_tried(task, event.attempt) and event.deferrals == task.deferrals + 1
    ),
    generation.GenerationCompleted: lambda task, event: (
        task.status == "processing"
        and 0 < event.delivered <= len(task.works)
        and event.charged == task.share(event.delivered)
        and task.is_tried
    ),
    generation.GenerationFailed: lambda task, event: (
        task.status in _OPEN and event.aftermath in ({None, "watch"} if task.provider_job else {None})
    ),
    generation.GenerationCancelled: lambda task, event: (
        task.status in _OPEN and event.aftermath == ("cancel" if task.cancels else None)
    ),
    generation.GenerationDeliveredLate: lambda task, event: (
        task.aftermath == "watch" and 0 < event.delivered <= len(task.works)
    ),
    generation.GenerationClosed: lambda task, _: task.aftermath is not None,
    work.WorkCreated: _unknown,
    work.WorkCompleted: lambda made, event: (
        made.status == "processing" or (made.status == "failed" and event.credits == 0)
    ),
    work.WorkFailed: _in("processing"),
    work.WorkRenamed: lambda made, event: made.status in {"processing", *_OVER} and event.user_id == made.user_id,
    work.WorkPublished: lambda made, _: made.status in {"processing", *_OVER} and not made.is_public,
    work.WorkUnpublished: lambda made, _: made.status in {"processing", *_OVER} and made.is_public,
    work.WorkExpired: lambda made, event: made.status == "completed" and event.retention_days > 0,
    work.WorkDeleted: _in(*_OVER),
    character.CharacterCreated: _unknown,
    character.CharacterRenamed: _in("there"),
    character.CharacterAvatarChanged: _in("there"),
    character.CharacterDeleted: _in("there"),
    webhook.WebhookRegistered: lambda hooks, event: event.webhook_id not in hooks.enabled,
    webhook.WebhookChanged: _has_webhook,
    webhook.WebhookRotated: _has_webhook,
    webhook.WebhookDisabled: lambda hooks, event: hooks.enabled.get(event.webhook_id) is True,
    webhook.WebhookEnabled: lambda hooks, event: hooks.enabled.get(event.webhook_id) is False,
    webhook.WebhookPinged: lambda hooks, event: hooks.enabled.get(event.webhook_id) is True,
    webhook.WebhookDeleted: _has_webhook,
    recharge.RechargeRequested: lambda order, event: not order.user_id and event.amount_fen > 0 and event.credits > 0,
    recharge.RechargePaid: lambda order, event: (
        bool(order.user_id) and order.payment_reference is None and event.amount_fen == order.amount_fen
    ),
    recharge.RechargeRefunded: lambda order, event: (
        order.payment_reference is not None
        and event.refund_reference not in order.refunds
        and event.amount_fen > 0
        and order.refunded_fen + event.amount_fen <= order.amount_fen
        and event.credits
        == order.credits * (order.refunded_fen + event.amount_fen) // order.amount_fen
        - sum(refund.credits for refund in order.refunds.values())
    ),
    adjustment.AdjustmentRequested: lambda asked, event: (
        asked.status == "unknown"
        and event.amount != 0
        and event.requested_by != event.user_id
        and event.needs_approval == (abs(event.amount) > event.limit)
    ),
    adjustment.AdjustmentApproved: lambda asked, event: (
        asked.status == "pending" and event.approved_by not in {asked.requested_by, asked.user_id}
    ),
    adjustment.AdjustmentRejected: lambda asked, event: (
        asked.status == "pending" and event.rejected_by != asked.user_id
    ),
    registration.PersonRegistered: lambda person, _: not person.user_id,
    registration.EmailVerified: lambda person, event: (
        _is_known(person, event) and person.has_email and not person.email_verified
    ),
    registration.EmailChanged: lambda person, event: _is_known(person, event) and event.address == person.address + 1,
    registration.PasswordChanged: lambda person, event: (
        _is_known(person, event) and event.session_version == person.session_version + 1
    ),
    registration.GoogleLinked: lambda person, event: _is_known(person, event) and not person.has_google,
    registration.GoogleUnlinked: lambda person, event: _is_known(person, event) and person.has_google,
    registration.RoleGranted: lambda person, event: _is_known(person, event) and event.role != person.role,
    registration.ReferralRewarded: lambda person, event: (
        _is_known(person, event) and person.referred_by is not None and not person.referral_rewarded
    ),
    registration.PhoneChanged: _is_known,
    registration.PersonRenamed: _is_known,
    registration.AvatarChanged: _is_known,
    registration.PersonErased: _is_known,
}

_BY: Final[dict[type[Event], str]] = {
    adjustment.AdjustmentRequested: "requested_by",
    adjustment.AdjustmentApproved: "approved_by",
    adjustment.AdjustmentRejected: "rejected_by",
}
"""The field that says once more who did it."""


_OF_A_PERSON: Final = (registration.PersonRegistered, webhook.WebhookRegistered, webhook.WebhookChanged)
"""Whose stream is named by the very person they speak of."""


def require_lawful(state: Any, entry: Recorded) -> None:
    """Raise ``Broken`` if the event may not happen in this state."""
    event = entry.event
    rule = RULES.get(type(event))
    if rule is None or not rule(state, event):
        raise Broken(f"{type(event).__name__} does not follow from what was before")
    by = _BY.get(type(event))
    if by is not None and getattr(event, by) != entry.actor:
        raise Broken(f"{by} {getattr(event, by)}, and the command was given by {entry.actor}")
    if isinstance(event, _OF_A_PERSON) and event.user_id != entry.key:
        raise Broken("registers somebody else")

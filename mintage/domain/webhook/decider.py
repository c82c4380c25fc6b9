"""A person has a few webhooks, and nobody else can touch them: the stream is theirs."""

from typing import Final, TypeAlias, assert_never

import msgspec
from msgspec import UNSET, UnsetType

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.webhook.events import (
    Reason,
    WebhookChanged,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookEvent,
    WebhookPinged,
    WebhookRegistered,
    WebhookRotated,
)

WEBHOOKS_MAX: Final = 5


class RegisterWebhook(Command, frozen=True):
    user_id: str
    webhook_id: str
    number: int
    url: str
    event_types: tuple[str, ...] = ()


class ChangeWebhook(Command, frozen=True):
    """What is unset stays."""

    user_id: str
    webhook_id: str
    url: str | UnsetType = UNSET
    event_types: tuple[str, ...] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class RotateWebhook(Command, frozen=True):
    webhook_id: str


class DisableWebhook(Command, frozen=True):
    webhook_id: str
    reason: Reason


class PingWebhook(Command, frozen=True):
    webhook_id: str


class DeleteWebhook(Command, frozen=True):
    webhook_id: str


WebhookCommand: TypeAlias = (
    RegisterWebhook | ChangeWebhook | RotateWebhook | DisableWebhook | PingWebhook | DeleteWebhook
)


class WebhookUnknown(Refusal):
    """The person has no such webhook."""


class WebhookExists(Refusal):
    """The webhook's id was used already."""


class WebhookOff(Refusal):
    """The webhook is disabled; it has to be enabled before anything is sent to it."""


class TooManyWebhooks(Refusal):
    """The person has as many webhooks as anybody may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} already")
        self.most = most


class Webhooks(msgspec.Struct, frozen=True):
    """Those a person has, and whether each is enabled. Holds nothing personal."""

    enabled: dict[str, bool] = {}


def decide(command: WebhookCommand, webhooks: Webhooks) -> tuple[WebhookEvent, ...]:
    webhook_id = command.webhook_id
    if isinstance(command, RegisterWebhook):
        if webhook_id in webhooks.enabled:
            raise WebhookExists
        if len(webhooks.enabled) >= WEBHOOKS_MAX:
            raise TooManyWebhooks(WEBHOOKS_MAX)
        return (
            WebhookRegistered(
                user_id=command.user_id,
                webhook_id=webhook_id,
                number=command.number,
                url=command.url,
                event_types=command.event_types,
            ),
        )
    if webhook_id not in webhooks.enabled:
        raise WebhookUnknown
    enabled = webhooks.enabled[webhook_id]
    match command:
        case ChangeWebhook():
            return _changed(command, enabled)
        case RotateWebhook():
            return (WebhookRotated(webhook_id=webhook_id),)
        case DisableWebhook(reason=reason):
            return (WebhookDisabled(webhook_id=webhook_id, reason=reason),) if enabled else ()
        case PingWebhook():
            if not enabled:
                raise WebhookOff
            return (WebhookPinged(webhook_id=webhook_id),)
        case DeleteWebhook():
            return (WebhookDeleted(webhook_id=webhook_id),)
        case _:
            assert_never(command)


def _changed(command: ChangeWebhook, enabled: bool) -> tuple[WebhookEvent, ...]:
    webhook_id = command.webhook_id
    events: list[WebhookEvent] = []
    url = None if command.url is UNSET else command.url
    event_types = None if command.event_types is UNSET else command.event_types
    if url is not None or event_types is not None:
        changed = WebhookChanged(user_id=command.user_id, webhook_id=webhook_id, url=url, event_types=event_types)
        events.append(changed)
    if command.enabled is True and not enabled:
        events.append(WebhookEnabled(webhook_id=webhook_id))
    if command.enabled is False and enabled:
        events.append(WebhookDisabled(webhook_id=webhook_id, reason="owner"))
    return tuple(events)


def evolve(webhooks: Webhooks, event: WebhookEvent) -> Webhooks:
    match event:
        case WebhookRegistered(webhook_id=webhook_id) | WebhookEnabled(webhook_id=webhook_id):
            return Webhooks({**webhooks.enabled, webhook_id: True})
        case WebhookDisabled(webhook_id=webhook_id):
            return Webhooks({**webhooks.enabled, webhook_id: False})
        case WebhookDeleted(webhook_id=webhook_id):
            return Webhooks({one: enabled for one, enabled in webhooks.enabled.items() if one != webhook_id})
        case WebhookChanged() | WebhookRotated() | WebhookPinged():
            return webhooks
        case _:
            assert_never(event)


WEBHOOK: Decider[Webhooks, WebhookCommand, WebhookEvent] = Decider("webhook", Webhooks(), decide, evolve)

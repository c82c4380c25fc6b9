"""What can happen to a person's webhooks; all of them share one stream.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from typing import ClassVar, Literal, TypeAlias

from mintage.domain.decider import Event

Reason: TypeAlias = Literal["owner", "gone"]
"""Why nothing is sent any more: the owner wants it so, or the address answered that it is gone for good."""


class WebhookRegistered(Event, frozen=True, tag="webhook.registered"):
    """A person wants to be told at ``url``; ``event_types`` are what of, all there are if none is named.

    ``number`` is v1's integer id.
    """

    PERSONAL: ClassVar[tuple[str, ...]] = ("url",)

    user_id: str
    webhook_id: str
    number: int
    url: str
    event_types: tuple[str, ...] = ()


class WebhookChanged(Event, frozen=True, tag="webhook.changed"):
    """The webhook has another address, or is told of other things. What is empty stayed as it was."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("url",)

    user_id: str
    webhook_id: str
    url: str | None = None
    event_types: tuple[str, ...] | None = None


class WebhookRotated(Event, frozen=True, tag="webhook.rotated"):
    """What is sent is signed with the next secret from now on, and with the one before for a day more."""

    webhook_id: str


class WebhookDisabled(Event, frozen=True, tag="webhook.disabled"):
    """Nothing is sent to the webhook, and what happens from now on is not kept for it."""

    webhook_id: str
    reason: Reason


class WebhookEnabled(Event, frozen=True, tag="webhook.enabled"):
    """The webhook is told again, of what happens from now on and of what had waited."""

    webhook_id: str


class WebhookPinged(Event, frozen=True, tag="webhook.pinged"):
    """The owner asked for a message that says nothing, to see it arrive."""

    webhook_id: str


class WebhookDeleted(Event, frozen=True, tag="webhook.deleted"):
    """The webhook was removed, and with it whatever was still to be sent there."""

    webhook_id: str


WebhookEvent: TypeAlias = (
    WebhookRegistered
    | WebhookChanged
    | WebhookRotated
    | WebhookDisabled
    | WebhookEnabled
    | WebhookPinged
    | WebhookDeleted
)

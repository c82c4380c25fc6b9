"""A person has a few webhooks, which only they can touch, and each is told things while it is enabled."""

import pytest

from mintage.domain.webhook.decider import (
    WEBHOOK,
    WEBHOOKS_MAX,
    ChangeWebhook,
    DeleteWebhook,
    DisableWebhook,
    PingWebhook,
    RegisterWebhook,
    RotateWebhook,
    TooManyWebhooks,
    WebhookCommand,
    WebhookExists,
    WebhookOff,
    Webhooks,
    WebhookUnknown,
)
from mintage.domain.webhook.events import (
    WebhookChanged,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookEvent,
    WebhookPinged,
    WebhookRegistered,
    WebhookRotated,
)
from tests.scenario import Given


def given(*history: WebhookEvent) -> Given[Webhooks, WebhookCommand, WebhookEvent]:
    return Given(WEBHOOK, *history)


def registered(webhook_id: str = "h") -> WebhookRegistered:
    return WebhookRegistered(user_id="ann", webhook_id=webhook_id, number=1, url="https://a.example")


URL = "https://b.example"
REGISTER = RegisterWebhook(user_id="ann", webhook_id="h", number=1, url="https://a.example")
OFF = WebhookDisabled(webhook_id="h", reason="owner")


def change(**what: object) -> ChangeWebhook:
    return ChangeWebhook(user_id="ann", webhook_id="h", **what)  # type: ignore[arg-type]


def changed(**what: object) -> WebhookChanged:
    return WebhookChanged(user_id="ann", webhook_id="h", **what)  # type: ignore[arg-type]


def test_a_webhook_is_registered_and_enabled() -> None:
    assert given().when(REGISTER).then(registered()).state() == Webhooks({"h": True})


def test_an_id_is_used_once_while_it_is_there() -> None:
    given(registered()).when(REGISTER).then_refused(WebhookExists)


def test_there_are_a_few_and_a_deleted_one_makes_room() -> None:
    full = [registered(str(one)) for one in range(WEBHOOKS_MAX)]
    given(*full).when(REGISTER).then_refused(TooManyWebhooks, most=WEBHOOKS_MAX)
    given(*full, WebhookDeleted(webhook_id="0")).when(REGISTER).then(registered())


@pytest.mark.parametrize(
    ("command", "events"),
    [
        (change(), ()),
        (change(url=URL), (changed(url=URL),)),
        (change(event_types=()), (changed(event_types=()),)),
        (change(url=URL, event_types=("a",)), (changed(url=URL, event_types=("a",)),)),
        (change(enabled=True), ()),
        (change(enabled=False), (OFF,)),
        (change(enabled=False, url=URL), (changed(url=URL), OFF)),
        (RotateWebhook(webhook_id="h"), (WebhookRotated(webhook_id="h"),)),
        (PingWebhook(webhook_id="h"), (WebhookPinged(webhook_id="h"),)),
        (DisableWebhook(webhook_id="h", reason="gone"), (WebhookDisabled(webhook_id="h", reason="gone"),)),
        (DeleteWebhook(webhook_id="h"), (WebhookDeleted(webhook_id="h"),)),
    ],
)
def test_what_its_owner_does_happens(command: WebhookCommand, events: tuple[WebhookEvent, ...]) -> None:
    given(registered()).when(command).then(*events)


@pytest.mark.parametrize(
    "command",
    [
        change(url=URL),
        RotateWebhook(webhook_id="h"),
        PingWebhook(webhook_id="h"),
        DisableWebhook(webhook_id="h", reason="gone"),
        DeleteWebhook(webhook_id="h"),
    ],
)
def test_what_is_not_there_cannot_be_touched(command: WebhookCommand) -> None:
    for history in ((), (registered("other"),), (registered(), WebhookDeleted(webhook_id="h"))):
        given(*history).when(command).then_refused(WebhookUnknown)


def test_one_that_is_off_is_sent_no_test_and_comes_back() -> None:
    off = given(registered(), OFF)
    assert off.state() == Webhooks({"h": False})
    off.when(PingWebhook(webhook_id="h")).then_refused(WebhookOff)
    off.when(DisableWebhook(webhook_id="h", reason="gone")).then_nothing()
    off.when(change(enabled=False)).then_nothing()
    assert off.when(change(enabled=True)).then(WebhookEnabled(webhook_id="h")).state() == Webhooks({"h": True})

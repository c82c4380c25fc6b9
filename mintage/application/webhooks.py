"""What a person does with their webhooks, and what the system does with one whose address is gone."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType

from mintage.application.refusals import DeliveryUnknown, SecretsStillCount
from mintage.application.transaction import Journal, Transaction
from mintage.domain.registration.decider import REGISTRATION, PersonUnknown
from mintage.domain.webhook.decider import (
    WEBHOOK,
    ChangeWebhook,
    DeleteWebhook,
    DisableWebhook,
    PingWebhook,
    RegisterWebhook,
    RotateWebhook,
    WebhookCommand,
    WebhookOff,
    WebhookUnknown,
)
from mintage.projections.deliveries import Delivery, delivery_of, send_again
from mintage.projections.sql import Database
from mintage.projections.webhooks import Webhook, webhook_of

REPLACED_MAX: Final = 5
"""Secrets that a webhook may have beside its newest."""


class Webhooks:
    """All of these raise ``WebhookUnknown`` for a webhook that is not the person's."""

    def __init__(
        self,
        journal: Journal,
        db: Database,
        new_id: Callable[[], str],
        clock: Callable[[], datetime],
        secret: Callable[[str, int], str],
    ) -> None:
        self._journal = journal
        self._db = db
        self._new_id = new_id
        self._clock = clock
        self._secret = secret

    async def register(self, user_id: str, *, url: str, event_types: tuple[str, ...]) -> str:
        """Returns the new webhook's id. Raises ``TooManyWebhooks``."""
        webhook_id = self._new_id()

        def work(transaction: Transaction) -> None:
            _refuse_erased(transaction, user_id)
            command = RegisterWebhook(
                user_id=user_id,
                webhook_id=webhook_id,
                number=transaction.number("webhook"),
                url=url,
                event_types=event_types,
            )
            transaction.execute(WEBHOOK, user_id, command)

        await self._journal.transact(work, actor=user_id)
        return webhook_id

    async def change(
        self,
        user_id: str,
        webhook_id: str,
        *,
        url: str | UnsetType = UNSET,
        event_types: tuple[str, ...] | UnsetType = UNSET,
        enabled: bool | UnsetType = UNSET,
    ) -> None:
        """What is unset stays."""
        command = ChangeWebhook(
            user_id=user_id, webhook_id=webhook_id, url=url, event_types=event_types, enabled=enabled
        )
        await self._give(user_id, command)

    async def rotate(self, user_id: str, webhook_id: str) -> None:
        """Sign with a new secret from now on, and with the one before for a day more.

        Raises ``SecretsStillCount`` while ``REPLACED_MAX`` of those before count: each has its signature in a message.
        """
        if len((await self.one(user_id, webhook_id)).replaced(self._clock())) >= REPLACED_MAX:
            raise SecretsStillCount
        await self._give(user_id, RotateWebhook(webhook_id=webhook_id))

    async def ping(self, user_id: str, webhook_id: str) -> None:
        """Send a message that says nothing. Raises ``WebhookOff``."""
        await self._give(user_id, PingWebhook(webhook_id=webhook_id))

    async def delete(self, user_id: str, webhook_id: str) -> None:
        """For good, and with whatever was still to be sent there."""
        await self._give(user_id, DeleteWebhook(webhook_id=webhook_id))

    async def disable_gone(self, user_id: str, webhook_id: str) -> None:
        """Nothing is sent any more to an address that says it is gone."""
        await self._give(user_id, DisableWebhook(webhook_id=webhook_id, reason="gone"), actor="system")

    def secret_of(self, webhook: Webhook) -> str:
        """The newest secret, as the person is to keep it."""
        return self._secret(webhook.webhook_id, webhook.secret)

    async def resend(self, webhook: Webhook, delivery_id: str) -> Delivery:
        """Send a message again under its id, whatever became of it. Raises ``DeliveryUnknown``, ``WebhookOff``."""
        if not webhook.enabled:
            raise WebhookOff
        delivery = await send_again(self._db, webhook.webhook_id, delivery_id, self._clock())
        if delivery is None:
            raise DeliveryUnknown
        return delivery

    async def one(self, user_id: str, webhook_id: str | int) -> Webhook:
        """By its UUID or its integer id."""
        webhook = await webhook_of(self._db, user_id, webhook_id)
        if webhook is None:
            raise WebhookUnknown
        return webhook

    async def delivery(self, webhook: Webhook, delivery_id: str) -> Delivery:
        """Raises ``DeliveryUnknown``."""
        delivery = await delivery_of(self._db, webhook.webhook_id, delivery_id)
        if delivery is None:
            raise DeliveryUnknown
        return delivery

    async def _give(self, user_id: str, command: WebhookCommand, *, actor: str | None = None) -> None:
        def work(transaction: Transaction) -> None:
            _refuse_erased(transaction, user_id)
            transaction.execute(WEBHOOK, user_id, command)

        await self._journal.transact(work, actor=actor or user_id)


def _refuse_erased(transaction: Transaction, user_id: str) -> None:
    # What is sealed with a key that is gone could not be stored, and what an erased person had is there no more.
    if transaction.state(REGISTRATION, user_id).erased:
        raise PersonUnknown

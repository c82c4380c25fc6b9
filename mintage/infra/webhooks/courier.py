"""Sends what is due to webhooks: each message at least once and under one id, to each webhook one at a time.

Any number of processes do so at once. A turn at a webhook and a message taken are ours until a lease ends; a process
that dies in between leaves both to the next one, which sends the message again under the same id.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from mintage.application.announcements import body_of
from mintage.application.ports.files import Files
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.application.webhooks import Webhooks
from mintage.domain.registration.decider import PersonUnknown
from mintage.domain.webhook.decider import WebhookUnknown
from mintage.infra.store import Lost
from mintage.infra.webhooks.schedule import next_try
from mintage.infra.webhooks.sender import Answer, Sender
from mintage.infra.webhooks.signing import Signing
from mintage.projections.deliveries import Attempt, Delivery, Status, record, take_next
from mintage.projections.sql import Database
from mintage.projections.webhooks import Webhook, let_go, take_turns

_log = logging.getLogger(__name__)

POLL_S: Final = 0.5
LEASE: Final = timedelta(seconds=60)
"""Several times as long as a message may take."""
AT_ONCE: Final = 32
ATTEMPTS_MAX: Final = 20
"""So many of a message's tries can be looked at, the latest."""
GONE: Final = 410


class Courier:
    """Goes on until cancelled; what it leaves unfinished is taken up when its lease ends."""

    def __init__(
        self,
        db: Database,
        webhooks: Webhooks,
        files: Files,
        sender: Sender,
        signing: Signing,
        *,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._db = db
        self._webhooks = webhooks
        self._files = files
        self._sender = sender
        self._signing = signing
        self._clock = clock
        self._jitter = jitter

    async def run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                for webhook, until in await self._turns(AT_ONCE - len(under_way)):
                    under_way.add(asyncio.create_task(self._serve(webhook, until)))
                if under_way:
                    _, under_way = await asyncio.wait(under_way, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
                else:
                    await asyncio.sleep(POLL_S)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def catch_up(self) -> None:
        """Send everything that is due now, once."""
        while turns := await self._turns(AT_ONCE):
            await asyncio.gather(*(self._serve(webhook, until) for webhook, until in turns))

    async def _turns(self, most: int) -> list[tuple[Webhook, datetime]]:
        if most <= 0:
            return []
        now = self._clock()
        until = now + LEASE
        try:
            return [(webhook, until) for webhook in await take_turns(self._db, now=now, until=until, most=most)]
        except Lost as error:
            _log.warning("messages to webhooks wait for the database: %s", error)
            return []

    async def _serve(self, webhook: Webhook, until: datetime) -> None:
        """A webhook's turn: the message that is longest due."""
        try:
            taken = await take_next(self._db, webhook.webhook_id, now=self._clock(), until=until)
            if taken is not None:
                await self._deliver(webhook, taken)
            await let_go(self._db, webhook.webhook_id, until)
        except (Lost, Unavailable, OutcomeUnknown) as error:
            _log.warning("webhook %s waits for its turn to end: %s", webhook.webhook_id, error)
        except Exception:  # noqa: BLE001 -- the other webhooks go on; this one is taken up when its turn ends
            _log.exception("webhook %s came upon something unforeseen", webhook.webhook_id)

    async def _deliver(self, webhook: Webhook, taken: Delivery) -> None:
        body = await body_of(self._db, self._files, taken)
        at, began = self._clock(), monotonic()
        headers = self._signing.headers(webhook, taken.delivery_id, body, at)
        answer = await self._sender.post(webhook.url, body, headers)
        took_ms = int((monotonic() - began) * 1_000)
        attempt = Attempt(at=at, duration_ms=took_ms, status=answer.status, error=answer.error)
        if answer.status == GONE:
            await self._disable(webhook)
        status, due_at = self._became(taken, answer)
        attempts = [*taken.latest, attempt][-ATTEMPTS_MAX:]
        if not await record(self._db, taken, status=status, due_at=due_at, attempts=attempts):
            _log.info("message %s went on without us", taken.delivery_id)

    def _became(self, taken: Delivery, answer: Answer) -> tuple[Status, datetime]:
        """What a message is after a try, and when it is due next if it still is."""
        now = self._clock()
        if answer.status is not None and 200 <= answer.status < 300:
            return "delivered", now
        due_at = next_try(
            begun_at=taken.begun_at or now,
            tries=taken.tries,
            now=now,
            retry_after=answer.retry_after,
            jitter=self._jitter(),
        )
        if answer.status == GONE or due_at is None:
            return "failed", now
        return "pending", due_at

    async def _disable(self, webhook: Webhook) -> None:
        try:
            await self._webhooks.disable_gone(webhook.user_id, webhook.webhook_id)
        except (WebhookUnknown, PersonUnknown):
            _log.info("webhook %s was removed meanwhile", webhook.webhook_id)

"""As much of the system as webhooks need: a journal, a follower to be called, and couriers, all on one clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mintage.application.generations import Generations
from mintage.application.lifecycle import Lifecycle
from mintage.application.recharges import Recharges
from mintage.application.transaction import Journal
from mintage.application.webhooks import Webhooks
from mintage.infra.database import Pool, connect_sync
from mintage.infra.follower import follow_once
from mintage.infra.gateways import SandboxGateway
from mintage.infra.identifiers import new_id
from mintage.infra.storage import MediaFolder
from mintage.infra.webhooks import Courier, Sender, Signing
from mintage.projections.deliveries import Delivery, deliveries_of
from mintage.projections.outbox import OUTBOX
from mintage.projections.webhooks import Webhook, webhook_of
from tests.conftest import VAULT
from tests.infra.kit import ASK, CATALOGUE, FILE, grant, journal_on, register, some_id
from tests.infra.receiver import sender

SIGNING: Final = Signing(b"the master key of all the tests.")


class World:
    def __init__(self, conninfo: str, journal: Journal, db: Pool, media: MediaFolder) -> None:
        self.conninfo = conninfo
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.journal = journal
        self.db = db
        self.media = media
        self.webhooks = Webhooks(journal, db, new_id, self.clock, SIGNING.secret)
        self.generations, self.lifecycle = Generations(journal, CATALOGUE, new_id), Lifecycle(journal, new_id)
        self.recharges = Recharges(journal, SandboxGateway(), CATALOGUE.money, new_id)

    def clock(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    async def person(self) -> str:
        """Somebody with 1,000 credits."""
        user_id = some_id()
        await self.journal.transact(register(user_id, f"u{user_id[:20]}"), actor=user_id)
        await self.journal.transact(grant(user_id, 1_000), actor=user_id)
        return user_id

    async def webhook(self, user_id: str, url: str = "https://hooks.example/", *event_types: str) -> str:
        return await self.webhooks.register(user_id, url=url, event_types=event_types)

    async def asked(self, user_id: str) -> str:
        """A task that waits."""
        reply = await self.generations.request(user_id, ASK)
        assert reply.outcome is not None
        return reply.outcome.task_id

    async def completed(self, user_id: str, task_id: str = "") -> str:
        task_id = task_id or await self.asked(user_id)
        await self.lifecycle.start(task_id, fence=1, worker="w")
        await self.lifecycle.succeed(task_id, [FILE, None, FILE], kind="image", fence=1, worker="w")
        return task_id

    async def failed(self, user_id: str) -> str:
        task_id = await self.asked(user_id)
        await self.lifecycle.start(task_id, fence=1, worker="w")
        await self.lifecycle.fail(
            task_id, error_code="GENERATION_FAILED", error_message="生成失败，未扣除积分", fence=1, worker="w"
        )
        return task_id

    def follow(self) -> None:
        """Bring the outbox up to the log."""
        with connect_sync(self.conninfo) as connection:
            while follow_once(connection, VAULT, OUTBOX):
                pass

    async def outbox(self, webhook_id: str) -> list[Delivery]:
        """The webhook's messages, oldest first."""
        newest_first, _ = await deliveries_of(self.db, webhook_id, status=None, limit=1_000, offset=0)
        return newest_first[::-1]

    async def told(self, webhook_id: str) -> list[str]:
        return [delivery.event_type for delivery in await self.outbox(webhook_id)]

    async def shown(self, user_id: str, webhook_id: str) -> Webhook:
        webhook = await webhook_of(self.db, user_id, webhook_id)
        assert webhook is not None
        return webhook

    def courier(self, **how: Any) -> Courier:
        by: Sender = how.pop("sender", None) or sender()
        return Courier(
            self.db, self.webhooks, self.media, by, SIGNING, clock=self.clock, jitter=how.pop("jitter", lambda: 0.0)
        )


@asynccontextmanager
async def world(conninfo: str, folder: Any) -> AsyncIterator[World]:
    db = Pool(conninfo)
    await db.open()
    made: list[World] = []
    try:
        async with journal_on(conninfo, clock=lambda: made[0].now) as journal:
            media = MediaFolder(folder, lambda: "https://mintage.test", b"s" * 32, lambda: made[0].now)
            made.append(World(conninfo, journal, db, media))
            yield made[0]
    finally:
        await db.close()

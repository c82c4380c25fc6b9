"""What became of each message of the outbox: taken to be sent, tried, delivered or given up, and sent again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from mintage.projections.ledger import count
from mintage.projections.sql import Database

STATUSES: Final = ("pending", "delivered", "failed")

Status: TypeAlias = Literal["pending", "delivered", "failed"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try: the ``status`` that was answered, or the ``error`` that left us without an answer."""

    at: datetime
    duration_ms: int
    status: int | None = None
    error: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """``delivery_id`` is the message's id, the same in every try; ``attempts`` are the latest, oldest first."""

    delivery_id: str
    webhook_id: str
    user_id: str
    event_type: str
    subject: str | None
    facts: dict[str, Any]
    at: datetime
    status: Status
    due_at: datetime
    begun_at: datetime | None
    tries: int
    attempts: list[Any]

    @property
    def latest(self) -> list[Attempt]:
        return msgspec.convert(self.attempts, list[Attempt])


_FIELDS: Final = """delivery_id::text, webhook_id::text, user_id::text, event_type, subject::text, facts, at, status,
    due_at, begun_at, tries, attempts"""
_SELECT: Final = f"select {_FIELDS} from webhook_deliveries where "


async def deliveries_of(
    db: Database, webhook_id: str, *, status: str | None, limit: int, offset: int
) -> tuple[list[Delivery], int]:
    """A page of a webhook's messages, newest first, and how many match in all."""
    where = "webhook_id = %(webhook_id)s"
    if status is not None:
        where += " and status = %(status)s"
    params: Any = {"webhook_id": webhook_id, "status": status, "limit": limit, "offset": offset}
    sql = f"{_SELECT}{where} order by position desc limit %(limit)s offset %(offset)s"
    page = await db.fetch(Delivery, sql, params)
    return page, await count(db, f"select count(*) as n from webhook_deliveries where {where}", params)


async def delivery_of(db: Database, webhook_id: str, delivery_id: str) -> Delivery | None:
    """A message of a webhook."""
    sql = "delivery_id = %s and webhook_id = %s"
    return await db.fetch_one(Delivery, _SELECT + sql, (delivery_id, webhook_id))


async def send_again(db: Database, webhook_id: str, delivery_id: str, now: datetime) -> Delivery | None:
    """Make a message due now, with a whole day of tries before it; None if there is no such message."""
    sql = f"""
    update webhook_deliveries set status = 'pending', due_at = %s, begun_at = null, tries = 0
    where delivery_id = %s and webhook_id = %s returning {_FIELDS}"""
    return await db.fetch_one(Delivery, sql, (now, delivery_id, webhook_id))


# Whoever takes it is counted before it is sent: a process that dies meanwhile leaves it due again at ``until``.
_TAKE: Final = f"""
update webhook_deliveries set due_at = %(until)s, begun_at = coalesce(begun_at, %(now)s), tries = tries + 1
where status = 'pending' and due_at <= %(now)s and delivery_id = (
    select delivery_id from webhook_deliveries
    where webhook_id = %(webhook_id)s and status = 'pending' and due_at <= %(now)s
    order by due_at, position limit 1
)
returning {_FIELDS}"""


async def take_next(db: Database, webhook_id: str, *, now: datetime, until: datetime) -> Delivery | None:
    """The message that is longest due for a webhook, ours until the time is over."""
    params: Any = {"webhook_id": webhook_id, "now": now, "until": until}
    return await db.fetch_one(Delivery, _TAKE, params)


class _Id(msgspec.Struct):
    delivery_id: str


async def record(
    db: Database, taken: Delivery, *, status: Status, due_at: datetime, attempts: Sequence[Attempt]
) -> bool:
    """What became of a message that was taken; False if it is not ours any more, and then nothing is recorded."""
    sql = """
    update webhook_deliveries set status = %s, due_at = %s, attempts = %s::jsonb
    where delivery_id = %s and due_at = %s and tries = %s and status = 'pending' returning delivery_id::text"""
    said = msgspec.json.encode(attempts).decode()
    params = (status, due_at, said, taken.delivery_id, taken.due_at, taken.tries)
    return await db.fetch_one(_Id, sql, params) is not None

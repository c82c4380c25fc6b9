"""The webhooks that people have: what their owner lists, and where and how their messages are sent.

``busy_until`` and ``served_at`` are the running system's own and in no event: whose turn it is to be sent something.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased
from mintage.domain.webhook.events import (
    WebhookChanged,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookRegistered,
    WebhookRotated,
)
from mintage.projections.ledger import count
from mintage.projections.sql import Database, ReadModel, Statement, Value, exactly, insert, update

ROTATION: Final = timedelta(days=1)
"""For so long a secret that was replaced is signed with, too."""
SCHEMA: Final = """
create table webhooks (
    webhook_id uuid primary key,
    number bigint not null constraint webhooks_number unique,
    user_id uuid not null,
    url text not null,
    event_types jsonb not null,
    enabled boolean not null default true,
    disabled_reason text,
    secret integer not null default 1,
    rotations timestamptz[] not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    busy_until timestamptz,
    served_at timestamptz
);
create index webhooks_newest on webhooks (user_id, number desc);
"""

_COLUMNS: Final = {
    "webhook_id": "uuid",
    "number": "bigint",
    "user_id": "uuid",
    "url": "text",
    "event_types": "jsonb",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_MOVED: Final = {"webhook_id": "uuid", "url": "text"}
_FILTERED: Final = {"webhook_id": "uuid", "event_types": "jsonb"}
_SWITCHED: Final = {"webhook_id": "uuid", "enabled": "boolean", "disabled_reason": "text"}
_CHANGED: Final = {"webhook_id": "uuid", "updated_at": "timestamptz"}
# Those that were over at the latest one are over for good.
_ROTATE: Final = """
update webhooks w set
    secret = w.secret + new.times,
    rotations = array(
        select at from unnest(w.rotations || new.moments) as at where at > new.latest - interval '24 hours' order by at
    )
from (
    select webhook_id, count(*)::integer as times, array_agg(at) as moments, max(at) as latest
    from unnest(%s::uuid[], %s::timestamptz[]) as rotated (webhook_id, at)
    group by webhook_id
) as new
where w.webhook_id = new.webhook_id"""
_DELETE: Final = "delete from webhooks where webhook_id = any(%s::uuid[])"
_ERASE: Final = "delete from webhooks where user_id = any(%s::uuid[])"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """``event_types`` are what it is told of, all there are if none is named.

    ``secret`` numbers its secrets from 1. ``rotations`` are when the latest took over, oldest first: the one before
    each counts for ``ROTATION`` from then on.
    """

    webhook_id: str
    number: int
    user_id: str
    url: str
    event_types: list[str]
    enabled: bool
    disabled_reason: str | None
    secret: int
    rotations: list[datetime]
    created_at: datetime
    updated_at: datetime

    def replaced(self, now: datetime) -> list[datetime]:
        """When those secrets were replaced that still count beside the newest, the longest ago first."""
        return [at for at in self.rotations if now < at + ROTATION]


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    registered: list[tuple[Value, ...]] = []
    # Of several changes to one webhook the last counts.
    moved: dict[str, tuple[Value, ...]] = {}
    filtered: dict[str, tuple[Value, ...]] = {}
    switched: dict[str, tuple[Value, ...]] = {}
    changed: dict[str, tuple[Value, ...]] = {}
    rotated: list[tuple[str, datetime]] = []
    deleted: list[str] = []
    erased: list[str] = []
    for entry in entries:
        at = entry.at
        match entry.event:
            case WebhookRegistered(webhook_id=key) as event:
                registered.append((key, event.number, event.user_id, event.url, _listed(event.event_types), at, at))
            case WebhookChanged(webhook_id=key, url=url, event_types=event_types):
                changed[key] = (key, at)
                if url is not None:
                    moved[key] = (key, url)
                if event_types is not None:
                    filtered[key] = (key, _listed(event_types))
            case WebhookDisabled(webhook_id=key) | WebhookEnabled(webhook_id=key) as event:
                reason = event.reason if isinstance(event, WebhookDisabled) else None
                switched[key], changed[key] = (key, reason is None, reason), (key, at)
            case WebhookRotated(webhook_id=key):
                rotated.append((key, at))
                changed[key] = (key, at)
            case WebhookDeleted(webhook_id=key):
                deleted.append(key)
            case PersonErased(user_id=user_id):
                erased.append(user_id)
    writes = [insert("webhooks", _COLUMNS, registered)] if registered else []
    for columns, rows in ((_MOVED, moved), (_FILTERED, filtered), (_SWITCHED, switched), (_CHANGED, changed)):
        if rows:
            writes.append(update("webhooks", "webhook_id", columns, list(rows.values())))
    if rotated:
        writes.append(exactly(len({key for key, _ in rotated}), _ROTATE, tuple(zip(*rotated, strict=True))))
    writes += [Statement(sql, (ids,)) for sql, ids in ((_DELETE, deleted), (_ERASE, erased)) if ids]
    return writes


def _listed(event_types: Sequence[str]) -> str:
    return msgspec.json.encode(event_types).decode()


WEBHOOKS: Final = ReadModel(
    name="webhooks",
    tables=("webhooks",),
    schema=SCHEMA,
    events=frozenset(
        {
            WebhookRegistered,
            WebhookChanged,
            WebhookDisabled,
            WebhookEnabled,
            WebhookRotated,
            WebhookDeleted,
            PersonErased,
        }
    ),
    statements=statements,
    personal=True,
    volatile=frozenset({"busy_until", "served_at"}),
)

_FIELDS: Final = """w.webhook_id::text, w.number, w.user_id::text, w.url, w.event_types, w.enabled, w.disabled_reason,
    w.secret, w.rotations, w.created_at, w.updated_at"""


async def webhooks_of(db: Database, user_id: str, *, limit: int, offset: int) -> tuple[list[Webhook], int]:
    """A page of a person's webhooks, newest first, and how many there are."""
    sql = f"select {_FIELDS} from webhooks w where w.user_id = %s order by w.number desc limit %s offset %s"
    page = await db.fetch(Webhook, sql, (user_id, limit, offset))
    return page, await count(db, "select count(*) as n from webhooks where user_id = %s", (user_id,))


async def webhook_of(db: Database, user_id: str, webhook_id: str | int) -> Webhook | None:
    """A person's webhook by its UUID or its integer id; None if it is not theirs."""
    condition = "w.number = %s" if isinstance(webhook_id, int) else "w.webhook_id = %s"
    sql = f"select {_FIELDS} from webhooks w where {condition} and w.user_id = %s"
    return await db.fetch_one(Webhook, sql, (webhook_id, user_id))


# Whoever was served longest ago comes first. A row that somebody else has just taken is skipped, and one that they
# took a moment ago is looked at again before it is locked: a webhook never has two turns at once.
_TURNS: Final = f"""
with free as (
    select w.webhook_id from webhooks w
    where w.enabled and (w.busy_until is null or w.busy_until <= %(now)s) and exists (
        select 1 from webhook_deliveries d
        where d.webhook_id = w.webhook_id and d.status = 'pending' and d.due_at <= %(now)s
    )
    order by w.served_at nulls first, w.number
    limit %(most)s
    for update of w skip locked
)
update webhooks w set busy_until = %(until)s, served_at = %(now)s
from free where w.webhook_id = free.webhook_id
returning {_FIELDS}"""


async def take_turns(db: Database, *, now: datetime, until: datetime, most: int) -> list[Webhook]:
    """Webhooks for which something is due, each ours alone until it is let go of or the time is over."""
    params: Any = {"now": now, "until": until, "most": most}
    return await db.fetch(Webhook, _TURNS, params)


class _Id(msgspec.Struct):
    webhook_id: str


async def let_go(db: Database, webhook_id: str, until: datetime) -> None:
    """End a turn, if it is still the one that was to last so long."""
    sql = "update webhooks set busy_until = null where webhook_id = %s and busy_until = %s returning webhook_id::text"
    await db.fetch(_Id, sql, (webhook_id, until))

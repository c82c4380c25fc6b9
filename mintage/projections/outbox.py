"""What webhooks are to be told: one row for each event and each webhook that wanted to hear of it when it happened.

A row is made once, with the follower's checkpoint, under an id that says which event and which webhook it is about;
made again from event 1 it has the same id. What became of it since is the running system's own and in no event.
Everything older than ``KEPT`` is forgotten, counted in the log's own time, so that a rebuild forgets the same.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec

from mintage.domain.credits.events import CreditsGranted
from mintage.domain.decider import Event
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationCompleted,
    GenerationDeliveredLate,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
)
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased
from mintage.domain.webhook.events import (
    WebhookChanged,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookPinged,
    WebhookRegistered,
)
from mintage.projections.sql import ReadModel, Statement, Value, insert

EventType: TypeAlias = Literal[
    "task.processing", "task.completed", "task.failed", "task.cancelled", "credits.recharged"
]
"""What there is to hear of."""
PING: Final = "ping"
KEPT: Final = timedelta(days=30)

SCHEMA: Final = """
create table webhook_subscriptions (
    webhook_id uuid primary key,
    user_id uuid not null,
    event_types jsonb not null,
    enabled boolean not null default true
);
create index webhook_subscriptions_user on webhook_subscriptions (user_id);
create table webhook_tasks (
    task_id uuid primary key,
    user_id uuid not null,
    failed_at timestamptz
);
create index webhook_tasks_user on webhook_tasks (user_id);
create index webhook_tasks_failed on webhook_tasks (failed_at) where failed_at is not null;
create table webhook_deliveries (
    delivery_id uuid primary key,
    webhook_id uuid not null,
    user_id uuid not null,
    position bigint not null,
    event_type text not null,
    subject uuid,
    facts jsonb not null,
    at timestamptz not null,
    status text not null default 'pending' constraint webhook_deliveries_status
        check (status in ('pending', 'delivered', 'failed')),
    due_at timestamptz not null,
    begun_at timestamptz,
    tries integer not null default 0,
    attempts jsonb not null default '[]'
);
create index webhook_deliveries_due on webhook_deliveries (webhook_id, due_at, position) where status = 'pending';
create index webhook_deliveries_newest on webhook_deliveries (webhook_id, position desc);
create index webhook_deliveries_user on webhook_deliveries (user_id);
create index webhook_deliveries_at on webhook_deliveries (at);
"""
"""``webhook_subscriptions`` and ``webhook_tasks`` are who wanted to hear and whose task it is, as of the checkpoint.

``facts`` are what the event says. ``due_at`` is when to try next; ``tries`` counts those since ``begun_at``.
"""

_SUBSCRIPTION: Final = {"webhook_id": "uuid", "user_id": "uuid", "event_types": "jsonb"}
_TASK: Final = {"task_id": "uuid", "user_id": "uuid"}
_FILTER: Final = "update webhook_subscriptions set event_types = %s::jsonb where webhook_id = %s::uuid"
_SWITCH_ON: Final = "update webhook_subscriptions set enabled = true where webhook_id = %s::uuid"
_SWITCH_OFF: Final = "update webhook_subscriptions set enabled = false where webhook_id = %s::uuid"
_DELETE: Final = (
    "delete from webhook_subscriptions where webhook_id = %s::uuid",
    "delete from webhook_deliveries where webhook_id = %s::uuid",
)
_ERASE: Final = (
    "delete from webhook_subscriptions where user_id = %s::uuid",
    "delete from webhook_deliveries where user_id = %s::uuid",
    "delete from webhook_tasks where user_id = %s::uuid",
)
# A task that failed too long ago is nobody's, whether or not it is forgotten yet.
_TELL: Final = f"""
insert into webhook_deliveries
    (delivery_id, webhook_id, user_id, position, event_type, subject, facts, at, due_at)
select encode(substr(sha256(convert_to(s.webhook_id || ' ' || new.position, 'UTF8')), 1, 16), 'hex')::uuid,
    s.webhook_id, s.user_id, new.position, new.event_type, new.subject, new.facts, new.at, new.at
from unnest(
    %s::bigint[], %s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::jsonb[], %s::timestamptz[]
) as new (position, event_type, webhook_id, user_id, subject, facts, at)
left join webhook_tasks t on t.task_id = new.subject
    and (t.failed_at is null or t.failed_at >= new.at - interval '{KEPT.days} days')
join webhook_subscriptions s on s.enabled and case
    when new.webhook_id is null
    then s.user_id = coalesce(new.user_id, t.user_id) and (s.event_types = '[]' or s.event_types ? new.event_type)
    else s.webhook_id = new.webhook_id
end"""
_OVER: Final = "delete from webhook_tasks where task_id = any(%s::uuid[])"
# A task that failed may still bring its works.
_FAILED: Final = """
update webhook_tasks t set failed_at = new.at from unnest(%s::uuid[], %s::timestamptz[]) as new (task_id, at)
where t.task_id = new.task_id"""
_FORGET: Final = (
    "delete from webhook_deliveries where at < %s::timestamptz",
    "delete from webhook_tasks where failed_at < %s::timestamptz",
)


_EVENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        GenerationRequested,
        GenerationStarted,
        GenerationCompleted,
        GenerationDeliveredLate,
        GenerationFailed,
        GenerationCancelled,
        CreditsGranted,
        WebhookRegistered,
        WebhookChanged,
        WebhookEnabled,
        WebhookDisabled,
        WebhookPinged,
        WebhookDeleted,
        PersonErased,
    }
)


class _Told:
    """What happened since the last change of who wants to hear of it."""

    def __init__(self) -> None:
        self._requested: list[tuple[Value, ...]] = []
        self._told: list[tuple[Value, ...]] = []
        self._over: list[str] = []
        self._failed: dict[str, datetime] = {}

    def take(self, entry: Recorded) -> None:
        key, at = entry.key, entry.at
        match entry.event:
            case GenerationRequested(user_id=user_id):
                self._requested.append((key, user_id))
            case GenerationStarted(attempt=1):
                self._of_task(entry, "task.processing")
            case GenerationCompleted(delivered=delivered, charged=charged):
                self._of_task(entry, "task.completed", delivered=delivered, charged=charged)
                self._over.append(key)
            case GenerationDeliveredLate(delivered=delivered):
                if at - self._failed.get(key, at) <= KEPT:
                    self._of_task(entry, "task.completed", delivered=delivered, charged=0)
                self._over.append(key)
            case GenerationFailed(error_code=code, error_message=message):
                self._of_task(entry, "task.failed", error_code=code, error_message=message)
                self._failed[key] = at
            case GenerationCancelled():
                self._of_task(entry, "task.cancelled")
                self._over.append(key)
            case CreditsGranted(source="recharge") as event:
                facts = {
                    "transaction_id": event.transaction_id,
                    "recharge_id": event.reference,
                    "credits": event.amount,
                    "amount_fen": event.paid_fen,
                    "payment_method": event.payment_method,
                }
                self._tell(entry, "credits.recharged", facts, user_id=key)
            case WebhookPinged(webhook_id=webhook_id):
                self._tell(entry, PING, {}, webhook_id=webhook_id)

    def _of_task(self, entry: Recorded, event_type: EventType, **facts: Any) -> None:
        self._tell(entry, event_type, facts, subject=entry.key)

    def _tell(
        self,
        entry: Recorded,
        event_type: str,
        facts: dict[str, Any],
        *,
        subject: str | None = None,
        user_id: str | None = None,
        webhook_id: str | None = None,
    ) -> None:
        said = msgspec.json.encode(facts).decode()
        self._told.append((entry.position, event_type, webhook_id, user_id, subject, said, entry.at))

    def written(self) -> list[Statement]:
        """All of it as writes."""
        writes = [insert("webhook_tasks", _TASK, self._requested)] if self._requested else []
        writes += [
            Statement(sql, tuple(zip(*rows, strict=True)))
            for sql, rows in ((_TELL, self._told), (_FAILED, list(self._failed.items())))
            if rows
        ]
        if self._over:
            writes.append(Statement(_OVER, (self._over,)))
        return writes


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    wanted = [entry for entry in entries if type(entry.event) in _EVENTS]
    if not wanted:
        return []
    told = _Told()
    writes: list[Statement] = []
    for entry in wanted:
        # Who hears of an event is who wanted to when it happened: a change comes after what was told before it.
        if changes := _changes(entry):
            writes += [*told.written(), *changes]
            told = _Told()
        else:
            told.take(entry)
    forgotten = (wanted[-1].at - KEPT).isoformat()
    return [*writes, *told.written(), *(Statement(sql, (forgotten,)) for sql in _FORGET)]


def _changes(entry: Recorded) -> list[Statement]:
    """What an event changes in who hears of what."""
    match entry.event:
        case WebhookRegistered(webhook_id=webhook_id, user_id=user_id, event_types=event_types):
            return [insert("webhook_subscriptions", _SUBSCRIPTION, [(webhook_id, user_id, _listed(event_types))])]
        case WebhookChanged(webhook_id=webhook_id, event_types=tuple(event_types)):
            return [Statement(_FILTER, (_listed(event_types), webhook_id))]
        case WebhookEnabled(webhook_id=webhook_id):
            return [Statement(_SWITCH_ON, (webhook_id,))]
        case WebhookDisabled(webhook_id=webhook_id):
            return [Statement(_SWITCH_OFF, (webhook_id,))]
        case WebhookDeleted(webhook_id=webhook_id):
            return [Statement(sql, (webhook_id,)) for sql in _DELETE]
        case PersonErased(user_id=user_id):
            return [Statement(sql, (user_id,)) for sql in _ERASE]
        case _:
            return []


def _listed(event_types: Sequence[str]) -> str:
    return msgspec.json.encode(event_types).decode()


OUTBOX: Final = ReadModel(
    name="outbox",
    tables=("webhook_subscriptions", "webhook_tasks", "webhook_deliveries"),
    schema=SCHEMA,
    events=_EVENTS,
    statements=statements,
    volatile=frozenset({"status", "due_at", "begun_at", "tries", "attempts"}),
)

"""Which tasks wait for a worker, are being worked on, or leave something to do at a provider after their end.

How they are claimed is in ``claims``, and in columns that no event records until an attempt is begun or gone on with.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec

from mintage.domain.decider import Event
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationClosed,
    GenerationCompleted,
    GenerationDeferred,
    GenerationDeliveredLate,
    GenerationDispatched,
    GenerationFailed,
    GenerationRequested,
    GenerationResumed,
    GenerationStarted,
    GenerationSubmitted,
)
from mintage.domain.recorded import Recorded
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

RowT = TypeVar("RowT")
Change: TypeAlias = dict[str, Value]

_Over: TypeAlias = (
    GenerationCompleted | GenerationFailed | GenerationCancelled | GenerationDeliveredLate | GenerationClosed
)

SCHEMA: Final = """
create table queue (
    task_id uuid primary key,
    number bigint not null,
    user_id uuid not null,
    renderer text not null,
    upstream text not null,
    priority integer not null,
    due_at timestamptz not null,
    deadline_at timestamptz,
    attempt integer not null default 0,
    deferrals integer not null default 0,
    job_id text,
    provider_job text,
    aftermath text,
    fence bigint not null default 0,
    lease_until timestamptz,
    worker text,
    losses integer not null default 0,
    progress integer not null default 0
);
create index queue_due on queue (due_at);
create index queue_user on queue (user_id);
create index queue_aftermath on queue (due_at) where aftermath is not null;
create index queue_deadlines on queue (deadline_at, task_id) where aftermath is null;
create index queue_leases on queue (lease_until) where lease_until is not null;
create index queue_sent on queue (task_id)
    where aftermath is null and (job_id is not null or provider_job is not null);
create index queue_unsent on queue (user_id, renderer, priority, number) include (due_at, attempt)
    where aftermath is null and job_id is null and provider_job is null;
create index queue_waiting on queue (user_id, priority, number) where attempt = 0;
create index queue_at_work on queue (task_id)
    where attempt > 0 and aftermath is null and (lease_until is not null or job_id is not null);
create table queue_users (
    user_id uuid primary key,
    served_at timestamptz
);
create table queue_lines (
    user_id uuid not null,
    renderer text not null,
    priority integer not null,
    waiting integer not null,
    oldest bigint,
    due_at timestamptz,
    served_at timestamptz,
    primary key (user_id, renderer, priority)
);
create index queue_turns on queue_lines (renderer, priority desc, served_at nulls first, oldest);
"""
"""``queue_lines`` sums up each person's tasks that have not left for a provider, for claims to walk by turn.

``waiting`` counts those never begun; ``oldest`` and ``due_at`` are the least of all; ``served_at`` is the person's.
"""

_TYPES: Final = {
    "task_id": "uuid",
    "number": "bigint",
    "user_id": "uuid",
    "renderer": "text",
    "upstream": "text",
    "priority": "integer",
    "due_at": "timestamptz",
    "deadline_at": "timestamptz",
    "attempt": "integer",
    "deferrals": "integer",
    "job_id": "text",
    "provider_job": "text",
    "aftermath": "text",
    "fence": "bigint",
    "lease_until": "timestamptz",
    "worker": "text",
    "losses": "integer",
    "progress": "integer",
}
_FRESH: Final[Change] = dict.fromkeys(_TYPES) | {"attempt": 0, "deferrals": 0, "fence": 0, "losses": 0, "progress": 0}
_UNSENT: Final[Change] = {"job_id": None, "provider_job": None}
_USERS: Final = "insert into queue_users (user_id) select distinct unnest(%s::uuid[]) on conflict do nothing"
# Rows of tasks are locked before lines, here as by claims, and lines in the order of their keys: no two wait in a ring.
_LOCK: Final = "select from queue where task_id = any(%s::uuid[]) for update"
_LINE_UP: Final = """
insert into queue_lines as l (user_id, renderer, priority, waiting, oldest, due_at, served_at)
select line.user_id, line.renderer, line.priority, now.waiting, now.oldest, now.due_at, u.served_at
from (
    select distinct user_id, renderer, priority from queue where task_id = any(%s::uuid[]) order by 1, 2, 3
) line
join queue_users u on u.user_id = line.user_id
cross join lateral (
    select count(*) filter (where q.attempt = 0) as waiting, min(q.number) as oldest, min(q.due_at) as due_at
    from queue q
    where q.user_id = line.user_id and q.renderer = line.renderer and q.priority = line.priority
    and q.aftermath is null and q.job_id is null and q.provider_job is null and q.task_id <> all(%s::uuid[])
) now
order by 1, 2, 3
on conflict (user_id, renderer, priority)
do update set waiting = excluded.waiting, oldest = excluded.oldest, due_at = excluded.due_at"""
_LEAVE: Final = """
delete from queue_lines l using queue q
where q.task_id = any(%s::uuid[]) and l.oldest is null
and l.user_id = q.user_id and l.renderer = q.renderer and l.priority = q.priority"""


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    new: dict[str, Change] = {}
    changes: dict[str, Change] = {}
    gone: list[str] = []
    users: list[Value] = []
    for entry in entries:
        key = entry.key
        if isinstance(entry.event, GenerationRequested):
            new[key] = _FRESH | {"task_id": key} | _requested(entry.event, entry.at)
            users.append(entry.event.user_id)
        elif (change := _change(entry.event, entry.at)) is not None:
            (new if key in new else changes).setdefault(key, {"task_id": key}).update(change)
        elif isinstance(entry.event, _Over) and new.pop(key, None) is None:
            changes.pop(key, None)
            gone.append(key)
    writes = []
    known = [*changes, *gone]
    if known:
        writes.append(Statement(_LOCK, (known,)))
    if users:
        writes.append(Statement(_USERS, (users,)))
    if new:
        writes.append(insert("queue", _TYPES, [tuple(row[name] for name in _TYPES) for row in new.values()]))
    # Rows of which the same columns change are changed together; a row is in one such set.
    alike: dict[tuple[str, ...], list[tuple[Value, ...]]] = {}
    for change in changes.values():
        alike.setdefault(tuple(change), []).append(tuple(change.values()))
    writes += [
        update("queue", "task_id", {name: _TYPES[name] for name in names}, rows) for names, rows in alike.items()
    ]
    if touched := [*new, *known]:
        writes.append(Statement(_LINE_UP, (touched, gone)))
    if known:
        writes.append(Statement(_LEAVE, (known,)))
    if gone:
        writes.append(Statement("delete from queue where task_id = any(%s::uuid[])", (gone,)))
    return writes


def _requested(event: GenerationRequested, at: datetime) -> Change:
    return {
        "number": event.number,
        "user_id": event.user_id,
        "renderer": event.renderer,
        "upstream": event.upstream,
        "priority": event.priority,
        "due_at": at,
        "deadline_at": event.deadline_at,
    }


def _change(event: Event, at: datetime) -> Change | None:
    """What changes in a task's row; None if nothing does, or there is no more to do for the task."""
    match event:
        case GenerationStarted(attempt=attempt, fence=fence, worker=worker):
            return _UNSENT | {"attempt": attempt, "fence": fence, "worker": worker, "progress": 0}
        case GenerationDispatched(job_id=job_id):
            return {"job_id": job_id}
        case GenerationSubmitted(provider_job=provider_job):
            return {"provider_job": provider_job}
        case GenerationResumed(fence=fence, worker=worker):
            return {"fence": fence, "worker": worker}
        case GenerationDeferred(deferrals=deferrals, retry_at=retry_at):
            return _UNSENT | {"deferrals": deferrals, "due_at": retry_at, "lease_until": None, "worker": None}
        case GenerationFailed(aftermath=aftermath) | GenerationCancelled(aftermath=aftermath) if aftermath is not None:
            return {"aftermath": aftermath, "due_at": at, "lease_until": None, "worker": None}
    return None


QUEUE: Final = ReadModel(
    name="queue",
    tables=("queue", "queue_users", "queue_lines"),
    schema=SCHEMA,
    events=frozenset(
        {
            GenerationRequested,
            GenerationStarted,
            GenerationDispatched,
            GenerationSubmitted,
            GenerationResumed,
            GenerationDeferred,
            GenerationCompleted,
            GenerationFailed,
            GenerationCancelled,
            GenerationDeliveredLate,
            GenerationClosed,
        }
    ),
    statements=statements,
    volatile=frozenset({"fence", "lease_until", "worker", "losses", "progress", "served_at"}),
)


class _TaskId(msgspec.Struct):
    task_id: str


async def open_tasks_of(db: Database, user_id: str) -> list[str]:
    """The person's tasks that are not over."""
    sql = "select task_id::text from queue where user_id = %s and aftermath is null"
    return [row.task_id for row in await db.fetch(_TaskId, sql, (user_id,))]

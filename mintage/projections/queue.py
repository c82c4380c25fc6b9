"""Which tasks wait for a worker or are being worked on: rows come and go with the events of their tasks.

A claim is a lease: ``lease_until`` and ``fence`` are the running system's own and in no event until the attempt
starts, when the fence is recorded and checked by the task itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
    TaskType,
)
from mintage.domain.recorded import Recorded
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

SCHEMA: Final = """
create table queue (
    task_id uuid primary key,
    number bigint not null,
    user_id uuid not null,
    due_at timestamptz not null,
    attempt integer not null default 0,
    fence bigint not null default 0,
    lease_until timestamptz,
    worker text,
    progress integer not null default 0
);
create index queue_due on queue (due_at);
create index queue_user on queue (user_id);
create index queue_waiting on queue (user_id, number) where attempt = 0;
create index queue_at_work on queue (task_id) where attempt > 0;
"""

_COLUMNS: Final = {
    "task_id": "uuid",
    "number": "bigint",
    "user_id": "uuid",
    "due_at": "timestamptz",
}

# What an attempt comes to begins with it.
_STARTED: Final = {
    "task_id": "uuid",
    "attempt": "integer",
    "fence": "bigint",
    "worker": "text",
    "progress": "integer",
}


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task handed to one worker until the lease runs out; only ``fence`` may write what became of it."""

    task_id: str
    number: int
    user_id: str
    fence: int
    attempt: int
    task_type: TaskType
    model_provider: str
    model_name: str
    renderer: str
    prompt: str
    negative_prompt: str | None
    source_image_url: str | None
    source_file: str | None
    parameters: dict[str, Any]
    style: str | None
    transparent: bool
    price: int
    works: list[str]


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    requested: dict[str, tuple[Value, ...]] = {}
    started: dict[str, tuple[Value, ...]] = {}
    ended: list[str] = []
    for entry in entries:
        match entry.event:
            case GenerationRequested(number=number, user_id=user_id):
                requested[entry.key] = (entry.key, number, user_id, entry.at)
            case GenerationStarted(attempt=attempt, fence=fence, worker=worker):
                started[entry.key] = (entry.key, attempt, fence, worker, 0)
            case GenerationCompleted() | GenerationFailed() | GenerationCancelled():
                ended.append(entry.key)
    writes = []
    if requested:
        writes.append(insert("queue", _COLUMNS, list(requested.values())))
    if started:
        writes.append(update("queue", "task_id", _STARTED, list(started.values())))
    if ended:
        writes.append(Statement("delete from queue where task_id = any(%s::uuid[])", (ended,)))
    return writes


QUEUE: Final = ReadModel(
    name="queue",
    tables=("queue",),
    schema=SCHEMA,
    events=frozenset(
        {GenerationRequested, GenerationStarted, GenerationCompleted, GenerationFailed, GenerationCancelled}
    ),
    statements=statements,
    volatile=frozenset({"fence", "lease_until", "worker", "progress"}),
)

# Fair over users: whoever has fewest tasks being worked on comes first, then who has waited longest.
_CLAIM: Final = """
with busy as (
    select user_id, count(*) as running from queue where lease_until >= %(now)s group by user_id
), due as (
    select q.task_id from queue q left join busy b on b.user_id = q.user_id
    where q.due_at <= %(now)s and (q.lease_until is null or q.lease_until < %(now)s)
    order by coalesce(b.running, 0), q.number
    limit 1
    for update of q skip locked
)
update queue q set fence = q.fence + 1, lease_until = %(until)s, worker = %(worker)s
from due, tasks t where q.task_id = due.task_id and t.task_id = q.task_id
returning q.task_id::text, q.number, q.user_id::text, q.fence, q.attempt, t.task_type, t.model_provider, t.model_name,
    t.renderer, t.prompt, t.negative_prompt, t.source_image_url, t.source_file, t.parameters, t.style, t.transparent,
    t.price,
    (select array_agg(w.work_id::text order by w.position) from works w where w.task_id = q.task_id) as works"""


async def claim(db: Database, *, worker: str, now: datetime, until: datetime) -> Claim | None:
    """Take the next task that is due, if there is one, until the lease ends."""
    params: Any = {"now": now, "until": until, "worker": worker}
    return await db.fetch_one(Claim, _CLAIM, params)


class _Renewed(msgspec.Struct):
    fence: int


async def renew(db: Database, *, task_id: str, fence: int, until: datetime, progress: int) -> bool:
    """Keep a claim alive; False if it is not ours any more."""
    row = await db.fetch_one(
        _Renewed,
        "update queue set lease_until = %s, progress = %s where task_id = %s and fence = %s returning fence",
        (until, progress, task_id, fence),
    )
    return row is not None


class _TaskId(msgspec.Struct):
    task_id: str


async def open_tasks_of(db: Database, user_id: str) -> list[str]:
    """The person's tasks that are not over."""
    rows = await db.fetch(_TaskId, "select task_id::text from queue where user_id = %s", (user_id,))
    return [row.task_id for row in rows]

"""Which tasks wait for a worker, are being worked on, or leave something to do at a provider after their end.

A claim is a lease: ``lease_until`` and ``fence`` are the running system's own and in no event until an attempt is begun
or gone on with, when the fence is recorded and checked by the task itself. Claims are made one after the other, in all
processes, so that limits hold exactly; whoever was served least recently comes first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec

from mintage.domain.decider import Event
from mintage.domain.generation.events import (
    Aftermath,
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
    TaskType,
)
from mintage.domain.recorded import Recorded
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

RowT = TypeVar("RowT")
Change: TypeAlias = dict[str, Value]

_Over: TypeAlias = (
    GenerationCompleted | GenerationFailed | GenerationCancelled | GenerationDeliveredLate | GenerationClosed
)

CLAIM_LOCK: Final = 0x7175657565
"""The advisory lock under which claims are made ("queue" in ASCII)."""

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
create index queue_waiting on queue (user_id, priority, number) where attempt = 0;
create index queue_at_work on queue (task_id) where attempt > 0 and aftermath is null;
create table queue_users (
    user_id uuid primary key,
    served_at timestamptz
);
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
    tables=("queue", "queue_users"),
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


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A task handed to one worker until the lease runs out; only ``fence`` may write what became of it.

    ``losses`` counts the claims before that ended without a word: with their workers, as it seems.
    """

    task_id: str
    number: int
    user_id: str
    fence: int
    attempt: int
    deferrals: int
    losses: int
    job_id: str | None
    provider_job: str | None
    aftermath: Aftermath | None
    due_at: datetime
    deadline_at: datetime | None
    task_type: TaskType
    model_provider: str
    model_name: str
    renderer: str
    upstream: str
    prompt: str
    negative_prompt: str | None
    source_image_url: str | None
    source_file: str | None
    parameters: dict[str, Any]
    style: str | None
    transparent: bool
    price: int
    works: list[str]


class Serial(Database, Protocol):
    """A database in which something can be done while nobody else does the same."""

    async def fetch_one_alone(self, lock: int, row: type[RowT], sql: str, params: Any = ()) -> RowT | None:
        """The first row, or None; of several callers with the same ``lock`` each sees what those before it did."""
        ...


_TAKEN: Final = """
update queue q set fence = q.fence + 1, lease_until = %(until)s, worker = %(worker)s,
    losses = q.losses + (q.worker is not null)::integer
from due, tasks t where q.task_id = due.task_id and t.task_id = q.task_id
returning q.task_id::text, q.number, q.user_id::text, q.fence, q.attempt, q.deferrals, q.losses, q.job_id,
    q.provider_job, q.aftermath, q.due_at, q.deadline_at, t.task_type, t.model_provider, t.model_name, q.renderer,
    q.upstream, t.prompt, t.negative_prompt, t.source_image_url, t.source_file, t.parameters, t.style, t.transparent,
    t.price,
    (select array_agg(w.work_id::text order by w.position) from works w where w.task_id = q.task_id) as works"""

# What has left for a provider is under way there, whoever works on it here, and is gone on with before anything else.
_CLAIM: Final = f"""
with served as (
    select * from unnest(%(renderers)s::text[], %(limits)s::integer[]) as served (renderer, most)
), under_way as (
    select user_id, renderer from queue
    where aftermath is null and (lease_until >= %(now)s or job_id is not null or provider_job is not null)
), busy_users as (
    select user_id, count(*) as n from under_way group by user_id
), busy_renderers as (
    select renderer, count(*) as n from under_way group by renderer
), due as (
    select q.task_id, q.user_id from queue q join served s on s.renderer = q.renderer
    left join queue_users u on u.user_id = q.user_id
    left join busy_users bu on bu.user_id = q.user_id left join busy_renderers br on br.renderer = q.renderer
    where q.due_at <= %(now)s and q.aftermath is null and (q.lease_until is null or q.lease_until < %(now)s)
    and (
        q.job_id is not null or q.provider_job is not null
        or (coalesce(bu.n, 0) < %(user_limit)s and coalesce(br.n, 0) < s.most)
    )
    order by q.job_id is null and q.provider_job is null, q.priority desc, u.served_at nulls first, q.number
    limit 1
    for update of q skip locked
), turn as (
    update queue_users u set served_at = %(now)s from due where u.user_id = due.user_id
)
{_TAKEN}"""

_CLAIM_AFTERMATH: Final = f"""
with due as (
    select task_id from queue
    where aftermath is not null and due_at <= %(now)s and renderer = any(%(renderers)s)
    and (lease_until is null or lease_until < %(now)s)
    order by due_at limit 1
    for update skip locked
)
{_TAKEN}"""


async def claim(
    db: Serial, *, worker: str, now: datetime, until: datetime, limits: Mapping[str, int], user_limit: int
) -> Claim | None:
    """Take the next task that is due, if there is one, until the lease ends.

    ``limits`` says how many tasks each renderer that the worker can serve may have under way, ``user_limit`` how many
    each person, in all processes together.
    """
    params = {
        "now": now,
        "until": until,
        "worker": worker,
        "renderers": list(limits),
        "limits": list(limits.values()),
        "user_limit": user_limit,
    }
    return await db.fetch_one_alone(CLAIM_LOCK, Claim, _CLAIM, params)


async def claim_aftermath(
    db: Database, *, worker: str, now: datetime, until: datetime, renderers: Sequence[str]
) -> Claim | None:
    """Take a task that is over and leaves something to do at one of these renderers, until the lease ends."""
    params: Any = {"now": now, "until": until, "worker": worker, "renderers": list(renderers)}
    return await db.fetch_one(Claim, _CLAIM_AFTERMATH, params)


class _Fence(msgspec.Struct):
    fence: int


async def renew(db: Database, *, task_id: str, fence: int, until: datetime, progress: int) -> bool:
    """Keep a claim on a task alive; False if it is not ours any more, was put back, or the task is over."""
    row = await db.fetch_one(
        _Fence,
        # Who goes on with another's attempt does not know yet how far it was.
        "update queue set lease_until = %s, progress = greatest(progress, %s) "
        "where task_id = %s and fence = %s and worker is not null and aftermath is null "
        "returning fence",
        (until, progress, task_id, fence),
    )
    return row is not None


async def put_back(db: Database, *, task_id: str, fence: int, until: datetime | None = None) -> None:
    """End a claim before its time; nobody else is to claim the task before ``until``."""
    await db.fetch_one(
        _Fence,
        "update queue set lease_until = %s, worker = null where task_id = %s and fence = %s returning fence",
        (until, task_id, fence),
    )


class _Moment(msgspec.Struct):
    at: datetime | None


async def next_due(db: Database, now: datetime) -> datetime | None:
    """When a task that nobody may claim now can be claimed, its lease or its pause being over; None if there is none.

    Tasks that only wait for their turn do not count.
    """
    row = await db.fetch_one(
        _Moment,
        "select min(at) as at from (select greatest(due_at, lease_until) as at from queue) as moments where at > %s",
        (now,),
    )
    return None if row is None else row.at


class _TaskId(msgspec.Struct):
    task_id: str


async def open_tasks_of(db: Database, user_id: str) -> list[str]:
    """The person's tasks that are not over."""
    sql = "select task_id::text from queue where user_id = %s and aftermath is null"
    return [row.task_id for row in await db.fetch(_TaskId, sql, (user_id,))]

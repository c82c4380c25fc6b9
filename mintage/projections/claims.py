"""Claims on the queue: who works on what, for how long, and who comes next.

A claim is a lease: ``lease_until`` and ``fence`` are the running system's own and in no event until an attempt is begun
or gone on with, when the fence is recorded and checked by the task itself. Claims are made one after the other, in all
processes, so that limits hold exactly; whoever was served least recently comes first.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from mintage.domain.generation.events import Aftermath, TaskType
from mintage.projections.sql import Database

RowT = TypeVar("RowT")

CLAIM_LOCK: Final = 0x7175657565
"""The advisory lock under which claims are made ("queue" in ASCII)."""


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
# Of the rest only as many lines are looked at as are in front of the first in which there is something to take: what
# passes over a line stands where the planner cannot take it for a reason to look at all of them and sort.
_CLAIM: Final = f"""
with served as (
    select * from unnest(%(renderers)s::text[], %(limits)s::integer[]) as served (renderer, most)
), sent as materialized (
    select * from queue where aftermath is null and (job_id is not null or provider_job is not null)
), under_way as materialized (
    select user_id, renderer from sent
    union all
    select user_id, renderer from queue
    where lease_until >= %(now)s and aftermath is null and job_id is null and provider_job is null
), resumed as materialized (
    select q.task_id, q.user_id from sent join queue q using (task_id)
    left join queue_users u on u.user_id = q.user_id
    where q.renderer = any(%(renderers)s) and q.due_at <= %(now)s
    and q.aftermath is null and (q.lease_until is null or q.lease_until < %(now)s)
    order by q.priority desc, u.served_at nulls first, q.number
    limit 1
    for update of q skip locked
), begun as materialized (
    select found.task_id, found.user_id from served s cross join lateral (
        select q.*, l.user_id, l.priority, l.served_at from queue_lines l cross join lateral (
            select q.task_id, q.number from queue q
            where l.due_at <= %(now)s and l.user_id <> all(array(
                select user_id from under_way group by user_id having count(*) >= %(user_limit)s
            ))
            and q.user_id = l.user_id and q.renderer = l.renderer and q.priority = l.priority
            and q.aftermath is null and q.job_id is null and q.provider_job is null
            and q.due_at <= %(now)s and (q.lease_until is null or q.lease_until < %(now)s)
            order by q.number limit 1
            for update skip locked
        ) q
        where l.renderer = s.renderer
        order by l.priority desc, l.served_at nulls first, l.oldest limit 1
    ) found
    where not exists (select from resumed)
    and s.most > (select count(*) from under_way w where w.renderer = s.renderer)
    order by found.priority desc, found.served_at nulls first, found.number
    limit 1
), due as materialized (
    select * from resumed union all select * from begun
), turn as (
    update queue_users u set served_at = %(now)s from due where u.user_id = due.user_id
), lines as materialized (
    select l.user_id, l.renderer, l.priority from queue_lines l join due using (user_id)
    order by 1, 2, 3 for update of l
), turns as (
    update queue_lines l set served_at = %(now)s from lines
    where l.user_id = lines.user_id and l.renderer = lines.renderer and l.priority = lines.priority
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


_NEXT_DUE: Final = """
select least(
    (select min(greatest(due_at, lease_until)) from queue where lease_until > %(now)s),
    (select min(due_at) from queue where due_at > %(now)s and (lease_until is null or lease_until <= %(now)s))
) as at"""


class _Moment(msgspec.Struct):
    at: datetime | None


async def next_due(db: Database, now: datetime) -> datetime | None:
    """When a task that nobody may claim now can be claimed, its lease or its pause being over; None if there is none.

    Tasks that only wait for their turn do not count.
    """
    params: Any = {"now": now}
    row = await db.fetch_one(_Moment, _NEXT_DUE, params)
    return None if row is None else row.at

"""How a task stands, and what may be expected of it: its place in line, and when it will be done.

What has a higher priority comes first. Of one priority people take turns, as they do when tasks are claimed: whoever
was served least recently is next, before them who never was, and among those whose oldest task waits longest. The first
waiting task of each makes the first round, the second ones the second.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from mintage.projections.sql import Database

SAMPLE: Final = 50
"""So many of the newest completed tasks say how long one takes."""


class TaskState(msgspec.Struct, frozen=True, kw_only=True):
    """``version`` is that of the task's newest event; ``queue_position`` 1 is next, None unless pending.

    ``usual_s`` is how long tasks of its renderer and type take lately, from their start, None if none was completed;
    ``at_work`` is how many tasks are under way. Both are None where nothing is to be expected of them any more.
    """

    task_id: str
    number: int
    version: int
    status: str
    progress: int
    queue_position: int | None
    usual_s: float | None
    at_work: int | None
    started_at: datetime | None
    updated_at: datetime

    @property
    def over(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}

    @property
    def reached(self) -> tuple[int, int]:
        """Grows for as long as the task goes on."""
        return self.version, self.progress

    def seconds_left(self, now: datetime) -> int | None:
        """Until it is done, as far as can be told; None if it is over or nothing is known."""
        if self.usual_s is None:
            return None
        if self.queue_position is not None:
            return seconds_to_wait(self.queue_position, self.usual_s, self.at_work or 0)
        if self.progress:
            return max(1, math.ceil(self.usual_s * (100 - self.progress) / 100))
        elapsed = 0.0 if self.started_at is None else (now - self.started_at).total_seconds()
        # One that says nothing of how far it is and takes longer than usual may take any time.
        return math.ceil(self.usual_s - elapsed) if elapsed < self.usual_s else None


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What a task would have to expect that was accepted now; the fields are those of ``TaskState``."""

    queue_position: int
    usual_s: float | None
    at_work: int

    @property
    def seconds_left(self) -> int | None:
        return None if self.usual_s is None else seconds_to_wait(self.queue_position, self.usual_s, self.at_work)


def seconds_to_wait(position: int, usual_s: float, at_work: int) -> int:
    """For a task that waits, to its end: as if all took as long as it does, and those under way were half done.

    As many are worked on at a time as are under way now.
    """
    ahead = (position - 1 + at_work / 2) / max(1, at_work)
    return max(1, math.ceil((ahead + 1) * usual_s))


def _line(condition: str) -> str:
    """Everybody who waits, under a condition that is looked at first and once."""
    return f"""
line as materialized (
    select waiting.*, row_number() over (
        partition by waiting.priority order by waiting.served_at nulls first, waiting.oldest
    ) as turn
    from (
        select user_id, priority, sum(waiting)::bigint as tasks, min(oldest) as oldest, max(served_at) as served_at
        from queue_lines where waiting > 0 and {condition}
        group by user_id, priority
    ) waiting
)"""


# A person's n-th task comes after n - 1 rounds, which each took a task from whoever had as many, and in its own round
# after those who have an n-th task and whose turn is before. All is told in one pass over the line, and over the tasks
# of those whose places are asked for, however many these are.
_PLACES: Final = f"""
asked as materialized (
    select user_id, max(number) as newest from t where status = 'pending' group by user_id
), own as materialized (
    select o.user_id, o.number, o.priority, row_number() over (
        partition by o.user_id, o.priority order by o.number
    ) as nth
    from asked join queue o on o.user_id = asked.user_id and o.attempt = 0 and o.number <= asked.newest
), waits as materialized (
    select own.* from t join own using (number) where t.status = 'pending'
), {_line("exists (select from asked)")},
sizes as materialized (
    select priority, tasks, count(*) as people from line group by priority, tasks
), rounds as materialized (
    select a.priority, a.nth, (
        select sum(case when s.priority > a.priority then s.tasks else least(s.tasks, a.nth - 1) end * s.people)
        from sizes s where s.priority >= a.priority
    ) as before
    from (select distinct priority, nth from waits) a
), turns as materialized (
    select r.priority, r.nth, r.before, those.user_id, those.place from rounds r cross join lateral (
        select l.user_id, row_number() over (order by l.turn) as place
        from line l where l.priority = r.priority and l.tasks >= r.nth
    ) those
), places as materialized (
    select w.number, (turns.before + turns.place)::bigint as queue_position
    from waits w join turns on turns.user_id = w.user_id and turns.priority = w.priority and turns.nth = w.nth
)"""
_USUAL: Final = f"""
    select percentile_cont(0.5) within group (order by extract(epoch from done.finished_at - done.started_at))
    from (
        select d.started_at, d.finished_at from tasks d
        where d.status = 'completed' and d.renderer = kind.renderer and d.task_type = kind.task_type
        order by d.finished_at desc limit {SAMPLE}
    ) done"""
# A pause between two attempts is nobody's work.
_AT_WORK: Final = """(
    select count(*) from queue
    where attempt > 0 and aftermath is null and (lease_until is not null or job_id is not null)
)"""


def standing(columns: str, which: str) -> str:
    """A query for tasks and how each of them stands, newest first.

    ``which`` is the rest of a query for the tasks, as ``t``; ``columns`` are those asked for besides.
    """
    return f"""
with t as materialized (select * from tasks t where {which}),
usual as materialized (
    select kind.renderer, kind.task_type, ({_USUAL}) as usual_s
    from (select distinct renderer, task_type from t where status in ('pending', 'processing')) kind
), {_PLACES}
select t.task_id::text, t.number, t.version, t.status, t.started_at, t.updated_at,
    case when t.status = 'completed' then 100 else coalesce(q.progress, 0) end as progress,
    places.queue_position,
    case when t.status in ('pending', 'processing') then usual.usual_s end as usual_s,
    case when t.status = 'pending' then {_AT_WORK} end as at_work{columns}
from t
left join queue q on q.task_id = t.task_id and q.aftermath is null
left join usual on usual.renderer = t.renderer and usual.task_type = t.task_type
left join places on places.number = t.number
order by t.number desc"""


_STATES: Final = standing("", "t.task_id = any(%s::uuid[])")
# Who does not wait yet comes after those whose turn is before their own, between two of the others.
_OUTLOOK: Final = f"""
with kind as (
    select %(renderer)s::text as renderer, %(task_type)s::text as task_type, %(priority)s::integer as priority
), {_line("true")},
own as (
    select coalesce(mine.tasks, 0) + 1 as nth, coalesce(mine.turn, 0.5 + (
        select count(*) from line other where other.priority = kind.priority and (
            other.served_at is null
            or other.served_at < (select served_at from queue_users where user_id = %(user_id)s)
        )
    )) as turn
    from kind left join line mine on mine.user_id = %(user_id)s and mine.priority = kind.priority
)
select (own.nth + coalesce((
        select sum(case
            when other.priority > kind.priority then other.tasks
            else least(other.tasks, own.nth - (other.turn > own.turn)::integer)
        end)
        from line other, kind where other.priority > kind.priority
            or (other.priority = kind.priority and other.user_id <> %(user_id)s)
    ), 0))::bigint as queue_position,
    (select ({_USUAL}) from kind) as usual_s, {_AT_WORK} as at_work
from own"""


async def states_of(db: Database, task_ids: Sequence[str]) -> list[TaskState]:
    """How each of some tasks stands, whoever they belong to."""
    return await db.fetch(TaskState, _STATES, (list(task_ids),))


async def outlook(db: Database, user_id: str, *, renderer: str, task_type: str, priority: int) -> Outlook:
    """What a task of this kind would have to expect if the person asked for it now."""
    params: Any = {"user_id": user_id, "renderer": renderer, "task_type": task_type, "priority": priority}
    found = await db.fetch_one(Outlook, _OUTLOOK, params)
    assert found is not None
    return found

"""Every output of every task: what its owner lists, opens, and later shares."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from mintage.domain.recorded import Recorded
from mintage.domain.work.events import WorkCompleted, WorkCreated, WorkFailed
from mintage.projections.ledger import count
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

SCHEMA: Final = """
create table works (
    work_id uuid primary key,
    number bigint not null constraint works_number unique,
    user_id uuid not null,
    task_id uuid not null,
    position integer not null,
    work_type text not null,
    title text,
    status text not null default 'processing',
    file text,
    thumbnail text,
    content_type text,
    file_size bigint,
    width integer,
    height integer,
    duration_s integer,
    credits integer not null default 0,
    error_message text,
    is_public boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint works_position unique (task_id, position)
);
create index works_newest on works (user_id, number desc);
"""

_CREATED: Final = {
    "work_id": "uuid",
    "number": "bigint",
    "user_id": "uuid",
    "task_id": "uuid",
    "position": "integer",
    "work_type": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_COMPLETED: Final = {
    "work_id": "uuid",
    "status": "text",
    "file": "text",
    "thumbnail": "text",
    "content_type": "text",
    "file_size": "bigint",
    "width": "integer",
    "height": "integer",
    "duration_s": "integer",
    "credits": "integer",
    "updated_at": "timestamptz",
}
_FAILED: Final = {"work_id": "uuid", "status": "text", "error_message": "text", "updated_at": "timestamptz"}


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A work with what its task says of it; ``file`` and ``thumbnail`` are storage keys."""

    work_id: str
    number: int
    user_id: str
    task_id: str
    task_number: int
    position: int
    work_type: str
    title: str | None
    status: str
    file: str | None
    thumbnail: str | None
    content_type: str | None
    file_size: int | None
    width: int | None
    height: int | None
    duration_s: int | None
    credits: int
    error_message: str | None
    is_public: bool
    created_at: datetime
    updated_at: datetime
    model_provider: str
    model_name: str
    prompt: str
    negative_prompt: str | None
    source_image_url: str | None


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    created: list[tuple[Value, ...]] = []
    completed: list[tuple[Value, ...]] = []
    failed: list[tuple[Value, ...]] = []
    for entry in entries:
        work_id, at = entry.key, entry.at
        match entry.event:
            case WorkCreated() as event:
                created.append(
                    (
                        work_id,
                        event.number,
                        event.user_id,
                        event.task_id,
                        event.position,
                        event.work_type,
                        at,
                        at,
                    )
                )
            case WorkCompleted() as event:
                completed.append(
                    (
                        work_id,
                        "completed",
                        event.file,
                        event.thumbnail,
                        event.content_type,
                        event.file_size,
                        event.width,
                        event.height,
                        event.duration_s,
                        event.credits,
                        at,
                    )
                )
            case WorkFailed(error_message=error_message):
                failed.append((work_id, "failed", error_message, at))
    writes = []
    if created:
        writes.append(insert("works", _CREATED, created))
    if completed:
        writes.append(update("works", "work_id", _COMPLETED, completed))
    if failed:
        writes.append(update("works", "work_id", _FAILED, failed))
    return writes


WORKS: Final = ReadModel(
    name="works",
    tables=("works",),
    schema=SCHEMA,
    events=frozenset({WorkCreated, WorkCompleted, WorkFailed}),
    statements=statements,
)

_SELECT: Final = """
select w.work_id::text, w.number, w.user_id::text, w.task_id::text, t.number as task_number, w.position, w.work_type,
    w.title, w.status, w.file, w.thumbnail, w.content_type, w.file_size, w.width, w.height, w.duration_s, w.credits,
    w.error_message, w.is_public, w.created_at, w.updated_at, t.model_provider, t.model_name, t.prompt,
    t.negative_prompt, t.source_image_url
from works w join tasks t on t.task_id = w.task_id
where """


async def works_of(
    db: Database, user_id: str, *, status: str | None, work_type: str | None, limit: int, offset: int
) -> tuple[list[Work], int]:
    """A page of a person's works, newest first, and how many match in all."""
    where = "w.user_id = %(user_id)s"
    if status is not None:
        where += " and w.status = %(status)s"
    if work_type is not None:
        where += " and w.work_type = %(work_type)s"
    params: Any = {
        "user_id": user_id,
        "status": status,
        "work_type": work_type,
        "limit": limit,
        "offset": offset,
    }
    page = await db.fetch(Work, f"{_SELECT}{where} order by w.number desc limit %(limit)s offset %(offset)s", params)
    return page, await count(db, f"select count(*) as n from works w where {where}", params)


async def work_for(db: Database, reader: str, work_id: str | int) -> Work | None:
    """A work by its UUID or its integer id, if it is the reader's own or public."""
    condition = "w.number = %s" if isinstance(work_id, int) else "w.work_id = %s"
    return await db.fetch_one(Work, _SELECT + condition + " and (w.user_id = %s or w.is_public)", (work_id, reader))


async def works_of_tasks(db: Database, task_ids: Sequence[str]) -> list[Work]:
    """All works of some tasks, each task's in order."""
    sql = _SELECT + "w.task_id = any(%s::uuid[]) order by w.task_id, w.position"
    return await db.fetch(Work, sql, (list(task_ids),))


class _WorkId(msgspec.Struct):
    work_id: str


async def work_ids_of(db: Database, user_id: str) -> list[str]:
    """Everything a person ever had made, or tried to."""
    return [
        row.work_id for row in await db.fetch(_WorkId, "select work_id::text from works where user_id = %s", (user_id,))
    ]

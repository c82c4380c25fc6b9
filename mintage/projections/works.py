"""Every output of every task: what its owner lists, opens, names, shares and deletes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, get_args

import msgspec

from mintage.domain.decider import Event
from mintage.domain.recorded import ERASED, Recorded
from mintage.domain.registration.events import PersonErased
from mintage.domain.work.events import (
    WorkCompleted,
    WorkCreated,
    WorkDeleted,
    WorkEvent,
    WorkFailed,
    WorkPublished,
    WorkRenamed,
    WorkUnpublished,
)
from mintage.projections.ledger import count
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

# What was deleted stays as a row that nobody is shown, so that its files can be seen to until they are gone.
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
    deleted_at timestamptz,
    constraint works_position unique (task_id, position)
);
create index works_newest on works (user_id, number desc);
create index works_deleted on works (deleted_at) where deleted_at is not null;
create index works_public_file on works (file) where is_public;
create index works_public_thumbnail on works (thumbnail) where is_public;
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
# Kind by kind, in the order in which they are written.
_CHANGES: Final = {
    "completed": {
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
        "error_message": "text",
    },
    "failed": {"work_id": "uuid", "status": "text", "error_message": "text"},
    "renamed": {"work_id": "uuid", "title": "text"},
    "shown": {"work_id": "uuid", "is_public": "boolean"},
    "deleted": {"work_id": "uuid", "title": "text", "is_public": "boolean", "deleted_at": "timestamptz"},
    "changed": {"work_id": "uuid", "updated_at": "timestamptz"},
}
# Whoever cannot be asked any more does not publish either.
_ERASE: Final = "update works set title = null, is_public = false where user_id = any(%s::uuid[])"


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
    # Of several changes of a kind to one work the last counts.
    changes: dict[str, dict[str, tuple[Value, ...]]] = {kind: {} for kind in _CHANGES}
    erased: list[str] = []
    for entry in entries:
        match entry.event:
            case WorkCreated() as event:
                created.append(_created(entry.key, event, entry.at))
            case PersonErased(user_id=user_id):
                erased.append(user_id)
            case event if (change := _change(event, entry.at)) is not None:
                kind, values = change
                if kind == "completed":
                    # What failed came out after all; it is not written as failed after this.
                    changes["failed"].pop(entry.key, None)
                changes[kind][entry.key] = (entry.key, *values)
                changes["changed"][entry.key] = (entry.key, entry.at)
    writes = [insert("works", _CREATED, created)] if created else []
    writes += [
        update("works", "work_id", _CHANGES[kind], list(rows.values())) for kind, rows in changes.items() if rows
    ]
    if erased:
        writes.append(Statement(_ERASE, (erased,)))
    return writes


def _created(work_id: str, event: WorkCreated, at: datetime) -> tuple[Value, ...]:
    return work_id, event.number, event.user_id, event.task_id, event.position, event.work_type, at, at


def _change(event: Event, at: datetime) -> tuple[str, tuple[Value, ...]] | None:
    match event:
        case WorkCompleted():
            return "completed", (
                "completed",
                event.file,
                event.thumbnail,
                event.content_type,
                event.file_size,
                event.width,
                event.height,
                event.duration_s,
                event.credits,
                None,
            )
        case WorkFailed(error_message=error_message):
            return "failed", ("failed", error_message)
        case WorkRenamed(title=title):
            return "renamed", (None if title == ERASED else title,)
        case WorkPublished() | WorkUnpublished():
            return "shown", (isinstance(event, WorkPublished),)
        case WorkDeleted():
            return "deleted", (None, False, at)
        case _:
            return None


WORKS: Final = ReadModel(
    name="works",
    tables=("works",),
    schema=SCHEMA,
    events=frozenset({*get_args(WorkEvent), PersonErased}),
    statements=statements,
    personal=True,
)

_SELECT: Final = """
select w.work_id::text, w.number, w.user_id::text, w.task_id::text, t.number as task_number, w.position, w.work_type,
    w.title, w.status, w.file, w.thumbnail, w.content_type, w.file_size, w.width, w.height, w.duration_s, w.credits,
    w.error_message, w.is_public, w.created_at, w.updated_at, t.model_provider, t.model_name, t.prompt,
    t.negative_prompt, t.source_image_url
from works w join tasks t on t.task_id = w.task_id
where w.deleted_at is null and """


async def works_of(
    db: Database, user_id: str, *, status: str | None, work_type: str | None, limit: int, offset: int
) -> tuple[list[Work], int]:
    """A page of a person's works, newest first, and how many match in all."""
    where = "w.deleted_at is null and w.user_id = %(user_id)s"
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
    """All works of some tasks that are still there, each task's in order."""
    sql = _SELECT + "w.task_id = any(%s::uuid[]) order by w.task_id, w.position"
    return await db.fetch(Work, sql, (list(task_ids),))


class _One(msgspec.Struct):
    one: int


async def is_published(db: Database, key: str) -> bool:
    """Whether a file, by its storage key, is that of a work its owner shows to everybody."""
    sql = "select 1 as one from works where is_public and (file = %s or thumbnail = %s) limit 1"
    return await db.fetch_one(_One, sql, (key, key)) is not None


class _WorkId(msgspec.Struct):
    work_id: str


async def work_ids_of(db: Database, user_id: str) -> list[str]:
    """Everything a person ever had made, or tried to."""
    rows = await db.fetch(_WorkId, "select work_id::text from works where user_id = %s", (user_id,))
    return [row.work_id for row in rows]


async def lately_deleted(db: Database) -> list[str]:
    """The works deleted in the last day in which any was."""
    sql = """
    select work_id::text from works
    where deleted_at > (select max(deleted_at) from works) - interval '1 day'"""
    return [row.work_id for row in await db.fetch(_WorkId, sql)]

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
    WorkExpired,
    WorkFailed,
    WorkPublished,
    WorkRenamed,
    WorkUnpublished,
)
from mintage.projections.ledger import count
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

# What was deleted stays as a row that nobody is shown. Whose files are to go says so until they are gone: that is
# taken back beside the log, by whoever removed them.
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
    made_at timestamptz,
    expired_at timestamptz,
    to_remove boolean not null default false,
    is_public boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    constraint works_position unique (task_id, position)
);
create index works_newest on works (user_id, number desc);
create index works_to_remove on works (work_id) where to_remove;
create index works_kept on works (made_at, work_id) where file is not null;
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
_EMPTIED: Final = {"file": "text", "thumbnail": "text", "to_remove": "boolean"}
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
        "made_at": "timestamptz",
        "to_remove": "boolean",
    },
    "failed": {"work_id": "uuid", "status": "text", "error_message": "text", "to_remove": "boolean"},
    "renamed": {"work_id": "uuid", "title": "text"},
    "shown": {"work_id": "uuid", "is_public": "boolean"},
    "expired": {"work_id": "uuid", **_EMPTIED, "expired_at": "timestamptz"},
    "deleted": {
        "work_id": "uuid",
        **_EMPTIED,
        "title": "text",
        "is_public": "boolean",
        "deleted_at": "timestamptz",
    },
    "changed": {"work_id": "uuid", "updated_at": "timestamptz"},
}
# Whoever cannot be asked any more does not publish either.
_ERASE: Final = """
update works set title = null, is_public = false, file = null, thumbnail = null, to_remove = true
where user_id = any(%s::uuid[])"""


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
    expired_at: datetime | None
    is_public: bool
    created_at: datetime
    updated_at: datetime
    model_provider: str
    model_name: str
    prompt: str
    negative_prompt: str | None
    source_image_url: str | None


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    """What comes out after its person was erased is written after that, however the log is cut into runs."""
    writes: list[Statement] = []
    begin = 0
    for end, entry in enumerate(entries, 1):
        if isinstance(entry.event, PersonErased):
            writes += _written(entries[begin:end])
            begin = end
    return writes + _written(entries[begin:])


def _written(entries: Sequence[Recorded]) -> list[Statement]:
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
                at,
                # What failed and came late stays.
                False,
            )
        case WorkFailed(error_message=error_message):
            return "failed", ("failed", error_message, True)
        case WorkRenamed(title=title):
            return "renamed", (None if title == ERASED else title,)
        case WorkPublished() | WorkUnpublished():
            return "shown", (isinstance(event, WorkPublished),)
        case WorkExpired():
            return "expired", (None, None, True, at)
        case WorkDeleted():
            return "deleted", (None, None, True, None, False, at)
        case _:
            return None


WORKS: Final = ReadModel(
    name="works",
    tables=("works",),
    schema=SCHEMA,
    events=frozenset({*get_args(WorkEvent), PersonErased}),
    statements=statements,
    personal=True,
    revision=2,
    volatile=frozenset({"to_remove"}),
)

_SELECT: Final = """
select w.work_id::text, w.number, w.user_id::text, w.task_id::text, t.number as task_number, w.position, w.work_type,
    w.title, w.status, w.file, w.thumbnail, w.content_type, w.file_size, w.width, w.height, w.duration_s, w.credits,
    w.error_message, w.expired_at, w.is_public, w.created_at, w.updated_at, t.model_provider, t.model_name, t.prompt,
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


class _Publicity(msgspec.Struct):
    is_public: bool


async def publicity(db: Database, work_id: str, key: str) -> bool | None:
    """Whether its owner shows a file, by its storage key, to everybody; None if the work has no such file any more."""
    sql = "select is_public from works where work_id = %s and (file = %s or thumbnail = %s)"
    found = await db.fetch_one(_Publicity, sql, (work_id, key, key))
    return None if found is None else found.is_public


class Kept(msgspec.Struct, frozen=True):
    """A work with files, and since when."""

    made_at: datetime
    work_id: str


class _WorkId(msgspec.Struct):
    work_id: str


async def work_ids_of(db: Database, user_id: str) -> list[str]:
    """Everything a person ever had made, or tried to."""
    rows = await db.fetch(_WorkId, "select work_id::text from works where user_id = %s", (user_id,))
    return [row.work_id for row in rows]


async def made_before(db: Database, moment: datetime, after: tuple[datetime, str] | None, most: int) -> list[Kept]:
    """The works that were made before a moment and still have files, the oldest first, from ``after`` one on."""
    sql = """
    select made_at, work_id::text from works
    where file is not null and made_at < %s and (made_at, work_id) > (%s::timestamptz, %s::uuid)
    order by made_at, work_id limit %s"""
    return await db.fetch(Kept, sql, (moment, *(after or ("-infinity", None)), most))


async def to_be_removed(db: Database, after: str | None, most: int) -> list[str]:
    """The works whose files are to go and may still be there, by their ids, from ``after`` one on."""
    sql = """
    select work_id::text from works w
    where to_remove and not exists (select from queue q where q.task_id = w.task_id)
        and (%s::uuid is null or work_id > %s::uuid)
    order by work_id limit %s"""
    return [row.work_id for row in await db.fetch(_WorkId, sql, (after, after, most))]


async def removed(db: Database, work_ids: Sequence[str]) -> None:
    """The files of these works are gone."""
    sql = "update works set to_remove = false where work_id = any(%s::uuid[]) returning work_id::text"
    await db.fetch(_WorkId, sql, (list(work_ids),))

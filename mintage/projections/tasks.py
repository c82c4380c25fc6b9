"""Every generation task as its owner sees it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

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
from mintage.projections.ledger import count
from mintage.projections.outlook import TaskState, standing
from mintage.projections.sql import Database, ReadModel, Statement, Value, exactly, insert, update

SCHEMA: Final = """
create table tasks (
    task_id uuid primary key,
    number bigint not null constraint tasks_number unique,
    user_id uuid not null,
    document text not null,
    task_type text not null,
    model_provider text not null,
    model_name text not null,
    renderer text not null,
    prompt text not null,
    negative_prompt text,
    source_image_url text,
    source_file text,
    parameters jsonb not null,
    style text,
    transparent boolean not null,
    price integer not null,
    works integer not null,
    status text not null default 'pending',
    version bigint not null default 1,
    delivered integer not null default 0,
    charged integer not null default 0,
    error_code text,
    error_message text,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz not null,
    constraint tasks_charged check (charged between 0 and price)
);
create index tasks_newest on tasks (user_id, number desc);
create index tasks_durations on tasks (renderer, task_type, finished_at desc) include (started_at)
    where status = 'completed';
create index tasks_history on tasks (user_id, number desc) where document = 'server' and delivered > 0;
"""

_COLUMNS: Final = {
    "task_id": "uuid",
    "number": "bigint",
    "user_id": "uuid",
    "document": "text",
    "task_type": "text",
    "model_provider": "text",
    "model_name": "text",
    "renderer": "text",
    "prompt": "text",
    "negative_prompt": "text",
    "source_image_url": "text",
    "source_file": "text",
    "parameters": "jsonb",
    "style": "text",
    "transparent": "boolean",
    "price": "integer",
    "works": "integer",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}

Ending: TypeAlias = GenerationCompleted | GenerationFailed | GenerationCancelled | GenerationDeliveredLate


class Task(TaskState, frozen=True, kw_only=True):
    """``charged`` is what the task cost in the end, 0 until then."""

    user_id: str
    document: str
    task_type: str
    model_provider: str
    model_name: str
    renderer: str
    prompt: str
    negative_prompt: str | None
    source_image_url: str | None
    parameters: dict[str, Any]
    style: str | None
    transparent: bool
    price: int
    works: int
    delivered: int
    charged: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    requested: list[tuple[Value, ...]] = []
    started: dict[str, tuple[Value, ...]] = {}
    ended: dict[str, tuple[Value, ...]] = {}
    erased: list[str] = []
    for entry in entries:
        match entry.event:
            case GenerationRequested() as event:
                requested.append(_requested(entry.key, event, entry.at))
            case GenerationStarted():
                # Of several starts the first is when it was started; a rebuild meets them in one portion.
                first = started.get(entry.key)
                at = first[3] if first else entry.at
                started[entry.key] = (entry.key, "processing", entry.version, at, entry.at)
            case (
                GenerationCompleted() | GenerationFailed() | GenerationCancelled() | GenerationDeliveredLate() as event
            ):
                ended[entry.key] = _ended(entry, event)
            case PersonErased(user_id=user_id):
                erased.append(user_id)
    writes = []
    if requested:
        writes.append(insert("tasks", _COLUMNS, requested))
    if started:
        writes.append(exactly(len(started), _START, tuple(zip(*started.values(), strict=True))))
    if ended:
        writes.append(update("tasks", "task_id", _ENDED_COLUMNS, list(ended.values())))
    if erased:
        writes.append(Statement(_ERASE, (erased,)))
    return writes


# A task started again after a lost lease keeps the moment it was first started.
_START: Final = """
update tasks t set status = new.status, version = new.version, started_at = coalesce(t.started_at, new.at),
    updated_at = new.updated_at
from unnest(%s::uuid[], %s::text[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])
    as new (task_id, status, version, at, updated_at)
where t.task_id = new.task_id"""

_ERASE: Final = """
update tasks set prompt = '', negative_prompt = null, source_image_url = null where user_id = any(%s::uuid[])"""

_ENDED_COLUMNS: Final = {
    "task_id": "uuid",
    "version": "bigint",
    "status": "text",
    "delivered": "integer",
    "charged": "integer",
    "error_code": "text",
    "error_message": "text",
    "finished_at": "timestamptz",
    "updated_at": "timestamptz",
}


def _requested(task_id: str, event: GenerationRequested, at: datetime) -> tuple[Value, ...]:
    return (
        task_id,
        event.number,
        event.user_id,
        event.document,
        event.task_type,
        event.model_provider,
        event.model_name,
        event.renderer,
        event.prompt,
        event.negative_prompt,
        event.source_image_url,
        event.source_file,
        msgspec.json.encode(event.parameters).decode(),
        event.style,
        event.transparent,
        event.price,
        len(event.works),
        at,
        at,
    )


def _ended(entry: Recorded, event: Ending) -> tuple[Value, ...]:
    at = entry.at
    match event:
        case GenerationCompleted(delivered=delivered, charged=charged):
            return entry.key, entry.version, "completed", delivered, charged, None, None, at, at
        case GenerationFailed(error_code=code, error_message=message):
            return entry.key, entry.version, "failed", 0, 0, code, message, at, at
        case GenerationCancelled():
            return entry.key, entry.version, "cancelled", 0, 0, None, None, at, at
        case GenerationDeliveredLate(delivered=delivered):
            return entry.key, entry.version, "completed", delivered, 0, None, None, at, at


TASKS: Final = ReadModel(
    name="tasks",
    tables=("tasks",),
    schema=SCHEMA,
    events=frozenset(
        {
            GenerationRequested,
            GenerationStarted,
            GenerationCompleted,
            GenerationFailed,
            GenerationCancelled,
            GenerationDeliveredLate,
            PersonErased,
        }
    ),
    statements=statements,
    personal=True,
)

_REST: Final = """, t.user_id::text, t.document, t.task_type, t.model_provider, t.model_name, t.renderer, t.prompt,
    t.negative_prompt, t.source_image_url, t.parameters, t.style, t.transparent, t.price, t.works, t.delivered,
    t.charged, t.error_code, t.error_message, t.created_at, t.finished_at"""


async def task_of(db: Database, user_id: str, task_id: str | int) -> Task | None:
    """A person's task by its UUID or its integer id; None if it is not theirs."""
    condition = "t.number = %s" if isinstance(task_id, int) else "t.task_id = %s"
    return await db.fetch_one(Task, standing(_REST, f"t.user_id = %s and {condition}"), (user_id, task_id))


async def tasks_of(
    db: Database, user_id: str, *, status: str | None, task_type: str | None, limit: int, offset: int
) -> tuple[list[Task], int]:
    """A page of a person's tasks, newest first, and how many match in all."""
    matching = "t.user_id = %s"
    params: list[Any] = [user_id]
    for column, wanted in (("status", status), ("task_type", task_type)):
        if wanted is not None:
            matching += f" and t.{column} = %s"
            params.append(wanted)
    return await _page(db, matching, params, limit, offset)


async def image_history(db: Database, user_id: str, *, limit: int, offset: int) -> tuple[list[Task], int]:
    """A page of the server document's image requests that brought at least one image, newest first, and their total."""
    matching = "t.user_id = %s and t.document = 'server' and t.delivered > 0"
    return await _page(db, matching, [user_id], limit, offset)


async def _page(db: Database, matching: str, params: list[Any], limit: int, offset: int) -> tuple[list[Task], int]:
    sql = standing(_REST, f"{matching} order by t.number desc limit %s offset %s")
    tasks = await db.fetch(Task, sql, (*params, limit, offset))
    return tasks, await count(db, f"select count(*) as n from tasks t where {matching}", params)

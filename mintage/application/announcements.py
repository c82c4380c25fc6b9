"""What a webhook is told, as JSON: what happened, when, and what document v1 says of it, prompts left out."""

from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from mintage.application.ports.files import Files
from mintage.projections.deliveries import Delivery
from mintage.projections.sql import Database
from mintage.projections.tasks import Task, task_of
from mintage.projections.works import Work, works_of_tasks

_encode: Final = msgspec.json.Encoder().encode


class Announcement(msgspec.Struct, frozen=True):
    """``timestamp`` is when it happened, whenever it is sent."""

    type: str
    timestamp: datetime
    data: Any


class Billing(msgspec.Struct, frozen=True):
    state: Literal["held", "captured", "released"]
    held: int
    captured: int
    released: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    work_id: int
    work_uuid: str
    url: str | None
    thumbnail_url: str | None
    content_type: str | None
    file_size: int | None
    width: int | None
    height: int | None
    duration: int | None


class TaskTold(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the event left it; ``results`` are those that are still there when the message is sent."""

    id: int
    uuid: str
    task_type: str
    model_provider: str
    model_name: str
    status: str
    results: list[Result] = []
    error_code: str | None = None
    error_message: str | None = None
    computing_power_used: int = 0
    billing: Billing
    created_at: datetime


async def body_of(db: Database, files: Files, delivery: Delivery) -> bytes:
    """The message, with urls that work for a day from now on."""
    data: Any = delivery.facts
    if delivery.subject is not None:
        task = await task_of(db, delivery.user_id, delivery.subject)
        assert task is not None, delivery.subject
        completed = delivery.event_type == "task.completed"
        works = await works_of_tasks(db, [task.task_id]) if completed else []
        data = _task_told(task, works, files, delivery)
    return _encode(Announcement(delivery.event_type, _whole(delivery.at), data))


def _task_told(task: Task, works: list[Work], files: Files, delivery: Delivery) -> TaskTold:
    status = delivery.event_type.removeprefix("task.")
    charged = delivery.facts.get("charged", 0)
    state: Literal["held", "captured", "released"] = "captured" if charged else "released"
    return TaskTold(
        id=task.number,
        uuid=task.task_id,
        task_type=task.task_type,
        model_provider=task.model_provider,
        model_name=task.model_name,
        status=status,
        results=[_result(work, files) for work in works if work.status == "completed"],
        error_code=delivery.facts.get("error_code"),
        error_message=delivery.facts.get("error_message"),
        computing_power_used=charged,
        billing=Billing("held", task.price, 0, 0)
        if status == "processing"
        else Billing(state, task.price, charged, task.price - charged),
        created_at=_whole(task.created_at),
    )


def _result(work: Work, files: Files) -> Result:
    url, small = (None if key is None else files.url(key, public=work.is_public) for key in (work.file, work.thumbnail))
    return Result(
        work_id=work.number,
        work_uuid=work.work_id,
        url=url,
        thumbnail_url=small,
        content_type=work.content_type,
        file_size=work.file_size,
        width=work.width,
        height=work.height,
        duration=work.duration_s,
    )


def _whole(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)

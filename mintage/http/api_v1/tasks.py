"""Tasks as document v1 shows them, with what came out of them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from mintage.application.generations import Quote
from mintage.application.ports.files import Files
from mintage.application.services import Services
from mintage.domain.generation.decider import TaskUnknown
from mintage.http.api_v1.views import file_url
from mintage.http.kinds import Moment, TaskStatus, TaskType, Url, Uuid
from mintage.http.languages import Language
from mintage.http.messages import stored
from mintage.http.times import whole, whole_or_none
from mintage.projections.outlook import Outlook, TaskState
from mintage.projections.tasks import Task, task_of
from mintage.projections.works import Work, works_of_tasks


class Result(msgspec.Struct, frozen=True, kw_only=True):
    work_id: int
    work_uuid: Uuid
    url: Url | None
    thumbnail_url: Url | None
    content_type: str | None
    file_size: int | None
    width: int | None
    height: int | None
    duration: int | None


class Billing(msgspec.Struct, frozen=True):
    """``held`` is what was held when the task was accepted; what is not captured of it is released at the end."""

    state: Literal["held", "captured", "released"]
    held: int
    captured: int
    released: int


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """``renderer`` says what really serves the model.

    ``queue_position`` 1 is next, and null unless the task is pending. ``estimated_seconds`` are those until it is done,
    as far as can be told from how long such tasks took lately; null if it is over or there is nothing to tell from.
    """

    id: int
    uuid: Uuid
    task_type: TaskType
    model_provider: str
    model_name: str
    renderer: str
    prompt: str
    negative_prompt: str | None
    source_image_url: Url | None
    parameters: dict[str, Any]
    status: TaskStatus
    progress: int
    queue_position: int | None
    estimated_seconds: int | None
    result_url: Url | None
    results: list[Result]
    error_code: str | None
    error_message: str | None
    computing_power_used: int
    billing: Billing
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    updated_at: Moment


class StateView(msgspec.Struct, frozen=True, kw_only=True):
    """How a task stands; as in the whole task."""

    id: int
    uuid: Uuid
    status: TaskStatus
    progress: int
    queue_position: int | None
    estimated_seconds: int | None
    updated_at: Moment


class TaskList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[TaskView]
    total: int
    page: int
    page_size: int


class QuoteView(msgspec.Struct, frozen=True, kw_only=True):
    """``price`` is what would be held, in credits, and ``per_work`` what each work would cost if all come out.

    ``estimated_seconds`` are those until it would be done, null if there is nothing to tell from.
    """

    task_type: TaskType
    model_provider: str
    model_name: str
    renderer: str
    parameters: dict[str, Any]
    price: int
    per_work: list[int]
    available: int
    affordable: bool
    estimated_seconds: int | None


async def own_task(services: Services, user_id: str, task_id: int | str) -> Task:
    """Raises ``TaskUnknown`` if it is another's, too."""
    task = await task_of(services.db, user_id, task_id)
    if task is None:
        raise TaskUnknown
    return task


async def shown(services: Services, task: Task, language: Language) -> TaskView:
    (view,) = await all_shown(services, [task], language)
    return view


async def all_shown(services: Services, tasks: Sequence[Task], language: Language) -> list[TaskView]:
    delivered = [task.task_id for task in tasks if task.delivered]
    works: dict[str, list[Work]] = {}
    for work in await works_of_tasks(services.db, delivered) if delivered else ():
        works.setdefault(work.task_id, []).append(work)
    now = services.clock()
    return [task_view(task, works.get(task.task_id, ()), services.files, language, now) for task in tasks]


def task_view(task: Task, works: Iterable[Work], files: Files, language: Language, now: datetime) -> TaskView:
    results = [_result(work, files) for work in works if work.status == "completed"]
    return TaskView(
        id=task.number,
        uuid=task.task_id,
        task_type=task.task_type,
        model_provider=task.model_provider,
        model_name=task.model_name,
        renderer=task.renderer,
        prompt=task.prompt,
        negative_prompt=task.negative_prompt,
        source_image_url=task.source_image_url,
        parameters=task.parameters,
        status=task.status,
        progress=task.progress,
        queue_position=task.queue_position,
        estimated_seconds=task.seconds_left(now),
        result_url=results[0].url if results else None,
        results=results,
        error_code=task.error_code,
        error_message=stored(task.error_message, language),
        computing_power_used=task.charged,
        billing=_billing(task),
        created_at=whole(task.created_at),
        started_at=whole_or_none(task.started_at),
        finished_at=whole_or_none(task.finished_at),
        updated_at=whole(task.updated_at),
    )


def state_view(state: TaskState, now: datetime) -> StateView:
    return StateView(
        id=state.number,
        uuid=state.task_id,
        status=state.status,
        progress=state.progress,
        queue_position=state.queue_position,
        estimated_seconds=state.seconds_left(now),
        updated_at=whole(state.updated_at),
    )


def quote_view(quote: Quote, task_type: str, expected: Outlook) -> QuoteView:
    return QuoteView(
        task_type=task_type,
        model_provider=quote.model.provider,
        model_name=quote.model.name,
        renderer=quote.model.renderer,
        parameters=quote.parameters,
        price=quote.price,
        per_work=quote.per_work,
        available=quote.available,
        affordable=quote.affordable,
        estimated_seconds=expected.seconds_left,
    )


def as_accepted(task: Task) -> Task:
    """The task as it was when it was accepted, however far a fast worker has got meanwhile."""
    return msgspec.structs.replace(
        task,
        status="pending",
        progress=0,
        queue_position=task.queue_position or 1,
        at_work=task.at_work or 0,
        charged=0,
        error_code=None,
        error_message=None,
        started_at=None,
        finished_at=None,
        updated_at=task.created_at,
    )


def _result(work: Work, files: Files) -> Result:
    return Result(
        work_id=work.number,
        work_uuid=work.work_id,
        url=file_url(work.file, work, files),
        thumbnail_url=file_url(work.thumbnail, work, files),
        content_type=work.content_type,
        file_size=work.file_size,
        width=work.width,
        height=work.height,
        duration=work.duration_s,
    )


def _billing(task: Task) -> Billing:
    if not task.over:
        return Billing("held", task.price, 0, 0)
    return Billing("captured" if task.charged else "released", task.price, task.charged, task.price - task.charged)

"""What document-v1 shows of people, tasks and works."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

from mintage.application.ports import Files
from mintage.http.files import avatar_url
from mintage.http.kinds import Moment, TaskStatus, TaskType, Url, Uuid, WorkStatus, WorkType
from mintage.http.languages import Language
from mintage.http.messages import stored
from mintage.http.times import whole, whole_or_none
from mintage.projections.characters import Character
from mintage.projections.ledger import Balance
from mintage.projections.outlook import TaskState
from mintage.projections.people import Person
from mintage.projections.tasks import Task
from mintage.projections.works import Work


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    uuid: Uuid
    username: str
    nickname: str | None
    email: str | None
    email_verified: bool
    phone: str | None
    avatar_url: str | None
    computing_power: int
    held_computing_power: int
    referral_code: str
    role: str
    created_at: Moment
    updated_at: Moment


class SignedIn(msgspec.Struct, frozen=True):
    token: str
    user: UserView


class WorkView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    uuid: Uuid
    task_id: int
    title: str | None
    work_type: WorkType
    content_type: str | None
    model_provider: str
    model_name: str
    prompt: str
    negative_prompt: str | None
    source_image_url: Url | None
    result_url: Url | None
    thumbnail_url: Url | None
    file_size: int | None
    width: int | None
    height: int | None
    duration: int | None
    status: WorkStatus
    error_message: str | None
    is_public: bool
    computing_power_used: int
    created_at: Moment
    updated_at: Moment


class CharacterView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    uuid: Uuid
    name: str
    avatar_url: Url | None
    type: str
    created_at: Moment
    updated_at: Moment


class CharacterList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[CharacterView]
    total: int
    page: int
    page_size: int


class WorkList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[WorkView]
    total: int
    page: int
    page_size: int


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


def user_view(person: Person, balance: Balance, files: Files) -> UserView:
    return UserView(
        id=person.number,
        uuid=person.user_id,
        username=person.username,
        nickname=person.name,
        email=person.email,
        email_verified=person.email_verified,
        phone=person.phone,
        avatar_url=avatar_url(files, person.avatar),
        computing_power=balance.available,
        held_computing_power=balance.held,
        referral_code=person.referral_code,
        role=person.role,
        created_at=whole(person.created_at),
        updated_at=whole(person.updated_at),
    )


def work_view(work: Work, files: Files, reader: str, language: Language) -> WorkView:
    """What somebody is shown who may see the work; the image it was made from stays its owner's."""
    return WorkView(
        id=work.number,
        uuid=work.work_id,
        task_id=work.task_number,
        title=work.title,
        work_type=work.work_type,
        content_type=work.content_type,
        model_provider=work.model_provider,
        model_name=work.model_name,
        prompt=work.prompt,
        negative_prompt=work.negative_prompt,
        source_image_url=work.source_image_url if reader == work.user_id else None,
        result_url=_url(work.file, work, files),
        thumbnail_url=_url(work.thumbnail, work, files),
        file_size=work.file_size,
        width=work.width,
        height=work.height,
        duration=work.duration_s,
        status=work.status,
        error_message=stored(work.error_message, language),
        is_public=work.is_public,
        computing_power_used=work.credits,
        created_at=whole(work.created_at),
        updated_at=whole(work.updated_at),
    )


def character_view(character: Character) -> CharacterView:
    return CharacterView(
        id=character.number,
        uuid=character.character_id,
        name=character.name,
        avatar_url=character.avatar_url,
        type=character.character_type,
        created_at=whole(character.created_at),
        updated_at=whole(character.updated_at),
    )


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
        url=_url(work.file, work, files),
        thumbnail_url=_url(work.thumbnail, work, files),
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


def _url(key: str | None, work: Work, files: Files) -> str | None:
    return None if key is None else files.url(key, public=work.is_public)

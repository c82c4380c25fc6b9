"""What document-server shows of people, credits and images, each reply with just the fields of its example."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mintage.application.ports.files import Files
from mintage.http.files import avatar_url
from mintage.http.kinds import AdjustmentStatus, Direction, Moment, Url, Uuid
from mintage.http.times import whole, whole_or_none
from mintage.projections.adjustments import AdjustmentRow
from mintage.projections.holds import OpenHold
from mintage.projections.ledger import TransactionLine
from mintage.projections.people import Person
from mintage.projections.tasks import Task
from mintage.projections.works import Work


class User(msgspec.Struct, frozen=True, kw_only=True):
    id: Uuid
    email: str | None
    name: str
    avatar: str | None
    email_verified: bool


class NewUser(User, frozen=True, kw_only=True):
    created_at: Moment


class Profile(NewUser, frozen=True, kw_only=True):
    updated_at: Moment


class ChangedProfile(User, frozen=True, kw_only=True):
    updated_at: Moment


class GoogleUser(msgspec.Struct, frozen=True, kw_only=True):
    id: Uuid
    email: str | None
    name: str
    avatar: str | None
    google_id: str | None
    email_verified: bool


class PersonRole(msgspec.Struct, frozen=True):
    id: Uuid
    role: str


class Line(msgspec.Struct, frozen=True):
    id: Uuid
    type: Direction
    kind: str
    amount: int
    description: str
    payment_method: str | None
    balance_after: int
    created_at: Moment
    reverses: Uuid | None


class Transactions(msgspec.Struct, frozen=True):
    transactions: list[Line]
    total: int
    page: int
    limit: int


class Hold(msgspec.Struct, frozen=True):
    """Credits set aside for a task."""

    hold_id: Uuid
    task_id: Uuid
    amount: int
    product: str
    description: str
    created_at: Moment
    expires_at: Moment | None


class Holds(msgspec.Struct, frozen=True):
    holds: list[Hold]
    total: int
    page: int
    limit: int


class Adjustment(msgspec.Struct, frozen=True):
    adjustment_id: Uuid
    user_id: Uuid
    amount: int
    reason: str
    status: AdjustmentStatus
    requested_by: str
    decided_by: str | None
    expires_at: Moment | None
    priority: int
    created_at: Moment
    decided_at: Moment | None


class Adjustments(msgspec.Struct, frozen=True):
    adjustments: list[Adjustment]
    total: int
    page: int
    limit: int


class MadeImage(msgspec.Struct, frozen=True):
    id: Uuid
    url: Url
    prompt: str
    style: str | None
    transparent: bool
    created_at: Moment


class Made(msgspec.Struct, frozen=True):
    images: list[MadeImage]
    credits_consumed: int
    remaining_credits: int


class StillMaking(Made, frozen=True):
    task_id: Uuid


class PastImage(msgspec.Struct, frozen=True):
    id: Uuid
    url: Url
    created_at: Moment


class PastRequest(msgspec.Struct, frozen=True):
    id: Uuid
    prompt: str
    style: str | None
    transparent: bool
    images: list[PastImage]
    credits_used: int
    created_at: Moment


class History(msgspec.Struct, frozen=True):
    history: list[PastRequest]
    total: int
    page: int
    limit: int


def user(person: Person, files: Files) -> User:
    return User(**_shared(person, files))


def new_user(person: Person, files: Files) -> NewUser:
    return NewUser(**_shared(person, files), created_at=whole(person.created_at))


def profile(person: Person, files: Files) -> Profile:
    return Profile(**_shared(person, files), created_at=whole(person.created_at), updated_at=whole(person.updated_at))


def changed_profile(person: Person, files: Files) -> ChangedProfile:
    return ChangedProfile(**_shared(person, files), updated_at=whole(person.updated_at))


def google_user(person: Person, files: Files) -> GoogleUser:
    return GoogleUser(**_shared(person, files), google_id=person.google_id)


def role(person: Person) -> PersonRole:
    return PersonRole(person.user_id, person.role)


def line(transaction: TransactionLine) -> Line:
    return Line(**{**msgspec.structs.asdict(transaction), "created_at": whole(transaction.created_at)})


def hold(row: OpenHold) -> Hold:
    times = {"created_at": whole(row.created_at), "expires_at": whole_or_none(row.expires_at)}
    return Hold(**{**msgspec.structs.asdict(row), "task_id": row.hold_id, **times})


def adjustment(row: AdjustmentRow) -> Adjustment:
    times = {name: whole_or_none(getattr(row, name)) for name in ("created_at", "decided_at", "expires_at")}
    return Adjustment(**{**msgspec.structs.asdict(row), **times})


def made_images(task: Task, works: Iterable[Work], files: Files) -> list[MadeImage]:
    return [
        MadeImage(
            work.work_id,
            files.url(work.file, public=work.is_public),
            task.prompt,
            task.style,
            task.transparent,
            whole(work.created_at),
        )
        for work in works
        if work.file is not None
    ]


def past_requests(tasks: Sequence[Task], works: Iterable[Work], files: Files) -> list[PastRequest]:
    images: Mapping[str, list[PastImage]] = {task.task_id: [] for task in tasks}
    for work in works:
        if work.file is not None:
            url = files.url(work.file, public=work.is_public)
            images[work.task_id].append(PastImage(work.work_id, url, whole(work.created_at)))
    return [
        PastRequest(
            task.task_id,
            task.prompt,
            task.style,
            task.transparent,
            images[task.task_id],
            task.charged,
            whole(task.created_at),
        )
        for task in tasks
    ]


def _shared(person: Person, files: Files) -> dict[str, Any]:
    return {
        "id": person.user_id,
        "email": person.email,
        "name": person.name or person.username,
        "avatar": avatar_url(files, person.avatar),
        "email_verified": person.email_verified,
    }

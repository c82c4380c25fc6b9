"""A work is made by one task, comes out or fails once, is its owner's to name, publish and delete, and may expire.

One exception: what failed because time ran out may still come out late, for nothing.
"""

from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.work.events import (
    WorkCompleted,
    WorkCreated,
    WorkDeleted,
    WorkEvent,
    WorkExpired,
    WorkFailed,
    WorkPublished,
    WorkRenamed,
    WorkType,
    WorkUnpublished,
)


class CreateWork(Command, frozen=True):
    user_id: str
    task_id: str
    number: int
    position: int
    work_type: WorkType


class CompleteWork(Command, frozen=True):
    """A work that failed may still come out, late and for nothing."""

    file: str
    thumbnail: str
    content_type: str
    file_size: int
    width: int
    height: int
    credits: int
    duration_s: int | None = None


class FailWork(Command, frozen=True):
    error_message: str


class ExpireWork(Command, frozen=True):
    """What was made longer ago than ``retention_days`` loses its files, whoever sees it; a second time nothing does."""

    retention_days: int


class ChangeWork(Command, frozen=True):
    """``user_id`` is who asks. What is unset stays; a ``title`` of None takes it away."""

    user_id: str
    title: str | UnsetType | None = UNSET
    is_public: bool | UnsetType = UNSET


class DeleteWork(Command, frozen=True):
    """``user_id`` is who asks."""

    user_id: str


Making: TypeAlias = CompleteWork | FailWork
Keeping: TypeAlias = ChangeWork | DeleteWork
WorkCommand: TypeAlias = CreateWork | Making | Keeping | ExpireWork


class WorkUnknown(Refusal):
    """There is no such work, or none that the one who asks may know of."""


class WorkNotYours(Refusal):
    """The work is public, but somebody else's: it may be seen and not changed."""


class WorkExists(Refusal):
    """The work's id was used already."""


class WorkOver(Refusal):
    """The work has come out or failed and stays as it is."""


class WorkInTheMaking(Refusal):
    """The work can be deleted when its task is over; the task can be cancelled."""


class Work(msgspec.Struct, frozen=True):
    user_id: str = ""
    status: Literal["unknown", "processing", "completed", "failed", "expired", "deleted"] = "unknown"
    is_public: bool = False


def decide(command: WorkCommand, work: Work) -> tuple[WorkEvent, ...]:
    if isinstance(command, CreateWork):
        if work.status != "unknown":
            raise WorkExists
        return (WorkCreated(**asdict(command)),)
    if isinstance(command, ExpireWork):
        # Several processes look for what is due, and its owner may delete it meanwhile.
        return (WorkExpired(**asdict(command)),) if work.status == "completed" else ()
    if work.status in {"unknown", "deleted"}:
        raise WorkUnknown
    if isinstance(command, Making):
        return _make(command, work)
    if command.user_id != work.user_id:
        raise WorkNotYours if work.is_public else WorkUnknown
    return _keep(command, work)


def _make(command: Making, work: Work) -> tuple[WorkEvent, ...]:
    is_late_gift = work.status == "failed" and isinstance(command, CompleteWork) and command.credits == 0
    if work.status != "processing" and not is_late_gift:
        raise WorkOver
    match command:
        case CompleteWork():
            return (WorkCompleted(**asdict(command)),)
        case FailWork(error_message=error_message):
            return (WorkFailed(error_message=error_message),)
        case _:
            assert_never(command)


def _keep(command: Keeping, work: Work) -> tuple[WorkEvent, ...]:
    match command:
        case ChangeWork(user_id=user_id, title=title, is_public=is_public):
            events: list[WorkEvent] = []
            if title is not UNSET:
                events.append(WorkRenamed(user_id=user_id, title=title))
            if is_public not in {UNSET, work.is_public}:
                events.append(WorkPublished() if is_public else WorkUnpublished())
            return tuple(events)
        case DeleteWork():
            if work.status == "processing":
                raise WorkInTheMaking
            return (WorkDeleted(),)
        case _:
            assert_never(command)


def evolve(work: Work, event: WorkEvent) -> Work:
    match event:
        case WorkCreated(user_id=user_id):
            return Work(user_id=user_id, status="processing")
        case WorkCompleted():
            return replace(work, status="completed")
        case WorkFailed():
            return replace(work, status="failed")
        case WorkRenamed():
            return work
        case WorkPublished() | WorkUnpublished():
            return replace(work, is_public=isinstance(event, WorkPublished))
        case WorkExpired():
            return replace(work, status="expired")
        case WorkDeleted():
            return replace(work, status="deleted", is_public=False)
        case _:
            assert_never(event)


WORK: Decider[Work, WorkCommand, WorkEvent] = Decider("work", Work(), decide, evolve)

"""A work is made by one task and comes out or fails once."""

from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import asdict, replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.work.events import WorkCompleted, WorkCreated, WorkEvent, WorkFailed, WorkType


class CreateWork(Command, frozen=True):
    user_id: str
    task_id: str
    number: int
    position: int
    work_type: WorkType


class CompleteWork(Command, frozen=True):
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


WorkCommand: TypeAlias = CreateWork | CompleteWork | FailWork


class WorkUnknown(Refusal):
    """There is no such work."""


class WorkExists(Refusal):
    """The work's id was used already."""


class WorkOver(Refusal):
    """The work has come out or failed and stays as it is."""


class Work(msgspec.Struct, frozen=True):
    user_id: str = ""
    status: Literal["unknown", "processing", "completed", "failed"] = "unknown"


def decide(command: WorkCommand, work: Work) -> tuple[WorkEvent, ...]:
    if isinstance(command, CreateWork):
        if work.status != "unknown":
            raise WorkExists
        return (WorkCreated(**asdict(command)),)
    if work.status == "unknown":
        raise WorkUnknown
    if work.status != "processing":
        raise WorkOver
    match command:
        case CompleteWork():
            return (WorkCompleted(**asdict(command)),)
        case FailWork(error_message=error_message):
            return (WorkFailed(error_message=error_message),)
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
        case _:
            assert_never(event)


WORK: Decider[Work, WorkCommand, WorkEvent] = Decider("work", Work(), decide, evolve)

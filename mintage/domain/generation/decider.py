"""A task ends once, and only the worker whose claim is the newest may end its attempt."""

from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import asdict, replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.generation.events import (
    Document,
    GenerationCancelled,
    GenerationCompleted,
    GenerationEvent,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
    Parameter,
    TaskType,
)


class RequestGeneration(Command, frozen=True):
    user_id: str
    number: int
    document: Document
    task_type: TaskType
    model_provider: str
    model_name: str
    renderer: str
    prompt: str
    parameters: dict[str, Parameter]
    price: int
    works: tuple[str, ...]
    negative_prompt: str | None = None
    source_image_url: str | None = None
    style: str | None = None
    transparent: bool = False
    source_file: str | None = None


class StartAttempt(Command, frozen=True):
    fence: int
    worker: str


class RecordSuccess(Command, frozen=True):
    """``delivered`` of the task's works came out, at least one."""

    fence: int
    delivered: int


class RecordFailure(Command, frozen=True):
    """``fence`` None is the system itself ending a task that nobody works on."""

    error_code: str
    error_message: str
    fence: int | None = None


class CancelGeneration(Command, frozen=True):
    pass


GenerationCommand: TypeAlias = RequestGeneration | StartAttempt | RecordSuccess | RecordFailure | CancelGeneration

Status: TypeAlias = Literal["unknown", "pending", "processing", "completed", "failed", "cancelled"]


class TaskUnknown(Refusal):
    """There is no such task."""


class TaskExists(Refusal):
    """The task's id was used already."""


class TaskOver(Refusal):
    """The task has ended and stays as it is."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"the task is {status}")
        self.status = status


class LeaseLost(Refusal):
    """Another worker holds a newer claim on the task."""

    def __init__(self, *, fence: int, newest: int) -> None:
        super().__init__(f"claim {fence} is superseded by claim {newest}")
        self.fence = fence
        self.newest = newest


class Task(msgspec.Struct, frozen=True):
    """Holds nothing personal, so that it can be kept and folded without the person's key."""

    user_id: str = ""
    status: Status = "unknown"
    price: int = 0
    works: tuple[str, ...] = ()
    attempt: int = 0
    fence: int = 0

    def share(self, delivered: int) -> int:
        """What ``delivered`` works of this task cost, in credits: the price's share, rounded down."""
        return self.price * delivered // len(self.works)


def decide(command: GenerationCommand, task: Task) -> tuple[GenerationEvent, ...]:
    if isinstance(command, RequestGeneration):
        if task.status != "unknown":
            raise TaskExists
        return (_requested(command),)
    _require_open(task)
    match command:
        case StartAttempt(fence=fence, worker=worker):
            if fence <= task.fence:
                raise LeaseLost(fence=fence, newest=task.fence)
            return (GenerationStarted(attempt=task.attempt + 1, fence=fence, worker=worker),)
        case RecordSuccess(fence=fence, delivered=delivered):
            _require_newest(fence, task)
            assert 0 < delivered <= len(task.works), delivered
            return (GenerationCompleted(delivered=delivered, charged=task.share(delivered)),)
        case RecordFailure(fence=fence):
            if fence is not None:
                _require_newest(fence, task)
            return (GenerationFailed(error_code=command.error_code, error_message=command.error_message),)
        case CancelGeneration():
            return (GenerationCancelled(),)
        case _:
            assert_never(command)


def evolve(task: Task, event: GenerationEvent) -> Task:
    match event:
        case GenerationRequested():
            return Task(user_id=event.user_id, status="pending", price=event.price, works=event.works)
        case GenerationStarted(attempt=attempt, fence=fence):
            return replace(task, status="processing", attempt=attempt, fence=fence)
        case GenerationCompleted():
            return replace(task, status="completed")
        case GenerationFailed():
            return replace(task, status="failed")
        case GenerationCancelled():
            return replace(task, status="cancelled")
        case _:
            assert_never(event)


def _requested(command: RequestGeneration) -> GenerationRequested:
    assert command.price > 0
    assert command.works
    return GenerationRequested(**asdict(command))


def _require_open(task: Task) -> None:
    match task.status:
        case "unknown":
            raise TaskUnknown
        case "completed" | "failed" | "cancelled":
            raise TaskOver(task.status)
        case "pending" | "processing":
            return


def _require_newest(fence: int, task: Task) -> None:
    if fence != task.fence or not task.attempt:
        raise LeaseLost(fence=fence, newest=task.fence)


GENERATION: Decider[Task, GenerationCommand, GenerationEvent] = Decider("generation", Task(), decide, evolve)

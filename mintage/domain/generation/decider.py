"""A task ends once, only the newest claim may say what became of its attempt, and nothing is sent to a provider twice.

After a task's end there may be something left to do at its provider: an aftermath, which moves no credits.
"""

from datetime import datetime
from typing import Final, Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import asdict, replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.generation.events import (
    Aftermath,
    Document,
    GenerationCancelled,
    GenerationClosed,
    GenerationCompleted,
    GenerationDeferred,
    GenerationDeliveredLate,
    GenerationDispatched,
    GenerationEvent,
    GenerationFailed,
    GenerationRequested,
    GenerationResumed,
    GenerationStarted,
    GenerationSubmitted,
    Outcome,
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
    upstream: str = ""
    priority: int = 0
    deadline_at: datetime | None = None


class StartAttempt(Command, frozen=True):
    """Begin anew; refused while an attempt that may have arrived at a provider is not settled."""

    fence: int
    worker: str


class ResumeAttempt(Command, frozen=True):
    """Go on, under a newer claim, with an attempt that may have arrived at a provider."""

    fence: int
    worker: str


class RecordDispatch(Command, frozen=True):
    fence: int
    job_id: str


class RecordSubmission(Command, frozen=True):
    fence: int
    provider_job: str
    cancels: bool


class RecordDeferral(Command, frozen=True):
    """The attempt surely had no effect."""

    fence: int
    error_code: str
    retry_at: datetime


class RecordSuccess(Command, frozen=True):
    """``delivered`` of the task's works came out, at least one."""

    fence: int
    delivered: int


class RecordFailure(Command, frozen=True):
    """``fence`` None is the system itself ending a task that nobody works on."""

    error_code: str
    error_message: str
    fence: int | None = None


class TimeOut(Command, frozen=True):
    """The task's time is over; ``fence`` as in ``RecordFailure``."""

    error_message: str
    fence: int | None = None


class CancelGeneration(Command, frozen=True):
    pass


class RecordLateDelivery(Command, frozen=True):
    """``delivered`` works came out although the task had timed out."""

    delivered: int


class CloseAftermath(Command, frozen=True):
    outcome: Outcome


Reporting: TypeAlias = RecordDispatch | RecordSubmission | RecordDeferral | RecordSuccess
"""What only the newest claim may say of the attempt that it works on."""
Working: TypeAlias = StartAttempt | ResumeAttempt | Reporting
Ending: TypeAlias = RecordFailure | TimeOut | CancelGeneration
Closing: TypeAlias = RecordLateDelivery | CloseAftermath
GenerationCommand: TypeAlias = RequestGeneration | Working | Ending | Closing

TIMED_OUT: Final = "TIMED_OUT"
"""The error code of a task whose time was over."""

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
    """Another worker holds a newer claim on the task, or the attempt is over."""

    def __init__(self, *, fence: int, newest: int) -> None:
        super().__init__(f"claim {fence} is superseded by claim {newest}")
        self.fence = fence
        self.newest = newest


class AttemptSent(Refusal):
    """The attempt may have arrived at a provider already: it is not sent again."""


class NothingSent(Refusal):
    """There is no attempt that a provider may know of, so that there is nothing to go on with."""


class Task(msgspec.Struct, frozen=True):
    """Holds nothing personal, so that it can be kept and folded without the person's key.

    ``is_tried`` says whether an attempt is under way. ``job_id`` is ours and ``provider_job`` the provider's for it.
    """

    user_id: str = ""
    status: Status = "unknown"
    price: int = 0
    works: tuple[str, ...] = ()
    attempt: int = 0
    fence: int = 0
    is_tried: bool = False
    deferrals: int = 0
    job_id: str | None = None
    provider_job: str | None = None
    cancels: bool = False
    aftermath: Aftermath | None = None

    @property
    def is_sent(self) -> bool:
        """Whether a provider may know of the attempt that is under way."""
        return self.job_id is not None or self.provider_job is not None

    def share(self, delivered: int) -> int:
        """What ``delivered`` works of this task cost, in credits: the price's share, rounded down."""
        return self.price * delivered // len(self.works)


def decide(command: GenerationCommand, task: Task) -> tuple[GenerationEvent, ...]:
    if isinstance(command, RequestGeneration):
        if task.status != "unknown":
            raise TaskExists
        return (_requested(command),)
    if isinstance(command, Closing):
        return _close(command, task)
    _require_open(task)
    return _end(command, task) if isinstance(command, Ending) else _work_on(command, task)


def _work_on(command: Working, task: Task) -> tuple[GenerationEvent, ...]:
    match command:
        case StartAttempt(fence=fence, worker=worker):
            _require_newer(fence, task)
            if task.is_sent:
                raise AttemptSent
            return (GenerationStarted(attempt=task.attempt + 1, fence=fence, worker=worker),)
        case ResumeAttempt(fence=fence, worker=worker):
            _require_newer(fence, task)
            if not task.is_sent:
                raise NothingSent
            return (GenerationResumed(fence=fence, worker=worker),)
        case _:
            _require_newest(command.fence, task)
            return _report(command, task)


def _report(command: Reporting, task: Task) -> tuple[GenerationEvent, ...]:
    match command:
        case RecordDispatch(job_id=job_id):
            if not task.is_sent:
                return (GenerationDispatched(attempt=task.attempt, job_id=job_id),)
            return _repeated(job_id, task.job_id if task.provider_job is None else None)
        case RecordSubmission(provider_job=provider_job, cancels=cancels):
            if task.provider_job is None:
                return (GenerationSubmitted(attempt=task.attempt, provider_job=provider_job, cancels=cancels),)
            return _repeated(provider_job, task.provider_job)
        case RecordDeferral(error_code=error_code, retry_at=retry_at):
            deferrals = task.deferrals + 1
            return (
                GenerationDeferred(attempt=task.attempt, deferrals=deferrals, error_code=error_code, retry_at=retry_at),
            )
        case RecordSuccess(delivered=delivered):
            assert 0 < delivered <= len(task.works), delivered
            return (GenerationCompleted(delivered=delivered, charged=task.share(delivered)),)
        case _:
            assert_never(command)


def _repeated(said: str, known: str | None) -> tuple[GenerationEvent, ...]:
    """Nothing happens when the same is said again, as it is when the first time's outcome is in doubt."""
    if said != known:
        raise AttemptSent
    return ()


def _end(command: Ending, task: Task) -> tuple[GenerationEvent, ...]:
    if isinstance(command, CancelGeneration):
        return (GenerationCancelled(aftermath="cancel" if task.cancels else None),)
    if command.fence is not None:
        _require_newest(command.fence, task)
    match command:
        case RecordFailure(error_code=error_code, error_message=error_message):
            return (GenerationFailed(error_code=error_code, error_message=error_message),)
        case TimeOut(error_message=error_message):
            watch: Aftermath | None = None if task.provider_job is None else "watch"
            return (GenerationFailed(error_code=TIMED_OUT, error_message=error_message, aftermath=watch),)
        case _:
            assert_never(command)


def _close(command: Closing, task: Task) -> tuple[GenerationEvent, ...]:
    match command:
        case RecordLateDelivery(delivered=delivered):
            assert 0 < delivered <= len(task.works), delivered
            if task.aftermath != "watch":
                raise TaskOver(task.status)
            return (GenerationDeliveredLate(delivered=delivered),)
        case CloseAftermath(outcome=outcome):
            return () if task.aftermath is None else (GenerationClosed(outcome=outcome),)
        case _:
            assert_never(command)


def evolve(task: Task, event: GenerationEvent) -> Task:
    match event:
        case GenerationRequested():
            return Task(user_id=event.user_id, status="pending", price=event.price, works=event.works)
        case GenerationStarted(attempt=attempt, fence=fence):
            return replace(_untried(task), status="processing", attempt=attempt, fence=fence, is_tried=True)
        case GenerationDispatched(job_id=job_id):
            return replace(task, job_id=job_id)
        case GenerationSubmitted(provider_job=provider_job, cancels=cancels):
            return replace(task, provider_job=provider_job, cancels=cancels)
        case GenerationResumed(fence=fence):
            return replace(task, fence=fence)
        case GenerationDeferred(deferrals=deferrals):
            return replace(_untried(task), deferrals=deferrals)
        case GenerationCompleted():
            return replace(task, status="completed")
        case GenerationFailed(aftermath=aftermath):
            return replace(task, status="failed", aftermath=aftermath)
        case GenerationCancelled(aftermath=aftermath):
            return replace(task, status="cancelled", aftermath=aftermath)
        case GenerationDeliveredLate():
            return replace(task, status="completed", aftermath=None)
        case GenerationClosed():
            return replace(task, aftermath=None)
        case _:
            assert_never(event)


def _untried(task: Task) -> Task:
    """Without the attempt that was under way, and with nothing of it at a provider."""
    return replace(task, is_tried=False, job_id=None, provider_job=None, cancels=False)


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


def _require_newer(fence: int, task: Task) -> None:
    if fence <= task.fence:
        raise LeaseLost(fence=fence, newest=task.fence)


def _require_newest(fence: int, task: Task) -> None:
    if fence != task.fence or not task.is_tried:
        raise LeaseLost(fence=fence, newest=task.fence)


GENERATION: Decider[Task, GenerationCommand, GenerationEvent] = Decider("generation", Task(), decide, evolve)

"""What becomes of an accepted task: its attempts, its end, which settles its hold in one transaction, and after it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, CaptureHold, ReleaseHold
from mintage.domain.credits.events import Release
from mintage.domain.generation.decider import (
    GENERATION,
    CloseAftermath,
    GenerationCommand,
    RecordDeferral,
    RecordDispatch,
    RecordFailure,
    RecordLateDelivery,
    RecordSubmission,
    RecordSuccess,
    ResumeAttempt,
    StartAttempt,
    Task,
    TimeOut,
)
from mintage.domain.generation.events import Outcome, TaskType
from mintage.domain.registration.decider import REGISTRATION
from mintage.domain.work.decider import WORK, CompleteWork, FailWork
from mintage.domain.work.events import WorkType

TIMED_OUT_MESSAGE: Final = "任务超时，未扣除积分"


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came out and is stored; ``file`` and ``thumbnail`` are storage keys, size in bytes."""

    file: str
    thumbnail: str
    content_type: str
    file_size: int
    width: int
    height: int
    duration_s: int | None = None


class Lifecycle:
    """What workers and the system report of a task; ``fence`` is that of the claim under which they speak."""

    def __init__(self, journal: Journal, new_id: Callable[[], str]) -> None:
        self._journal = journal
        self._new_id = new_id

    async def start(self, task_id: str, *, fence: int, worker: str) -> None:
        """Begin an attempt under a claim. Raises ``LeaseLost``, ``TaskOver``, ``AttemptSent``."""
        await self._tell(task_id, StartAttempt(fence=fence, worker=worker), worker)

    async def resume(self, task_id: str, *, fence: int, worker: str) -> None:
        """Go on under a claim with an attempt that was sent. Raises ``LeaseLost``, ``TaskOver``, ``NothingSent``."""
        await self._tell(task_id, ResumeAttempt(fence=fence, worker=worker), worker)

    async def dispatch(self, task_id: str, *, job_id: str, fence: int, worker: str) -> None:
        """Note that the attempt is about to be sent; may be repeated. Raises ``LeaseLost``, ``TaskOver``."""
        await self._tell(task_id, RecordDispatch(fence=fence, job_id=job_id), worker)

    async def submitted(self, task_id: str, *, provider_job: str, cancels: bool, fence: int, worker: str) -> None:
        """Note what the provider calls the attempt; may be repeated. Raises ``LeaseLost``, ``TaskOver``."""
        command = RecordSubmission(fence=fence, provider_job=provider_job, cancels=cancels)
        await self._tell(task_id, command, worker)

    async def defer(self, task_id: str, *, error_code: str, retry_at: datetime, fence: int, worker: str) -> None:
        """Give the attempt up, which had no effect, for another one later. Raises ``LeaseLost``, ``TaskOver``."""
        await self._tell(task_id, RecordDeferral(fence=fence, error_code=error_code, retry_at=retry_at), worker)

    async def succeed(
        self, task_id: str, outputs: Sequence[Output | None], *, kind: WorkType, fence: int, worker: str
    ) -> None:
        """End a task with what came out (None for a work that did not), capturing the share of its hold.

        Raises ``LeaseLost``, ``TaskOver``.
        """
        transaction_id = self._new_id()
        delivered = sum(output is not None for output in outputs)

        def work(transaction: Transaction) -> None:
            task = transaction.execute(GENERATION, task_id, RecordSuccess(fence=fence, delivered=delivered))
            charged = task.share(delivered)
            if charged:
                capture = CaptureHold(
                    hold_id=task_id,
                    transaction_id=transaction_id,
                    amount=charged,
                    description=description(kind, delivered),
                    now=transaction.now,
                )
                transaction.execute(CREDITS, task.user_id, capture)
            else:
                _release(transaction, task.user_id, task_id, "nothing_due")
            shares = iter(split(charged, delivered))
            for work_id, output in zip(task.works, outputs, strict=True):
                if output is None:
                    transaction.execute(WORK, work_id, FailWork(error_message="此作品未生成"))
                else:
                    done = CompleteWork(**msgspec.structs.asdict(output), credits=next(shares))
                    transaction.execute(WORK, work_id, done)

        await self._journal.transact(work, actor=worker)

    async def fail(self, task_id: str, *, error_code: str, error_message: str, fence: int | None, worker: str) -> None:
        """End a task with nothing, releasing its hold. Raises ``LeaseLost``, ``TaskOver``."""

        def work(transaction: Transaction) -> None:
            command = RecordFailure(error_code=error_code, error_message=error_message, fence=fence)
            task = transaction.execute(GENERATION, task_id, command)
            give_up(transaction, task, task_id, "failed", error_message)

        await self._journal.transact(work, actor=worker)

    async def time_out(self, task_id: str, *, fence: int | None = None, worker: str = "system") -> tuple[str, ...]:
        """End a task whose time is over with nothing, releasing its hold; returns the works that end with it.

        ``fence`` None is the system ending a task that nobody works on. Raises ``LeaseLost``, ``TaskOver``.
        """

        def work(transaction: Transaction) -> tuple[str, ...]:
            return self._time_out(transaction, task_id, "timed_out", fence)

        return await self._journal.transact(work, actor=worker)

    async def end_hold(self, user_id: str, hold_id: str) -> tuple[str, ...] | None:
        """Release a hold that is past its time, and end its task with nothing; returns the works that end with it.

        None if the hold has ended before, or still has time. A hold of no open task is released too.
        """

        def work(transaction: Transaction) -> tuple[str, ...] | None:
            hold = transaction.state(CREDITS, user_id).holds.get(hold_id)
            if hold is None or hold.expires_at is None or hold.expires_at > transaction.now:
                return None
            if transaction.state(GENERATION, hold_id).status in {"pending", "processing"}:
                return self._time_out(transaction, hold_id, "expired", None)
            _release(transaction, user_id, hold_id, "expired")
            return ()

        return await self._journal.transact(work, actor="system")

    async def deliver_late(self, task_id: str, outputs: Sequence[Output | None], *, worker: str) -> frozenset[str]:
        """Give for nothing what came out after the task had timed out; returns the works that were still wanted.

        Nobody wants what they have deleted, or anything once they are erased. Raises ``TaskOver``.
        """
        delivered = sum(output is not None for output in outputs)

        def work(transaction: Transaction) -> frozenset[str]:
            user_id = transaction.state(GENERATION, task_id).user_id
            if transaction.state(REGISTRATION, user_id).erased:
                transaction.execute(GENERATION, task_id, CloseAftermath(outcome="given_up"))
                return frozenset()
            task = transaction.execute(GENERATION, task_id, RecordLateDelivery(delivered=delivered))
            wanted = {
                work_id: output
                for work_id, output in zip(task.works, outputs, strict=True)
                if output is not None and transaction.state(WORK, work_id).status == "failed"
            }
            for work_id, output in wanted.items():
                transaction.execute(WORK, work_id, CompleteWork(**msgspec.structs.asdict(output), credits=0))
            return frozenset(wanted)

        return await self._journal.transact(work, actor=worker)

    async def close(self, task_id: str, outcome: Outcome, *, worker: str) -> None:
        """Note that nothing is left to do at the provider after a task's end; may be repeated."""
        await self._tell(task_id, CloseAftermath(outcome=outcome), worker)

    async def _tell(self, task_id: str, command: GenerationCommand, worker: str) -> None:
        await self._journal.transact(
            lambda transaction: transaction.execute(GENERATION, task_id, command), actor=worker
        )

    def _time_out(self, transaction: Transaction, task_id: str, reason: Release, fence: int | None) -> tuple[str, ...]:
        command = TimeOut(error_message=TIMED_OUT_MESSAGE, fence=fence)
        task = transaction.execute(GENERATION, task_id, command)
        give_up(transaction, task, task_id, reason, TIMED_OUT_MESSAGE)
        return () if task.aftermath is not None else task.works


def give_up(transaction: Transaction, task: Task, task_id: str, reason: Release, message: str) -> None:
    """Release the hold of a task that ends with nothing, and fail its works."""
    _release(transaction, task.user_id, task_id, reason)
    for work_id in task.works:
        transaction.execute(WORK, work_id, FailWork(error_message=message))


def _release(transaction: Transaction, user_id: str, hold_id: str, reason: Release) -> None:
    transaction.execute(CREDITS, user_id, ReleaseHold(hold_id=hold_id, reason=reason, now=transaction.now))


def work_type_of(task: TaskType) -> WorkType:
    """What such a task makes."""
    return "video" if task.endswith("video") else "image"


def split(total: int, parts: int) -> list[int]:
    """Whole shares that add up, the first ones larger."""
    share, rest = divmod(total, parts)
    return [share + 1] * rest + [share] * (parts - rest)


def description(kind: WorkType, count: int) -> str:
    """What a statement says of the credits of so many works."""
    return f"生成AI视频 x{count}" if kind == "video" else f"生成AI图片 x{count}"

"""Word of tasks to those who wait for it."""

from contextlib import AbstractContextManager
from typing import Protocol

from mintage.projections.outlook import TaskState


class Watch(Protocol):
    """What somebody who watches a task is told of it."""

    @property
    def stopping(self) -> bool:
        """Whether nothing more is told, because the server is stopping."""
        ...

    async def change(self, timeout_s: float) -> TaskState | None:
        """How the task is, once it has got further or has another place in line; None if that takes longer.

        The first time it is how the task is now. What changes twice before it is asked for is told once.
        """
        ...


class News(Protocol):
    """Word of tasks, in whichever process something happens to them."""

    async def wait(self, task_id: str, timeout_s: float) -> None:
        """Come back when the task is over, or when the time is."""
        ...

    def watch(self, user_id: str, task_id: str) -> AbstractContextManager[Watch]:
        """Watch a task for as long as this lasts, for its owner.

        Raises ``RateLimited`` if they watch too many as it is, ``Unavailable`` if too many people do.
        """
        ...

    async def steps(self, state: TaskState, after: int) -> list[TaskState]:
        """Each status and each attempt of the task between version ``after`` and that of ``state``, as it began."""
        ...

    def release(self) -> None:
        """Let go of whoever waits or watches, now and from now on: the server is stopping."""
        ...

"""How long the pipeline waits for what, how far a task is, and how whoever works on it is stopped."""

import asyncio
import random
import threading
from collections.abc import Coroutine
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")
Why: TypeAlias = Literal["over", "late", "leaving"]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long the pipeline waits for what, in seconds.

    A claim lasts ``lease_s`` and is renewed every ``renew_s``; the queue is looked at every ``poll_s`` even if nobody
    says that something is due. A job is asked after ``ask_s`` at first and less and less often, or
    as often as its provider wants, but not more than every ``ask_min_s``; what failed is tried
    again after ``retry_s`` at first. What is under way has ``leave_s`` to come to where it can be left.
    """

    lease_s: float = 30.0
    renew_s: float = 1.0
    poll_s: float = 2.0
    ask_s: float = 1.0
    ask_min_s: float = 0.1
    ask_max_s: float = 10.0
    retry_s: float = 1.0
    retry_max_s: float = 60.0
    leave_s: float = 20.0

    def backoff_s(self, failures: int) -> float:
        """How long to wait after so many failures, at least one; no two wait alike."""
        longest = min(self.retry_s * 2.0 ** (failures - 1), self.retry_max_s)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter


class Stopped(Exception):
    """This claim's work is not to go on."""


class Progress:
    """How far a task is: told by whoever works on it, also in a thread; read by the heartbeat, which may stop both."""

    def __init__(self) -> None:
        self.percent = 0
        self.why: Why | None = None
        self.stopped = asyncio.Event()
        self._stopped = threading.Event()

    def reached(self, share: float) -> None:
        """Raises ``Stopped``. Only the task's end makes it 100."""
        if self._stopped.is_set():
            raise Stopped
        self.percent = min(max(int(share * 100), 0), 99)

    def stop(self, why: Why) -> None:
        self.why = self.why or why
        self.stopped.set()
        self._stopped.set()

    async def wait(self, seconds: float) -> None:
        """Raises ``Stopped``."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self.stopped.wait()
        except TimeoutError:
            return
        raise Stopped

    async def unless_stopped(self, call: Coroutine[Any, Any, T]) -> T:
        """Raises ``Stopped``, and then the call is given up."""
        calling, stopped = asyncio.ensure_future(call), asyncio.ensure_future(self.stopped.wait())
        try:
            await asyncio.wait({calling, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise Stopped
            return calling.result()
        finally:
            calling.cancel()
            stopped.cancel()
            await asyncio.gather(calling, stopped, return_exceptions=True)

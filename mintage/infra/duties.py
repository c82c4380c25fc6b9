"""What a server does in the background goes on whatever happens to it, until it is ended."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

from mintage.infra.database import GONE
from mintage.infra.store import Lost

_log = logging.getLogger(__name__)

RESTART_S: Final = 1.0

Duty: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


def begin(duties: Iterable[Duty]) -> list[asyncio.Task[None]]:
    """Each in a task of its own; one that fails is logged and starts over."""
    return [asyncio.create_task(_for_ever(duty)) for duty in duties]


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until they are gone: code that waits with a time-out can swallow a cancellation (Python 3.11)."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)


async def _for_ever(duty: Duty) -> None:
    while True:
        try:
            await duty()
        except (Lost, *GONE) as error:
            _log.warning("a background duty cannot go on, and starts over: %s: %s", type(error).__name__, error)
        except Exception:  # noqa: BLE001
            _log.exception("a background duty failed and starts over")
        await asyncio.sleep(RESTART_S)

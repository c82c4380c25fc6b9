"""What goes wrong over and over is logged once a minute, with how often it was."""

import logging
import time
from collections.abc import Callable
from typing import Final

AGAIN_S: Final = 60.0
KEPT_MAX: Final = 1_000
"""So many different lines are remembered; then all are forgotten."""


class Repeats(logging.Filter):
    """Lets a warning or an error pass if the very same was not logged within a minute. For a handler."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._seen: dict[tuple[str, str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        error = record.exc_info[1] if record.exc_info else None
        line = record.name, record.getMessage(), repr(error)
        now = self._now()
        since, more = self._seen.get(line, (now - AGAIN_S, 0))
        if now - since < AGAIN_S:
            self._seen[line] = since, more + 1
            return False
        if len(self._seen) >= KEPT_MAX:
            self._seen.clear()
        self._seen[line] = now, 0
        if more:
            record.msg, record.args = f"{line[1]} (and {more} times more since it was last said)", ()
        return True

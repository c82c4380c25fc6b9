"""Pieces of work on all cores: processes that die with their parent, or none at all for one core."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing.connection import wait as wait_for
from typing import Any, Final, Self, TypeVar

from mintage.infra.garbage import collect_seldom

ResultT = TypeVar("ResultT")
Told = Callable[[int], None]
Piece = tuple[Any, ...]
"""The arguments of a piece of work but the last, by which it says how much is done."""

Progress = Callable[[str, int, int], None]
"""Told the phase, how much of it is done, and of how much."""

TICK_S: Final = 0.2
_done: Any = None


class Workers:
    """As many processes as there are ``jobs`` for, begun when there is something for two of them to do."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._context = multiprocessing.get_context("spawn")
        self._counter = self._context.Value("q", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def done(
        self, function: Callable[..., ResultT], pieces: Sequence[Piece], told: Told
    ) -> Iterator[tuple[int, ResultT]]:
        """Do all pieces; brings each result with the piece's place as it comes.

        ``function`` is a module's, so that another process finds it. Raises whatever it raises.
        """
        if self._jobs <= 1 or len(pieces) <= 1:
            for place, piece in enumerate(pieces):
                yield place, function(*piece, told)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._jobs, mp_context=self._context, initializer=_begin, initargs=(self._counter,)
            )
        places = {self._pool.submit(_counted, function, piece): place for place, piece in enumerate(pieces)}
        left = set(places)
        known = self._counter.value
        while left:
            ended, left = wait(left, timeout=TICK_S, return_when=FIRST_COMPLETED)
            now = self._counter.value
            told(now - known)
            known = now
            for future in ended:
                yield places[future], future.result()


def counting(progress: Progress, phase: str, whole: int) -> Told:
    """What takes parts, and tells how much they are in all."""
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress(phase, done, whole)

    return told


def _begin(counter: Any) -> None:
    global _done  # noqa: PLW0603 -- a worker process is given it before its first piece
    _done = counter
    collect_seldom()
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _counted(function: Callable[..., ResultT], piece: Piece) -> ResultT:
    return function(*piece, _count)


def _count(events: int) -> None:
    with _done.get_lock():
        _done.value += events

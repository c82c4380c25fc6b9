"""A worker as a process of its own, to be killed or stopped at a step: ``python -m tests.infra.hand`` with JSON.

It says ``halted`` at the step, works on when it reads a line, and says ``ready`` when it begins to work.
"""

import asyncio
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from mintage.infra.pace import Pace
from tests.infra.pipeline import QUICK, Plant, plant
from tests.infra.remote import Remote

CALLS: Final = {
    "start": ("start", "before"),
    "dispatch": ("dispatch", "after"),
    "submitted": ("submitted", "after"),
    "succeed": ("succeed", "before"),
    "over": ("succeed", "after"),
}
"""The steps that are about what is recorded; beside them there are ``create``, which has returned, and ``write``."""


class Order(msgspec.Struct, kw_only=True):
    conninfo: str
    folder: str
    url: str
    finds: bool = False
    repeats: bool = False
    halt: str | None = None
    slots: int = 4
    pace: Pace = QUICK


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def halt() -> None:
    say("halted")
    sys.stdin.readline()


def halting(step: str, here: Plant, far: Remote) -> None:
    """Make it halt, once, at the step."""
    left = [step]
    if step == "write":
        write = here.media.write

        def written(key: str, content: bytes) -> None:
            write(key, content)
            if left and left.pop():
                halt()

        setattr(here.media, "write", written)  # noqa: B010
        return
    name, when = CALLS.get(step, (step, "after"))
    owner: Any = far if step == "create" else here.lifecycle
    call = getattr(owner, name)

    async def halted(*args: Any, **named: Any) -> Any:
        if when == "before" and left and left.pop():
            await asyncio.to_thread(halt)
        result = await call(*args, **named)
        if when == "after" and left and left.pop():
            await asyncio.to_thread(halt)
        return result

    setattr(owner, name, halted)


async def work(order: Order) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    far = Remote(order.url, finds=order.finds, repeats=order.repeats)
    async with plant(order.conninfo, Path(order.folder), {"far": far}, pace=order.pace, slots=order.slots) as here:
        if order.halt is not None:
            halting(order.halt, here, far)
        here.work()
        say("ready")
        await stop.wait()
        await here.stop()
    await far.close()


class Hand:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def heard(self, word: str) -> None:
        """Wait until it says so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"it ended without saying {word}")

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=20)


@contextmanager
def hand(order: Order) -> Iterator[Hand]:
    """A running worker; killed at the end."""
    words = [sys.executable, "-m", __name__, msgspec.json.encode(order).decode()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            worker = Hand(process)
            worker.heard("ready")
            yield worker
        finally:
            process.kill()


if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    asyncio.run(work(msgspec.json.decode(sys.argv[1], type=Order)))

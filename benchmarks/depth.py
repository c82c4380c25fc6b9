"""Long accounts: does an account with a million events open and spend as a new one does?

Run as ``python -m benchmarks.depth DATA_DIR EVENTS``; prints one line of JSON.
"""

import asyncio
import sys
import time
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from benchmarks.people import people
from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.infra.settings import Settings
from mintage.infra.site import Site, site

TRIES = 200


class Depth(msgspec.Struct):
    """Milliseconds a consume, on the long account and on new ones."""

    events: int
    warm_long_ms: float
    warm_new_ms: float
    cold_long_ms: float
    cold_new_ms: float


async def consume(services: Services, user: str) -> float:
    began = time.perf_counter()
    await services.ledger.consume(user, 1, "生成AI图片", render=lambda _: b"")
    return (time.perf_counter() - began) * 1000


async def measure(settings: Settings, place: Site, events: int) -> Depth:
    async with running(settings, place, base_url=lambda: "", worker=False) as services:
        users, _ = await people(services, 2 + 2 * TRIES)
        long = users[0]
        left = events

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await consume(services, long)

        await asyncio.gather(*(caller() for _ in range(500)))
        await consume(services, users[1])
        # Alternately, so that whatever else the machine does meets both.
        warm = [(await consume(services, long), await consume(services, users[1])) for _ in range(TRIES)]
        journal = services.ledger._journal
        cold = []
        for place_of_user in range(2, 2 + TRIES):
            journal._states.forget()  # type: ignore[attr-defined]
            cold.append((await consume(services, long), await consume(services, users[place_of_user])))
    return Depth(
        events,
        median(pair[0] for pair in warm),
        median(pair[1] for pair in warm),
        median(pair[0] for pair in cold),
        median(pair[1] for pair in cold),
    )


def main(data_dir: Path, events: int) -> None:
    settings = Settings(data_dir=data_dir)
    with site(settings) as place:
        print(msgspec.json.encode(uvloop.run(measure(settings, place, events))).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""What the pipeline itself costs a task, and how long an accepted task waits for a worker that has nothing to do.

The provider takes every job at once and has it finished at the first question, so that what is measured is ours:
claim, attempt, dispatch, submission, a question, measuring and storing a picture of 64 pixels, and the settlement. Run
as ``python -m benchmarks.pipeline DATA_DIR``; prints one line of JSON.
"""

import asyncio
import sys
import time
from io import BytesIO
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
import uvloop
from PIL import Image

from benchmarks.people import people
from benchmarks.processors import Processors
from mintage.application.catalogue import BUILTIN
from mintage.application.generations import Ask
from mintage.application.providers import Finished, Job, Running, Told
from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.infra import worker
from mintage.infra.pace import Pace
from mintage.infra.settings import Settings
from mintage.infra.site import site
from mintage.projections.claims import Claim, claim

PEOPLE = 20
TASKS = 400
ALONE = 200
ASK = Ask(document="v1", task_type="text2img", prompt="a cat", parameters={})


class Instant:
    """Implements ``application.providers.Provider``."""

    cancels = finds = repeats = False

    def __init__(self) -> None:
        file = BytesIO()
        Image.new("RGB", (64, 64), "teal").save(file, "PNG")
        self._png = file.getvalue()

    async def create(self, job: Job, told: Told) -> Running | Finished:  # noqa: ARG002
        return Running(job.job_id, again_in_s=0.0)

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:  # noqa: ARG002
        return Finished((self._png,) * job.count)

    async def find(self, job: Job) -> str | None:  # noqa: ARG002
        return None

    async def cancel(self, provider_job: str) -> bool:  # noqa: ARG002
        return False

    async def close(self) -> None:
        pass


class Measured(msgspec.Struct):
    """Milliseconds, and tasks a second."""

    wait_p50_ms: float
    wait_p99_ms: float
    processor_ms: float
    took_ms: float
    rate: float


class Claims:
    """When each task was claimed."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._claim = claim

    async def __call__(self, *args: Any, **named: Any) -> Claim | None:
        found = await self._claim(*args, **named)
        if found is not None:
            self.at[found.task_id] = time.perf_counter()
        return found


async def request(services: Services, user_id: str) -> str:
    reply = await services.generations.request(user_id, ASK)
    assert reply.outcome is not None
    return reply.outcome.task_id


async def waits(services: Services, user_id: str, claims: Claims) -> list[float]:
    """How long each of some tasks waited, in ms, from when it was accepted, nothing else being under way."""
    waited = []
    for turn in range(ALONE + 10):
        task_id = await request(services, user_id)
        accepted = time.perf_counter()
        await services.news.wait(task_id, 30)
        # The first few only warm up. Claimed may be before the reply was back.
        if turn >= 10:
            waited.append(max(0.0, (claims.at[task_id] - accepted) * 1000))
        await asyncio.sleep(0.02)
    return waited


async def many(services: Services, users: list[str], data_dir: Path) -> tuple[float, float]:
    """Seconds on processors, and in all, for a crowd of tasks, from when they are asked for."""
    processors = Processors(data_dir)
    spent, began = processors.spent_s(), time.perf_counter()
    await asyncio.gather(*(request(services, users[turn % PEOPLE]) for turn in range(TASKS)))
    while await services.db.fetch_one(dict, "select 1 as one from queue limit 1"):  # noqa: ASYNC110 -- other processes may do it
        await asyncio.sleep(0.05)
    return processors.spent_s() - spent, time.perf_counter() - began


async def measure(data_dir: Path) -> Measured:
    settings = Settings(data_dir=data_dir, builtin_concurrency=1_000, user_concurrency=1_000, rate_limit=False)
    claims = Claims()
    setattr(worker, "claim", claims)  # noqa: B010
    with site(settings) as place:
        async with running(
            settings, place, base_url=lambda: "", providers={BUILTIN: Instant()}, pace=Pace(ask_min_s=0.0)
        ) as services:
            users, _ = await people(services, PEOPLE)
            waited = await waits(services, users[0], claims)
            await many(services, users, data_dir)
            processor, took = await many(services, users, data_dir)
    cuts = quantiles(waited, n=100)
    return Measured(cuts[49], cuts[98], processor / TASKS * 1000, took / TASKS * 1000, TASKS / took)


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(measure(Path(sys.argv[1])))).decode())

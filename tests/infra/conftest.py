"""A plant with one provider in the distance, for whoever asks for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.infra.far import Far
from tests.infra.pipeline import Clock, Plant, plant


@pytest.fixture
def far() -> Far:
    return Far()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def here(conninfo: str, tmp_path: Path, far: Far, clock: Clock) -> AsyncIterator[Plant]:
    async with plant(conninfo, tmp_path, {"far": far}, clock=clock) as here:
        here.work()
        yield here

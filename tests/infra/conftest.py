"""A plant with one provider in the distance, and a story that was sealed, for whoever asks for them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mintage.infra.embedded_postgres import EmbeddedPostgres
from tests.infra.audit_kit import Sealed, sealed_story
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


@pytest.fixture(scope="module")
def sealed(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    with sealed_story(postgres.conninfo, tmp_path_factory.mktemp("sealed")) as sealed:
        yield sealed

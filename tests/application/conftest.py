"""The use cases run on the real journal over the log in memory."""

from collections.abc import AsyncIterator

import pytest

from tests.application.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world

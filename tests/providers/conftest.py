"""A server for the case at hand, and the adapter that speaks to it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mintage.application.providers import Provider
from tests.providers.cases import Case, provider


@pytest.fixture
async def server(case: Case) -> AsyncIterator[Any]:
    async with case.server() as running:
        yield running


@pytest.fixture
async def adapter(case: Case, server: Any, tmp_path: Path) -> AsyncIterator[Provider]:
    async with provider(case, server.url, tmp_path) as made:
        yield made

"""Reports written as files and read back, as whoever gets one would."""

import csv
import io
from typing import Any, get_type_hints

import msgspec
import pyarrow.parquet as pq

from mintage.application.reports import Report
from mintage.application.tables import TABLES


async def written(report: Report, form: str) -> bytes:
    return b"".join([portion async for portion in TABLES[form](report)])


def from_csv(text: str, row: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """As the README says: the first apostrophe of a text goes, an empty cell is null."""
    numbers = {name for name, hint in get_type_hints(row).items() if hint in {int, int | None}}

    def value(name: str, cell: str) -> Any:
        if not cell:
            return None
        return int(cell) if name in numbers else cell.removeprefix("'")

    found = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: value(name, cell) for name, cell in line.items()} for line in found]


def from_parquet(content: bytes) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(line) for line in pq.read_table(io.BytesIO(content)).to_pylist()]

"""A report as bytes, page by page: JSON, CSV or Parquet, so that memory stays flat however long it is."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from types import NoneType
from typing import Any, Final, get_args, get_type_hints
from uuid import UUID

import msgspec
from msgspec.structs import asdict

from mintage.application.reports import Report

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
"""A cell that begins with one of these would be, or hide, a formula in a spreadsheet."""
_encode: Final = msgspec.json.Encoder().encode


async def as_json(report: Report) -> AsyncIterator[bytes]:
    """One object: the fields of the report's scope, and its rows as ``lines``."""
    yield _encode(report.scope)[:-1] + b',"lines":['
    first = True
    async for page in report.rows:
        if page:
            yield (b"" if first else b",") + _encode(page)[1:-1]
            first = False
    yield b"]}"


async def as_csv(report: Report) -> AsyncIterator[bytes]:
    """RFC 4180 in UTF-8, with the names of the columns first; nothing is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, and so does one that has it already:
    whoever takes the first apostrophe away has the text.
    """
    yield _lines([report.row.__struct_fields__])
    async for page in report.rows:
        yield _lines([_cell(value) for value in msgspec.to_builtins(row).values()] for row in page)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


async def as_parquet(report: Report) -> AsyncIterator[bytes]:
    """One row group a page; the report's scope is in the file's metadata under ``mintage``, as JSON."""
    # Imported here: it is large, and most processes never write a Parquet file.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    types = {
        int: pa.int64(),
        str: pa.string(),
        UUID: pa.string(),
        datetime: pa.timestamp("us", tz="UTC"),
        date: pa.date32(),
    }
    kinds = get_type_hints(report.row)
    schema = pa.schema(
        [
            pa.field(name, types[_kind(kinds[name])], nullable=_kind(kinds[name]) is not kinds[name])
            for name in report.row.__struct_fields__
        ],
        metadata={"mintage": _encode(report.scope)},
    )
    sink = _Sink()
    with pq.ParquetWriter(sink, schema) as writer:
        async for page in report.rows:
            if page:
                rows = [{name: _plain(value) for name, value in asdict(row).items()} for row in page]
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, content: Any) -> int:
        self._parts.append(bytes(content))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def taken(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def _kind(hint: Any) -> type:
    """The type itself of what may be null."""
    kind: type = next((kind for kind in get_args(hint) if kind is not NoneType), hint)
    return kind


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


TABLES: Final[Mapping[str, Callable[[Report], AsyncIterator[bytes]]]] = {
    "json": as_json,
    "csv": as_csv,
    "parquet": as_parquet,
}

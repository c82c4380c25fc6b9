"""The columns of a batch as PostgreSQL takes them without reading any text: arrays in its binary format.

Which type a column has stands in the statement, ``%s::bigint[]``, and nowhere else. Measured against array literals:
the server spends 6 us less on each event that is appended (13 instead of 19), and the client no more.
"""

import re
import struct
from binascii import unhexlify
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from struct import Struct
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

from mintage.projections.sql import Statement

Encode: TypeAlias = Callable[[Any], bytes]
"""An element with its length before it."""

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HEAD: Final = Struct(">iiiii").pack
_NOTHING: Final = Struct(">iii").pack
_LENGTH: Final = Struct(">i").pack
_BIGINT: Final = Struct(">iq").pack
_INTEGER: Final = Struct(">ii").pack
_SMALLINT: Final = Struct(">ih").pack
_NULL: Final = _LENGTH(-1)
_TRUE: Final = _LENGTH(1) + b"\1"
_FALSE: Final = _LENGTH(1) + b"\0"
_UUID: Final = _LENGTH(16)
_CAST: Final = re.compile(r"%s(?:::(\w+)\[\])?")


def _text(value: str) -> bytes:
    if "\0" in value:
        raise ValueError("a text with a NUL cannot be stored")
    encoded = value.encode()
    return _LENGTH(len(encoded)) + encoded


def _uuid(value: str) -> bytes:
    octets = bytes.fromhex(value.replace("-", ""))
    if len(octets) != 16:
        raise ValueError(f"{value!r} is not a UUID")
    return _UUID + octets


def _moment(value: datetime) -> bytes:
    # One without a zone, which only a forged log has, is taken for UTC, as our connections would.
    since = (value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH
    return _BIGINT(8, since // _MICROSECOND)


def _jsonb(value: str) -> bytes:
    encoded = value.encode()
    # The version of the format comes first.
    return _LENGTH(len(encoded) + 1) + b"\1" + encoded


_KINDS: Final[dict[str, tuple[int, int, Encode]]] = {
    "bigint": (20, 1016, partial(_BIGINT, 8)),
    "boolean": (16, 1000, lambda value: _TRUE if value else _FALSE),
    "bytea": (17, 1001, lambda value: _LENGTH(len(value)) + value),
    "integer": (23, 1007, partial(_INTEGER, 4)),
    "jsonb": (3802, 3807, _jsonb),
    "smallint": (21, 1005, partial(_SMALLINT, 2)),
    "text": (25, 1009, _text),
    "timestamptz": (1184, 1185, _moment),
    "uuid": (2950, 2951, _uuid),
}
"""The numbers that PostgreSQL knows each type and its arrays by, and how a value is written."""


def _equally_long(column: Sequence[bytes]) -> bytes | None:
    try:
        lengths = set(map(len, column))
    except TypeError:
        # A null.
        return None
    if len(lengths) > 1:
        return None
    length = _LENGTH(lengths.pop())
    return length + length.join(column)


def _uuids(column: Sequence[str]) -> bytes | None:
    count = len(column)
    try:
        written = "".join(column).encode("ascii")
        octets = unhexlify(written.translate(None, b"-"))
        each = struct.unpack("16s" * count, octets)
    except (TypeError, ValueError, struct.error):
        return None
    # With the dashes where they belong: nothing of one is taken for a part of the next.
    dashes = written[8::36] + written[13::36] + written[18::36] + written[23::36]
    if set(map(len, column)) != {36} or dashes != b"-" * (4 * count):
        return None
    return _UUID + _UUID.join(each)


_AT_ONCE: Final[dict[str, Callable[[Sequence[Any]], bytes | None]]] = {"bytea": _equally_long, "uuid": _uuids}
"""Writes a whole column several times faster than one by one; None if its values do not allow it."""


@cache
def kinds_of(sql: str) -> tuple[str | None, ...]:
    """For each parameter of a statement the type of its elements, None for one that is no array."""
    return tuple(kind or None for kind in _CAST.findall(sql))


def packed(kind: str, column: Sequence[Any]) -> bytes:
    """A whole column. Raises ``ValueError`` for a value that the type does not have."""
    number, _, encode = _KINDS[kind]
    if not column:
        return _NOTHING(0, 0, number)
    head = _HEAD(1, 1, number, len(column), 1)
    first = column[0]
    try:
        # Half the columns of a batch say the same in every row: the batch's time, a kind, a null.
        if column.count(first) == len(column):
            return head + (_NULL if first is None else encode(first)) * len(column)
        at_once = _AT_ONCE.get(kind)
        if at_once is not None and (content := at_once(column)) is not None:
            return head + content
        return head + b"".join([_NULL if value is None else encode(value) for value in column])
    except struct.error as error:
        raise ValueError(f"{error} in a column of {kind}") from None


class _Packed:
    """A packed column on its way through psycopg."""

    __slots__ = ("content", "number")

    def __init__(self, kind: str, column: Sequence[Any]) -> None:
        self.content = packed(kind, column)
        self.number = _KINDS[kind][1]


class _PackedDumper(Dumper):
    format = Format.BINARY

    def get_key(self, obj: _Packed, format: PyFormat) -> Any:  # noqa: A002, ARG002 -- psycopg's signature
        return self.cls, obj.number

    def upgrade(self, obj: _Packed, format: PyFormat) -> "_PackedDumper":  # noqa: A002, ARG002
        dumper = _PackedDumper(self.cls)
        dumper.oid = obj.number
        return dumper

    def dump(self, obj: _Packed) -> bytes:
        return obj.content


psycopg.adapters.register_dumper(_Packed, _PackedDumper)


def execute(connection: psycopg.Connection[Any], statement: Statement) -> None:
    """Execute a statement over an ordinary connection."""
    params = [
        param if kind is None else _Packed(kind, param)
        for kind, param in zip(kinds_of(statement.sql), statement.params, strict=True)
    ]
    connection.execute(statement.sql, params)

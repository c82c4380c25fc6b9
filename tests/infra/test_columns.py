"""A column arrives in PostgreSQL as it was sent, over both ways, and what is not of its type is refused before."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mintage.infra.columns import execute, packed
from mintage.infra.database import connect, connect_sync
from mintage.infra.exchange import Exchange
from mintage.projections.sql import Statement

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "bytea": st.binary(),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "text": TEXTS,
    "timestamptz": st.datetimes(datetime(1900, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    "uuid": st.uuids().map(str),
}


def nullable(kind: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | VALUES[kind], max_size=20)


def columns() -> st.SearchStrategy[tuple[str, list[Any]]]:
    return st.sampled_from(sorted(VALUES)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.lists(VALUES[kind], max_size=20) | nullable(kind))
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(column=columns())
def test_what_arrives_is_what_was_sent(conninfo: str, column: tuple[str, list[Any]]) -> None:
    kind, values = column
    shown = kind if kind != "uuid" else "text"
    with connect_sync(conninfo) as connection:
        connection.execute(f"create temporary table arrived (value {kind}, place integer)")
        sql = f"insert into arrived select value, place from unnest(%s::{kind}[]) with ordinality as t (value, place)"
        execute(connection, Statement(sql, (values,)))
        found = connection.execute(f"select value::{shown} from arrived order by place").fetchall()
        connection.execute("drop table arrived")
    assert [value for (value,) in found] == values


async def test_the_exchange_sends_the_same(conninfo: str) -> None:
    connection = await connect(conninfo)
    async with connection:
        sql = "select value from unnest(%s::text[]) as value where value <> %s"
        rows = await Exchange(connection).run([Statement(sql, (("小猫", 'a"\\', "", "gone"), "gone"))])
        assert rows == [[("小猫".encode(),), (b'a"\\',), (b"",)]]


async def test_json_is_stored_as_json(conninfo: str) -> None:
    connection = await connect(conninfo)
    async with connection:
        sql = "select value ->> 'name' from unnest(%s::jsonb[]) as value"
        assert await Exchange(connection).run([Statement(sql, (('{"name": "小猫"}',),))]) == [[("小猫".encode(),)]]


def test_a_moment_is_the_same_in_whatever_zone_it_is_said() -> None:
    here = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert packed("timestamptz", [here]) == packed("timestamptz", [datetime(2026, 1, 1, tzinfo=UTC)])


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("text", ["fine", "a\0b"]),
        ("uuid", ["0191c2de"]),
        ("uuid", ["not one"]),
    ],
)
def test_what_is_not_of_the_type_is_refused_before_it_is_sent(kind: str, column: Sequence[Any]) -> None:
    with pytest.raises(ValueError, match=r"NUL|not a UUID|non-hexadecimal"):
        packed(kind, column)


def test_the_server_agrees_on_every_type(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        for kind in (*VALUES, "jsonb"):
            row = connection.execute(
                "select typname, typarray::integer, oid::integer from pg_type where oid = %s::regtype", (kind,)
            ).fetchone()
            assert row is not None
            # An empty array says its element's type in its last four bytes.
            assert int.from_bytes(packed(kind, [])[-4:]) == row[2]


UUIDS = [
    "0191c2de-0000-7000-8000-000000000001",
    "0191C2DE-0000-7000-8000-00000000000A",
    "0191c2de000070008000000000000002",
    "0191c2de0-000-7000-8000-000000000005",
]
SPOILT = [
    # Pieces that only together have as many digits and dashes as two of them.
    "0191c2de-0000-7000-8000-00000000000",
    "0191c2de-0000-7000-8000-0000000000033",
    "0191c2de-0000-7000-80000-000000000004",
    "0191c2de-0000-7000-8000-00000000 006",
    "0191c2de-0000-7000-8000-00000000000g",
    "0191c2de-0000-7000-8000-0000000000é7",
    "------------------------------------",
    "",
]


@given(st.lists(st.sampled_from(UUIDS), min_size=1, max_size=6))
def test_ids_packed_at_once_are_those_packed_one_by_one(column: list[str]) -> None:
    head = len(packed("uuid", column)) - 20 * len(column)
    assert packed("uuid", column)[head:] == b"".join(packed("uuid", [value])[head:] for value in column)


@given(st.lists(st.sampled_from(UUIDS), max_size=4), st.lists(st.sampled_from(SPOILT), min_size=1, max_size=2))
def test_one_id_that_is_none_spoils_its_column(column: list[str], spoilt: list[str]) -> None:
    for place in range(len(column) + 1):
        with pytest.raises(ValueError, match=r"UUID|hexadecimal|ascii"):
            packed("uuid", [*column[:place], *spoilt, *column[place:]])

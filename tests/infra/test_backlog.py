"""However many tasks wait, a claim looks at a handful of rows, and it is the one that the order of claims says."""

import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest

from mintage.infra.database import Pool
from mintage.infra.rebuild import rebuild
from mintage.projections.claims import Claim, claim, next_due
from mintage.projections.outlook import states_of
from mintage.projections.queue import QUEUE
from tests.conftest import VAULT
from tests.infra.kit import a_day, journal_on, rows, run_sql

RowT = TypeVar("RowT")

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TASKS = 10_000

_FILL = """
create temp table person as
    select gen_random_uuid() as user_id, nth from generate_series(0, %(people)s::integer - 1) nth;
insert into queue_users select user_id, %(now)s::timestamptz - (nth || ' seconds')::interval from person;
insert into queue (task_id, number, user_id, renderer, upstream, priority, due_at, deadline_at)
select gen_random_uuid(), n, user_id, %(renderer)s, 'm', 0, %(due_at)s, %(now)s::timestamptz + interval '1 hour'
from generate_series(1, %(tasks)s::integer) number (n) join person on nth = n %% %(people)s::integer;
insert into tasks (task_id, number, user_id, document, task_type, model_provider, model_name, renderer, prompt,
    parameters, transparent, price, works, created_at, updated_at)
select task_id, number, user_id, 'v1', 'text2img', 'p', 'm', renderer, 'x', '{}', false, 1, 1, due_at, due_at
from queue;
"""
_LINES = """
select q.user_id, q.renderer, q.priority, count(*) filter (where q.attempt = 0), min(q.number), min(q.due_at),
    u.served_at
from queue q join queue_users u on u.user_id = q.user_id
where q.aftermath is null and q.job_id is null and q.provider_job is null
group by q.user_id, q.renderer, q.priority, u.served_at"""


def line_up(conninfo: str) -> None:
    run_sql(conninfo, "delete from queue_lines")
    run_sql(conninfo, f"insert into queue_lines {_LINES}")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("analyze")


def fill(conninfo: str, *, people: int, renderer: str = "far", due_at: datetime = NOW) -> None:
    """So many people whose tasks wait."""
    values = {"people": people, "tasks": TASKS, "renderer": renderer, "due_at": due_at, "now": NOW}
    with psycopg.connect(conninfo) as connection:
        for statement in _FILL.split(";\n")[:-1]:
            connection.execute(statement.encode(), values)
    line_up(conninfo)


class Explained:
    """A database that counts the rows that each statement looked at, whether or not they were any good."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self.looked_at = 0.0

    async def fetch(self, row: type[RowT], sql: str, params: Any = ()) -> list[RowT]:
        with psycopg.connect(self._conninfo) as connection:
            found = connection.execute(f"explain (analyze, format json) {sql}".encode(), params).fetchone()
            connection.rollback()
        assert found is not None
        self.looked_at += sum(_looked_at(found[0][0]["Plan"]))
        return []

    async def fetch_one(self, row: type[RowT], sql: str, params: Any = ()) -> RowT | None:
        await self.fetch(row, sql, params)
        return None

    async def fetch_one_alone(self, lock: int, row: type[RowT], sql: str, params: Any = ()) -> RowT | None:
        return await self.fetch_one(row, sql, params)


def _looked_at(node: dict[str, Any]) -> Iterator[float]:
    if node["Node Type"] in {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "CTE Scan"}:
        discarded = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        yield (node["Actual Rows"] + discarded) * node["Actual Loops"]
    for below in node.get("Plans", ()):
        yield from _looked_at(below)


async def cost(conninfo: str, *, limit: int = 100, user_limit: int = 100) -> int:
    """How many rows a claim looks at, and what comes after one that finds nothing."""
    db = Explained(conninfo)
    limits = {"far": limit, "near": 100}
    await claim(db, worker="w", now=NOW, until=NOW + timedelta(seconds=30), limits=limits, user_limit=user_limit)
    await next_due(db, NOW)
    return int(db.looked_at)


class TestCost:
    @pytest.mark.parametrize("people", [1, 2_000])
    async def test_a_claim_is_as_cheap_whether_few_or_many_wait(self, conninfo: str, people: int) -> None:
        fill(conninfo, people=people)
        assert 1 <= await cost(conninfo) < 50

    async def test_so_it_is_if_most_wait_for_a_provider_that_is_full(self, conninfo: str) -> None:
        fill(conninfo, people=2_000)
        run_sql(conninfo, "update queue set renderer = 'near' where number = 5000")
        line_up(conninfo)
        assert 1 <= await cost(conninfo, limit=0) < 50

    async def test_so_it_is_if_there_is_room_for_nobody(self, conninfo: str) -> None:
        fill(conninfo, people=2_000)
        assert await cost(conninfo, limit=0) < 50

    async def test_so_it_is_if_one_who_has_many_is_at_their_limit(self, conninfo: str) -> None:
        fill(conninfo, people=1)
        run_sql(conninfo, "update queue set lease_until = now() + interval '9 years' where number <= 4")
        assert await cost(conninfo, user_limit=4) < 50

    async def test_if_all_pause_only_the_lines_are_looked_at(self, conninfo: str) -> None:
        fill(conninfo, people=200, due_at=NOW + timedelta(seconds=1))
        assert await cost(conninfo) < 250

    async def test_the_places_of_many_cost_no_more_than_a_pass_over_the_line(self, conninfo: str) -> None:
        fill(conninfo, people=1_000)
        watched = [task_id for (task_id,) in rows(conninfo, "select task_id::text from queue where number <= 2000")]
        costs = []
        for some in (watched[:1], watched):
            db = Explained(conninfo)
            await states_of(db, some)
            costs.append(db.looked_at)
        one, many = costs
        assert one < 10 * 1_000, "everybody's line a few times over, and little else"
        assert many < 10 * TASKS, "not everybody's line for each of them"


# What is to be taken, told without a thought for what it costs.
_NEXT = """
with under_way as (
    select user_id, renderer from queue
    where aftermath is null and (lease_until >= %(now)s or job_id is not null or provider_job is not null)
)
select q.task_id::text from queue q join queue_users u on u.user_id = q.user_id
where q.aftermath is null and q.due_at <= %(now)s and (q.lease_until is null or q.lease_until < %(now)s)
and q.renderer in ('far', 'near')
and (q.job_id is not null or q.provider_job is not null or (
    (select count(*) from under_way w where w.user_id = q.user_id) < 4
    and (select count(*) from under_way w where w.renderer = q.renderer) < 8
))
order by q.job_id is null and q.provider_job is null, q.priority desc, u.served_at nulls first, q.number
limit 1"""

_SHUFFLE = """
update queue q set renderer = (array['far', 'near', 'other'])[dice.a], priority = dice.b,
    due_at = %(now)s::timestamptz + (dice.c || ' seconds')::interval, attempt = dice.d,
    lease_until = case when dice.e < 4 then %(now)s::timestamptz + (dice.e - 2 || ' seconds')::interval end,
    job_id = case when dice.d > 0 and dice.e = 2 then 'ours' end,
    provider_job = case when dice.d > 0 and dice.e = 3 then 'theirs' end,
    aftermath = case when dice.d > 0 and dice.f = 0 then 'cancel' end
from (
    select task_id, 1 + floor(random() * 3)::integer as a, floor(random() * 2)::integer as b,
        floor(random() * 5)::integer - 3 as c, floor(random() * 2)::integer as d, floor(random() * 40)::integer as e,
        floor(random() * 4)::integer as f from queue
) dice where dice.task_id = q.task_id"""


class TestOrder:
    @pytest.mark.parametrize("seed", range(4))
    async def test_what_is_claimed_is_what_comes_first(self, conninfo: str, pool: Pool, seed: int) -> None:
        dice = random.Random(seed)
        with psycopg.connect(conninfo) as connection:
            values = {"people": 12, "tasks": 150, "renderer": "far", "due_at": NOW, "now": NOW}
            for statement in _FILL.split(";\n")[:-1]:
                connection.execute(statement.encode(), values)
            connection.execute("select setseed(%s)", (seed / 10,))
            connection.execute(_SHUFFLE, values)
            connection.execute("update queue_users set served_at = null where random() < 0.3")
        line_up(conninfo)
        claimed = 0
        for step in range(40):
            now = NOW + timedelta(milliseconds=100 * step)
            with psycopg.connect(conninfo) as connection:
                first = connection.execute(_NEXT, {"now": now}).fetchone()
            until = now + timedelta(seconds=dice.choice((0.3, 1, 3)))
            found = await taken(pool, now, until)
            assert (found and found.task_id) == (first and first[0])
            claimed += found is not None
        assert claimed > 20


async def taken(pool: Pool, now: datetime, until: datetime) -> Claim | None:
    return await claim(pool, worker="w", now=now, until=until, limits={"far": 8, "near": 8}, user_limit=4)


@pytest.fixture
async def pool(conninfo: str) -> AsyncIterator[Pool]:
    db = Pool(conninfo)
    await db.open()
    yield db
    await db.close()


async def test_the_lines_sum_up_what_waits_whatever_happened(conninfo: str, pool: Pool) -> None:
    async with journal_on(conninfo) as journal:
        for _ in range(3):
            await a_day(journal)
            now = datetime.now(UTC)
            await claim(pool, worker="w", now=now, until=now, limits={"builtin": 99}, user_limit=99)
            assert lines(conninfo) == sorted(rows(conninfo, _LINES), key=str)
    assert lines(conninfo)
    assert set(rebuild(conninfo, VAULT, QUEUE).differences.values()) == {0}
    assert lines(conninfo) == sorted(rows(conninfo, _LINES), key=str)


def lines(conninfo: str) -> list[Any]:
    return sorted(rows(conninfo, "select * from queue_lines"), key=str)

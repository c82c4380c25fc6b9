"""A task's place in line is where its turn comes, and what is said of its end is what such tasks took lately."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count

import psycopg
import pytest
from msgspec.structs import replace

from mintage.application.generations import Ask, Generations
from mintage.application.lifecycle import Lifecycle
from mintage.domain.generation.events import TaskType
from mintage.infra.database import Pool
from mintage.infra.identifiers import new_id
from mintage.projections.claims import claim
from mintage.projections.outlook import SAMPLE, TaskState, outlook, standing, states_of
from tests.infra.kit import CATALOGUE, FILE, grant, journal_on, register, run_sql, some_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRIORITY = 5
"""Of films."""


class Shop:
    """People, their tasks, and a clock that goes when it is told to."""

    def __init__(self, db: Pool) -> None:
        self.db = db
        self.now = NOW
        self.generations: Generations
        self.lifecycle: Lifecycle
        self.people = [some_id() for _ in range(5)]
        self.waiting: dict[str, list[str]] = {user_id: [] for user_id in self.people}
        """Whose tasks wait, oldest first."""
        self.order = count(1)
        self.asked: dict[str, int] = {}
        self.served: dict[str, int] = {}

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    async def ask(self, user_id: str, task_type: TaskType = "text2img") -> str:
        asked = Ask(document="v1", task_type=task_type, prompt="a cat", parameters={})
        accepted = (await self.generations.request(user_id, asked)).outcome
        assert accepted is not None
        self.waiting[user_id].append(accepted.task_id)
        self.asked[accepted.task_id] = next(self.order)
        return accepted.task_id

    async def start(self, task_id: str) -> None:
        (owner,) = (user_id for user_id, tasks in self.waiting.items() if task_id in tasks)
        self.waiting[owner].remove(task_id)
        self.served[owner] = next(self.order)
        now = self.clock()
        found = await claim(self.db, worker="w", now=now, until=now + HOUR, limits={"builtin": 1_000}, user_limit=1_000)
        assert found is not None
        assert found.task_id == task_id, "somebody else is next"
        await self.lifecycle.start(task_id, fence=found.fence, worker="w")

    async def complete(self, task_id: str, took_s: float) -> None:
        await self.start(task_id)
        self.now += timedelta(seconds=took_s, milliseconds=-1)
        await self.lifecycle.succeed(task_id, [FILE], kind="image", fence=1, worker="w")

    async def state(self, task_id: str) -> TaskState:
        (state,) = await states_of(self.db, [task_id])
        return state

    def turns(self) -> list[str]:
        """The waiting tasks as they come up, whoever was served longest ago being served next."""
        waiting = {user_id: list(tasks) for user_id, tasks in self.waiting.items() if tasks}
        served, order, turns = dict(self.served), count(next(self.order)), []
        while waiting:
            user_id = min(waiting, key=lambda one: (served.get(one, 0), self.asked[waiting[one][0]]))
            turns.append(waiting[user_id].pop(0))
            served[user_id] = next(order)
            if not waiting[user_id]:
                del waiting[user_id]
        return turns


@pytest.fixture
async def shop(conninfo: str) -> AsyncIterator[Shop]:
    db = Pool(conninfo)
    await db.open()
    made = Shop(db)
    async with journal_on(conninfo, clock=made.clock) as journal:
        films_first = [
            replace(model, priority=PRIORITY if "text2video" in model.tasks else 0) for model in CATALOGUE.models
        ]
        made.generations = Generations(journal, replace(CATALOGUE, models=tuple(films_first)), new_id)
        made.lifecycle = Lifecycle(journal, new_id)
        for turn, user_id in enumerate(made.people):
            await journal.transact(register(user_id, f"person{turn}"), actor=user_id)
            await journal.transact(grant(user_id, 10_000), actor=user_id)
        yield made
    await db.close()


@pytest.mark.parametrize("seed", range(6))
async def test_a_place_in_line_is_where_the_turn_comes(shop: Shop, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(12):
        for _ in range(dice.randrange(4)):
            await shop.ask(dice.choice(shop.people[: dice.randrange(1, 6)]))
        for task_id in shop.turns()[: dice.randrange(3)]:
            await shop.start(task_id)
        turns = shop.turns()
        positions = {state.task_id: state.queue_position for state in await states_of(shop.db, turns)}
        assert positions == {task_id: place for place, task_id in enumerate(turns, 1)}
        newcomer = dice.choice(shop.people)
        expected = await outlook(shop.db, newcomer, renderer="builtin", task_type="text2img", priority=0)
        assert (await shop.state(await shop.ask(newcomer))).queue_position == expected.queue_position


async def test_one_persons_many_tasks_keep_nobody_waiting_for_more_than_one(shop: Shop) -> None:
    many, other, *_ = shop.people
    for _ in range(50):
        await shop.ask(many)
    assert (await shop.state(await shop.ask(other))).queue_position == 2
    await shop.start(shop.waiting[many][0])
    assert (await shop.state(shop.waiting[other][0])).queue_position == 1
    assert (await shop.state(shop.waiting[many][0])).queue_position == 2


async def test_what_has_a_higher_priority_comes_first(shop: Shop) -> None:
    ann, bob, *_ = shop.people
    pictures = [await shop.ask(ann), await shop.ask(bob)]
    expected = await outlook(shop.db, ann, renderer="builtin", task_type="text2video", priority=PRIORITY)
    films = [await shop.ask(user_id, "text2video") for user_id in (ann, ann, bob)]
    states = await states_of(shop.db, [*films, *pictures])
    assert {state.task_id: state.queue_position for state in states} == {
        films[0]: 1,
        films[2]: 2,
        films[1]: 3,
        pictures[0]: 4,
        pictures[1]: 5,
    }
    assert expected.queue_position == 1
    await shop.start(films[0])


async def test_only_what_waits_has_a_place(shop: Shop) -> None:
    task_id = await shop.ask(shop.people[0])
    assert (await shop.state(task_id)).queue_position == 1
    await shop.start(task_id)
    assert (await shop.state(task_id)).queue_position is None
    await shop.generations.cancel(shop.people[0], task_id)
    state = await shop.state(task_id)
    assert (state.status, state.queue_position, state.version) == ("cancelled", None, 3)


async def test_without_history_nothing_is_foretold(shop: Shop) -> None:
    ann, bob, *_ = shop.people
    task_id = await shop.ask(ann)
    assert (await shop.state(task_id)).seconds_left(shop.now) is None
    await shop.complete(task_id, 7)
    assert (await shop.state(task_id)).seconds_left(shop.now) is None
    # What failed or is of another kind says nothing of it.
    failing = await shop.ask(ann)
    await shop.start(failing)
    await shop.lifecycle.fail(failing, error_code="E", error_message="no", fence=1, worker="w")
    film = await shop.ask(bob, "text2video")
    assert (await shop.state(film)).seconds_left(shop.now) is None
    assert (await outlook(shop.db, bob, renderer="builtin", task_type="text2video", priority=0)).seconds_left is None
    assert (await outlook(shop.db, bob, renderer="other", task_type="text2img", priority=0)).seconds_left is None


async def test_the_newest_of_a_kind_say_how_long_it_takes(shop: Shop) -> None:
    ann = shop.people[0]
    for took_s in (1_000, *[10] * (SAMPLE // 2), *[30] * (SAMPLE // 2)):
        await shop.complete(await shop.ask(ann), took_s)
    expected = await outlook(shop.db, ann, renderer="builtin", task_type="text2img", priority=0)
    assert (expected.queue_position, expected.at_work) == (1, 0)
    assert expected.usual_s == pytest.approx(20, abs=0.1)
    for _ in range(SAMPLE):
        await shop.complete(await shop.ask(ann), 4)
    assert (await shop.state(await shop.ask(ann))).seconds_left(shop.now) == 4


async def test_who_waits_is_told_of_those_before_and_those_at_work(shop: Shop) -> None:
    ann, bob, *_ = shop.people
    await shop.complete(await shop.ask(ann), 10)
    tasks = [await shop.ask(bob) for _ in range(6)]
    assert [(await shop.state(task_id)).seconds_left(shop.now) for task_id in tasks[:3]] == [10, 20, 30]
    for task_id in tasks[:2]:
        await shop.start(task_id)
    # Two at a time, and those two half done: the next begins in five seconds, the ones after it five seconds apart.
    assert [(await shop.state(task_id)).seconds_left(shop.now) for task_id in tasks[2:]] == [15, 20, 25, 30]


async def test_what_is_under_way_is_told_by_its_progress_or_else_by_its_time(shop: Shop, conninfo: str) -> None:
    ann = shop.people[0]
    await shop.complete(await shop.ask(ann), 10)
    task_id = await shop.ask(ann)
    await shop.start(task_id)
    started = (await shop.state(task_id)).started_at
    assert started is not None

    async def left(after_s: float) -> int | None:
        return (await shop.state(task_id)).seconds_left(started + timedelta(seconds=after_s))

    assert [await left(after_s) for after_s in (0, 3.5, 9.9, 10, 60)] == [10, 7, 1, None, None]
    run_sql(conninfo, "update queue set progress = 40")
    assert [await left(after_s) for after_s in (0, 60)] == [6, 6]
    run_sql(conninfo, "update queue set progress = 99")
    assert await left(60) == 1
    # Another attempt begins at the beginning.
    await shop.lifecycle.start(task_id, fence=2, worker="w")
    state = await shop.state(task_id)
    assert (state.reached, state.started_at) == ((3, 0), started)


def test_it_is_all_read_from_indexes(conninfo: str) -> None:
    page = standing("", "t.user_id = %s order by t.number desc limit 20 offset 20")
    with psycopg.connect(conninfo, options="-c enable_seqscan=off -c enable_bitmapscan=off") as connection:
        plan = "\n".join(row[0] for row in connection.execute(f"explain {page}".encode(), (some_id(),)))
    assert "Seq Scan" not in plan
    for index in ("tasks_newest", "tasks_durations", "queue_waiting", "queue_at_work"):
        assert f"using {index} on" in plan

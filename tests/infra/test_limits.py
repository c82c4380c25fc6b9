"""Budgets are kept to the number, also by many at once; without Redis each process goes on by itself, or not at all."""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path

import pytest

from mintage.application.ports.limits import Budget, Limiter, Rule
from mintage.application.refusals import RateLimited
from mintage.application.transaction import Unavailable
from mintage.infra.limits import WAITING_MAX, MemoryLimits, NoLimits, digest
from mintage.infra.redis_limits import AWAY_S, RedisLimits, redis_at
from tests.valkey import Valkey

PATIENCE_S = 60
"""However busy the machine is, a Redis that is there answers within this."""
SECRET = b"the signing key of all the tests"
EMAIL = "ann@example.com"
TEN = Budget(Rule("ten", 10, 60), EMAIL)
THREE = Budget(Rule("three", 3, 900), "127.0.0.1")
ONCE = Budget(Rule("once", 1, 60, fail_closed=True), EMAIL)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Counting:
    """A limiter whose time passes when the test says so."""

    def __init__(self, limiter: Limiter, passes: Callable[[float], None]) -> None:
        self.limiter = limiter
        self.passes = passes

    async def passed(self, times: int, *budgets: Budget) -> int:
        """How many of so many takes at the same time came through."""
        return await passed(repeat(self.limiter, times), *budgets)

    async def wait_s(self, *budgets: Budget) -> int:
        """For how long a take is refused."""
        with pytest.raises(RateLimited) as caught:
            await self.limiter.take(budgets)
        return caught.value.retry_after_s


async def passed(limiters: "repeat[Limiter] | Sequence[Limiter]", *budgets: Budget) -> int:
    outcomes = await asyncio.gather(*(limiter.take(budgets) for limiter in limiters), return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, RateLimited) for outcome in outcomes), outcomes
    return outcomes.count(None)


@asynccontextmanager
async def sharing(
    url: str, clock: Clock, secret: bytes = SECRET, timeout_s: float = PATIENCE_S
) -> AsyncIterator[RedisLimits]:
    redis = redis_at(url, timeout_s)
    try:
        yield RedisLimits(redis, MemoryLimits(clock), secret, clock)
    finally:
        await redis.aclose()


def hurry(server: Valkey, seconds: float) -> None:
    """Bring the end of all that is counted nearer, as if time had passed."""
    with server.client() as client:
        for key in client.scan_iter():
            client.pexpire(key, client.pttl(key) - int(seconds * 1_000))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis"])
async def counting(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Counting]:
    if request.param == "memory":
        yield Counting(MemoryLimits(clock), clock.passes)
    else:
        server: Valkey = request.getfixturevalue("valkey")
        async with sharing(server.url, clock) as limiter:
            yield Counting(limiter, lambda seconds: hurry(server, seconds))


class TestBudgets:
    async def test_of_a_hundred_at_once_exactly_as_many_pass_as_may(self, counting: Counting) -> None:
        assert await counting.passed(100, TEN) == 10
        assert await counting.passed(100, TEN) == 0

    async def test_the_window_begins_with_the_first_and_ends_for_all(self, counting: Counting) -> None:
        assert await counting.passed(9, TEN) == 9
        counting.passes(30)
        assert await counting.passed(9, TEN) == 1
        assert 28 <= await counting.wait_s(TEN) <= 30
        counting.passes(30)
        assert await counting.passed(100, TEN) == 10

    async def test_to_be_refused_puts_nothing_off(self, counting: Counting) -> None:
        await counting.passed(10, TEN)
        counting.passes(50)
        for _ in range(20):
            assert 1 <= await counting.wait_s(TEN) <= 10

    async def test_whom_one_budget_refuses_uses_up_no_other(self, counting: Counting) -> None:
        assert await counting.passed(100, TEN, THREE) == 3
        assert await counting.passed(100, THREE, TEN) == 0
        assert await counting.passed(100, TEN) == 7

    async def test_the_longest_wait_is_told(self, counting: Counting) -> None:
        await counting.passed(3, THREE)
        await counting.passed(10, TEN)
        for budgets in ((TEN, THREE), (THREE, TEN)):
            assert 890 <= await counting.wait_s(*budgets) <= 900

    async def test_what_is_given_back_may_be_taken_again(self, counting: Counting) -> None:
        await counting.passed(10, TEN)
        await counting.limiter.give_back((TEN, THREE))
        assert await counting.passed(100, TEN) == 1
        assert await counting.passed(100, THREE) == 3

    async def test_giving_back_saves_nothing_up_and_does_not_lengthen_the_window(self, counting: Counting) -> None:
        await counting.limiter.take((TEN,))
        counting.passes(59)
        for _ in range(5):
            await counting.limiter.give_back((TEN,))
        assert await counting.passed(100, TEN) == 10
        counting.passes(1)
        assert await counting.passed(100, TEN) == 10

    async def test_keys_and_rules_are_counted_apart(self, counting: Counting) -> None:
        others = [
            Budget(TEN.rule, f"{EMAIL} "),
            Budget(TEN.rule, ""),
            Budget(TEN.rule, "𓀀\x00\n" * 1_000),
            Budget(Rule("teen", 10, 60), EMAIL),
        ]
        assert await counting.passed(100, TEN) == 10
        for other in others:
            assert await counting.passed(100, other) == 10


class TestTurns:
    async def test_under_one_budget_one_at_a_time_in_order_and_no_more_than_so_many_wait(
        self, counting: Counting
    ) -> None:
        went: list[int] = []

        async def take(number: int) -> None:
            async with counting.limiter.turn(TEN):
                went.append(number)
                seen = len(went)
                await asyncio.sleep(0)
                assert len(went) == seen

        outcomes = await asyncio.gather(*map(take, range(50)), return_exceptions=True)
        assert went == list(range(WAITING_MAX + 1))
        assert outcomes[: len(went)] == [None] * len(went)
        assert {type(outcome) for outcome in outcomes[len(went) :]} == {Unavailable}
        await take(50)

    async def test_who_fails_or_gives_up_waiting_is_in_nobodys_way(self, counting: Counting) -> None:
        with pytest.raises(ValueError, match="x"):
            async with counting.limiter.turn(TEN):
                raise ValueError("x")

        async def take() -> None:
            async with counting.limiter.turn(TEN):
                pass

        async with counting.limiter.turn(TEN), counting.limiter.turn(THREE):
            waiting = [asyncio.create_task(take()) for _ in range(WAITING_MAX)]
            await asyncio.sleep(0)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            again = asyncio.create_task(take())
            await asyncio.sleep(0)
        await again

    async def test_nothing_is_kept_of_turns_that_are_over(self, clock: Clock) -> None:
        limiter = MemoryLimits(clock)
        for number in range(100):
            async with limiter.turn(Budget(TEN.rule, str(number))):
                assert len(limiter._turns) == 1
        assert len(limiter._turns) == 0


class TestInMemory:
    async def test_no_more_keys_are_kept_than_the_bound_and_the_oldest_go_first(self, clock: Clock) -> None:
        limiter = MemoryLimits(clock, keys_max=100)
        first, last = (Budget(ONCE.rule, name) for name in ("first", "last"))
        await limiter.take((first,))
        for number in range(1_000):
            await limiter.take((Budget(ONCE.rule, str(number)),))
        await limiter.take((last,))
        assert sum(len(windows) for windows in limiter._windows.values()) == 100
        await limiter.take((first,))
        for number in range(98):
            await limiter.take((Budget(ONCE.rule, f"later {number}"),))
        with pytest.raises(RateLimited):
            await limiter.take((last,))

    async def test_windows_that_ended_are_forgotten(self, clock: Clock) -> None:
        limiter = MemoryLimits(clock)
        for number in range(1_000):
            await limiter.take((Budget(ONCE.rule, str(number)),))
        clock.passes(60)
        await limiter.take((ONCE,))
        assert sum(len(windows) for windows in limiter._windows.values()) == 1

    async def test_a_clock_set_back_leaves_nobody_out_for_longer_than_it_was_set_back(self, clock: Clock) -> None:
        limiter = MemoryLimits(clock)
        clock.passes(3_600)
        await limiter.take((ONCE,))
        clock.passes(-3_600)
        await limiter.take((Budget(ONCE.rule, "other"),))
        clock.passes(60)
        await limiter.take((Budget(ONCE.rule, "other"),))
        clock.passes(3_600)
        await limiter.take((ONCE,))


async def test_without_limits_everything_passes() -> None:
    limiter = NoLimits()
    assert await passed(repeat(limiter, 100), TEN, THREE, ONCE) == 100
    await limiter.give_back((TEN,))
    async with limiter.turn(TEN), limiter.turn(TEN):
        pass


class TestInRedis:
    async def test_two_processes_share_one_budget(self, valkey: Valkey, clock: Clock) -> None:
        async with sharing(valkey.url, clock) as one, sharing(valkey.url, clock) as other:
            assert await passed([one, other] * 50, TEN) == 10
            await one.give_back((TEN,))
            assert await passed([other], TEN) == 1
            assert await passed([one, other], TEN) == 0

    async def test_nobody_reads_in_redis_whom_it_is_about(self, valkey: Valkey, clock: Clock) -> None:
        async with sharing(valkey.url, clock) as limiter, sharing(valkey.url, clock, secret=b"another") as stranger:
            await limiter.take((TEN, THREE))
            with valkey.client() as client:
                keys = set(client.scan_iter())
                assert len(keys) == 2
                assert {client.get(key) for key in keys} == {"1"}
                await stranger.take((TEN, THREE))
                assert len(set(client.scan_iter())) == 4
        text = " ".join(keys)
        for budget in (TEN, THREE):
            assert budget.key not in text
            assert digest(budget).hex() not in text

    async def test_nothing_is_kept_for_longer_than_its_window(self, valkey: Valkey, clock: Clock) -> None:
        async with sharing(valkey.url, clock) as limiter:
            await passed(repeat(limiter, 5), TEN, THREE)
            await limiter.give_back((TEN, THREE))
        with valkey.client() as client:
            left = sorted(client.pttl(key) for key in client.scan_iter())
        assert len(left) == 2
        assert 0 < left[0] <= 60_000 < left[1] <= 900_000


class TestWithoutRedis:
    async def test_an_outage_is_bridged_noticed_and_over(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        with Valkey() as server:
            async with sharing(server.url, clock) as limiter:
                assert await passed(repeat(limiter, 20), TEN) == 10
                server.stop()
                assert await passed(repeat(limiter, 20), TEN) == 10, "this process counts from the beginning"
                await limiter.give_back((TEN,))
                assert await passed(repeat(limiter, 20), TEN) == 1
                with pytest.raises(Unavailable):
                    await limiter.take((ONCE,))
                clock.passes(AWAY_S)
                with pytest.raises(RateLimited):
                    await limiter.take((TEN,))
                assert caplog.text.count("Redis is away") == 1

                server.start()
                clock.passes(AWAY_S)
                await limiter.take((TEN,))
                assert await passed(repeat(limiter, 20), TEN) == 9
                await limiter.take((ONCE,))
                with pytest.raises(RateLimited):
                    await limiter.take((ONCE,))
                assert caplog.text.count("Redis is back") == 1
                with server.client() as client:
                    assert len(set(client.scan_iter())) == 2

    async def test_a_restart_between_two_requests_is_no_outage(
        self, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Valkey() as server:
            async with sharing(server.url, clock) as limiter:
                await passed(repeat(limiter, 20), TEN)
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                await limiter.take((ONCE,))
                assert "away" not in caplog.text

    @pytest.mark.parametrize("kind", ["silent", "refusing", "no such place", "not Redis"])
    async def test_whatever_is_wrong_with_redis_holds_up_one_request_in_a_while_and_breaks_none(
        self, clock: Clock, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        asked = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            try:
                if kind == "refusing":
                    writer.write(b"-NOAUTH Authentication required.\r\n" * 9)
                elif kind == "not Redis":
                    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await reader.read()
            finally:
                writer.close()

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "socket"
            server = await asyncio.start_unix_server(answer, path)
            place = path if kind != "no such place" else path.with_name("nothing")
            async with server, sharing(f"unix://:s3cret@{place}", clock, timeout_s=0.2) as limiter, asyncio.timeout(60):
                assert await passed(repeat(limiter, 100), TEN) == 10
                clock.passes(AWAY_S)
                asked = 0
                assert await passed(repeat(limiter, 100), Budget(TEN.rule, "another")) == 10
                assert asked <= 1
                with pytest.raises(Unavailable) as caught:
                    await limiter.take((TEN, ONCE))
                assert caught.value.retry_after_s == AWAY_S
                await limiter.give_back((ONCE,))
        assert caplog.text.count("Redis is away") == 1
        assert "s3cret" not in caplog.text

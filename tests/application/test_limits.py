"""The rules as the customer knows them: what counts, against whom, and what does not."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintage.application.generations import Generations
from mintage.application.limits import Limits, origin
from mintage.application.once import Repeatable
from mintage.application.refusals import EmailNotVerified, InvalidCode, InvalidCredentials, RateLimited
from mintage.application.transaction import Unavailable
from mintage.infra.limits import WAITING_MAX, MemoryLimits
from tests.application.test_generations import ASK, CATALOGUE
from tests.application.world import NOW, World

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def passes(self, **span: int) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(MemoryLimits(lambda: clock.now))


async def attempt(guard: AbstractAsyncContextManager[None], failure: BaseException | None = None) -> None:
    """What is guarded takes its time and then goes well, or not."""
    async with guard:
        await asyncio.sleep(0)
        if failure is not None:
            raise failure


async def tally(attempts: Sequence[Awaitable[None]]) -> list[type[BaseException] | None]:
    """How many attempts at the same time ended."""
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    return [None if outcome is None else type(outcome) for outcome in outcomes]


async def wait_s(doing: Awaitable[None]) -> int:
    with pytest.raises(RateLimited) as caught:
        await doing
    return caught.value.retry_after_s


async def many(times: int, doing: Callable[[], Awaitable[None]]) -> None:
    for _ in range(times):
        await doing()


class TestSigningIn:
    async def test_ten_failures_in_a_quarter_of_an_hour_from_wherever(self, limits: Limits, clock: Clock) -> None:
        for number in range(10):
            with pytest.raises(InvalidCredentials):
                await attempt(limits.sign_in("ann", f"192.0.2.{number}"), InvalidCredentials())
        clock.passes(minutes=5)
        assert await wait_s(attempt(limits.sign_in("ann", HERE))) == 600
        await attempt(limits.sign_in("bob", HERE))
        clock.passes(minutes=10)
        await attempt(limits.sign_in("ann", HERE))

    async def test_of_guesses_at_the_same_time_no_more_are_tried(self, limits: Limits) -> None:
        guesses = [attempt(limits.sign_in("ann", HERE), InvalidCredentials()) for _ in range(100)]
        outcomes = await tally(guesses)
        assert (outcomes.count(InvalidCredentials), outcomes.count(RateLimited)) == (10, WAITING_MAX + 1 - 10)
        assert outcomes.count(Unavailable) == 100 - WAITING_MAX - 1
        assert await wait_s(attempt(limits.sign_in("ann", HERE))) == 900

    async def test_those_that_go_well_at_the_same_time_all_do(self, limits: Limits) -> None:
        assert await tally([attempt(limits.sign_in("ann", HERE)) for _ in range(30)]) == [None] * 30
        mixed = [attempt(limits.sign_in("ann", HERE), InvalidCredentials() if n % 4 else None) for n in range(12)]
        assert (await tally(mixed)).count(None) == 3

    async def test_nobody_waits_for_the_turn_of_another(self, limits: Limits) -> None:
        async with limits.sign_in("ann", HERE), asyncio.timeout(30):
            await attempt(limits.sign_in("bob", HERE))

    async def test_a_hundred_failures_of_whomever_from_one_address(self, limits: Limits) -> None:
        guesses = [attempt(limits.sign_in(f"u{number}", HERE), InvalidCredentials()) for number in range(150)]
        outcomes = await tally(guesses)
        assert (outcomes.count(InvalidCredentials), outcomes.count(RateLimited)) == (100, 50)
        await attempt(limits.sign_in("u149", THERE))

    async def test_what_goes_well_does_not_count(self, limits: Limits) -> None:
        await many(200, lambda: attempt(limits.sign_in("ann", HERE)))

    @pytest.mark.parametrize("failure", [EmailNotVerified("ann@example.com"), RuntimeError("the database is away")])
    async def test_what_is_no_wrong_password_does_not_count(self, limits: Limits, failure: Exception) -> None:
        for _ in range(200):
            with pytest.raises(type(failure)):
                await attempt(limits.sign_in("ann", HERE), failure)

    async def test_what_nobody_waited_for_counts(self, limits: Limits) -> None:
        for _ in range(10):
            with pytest.raises(asyncio.CancelledError):
                await attempt(limits.sign_in("ann", HERE), asyncio.CancelledError())
        assert await wait_s(attempt(limits.sign_in("ann", HERE)))


class TestCodes:
    async def test_one_a_minute_and_ten_an_hour_for_each_address_and_purpose(
        self, limits: Limits, clock: Clock
    ) -> None:
        async def ask() -> None:
            await limits.code_sent("ann@example.com", "verification", HERE)

        await ask()
        assert await wait_s(ask()) == 60
        await limits.code_sent("ann@example.com", "password_reset", HERE)
        await limits.code_sent("bob@example.com", "verification", HERE)
        for _ in range(9):
            clock.passes(minutes=1)
            await ask()
        clock.passes(minutes=1)
        assert await wait_s(ask()) == 50 * 60
        clock.passes(minutes=50)
        await ask()

    async def test_thirty_an_hour_from_one_address_to_whomever(self, limits: Limits) -> None:
        asked = [limits.code_sent(f"u{number}@example.com", "verification", HERE) for number in range(40)]
        assert (await tally(asked)).count(None) == 30
        await limits.code_sent("u39@example.com", "verification", THERE)

    async def test_a_hundred_wrong_ones_from_one_address(self, limits: Limits) -> None:
        await many(200, lambda: attempt(limits.code_tried(HERE)))
        outcomes = await tally([attempt(limits.code_tried(HERE), InvalidCode()) for _ in range(150)])
        assert (outcomes.count(InvalidCode), outcomes.count(RateLimited)) == (100, 50)
        await attempt(limits.code_tried(THERE))


async def test_a_thousand_registrations_an_hour_from_one_address(limits: Limits, clock: Clock) -> None:
    await many(1_000, lambda: limits.registered(HERE))
    assert await wait_s(limits.registered(HERE)) == 3_600
    await limits.registered(THERE)


@pytest.mark.parametrize(("rule", "per_account", "per_address"), [("recharged", 60, 600), ("generated", 1_200, 6_000)])
async def test_so_many_a_minute_of_one_account_and_from_one_address(
    limits: Limits, clock: Clock, rule: str, per_account: int, per_address: int
) -> None:
    doing: Callable[[str, str], Awaitable[None]] = getattr(limits, rule)
    await many(per_account, lambda: doing("ann", HERE))
    assert await wait_s(doing("ann", THERE)) == 60
    numbers = iter(range(per_address))
    await many(per_address - per_account, lambda: doing(f"u{next(numbers)}", HERE))
    assert await wait_s(doing("zoe", HERE)) == 60
    await doing("zoe", THERE)
    clock.passes(minutes=1)
    await doing("ann", HERE)


async def test_thirty_uploads_an_hour_of_one_account_however_they_end(limits: Limits, clock: Clock) -> None:
    await many(15, lambda: attempt(limits.uploading("ann")))
    outcomes = await tally([attempt(limits.uploading("ann"), ValueError()) for _ in range(20)])
    assert (outcomes.count(ValueError), outcomes.count(RateLimited)) == (15, 5)
    await attempt(limits.uploading("bob"))
    clock.passes(hours=1)
    await attempt(limits.uploading("ann"))


async def test_uploads_of_one_account_take_turns(limits: Limits) -> None:
    under_way = 0

    async def upload() -> None:
        nonlocal under_way
        async with limits.uploading("ann"):
            under_way += 1
            assert under_way == 1
            await asyncio.sleep(0)
            under_way -= 1

    assert await tally([upload() for _ in range(12)]) == [None] * 12


class TestPendingTasks:
    async def test_no_more_tasks_are_under_way_than_may_be(self, world: World) -> None:
        await world.register("ann", having=1_000)
        await world.register("bob", having=1_000)
        generations = Generations(world.journal, CATALOGUE, world.new_id, pending_max=3)

        async def request(user_id: str = "ann", repeatable: Repeatable | None = None) -> str:
            reply = await generations.request(user_id, ASK, repeatable=repeatable)
            first = reply.outcome or reply.receipt
            assert first is not None
            assert first.task_id is not None
            return first.task_id

        asked = Repeatable("ann", "/generate", "key", b"digest")
        first = await request(repeatable=asked)
        outcomes = await asyncio.gather(*(request() for _ in range(10)), return_exceptions=True)
        assert sum(isinstance(outcome, RateLimited) for outcome in outcomes) == 8
        assert await request(repeatable=asked) == first, "a repeat is answered"
        await request("bob")
        await generations.cancel("ann", first)
        await request()
        assert world.account("ann").held == 30

    async def test_by_default_a_thousand_and_without_limits_any_number(self, world: World) -> None:
        await world.register("ann", having=100_000)
        limited = Generations(world.journal, CATALOGUE, world.new_id)
        outcomes = await asyncio.gather(*(limited.request("ann", ASK) for _ in range(1_001)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [RateLimited]
        await Generations(world.journal, CATALOGUE, world.new_id, pending_max=None).request("ann", ASK)


class TestOrigin:
    @pytest.mark.parametrize(
        ("address", "counted"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ],
    )
    def test_an_address_is_itself_or_its_owners_whole_network(self, address: str, counted: str) -> None:
        assert origin(address) == counted

    @given(
        st.text(st.characters(exclude_characters=".:"))
        | st.sampled_from(["192.0.2.1:80", "[::1]", "1.2.3.4, 5.6.7.8", "x" * 100_000, "٣.1.1.1", "1"])
    )
    def test_what_is_no_address_counts_as_one(self, text: str) -> None:
        assert origin(text) == "unknown"

    @given(st.ip_addresses())
    def test_any_address_is_counted_under_little(self, address: IPv4Address | IPv6Address) -> None:
        assert len(origin(str(address))) <= 43

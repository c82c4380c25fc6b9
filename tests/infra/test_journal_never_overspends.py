"""Whatever callers do at once, through two journals on one database, the accounts come out as one caller's would.

Each step gives several commands at the same time to both journals. What was acknowledged is folded into a model in the
order in which the log has it; replaying the log must lead to the model and to what the database serves.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final, Literal, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from mintage.domain.credits.decider import (
    CREDITS,
    CaptureExceedsHold,
    HoldExists,
    HoldNotOpen,
    InsufficientCredits,
)
from mintage.domain.credits.events import (
    CreditsConsumed,
    CreditsGranted,
    CreditsHeld,
    HoldCaptured,
    HoldReleased,
)
from mintage.infra.journal import PostgresJournal
from mintage.infra.rebuild import rebuild
from mintage.projections import INLINE
from tests.conftest import VAULT
from tests.infra.kit import (
    account,
    capture,
    consume,
    grant,
    hold,
    journal_on,
    outcomes,
    release,
    rows,
    some_id,
    the_log,
)

ACCOUNTS: Final = 3
HOLDS: Final = 4
REFUSALS: Final = (InsufficientCredits, HoldExists, HoldNotOpen, CaptureExceedsHold)

Kind: TypeAlias = Literal["grant", "consume", "hold", "capture", "release"]
Asked: TypeAlias = tuple[Kind, int, int, int]
"""What is asked, of which account, of which of its holds, for how much."""

asked: st.SearchStrategy[Asked] = st.tuples(
    st.sampled_from(["grant", "consume", "consume", "hold", "capture", "release"]),
    st.integers(0, ACCOUNTS - 1),
    st.integers(0, HOLDS - 1),
    st.integers(1, 9),
)


class System:
    """Two journals that live as long as the test."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.journals: list[PostgresJournal] = []

    async def start(self) -> None:
        for _ in range(2):
            self.journals.append(await self.stack.enter_async_context(journal_on(self.conninfo, streams_max=8)))


class Accounts(RuleBasedStateMachine):
    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system
        self.users = [some_id() for _ in range(ACCOUNTS)]
        self.holds = [[some_id() for _ in range(HOLDS)] for _ in range(ACCOUNTS)]
        self.acknowledged: Counter[tuple[str, str]] = Counter()
        """Per account, what was acknowledged of each kind."""

    @initialize(amounts=st.lists(st.integers(0, 30), min_size=ACCOUNTS, max_size=ACCOUNTS))
    def begin(self, amounts: list[int]) -> None:
        self.give([("grant", turn, 0, amount) for turn, amount in enumerate(amounts) if amount])

    @rule(batch=st.lists(asked, min_size=1, max_size=12))
    def give(self, batch: list[Asked]) -> None:
        """All of these at once, dealt to the two journals."""
        works = [self.work(*one) for one in batch]
        results: list[Any] = self.system.runner.run(outcomes(works, *self.system.journals))
        for (kind, turn, *_), result in zip(batch, results, strict=True):
            if isinstance(result, int):
                self.acknowledged[(self.users[turn], kind)] += 1
                assert result >= 0
            else:
                assert isinstance(result, REFUSALS), repr(result)

    def work(self, kind: Kind, turn: int, which: int, amount: int) -> Any:
        user_id, hold_id = self.users[turn], self.holds[turn][which]
        match kind:
            case "grant":
                return grant(user_id, amount)
            case "consume":
                return consume(user_id, amount)
            case "hold":
                return hold(user_id, hold_id, amount)
            case "capture":
                return capture(user_id, hold_id, amount)
            case "release":
                return release(user_id, hold_id)

    def teardown(self) -> None:
        log = the_log(self.system.conninfo)
        for user_id in self.users:
            events: list[Any] = [found.event for found in log if found.key == user_id]
            self.check(user_id, events)

    def check(self, user_id: str, events: list[Any]) -> None:
        state, balances = CREDITS.initial, []
        available, begun, ended = 0, Counter[str](), Counter[str]()
        for event in events:
            state = CREDITS.evolve(state, event)
            match event:
                case CreditsGranted(amount=amount):
                    available += amount
                case CreditsConsumed(amount=amount):
                    available -= amount
                case CreditsHeld(amount=amount, hold_id=hold_id):
                    available -= amount
                    begun[hold_id] += 1
                case HoldCaptured(hold_id=hold_id, returned=returned):
                    available += sum(part.amount for part in returned)
                    ended[hold_id] += 1
                case HoldReleased(hold_id=hold_id, amount=amount):
                    available += amount
                    ended[hold_id] += 1
            assert state.available == available >= 0
            assert state.held >= 0
            assert ended <= begun, "a hold ended more often than it began"
            if not isinstance(event, CreditsHeld | HoldReleased):
                balances.append(state.available + state.held)
        assert set(state.holds) == set(begun - ended)
        assert account(self.system.conninfo, user_id) == (state.available, state.held)
        lines = "select balance_after from transactions where user_id = %s order by position"
        assert [line for (line,) in rows(self.system.conninfo, lines, (user_id,))] == balances
        granted = sum(event.amount for event in events if isinstance(event, CreditsGranted))
        spent = sum(event.amount for event in events if isinstance(event, CreditsConsumed | HoldCaptured))
        assert granted == state.available + state.held + spent
        kinds: dict[type[Any], str] = {
            CreditsGranted: "grant",
            CreditsConsumed: "consume",
            CreditsHeld: "hold",
            HoldCaptured: "capture",
            HoldReleased: "release",
        }
        stored = Counter((user_id, kinds[type(event)]) for event in events)
        assert stored == Counter({key: n for key, n in self.acknowledged.items() if key[0] == user_id})


@pytest.fixture
def system(conninfo: str) -> Iterator[System]:
    system = System(conninfo)
    with system.runner as runner:
        runner.run(system.start())
        yield system
        runner.run(system.stack.aclose())


def test_whatever_is_done_at_once_comes_out_as_if_one_after_the_other(system: System) -> None:
    machine: Any = lambda: Accounts(system)  # noqa: E731 -- as a machine without arguments
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    for model in INLINE:
        assert rebuild(system.conninfo, VAULT, model, swap=False).differences == dict.fromkeys(model.tables, 0)

"""Whatever is asked of credit accounts at once, through two journals, comes out as the model has it, one by one.

Each step gives several commands at the same time to both journals. What was stored is told to the model in the order
in which the log has it. What was refused must be what the model refuses, in the same words, at some moment between.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mintage.application.transaction import Transaction, Work
from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import (
    CREDITS,
    CaptureHold,
    CreditCommand,
    ExpireCredits,
    HoldCredits,
    HoldExists,
    ReleaseHold,
)
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    SpendingReversed,
)
from mintage.domain.decider import Refusal
from mintage.domain.recorded import Recorded
from mintage.infra.journal import PostgresJournal
from mintage.infra.log_reader import portions
from mintage.infra.memory_store import MemoryLog, MemoryStore
from mintage.infra.rebuild import rebuild
from mintage.infra.store import Breach, Store
from mintage.projections import INLINE
from mintage.projections.ledger import LEDGER
from tests.asks import HOUR, KINDS, Ask, Caller, Kind, asks
from tests.conftest import VAULT
from tests.infra.kit import grant, journal_on, postgres_store, rows, some_id, the_log
from tests.purse import Purse, overdue, same, step_of

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNTS: Final = 2

Step: TypeAlias = tuple[int, list[tuple[int, Ask]]]
"""How many hours pass, and what is asked then, each of one of the accounts."""

asked: Final = st.tuples(st.integers(0, ACCOUNTS - 1), asks(*KINDS, "grant", "consume", "hold", "hold", "reverse"))
story: Final = st.lists(st.tuples(st.integers(0, 6), st.lists(asked, min_size=3, max_size=12)), min_size=8, max_size=20)
first: Final = st.lists(asks("grant"), min_size=2, max_size=3)
"""What comes in to begin with, for every account."""


class System:
    """Two journals on one log, with a clock of their own."""

    def __init__(self, store: Callable[[], Store], read: Callable[[], list[Recorded]]) -> None:
        self.store = store
        self.read = read
        self.now = START
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.journals: list[PostgresJournal] = []

    async def start(self) -> None:
        for _ in range(2):
            journal = journal_on(self.store(), clock=lambda: self.now, streams_max=8)
            self.journals.append(await self.stack.enter_async_context(journal))


class Account:
    """One of the accounts: what the model says of it, and what its statement must say."""

    def __init__(self) -> None:
        self.user_id = some_id()
        self.caller = Caller(some_id)
        self.purse = Purse()
        self.state = CREDITS.initial
        self.version = 0
        self.holds: dict[str, tuple[Any, ...]] = {}
        """Amount, product, expiry, state and what was captured."""
        self.lines: list[tuple[Any, ...]] = []
        """Id unless it is derived, type, kind, amount, balance after it and what it reverses."""

    def stored(self, command: CreditCommand, events: Sequence[CreditEvent]) -> None:
        """Tell the model what was stored for a command."""
        assert self.purse.refusal(command) is None
        before = self.balance
        assert [step_of(event) for event in events] == self.purse.tell(command)
        for event in events:
            self.state = CREDITS.evolve(self.state, event)
            self.version += 1
            self.caller.see(event)
            if (line := line_of(event)) is not None:
                transaction_id, direction, kind, amount, reverses = line
                before += amount if direction == "recharge" else -amount
                self.lines.append((transaction_id, direction, kind, amount, before, reverses))
        assert self.balance == before
        match command:
            case HoldCredits(hold_id=hold_id, amount=amount):
                self.holds[hold_id] = (amount, command.product, command.expires_at, "open", 0)
            case CaptureHold(hold_id=hold_id, amount=amount):
                self.holds[hold_id] = (*self.holds[hold_id][:3], "captured", amount)
            case ReleaseHold(hold_id=hold_id, reason=reason):
                end = "expired" if reason == "expired" else "released"
                self.holds[hold_id] = (*self.holds[hold_id][:3], end, 0)

    @property
    def balance(self) -> int:
        return len(self.purse.all_at("available")) + len(self.purse.all_at("held")) - self.purse.owed

    def explains(self, command: CreditCommand, result: object) -> bool:
        """Whether, as things are now, the command would have come to this without leaving a trace."""
        if isinstance(result, HoldExists) and result.hold_id is None:
            # Of a hold that has ended the account knows nothing any more; the database does.
            return isinstance(command, HoldCredits) and command.hold_id in self.holds.keys() - self.purse.holds
        if isinstance(result, Refusal):
            return same(result, self.purse.refusal(command))
        late = any(overdue(coin, command.now) for coin in self.purse.all_at("available"))
        return isinstance(command, ExpireCredits) and isinstance(result, CreditAccount) and not late


def line_of(event: CreditEvent) -> tuple[str | None, str, str, int, str | None] | None:
    """What a statement shows of an event."""
    match event:
        case CreditsGranted():
            return event.transaction_id, "recharge", event.source, event.amount, None
        case CreditsConsumed():
            return event.transaction_id, "consume", "consume", event.amount, None
        case HoldCaptured():
            return event.transaction_id, "consume", "generation", event.amount, None
        case CreditsExpired():
            return None, "consume", "expiry", event.amount, None
        case SpendingReversed():
            return event.transaction_id, "recharge", "reversal", event.amount, event.reverses
        case CreditsRemoved():
            return event.transaction_id, "consume", "adjustment", event.amount, None
        case CreditsClawedBack(amount=amount) if amount:
            return event.transaction_id, "consume", "clawback", amount, None
        case CreditsClawedBack() | CreditsHeld() | HoldReleased() | DebtPaid():
            return None


def work_of(user_id: str, command: CreditCommand) -> Work[CreditAccount]:
    def work(transaction: Transaction) -> CreditAccount:
        assert transaction.now == command.now
        return transaction.execute(CREDITS, user_id, command)

    return work


def live(system: System, first: list[Ask], story: list[Step], check: Callable[[Account], None]) -> None:
    """Do all of this to new accounts, and hold every step to the model; in the end check each."""
    accounts = [Account() for _ in range(ACCOUNTS)]
    for hours, asked in [(0, [(turn, ask) for turn in range(ACCOUNTS) for ask in first]), *story]:
        system.now += hours * HOUR
        give(system, accounts, asked)
    found = system.runner.run(states(system, accounts))
    for account, state in zip(accounts, found, strict=True):
        assert state == account.state, "who comes later finds the same account, snapshots or not"
        check(account)


async def states(system: System, accounts: list[Account]) -> list[CreditAccount]:
    """The accounts as a journal finds them that has seen nothing of what happened."""
    async with journal_on(system.store(), clock=lambda: system.now) as journal:
        keys = [account.user_id for account in accounts]
        return await journal.transact(lambda log: [log.state(CREDITS, key) for key in keys], actor="test")


def give(system: System, accounts: list[Account], asked: list[tuple[int, Ask]]) -> None:
    told = [
        (accounts[turn], command)
        for turn, ask in asked
        if (command := accounts[turn].caller.command(ask, accounts[turn].state, system.now)) is not None
    ]
    before = len(system.read())

    async def all_at_once() -> list[Any]:
        calls = [
            system.journals[number % 2].transact(work_of(account.user_id, command), actor=str(number))
            for number, (account, command) in enumerate(told)
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = system.runner.run(all_at_once())
    stored: dict[int, list[Any]] = {}
    for entry in system.read()[before:]:
        account, _ = told[int(entry.actor)]
        assert entry.key == account.user_id
        stored.setdefault(int(entry.actor), []).append(entry.event)
    traceless = set(range(len(told))) - set(stored)

    def look_for_reasons() -> None:
        for number in list(traceless):
            account, command = told[number]
            if account.explains(command, results[number]):
                traceless.remove(number)

    look_for_reasons()
    for number, events in stored.items():
        account, command = told[number]
        account.stored(command, events)
        assert results[number] == account.state, "who is answered hears of the account right after the command"
        look_for_reasons()
    assert not traceless, [(told[number][1], results[number]) for number in traceless]


def check_rows(conninfo: str, account: Account) -> None:
    """What the database serves is what the model has."""
    user, purse = (account.user_id,), account.purse
    found = rows(conninfo, "select available, held, owed, version from credit_accounts where user_id = %s", user)
    numbers = (len(purse.all_at("available")), len(purse.all_at("held")), purse.owed, account.version)
    assert found == ([numbers] if account.version else [])
    found = rows(
        conninfo,
        """select case kind when 'expiry' then null else id::text end, type, kind, amount, balance_after, reverses::text
        from transactions where user_id = %s order by position""",
        user,
    )
    assert found == account.lines
    found = rows(
        conninfo,
        "select hold_id::text, amount, product, expires_at, state, captured from holds where user_id = %s",
        user,
    )
    assert {hold_id: tuple(rest) for hold_id, *rest in found} == account.holds
    open_now = "select hold_id::text from holds where user_id = %s and ended_at is null"
    assert {hold_id for (hold_id,) in rows(conninfo, open_now, user)} == purse.holds
    found = rows(
        conninfo,
        """select lot, amount, paid_fen, expires_at, priority, reference::text, source from lots
        where user_id = %s order by lot""",
        user,
    )
    assert found == [
        (grant.lot, grant.amount, grant.paid_fen, grant.expires_at, grant.priority, grant.reference, grant.source)
        for grant in reversed(account.caller.granted)
    ]


def try_stories(max_examples: int, run: Callable[[list[Ask], list[Step]], None]) -> None:
    settings(
        max_examples=max_examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(given(first, story)(run))()


@pytest.fixture
def in_memory() -> Iterator[System]:
    log = MemoryLog()
    yield from started(System(lambda: MemoryStore(log), lambda: log.read(0, 1_000_000)))


@pytest.fixture
def on_postgres(conninfo: str) -> Iterator[System]:
    yield from started(System(lambda: postgres_store(conninfo), lambda: the_log(conninfo)))


def started(system: System) -> Iterator[System]:
    with system.runner as runner:
        runner.run(system.start())
        yield system
        runner.run(system.stack.aclose())


def test_in_memory_accounts_come_out_as_the_model_has_them(in_memory: System) -> None:
    try_stories(40, lambda first, story: live(in_memory, first, story, lambda _: None))


def test_on_postgres_accounts_and_what_is_served_come_out_as_the_model_has_them(
    on_postgres: System, conninfo: str
) -> None:
    def run(first: list[Ask], story: list[Step]) -> None:
        live(on_postgres, first, story, lambda account: check_rows(conninfo, account))

    try_stories(30, run)
    for model in INLINE:
        assert rebuild(conninfo, VAULT, model, swap=False).differences == dict.fromkeys(model.tables, 0)


@pytest.mark.parametrize("size", range(1, 6))
async def test_a_rebuild_may_stop_anywhere_even_between_what_comes_back_and_the_debt_it_pays(
    conninfo: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    caller, user_id, state = Caller(some_id), some_id(), CREDITS.initial
    ask = Ask("grant", 0, 10, None, 10, None, 50, "failed")
    kinds: tuple[Kind, ...] = ("grant", "hold", "claw back whole", "release")
    async with journal_on(conninfo, clock=lambda: START) as journal:
        for kind in kinds:
            command = caller.command(ask._replace(kind=kind), state, START)
            assert command is not None
            before = len(the_log(conninfo))
            state = await journal.transact(work_of(user_id, command), actor="test")
            stored: list[Any] = [entry.event for entry in the_log(conninfo)[before:]]
            for event in stored:
                caller.see(event)
    events = [type(entry.event) for entry in the_log(conninfo)]
    assert events == [CreditsGranted, CreditsHeld, CreditsClawedBack, HoldReleased, DebtPaid]
    monkeypatch.setattr("mintage.infra.rebuild.portions", partial(portions, size=size))
    assert rebuild(conninfo, VAULT, LEDGER, swap=False).differences == dict.fromkeys(LEDGER.tables, 0)


async def test_the_database_refuses_who_owes_and_has_credits_all_the_same(conninfo: str) -> None:
    """Whatever the code believes: here a decider that records a debt and takes nothing."""
    user_id = some_id()
    forgotten = CreditsClawedBack(
        transaction_id=some_id(),
        recharge_id=some_id(),
        reference="refund",
        reason="refund",
        amount=5,
        refunded_fen=500,
        payment_method="alipay",
        description="clawed back",
        taken=(),
        owed=5,
    )
    wrong = replace(CREDITS, decide=lambda _command, _account: (forgotten,))
    command = ReleaseHold(hold_id="", reason="failed", now=START)
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        with pytest.raises(Breach) as refused:
            await journal.transact(lambda transaction: transaction.execute(wrong, user_id, command), actor="test")
    assert refused.value.constraint == "credit_accounts_debts_first"
    assert rows(conninfo, "select available, owed from credit_accounts") == [(10, 0)]
    assert len(the_log(conninfo)) == 1

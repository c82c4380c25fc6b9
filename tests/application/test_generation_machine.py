"""Whatever workers, the owner, the clock and a provider do to a task in whatever order, its hold ends exactly once.

The real use cases run on a journal of plain dictionaries; the model is what the provider itself knows.
"""

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from mintage.application.generations import Generations
from mintage.application.lifecycle import Lifecycle, Output
from mintage.application.transaction import Stage, Transaction, Work
from mintage.domain.catalogue import decider_of
from mintage.domain.credits.events import HoldCaptured, HoldReleased
from mintage.domain.decider import Refusal
from mintage.domain.generation.decider import Task
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationCompleted,
    GenerationDeliveredLate,
    GenerationFailed,
)
from mintage.domain.registration.decider import REGISTRATION, Register
from tests.application.test_generations import ASK, CATALOGUE, PRICE, output
from tests.application.world import NOW, granting, ids

Outcome = TypeVar("Outcome")
HAVING = 100


class Everything(dict[str, tuple[int, Any]]):
    """The state of every stream; of one to which nothing happened, its first."""

    def get(self, stream: str, default: Any = None) -> Any:
        return super().get(stream) or (0, decider_of(stream).initial)


class Ledger:
    """Implements ``application.transaction.Journal``: each command by itself and at once."""

    def __init__(self) -> None:
        self.states = Everything()
        self.numbers = dict.fromkeys(("user", "task", "work"), 0)
        self.now = NOW
        self.log: list[Any] = []

    async def transact(self, work: Work[Outcome], *, actor: str) -> Outcome:
        stage = Stage(self.states, self.numbers, len(self.log), self.now)
        transaction = Transaction(stage, f"command-{len(self.log)}", actor)
        outcome = work(transaction)
        stage.adopt(transaction)
        self.states.update(stage.changed)
        self.numbers.update(stage.numbers)
        self.log += stage.entries
        return outcome


def run(call: Coroutine[Any, Any, Outcome]) -> Outcome:
    """A call that never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waited")


class TaskMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.journal = Ledger()
        new_id = ids()
        self.generations = Generations(self.journal, CATALOGUE, new_id)
        self.lifecycle = Lifecycle(self.journal, new_id)
        self.fence = 0
        self.created: list[str] = []
        """The jobs that the provider took, by our ids for them."""
        self.task_id = ""

    @initialize(works=st.integers(1, 4))
    def request(self, works: int) -> None:
        register = Register(user_id="ann", number=1, document="v1", username="ann", referral_code="CODE0001")
        run(self.journal.transact(lambda tr: tr.execute(REGISTRATION, "ann", register), actor="ann"))
        run(self.journal.transact(granting("ann", HAVING), actor="system"))
        reply = run(self.generations.request("ann", replace(ASK, parameters={"count": works})))
        assert reply.outcome is not None
        self.task_id = reply.outcome.task_id

    @property
    def task(self) -> Task:
        state = self.journal.states.get(f"generation-{self.task_id}")[1]
        assert isinstance(state, Task)
        return state

    def attempted(self, call: Coroutine[Any, Any, Any]) -> bool:
        """Whether it was accepted; a refusal leaves nothing behind."""
        before = len(self.journal.log)
        try:
            run(call)
        except Refusal:
            assert len(self.journal.log) == before
            return False
        return True

    def outputs(self, come_out: list[bool]) -> list[Output | None]:
        works = len(self.task.works)
        return [
            output() if is_out or place == 0 else None for place, is_out in zip(range(works), come_out, strict=False)
        ]

    # -- workers, of which any may have slept through others

    @rule()
    def claim(self) -> None:
        self.fence += 1
        call = self.lifecycle.resume if self.task.is_sent else self.lifecycle.start
        self.attempted(call(self.task_id, fence=self.fence, worker="w"))

    @rule(fence=st.integers(1, 8))
    def begin_anew_whatever_was_before(self, fence: int) -> None:
        was_sent = self.task.is_sent
        if self.attempted(self.lifecycle.start(self.task_id, fence=fence, worker="w")):
            assert not was_sent
            self.fence = max(fence, self.fence)

    @rule(slept=st.integers(0, 2), takes=st.booleans())
    def send(self, slept: int, takes: bool) -> None:
        """Dispatch, then create; the provider takes the job or the request is lost on its way."""
        job_id = f"job-{self.task.attempt}"
        was_sent = self.task.is_sent
        dispatch = self.lifecycle.dispatch(self.task_id, job_id=job_id, fence=self.fence - slept, worker="w")
        if self.attempted(dispatch) and not was_sent and takes:
            self.created.append(job_id)

    @rule(slept=st.integers(0, 2), cancels=st.booleans())
    @precondition(lambda self: self.created)
    def note_their_id(self, slept: int, cancels: bool) -> None:
        if self.task.job_id in self.created:
            call = self.lifecycle.submitted(
                self.task_id,
                provider_job=f"theirs-{self.task.job_id}",
                cancels=cancels,
                fence=self.fence - slept,
                worker="w",
            )
            self.attempted(call)

    @rule(slept=st.integers(0, 2))
    def put_off(self, slept: int) -> None:
        """Only what surely had no effect."""
        if self.task.job_id not in self.created:
            retry_at = self.journal.now + timedelta(seconds=1)
            call = self.lifecycle.defer(
                self.task_id, error_code="E", retry_at=retry_at, fence=self.fence - slept, worker="w"
            )
            self.attempted(call)

    @rule(slept=st.integers(0, 2), come_out=st.lists(st.booleans(), min_size=4, max_size=4))
    def succeed(self, slept: int, come_out: list[bool]) -> None:
        call = self.lifecycle.succeed(
            self.task_id, self.outputs(come_out), kind="image", fence=self.fence - slept, worker="w"
        )
        self.attempted(call)

    @rule(slept=st.integers(0, 2) | st.none())
    def fail(self, slept: int | None) -> None:
        fence = None if slept is None else self.fence - slept
        call = self.lifecycle.fail(self.task_id, error_code="E", error_message="no", fence=fence, worker="w")
        self.attempted(call)

    # -- the owner, the clock, and what comes after the end

    @rule()
    def cancel(self) -> None:
        self.attempted(self.generations.cancel("ann", self.task_id))

    @rule(slept=st.integers(0, 2) | st.none())
    def run_out_of_time(self, slept: int | None) -> None:
        self.attempted(self.lifecycle.time_out(self.task_id, fence=None if slept is None else self.fence - slept))

    @rule(days=st.integers(0, 2))
    def end_the_hold(self, days: int) -> None:
        self.journal.now += timedelta(days=days)
        assert self.attempted(self.lifecycle.end_hold("ann", self.task_id))

    @rule(come_out=st.lists(st.booleans(), min_size=4, max_size=4))
    def deliver_late(self, come_out: list[bool]) -> None:
        was_watched = self.task.aftermath == "watch"
        late = self.lifecycle.deliver_late(self.task_id, self.outputs(come_out), worker="w")
        assert self.attempted(late) == was_watched

    @rule()
    def close(self) -> None:
        assert self.attempted(self.lifecycle.close(self.task_id, "over", worker="w"))

    # -- what is so at any moment

    @invariant()
    def the_hold_ends_exactly_once_and_with_the_task(self) -> None:
        ends = [entry for entry in self.journal.log if isinstance(entry.event, HoldCaptured | HoldReleased)]
        over = [
            entry
            for entry in self.journal.log
            if isinstance(entry.event, GenerationCompleted | GenerationFailed | GenerationCancelled)
        ]
        assert len(ends) == len(over) == (self.task.status in {"completed", "failed", "cancelled"})
        assert [entry.command_id for entry in ends] == [entry.command_id for entry in over]

    @invariant()
    def nobody_pays_for_what_they_did_not_get_or_more_than_the_price(self) -> None:
        account = self.journal.states.get("credits-ann")[1]
        charged = sum(e.event.charged for e in self.journal.log if isinstance(e.event, GenerationCompleted))
        late = any(isinstance(entry.event, GenerationDeliveredLate) for entry in self.journal.log)
        held = 0 if self.task.status in {"completed", "failed", "cancelled"} else PRICE
        if self.task_id:
            assert (account.available, account.held) == (HAVING - held - charged, held)
        assert charged == 0 or (self.task.status == "completed" and not late)
        works = [self.journal.states.get(f"work-{work_id}")[1].status for work_id in self.task.works]
        assert ("completed" in works) == (self.task.status == "completed")
        if self.task.status in {"failed", "cancelled"}:
            assert set(works) == {"failed"}

    @invariant()
    def the_provider_is_never_asked_twice_for_one_thing(self) -> None:
        assert len(self.created) == len(set(self.created)) <= 1

    @invariant()
    def replaying_the_log_leads_to_the_same_states(self) -> None:
        for stream in {entry.stream for entry in self.journal.log}:
            decider = decider_of(stream)
            events = [entry.event for entry in self.journal.log if entry.stream == stream]
            assert decider.fold(decider.initial, events) == self.journal.states[stream][1]


TaskMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestTask = TaskMachine.TestCase

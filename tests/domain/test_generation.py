"""A task ends once, and only the worker whose claim is the newest may end its attempt."""

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import asdict, replace

from mintage.domain.decider import Refusal
from mintage.domain.generation.decider import (
    GENERATION,
    CancelGeneration,
    GenerationCommand,
    LeaseLost,
    RecordFailure,
    RecordSuccess,
    RequestGeneration,
    StartAttempt,
    Task,
    TaskExists,
    TaskOver,
    TaskUnknown,
)
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationCompleted,
    GenerationEvent,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
)
from tests.scenario import Given


def given(*history: GenerationEvent) -> Given[Task, GenerationCommand, GenerationEvent]:
    return Given(GENERATION, *history)


REQUEST = RequestGeneration(
    user_id="ann",
    number=9,
    document="server",
    task_type="text2img",
    model_provider="stability",
    model_name="xl",
    renderer="builtin",
    prompt="a cat",
    parameters={"count": 3, "style": "oil", "strength": 0.5, "tile": True},
    price=10,
    works=("work-1", "work-2", "work-3"),
    negative_prompt="a dog",
    source_image_url="https://example.com/cat.png",
    style="oil",
    transparent=True,
)
REQUESTED = GenerationRequested(**asdict(REQUEST))
CANCELLED = GenerationCancelled()
COMPLETED = GenerationCompleted(delivered=3, charged=10)
FAILED = GenerationFailed(error_code="provider", error_message="no luck")


def start(fence: int) -> StartAttempt:
    return StartAttempt(fence=fence, worker=f"worker-{fence}")


def started(attempt: int, fence: int) -> GenerationStarted:
    return GenerationStarted(attempt=attempt, fence=fence, worker=f"worker-{fence}")


def success(fence: int, delivered: int = 3) -> RecordSuccess:
    return RecordSuccess(fence=fence, delivered=delivered)


def failure(fence: int | None) -> RecordFailure:
    return RecordFailure(error_code="provider", error_message="no luck", fence=fence)


OTHERS: list[GenerationCommand] = [start(5), success(1), failure(1), failure(None), CancelGeneration()]
"""Every command that needs a task to be there."""
ENDINGS: dict[str, GenerationEvent] = {"completed": COMPLETED, "failed": FAILED, "cancelled": CANCELLED}


class TestRequesting:
    def test_a_task_waits_from_the_start(self) -> None:
        assert given().when(REQUEST).then(REQUESTED).state() == Task(
            user_id="ann", status="pending", price=10, works=("work-1", "work-2", "work-3")
        )

    def test_the_event_says_everything_that_was_asked_for(self) -> None:
        assert asdict(REQUESTED) == asdict(REQUEST)

    def test_an_id_is_used_once(self) -> None:
        given(REQUESTED).when(REQUEST).then_refused(TaskExists)

    @pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
    def test_the_id_of_a_task_that_ended_is_not_used_again(self, ending: GenerationEvent) -> None:
        given(REQUESTED, ending).when(REQUEST).then_refused(TaskExists)

    @pytest.mark.parametrize(
        "command", [replace(REQUEST, price=0), replace(REQUEST, works=())], ids=["for nothing", "of nothing"]
    )
    def test_asking_for_nothing_is_a_mistake_of_the_caller(self, command: RequestGeneration) -> None:
        given().when_mistaken(command)

    def test_the_state_holds_nothing_personal(self) -> None:
        kept = repr(given(REQUESTED).state())
        assert not any(word in kept for word in ("cat", "dog", "https"))


class TestWhatIsNotThere:
    @pytest.mark.parametrize("command", OTHERS, ids=repr)
    def test_nothing_can_be_done_with_an_unknown_task(self, command: GenerationCommand) -> None:
        given().when(command).then_refused(TaskUnknown)


class TestStarting:
    def test_a_worker_begins_the_first_attempt(self) -> None:
        after = given(REQUESTED).when(start(1)).then(started(1, 1)).state()
        assert (after.status, after.attempt, after.fence) == ("processing", 1, 1)

    def test_a_newer_claim_takes_over_and_attempts_are_counted(self) -> None:
        given(REQUESTED, started(1, 1)).when(start(4)).then(started(2, 4)).when(start(5)).then(started(3, 5))

    def test_a_claim_starts_once(self) -> None:
        given(REQUESTED, started(1, 2)).when(start(2)).then_refused(LeaseLost, fence=2, newest=2)

    def test_an_older_claim_starts_nothing(self) -> None:
        given(REQUESTED, started(1, 2)).when(start(1)).then_refused(LeaseLost, fence=1, newest=2)


class TestSucceeding:
    def test_a_task_is_completed_for_its_whole_price(self) -> None:
        after = given(REQUESTED, started(1, 1)).when(success(1)).then(COMPLETED).state()
        assert after.status == "completed"

    @pytest.mark.parametrize(("delivered", "charged"), [(1, 3), (2, 6), (3, 10)])
    def test_what_came_out_is_charged_by_its_share_rounded_down(self, delivered: int, charged: int) -> None:
        expected = GenerationCompleted(delivered=delivered, charged=charged)
        given(REQUESTED, started(1, 1)).when(success(1, delivered)).then(expected)

    def test_a_worker_whose_claim_was_taken_over_ends_nothing(self) -> None:
        history = REQUESTED, started(1, 1), started(2, 2)
        given(*history).when(success(1)).then_refused(LeaseLost, fence=1, newest=2)
        given(*history).when(success(2)).then(COMPLETED)

    def test_a_claim_that_never_started_ends_nothing(self) -> None:
        given(REQUESTED, started(1, 1)).when(success(2)).then_refused(LeaseLost, fence=2, newest=1)
        given(REQUESTED).when(success(1)).then_refused(LeaseLost, fence=1, newest=0)

    def test_nobody_ends_an_attempt_that_nobody_began(self) -> None:
        given(REQUESTED).when(success(0)).then_refused(LeaseLost, fence=0, newest=0)
        given(REQUESTED).when(failure(0)).then_refused(LeaseLost, fence=0, newest=0)

    @pytest.mark.parametrize("delivered", [0, -1, 4])
    def test_delivering_nothing_or_more_than_asked_is_a_mistake_of_the_caller(self, delivered: int) -> None:
        given(REQUESTED, started(1, 1)).when_mistaken(success(1, delivered))


class TestFailing:
    def test_the_worker_of_the_attempt_gives_it_up(self) -> None:
        assert given(REQUESTED, started(1, 1)).when(failure(1)).then(FAILED).state().status == "failed"

    def test_a_worker_whose_claim_was_taken_over_gives_nothing_up(self) -> None:
        given(REQUESTED, started(1, 1), started(2, 2)).when(failure(1)).then_refused(LeaseLost, fence=1, newest=2)

    @pytest.mark.parametrize("history", [(), (started(1, 1),)], ids=["waiting", "being worked on"])
    def test_the_system_itself_can_end_a_task_whoever_claims_it(self, history: tuple[GenerationEvent, ...]) -> None:
        given(REQUESTED, *history).when(failure(None)).then(FAILED)


class TestCancelling:
    @pytest.mark.parametrize("history", [(), (started(1, 1),)], ids=["waiting", "being worked on"])
    def test_a_task_is_cancelled_until_it_ends(self, history: tuple[GenerationEvent, ...]) -> None:
        assert given(REQUESTED, *history).when(CancelGeneration()).then(CANCELLED).state().status == "cancelled"


class TestEndingOnce:
    @pytest.mark.parametrize("command", OTHERS, ids=repr)
    @pytest.mark.parametrize("status", ENDINGS)
    def test_a_task_that_ended_stays_as_it_is(self, status: str, command: GenerationCommand) -> None:
        given(REQUESTED, started(1, 1), ENDINGS[status]).when(command).then_refused(TaskOver, status=status)


@settings(deadline=None)
@hypothesis_given(st.integers(1, 10_000), st.integers(1, 50))
def test_shares_grow_with_what_came_out_and_the_whole_is_the_price(price: int, works: int) -> None:
    task = Task(price=price, works=tuple(map(str, range(works))))
    shares = [task.share(delivered) for delivered in range(works + 1)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, price)
    assert all(share <= price * delivered / works < share + 1 for delivered, share in enumerate(shares))


class TaskMachine(RuleBasedStateMachine):
    """Workers, the owner and the system pull at one task in any order; the model is a handful of plain facts."""

    def __init__(self) -> None:
        super().__init__()
        self.task = GENERATION.initial
        self.history: list[GenerationEvent] = []
        self.exists = False
        self.ended: str | None = None
        self.newest = 0
        self.attempts = 0

    def tell(self, command: GenerationCommand, refusal: type[Refusal] | None = None) -> None:
        """Give a command to a task that is there and open; refused as expected, or one event."""
        if not self.exists:
            refusal = TaskUnknown
        elif self.ended:
            refusal = TaskOver
        if refusal is not None:
            with pytest.raises(refusal):
                GENERATION.decide(command, self.task)
            return
        (event,) = GENERATION.decide(command, self.task)
        self.task = GENERATION.evolve(self.task, event)
        self.history.append(event)

    @rule()
    def request(self) -> None:
        if self.exists:
            with pytest.raises(TaskExists):
                GENERATION.decide(REQUEST, self.task)
        else:
            self.exists = True
            self.tell(REQUEST)

    @rule(fence=st.integers(1, 9))
    def start(self, fence: int) -> None:
        self.tell(start(fence), LeaseLost if fence <= self.newest else None)
        if self.exists and not self.ended and fence > self.newest:
            self.newest = fence
            self.attempts += 1

    @rule(fence=st.integers(1, 9), delivered=st.integers(1, 3))
    def succeed(self, fence: int, delivered: int) -> None:
        self.tell(success(fence, delivered), LeaseLost if fence != self.newest else None)
        self.note("completed", fence == self.newest)

    @rule(fence=st.none() | st.integers(1, 9))
    def fail(self, fence: int | None) -> None:
        self.tell(failure(fence), LeaseLost if fence not in {None, self.newest} else None)
        self.note("failed", fence in {None, self.newest})

    @rule()
    def cancel(self) -> None:
        self.tell(CancelGeneration())
        self.note("cancelled", True)

    def note(self, ending: str, allowed: bool) -> None:
        if self.exists and not self.ended and allowed:
            self.ended = ending

    @invariant()
    def the_task_is_what_the_facts_say(self) -> None:
        assert (self.task.fence, self.task.attempt) == (self.newest, self.attempts)
        going = "processing" if self.attempts else "pending"
        assert self.task.status == (self.ended or (going if self.exists else "unknown"))

    @invariant()
    def a_task_ends_at_most_once_and_last(self) -> None:
        endings = [
            isinstance(event, GenerationCompleted | GenerationFailed | GenerationCancelled) for event in self.history
        ]
        assert sum(endings) == (self.ended is not None)
        assert not any(endings[:-1])

    @invariant()
    def replaying_the_history_leads_to_the_same_task(self) -> None:
        assert GENERATION.fold(GENERATION.initial, self.history) == self.task


TaskMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestTask = TaskMachine.TestCase

"""A task ends once, only the newest claim may say what became of its attempt, and nothing is sent twice."""

from datetime import UTC, datetime

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from mintage.domain.generation.decider import (
    GENERATION,
    AttemptSent,
    CancelGeneration,
    CloseAftermath,
    GenerationCommand,
    LeaseLost,
    NothingSent,
    RecordDeferral,
    RecordDispatch,
    RecordFailure,
    RecordLateDelivery,
    RecordSubmission,
    RecordSuccess,
    RequestGeneration,
    ResumeAttempt,
    StartAttempt,
    Task,
    TaskExists,
    TaskOver,
    TaskUnknown,
    TimeOut,
)
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationClosed,
    GenerationCompleted,
    GenerationDeferred,
    GenerationDeliveredLate,
    GenerationDispatched,
    GenerationEvent,
    GenerationFailed,
    GenerationRequested,
    GenerationResumed,
    GenerationStarted,
    GenerationSubmitted,
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
    upstream="sd3.5",
    priority=2,
    deadline_at=datetime(2026, 3, 1, 13, tzinfo=UTC),
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


LATER = datetime(2026, 3, 1, 12, tzinfo=UTC)
DISPATCHED = GenerationDispatched(attempt=1, job_id="job-1")
SUBMITTED = GenerationSubmitted(attempt=1, provider_job="theirs-1", cancels=True)
TIMED_OUT = GenerationFailed(error_code="TIMED_OUT", error_message="too late")
WATCHED = replace(TIMED_OUT, aftermath="watch")
SENT: dict[str, tuple[GenerationEvent, ...]] = {
    "about to leave": (DISPATCHED,),
    "at the provider": (DISPATCHED, SUBMITTED),
    "at a provider where nothing costs": (SUBMITTED,),
}


def resume(fence: int) -> ResumeAttempt:
    return ResumeAttempt(fence=fence, worker=f"worker-{fence}")


def resumed(fence: int) -> GenerationResumed:
    return GenerationResumed(fence=fence, worker=f"worker-{fence}")


def dispatch(fence: int, job_id: str = "job-1") -> RecordDispatch:
    return RecordDispatch(fence=fence, job_id=job_id)


def submission(fence: int, provider_job: str = "theirs-1", *, cancels: bool = True) -> RecordSubmission:
    return RecordSubmission(fence=fence, provider_job=provider_job, cancels=cancels)


def deferral(fence: int) -> RecordDeferral:
    return RecordDeferral(fence=fence, error_code="PROVIDER_UNAVAILABLE", retry_at=LATER)


def deferred(attempt: int, deferrals: int) -> GenerationDeferred:
    return GenerationDeferred(attempt=attempt, deferrals=deferrals, error_code="PROVIDER_UNAVAILABLE", retry_at=LATER)


def time_out(fence: int | None) -> TimeOut:
    return TimeOut(error_message="too late", fence=fence)


FENCED: list[GenerationCommand] = [
    dispatch(1),
    submission(1),
    deferral(1),
    success(1),
    failure(1),
    time_out(1),
]
"""What only the claim that an attempt belongs to may say."""
OTHERS: list[GenerationCommand] = [
    start(5),
    resume(5),
    *FENCED,
    failure(None),
    time_out(None),
    CancelGeneration(),
]
"""Every command that needs a task to be there and open."""
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


class TestSending:
    def test_an_attempt_is_noted_before_it_leaves_and_again_when_it_has_arrived(self) -> None:
        then = given(REQUESTED, started(1, 1)).when(dispatch(1)).then(DISPATCHED).when(submission(1)).then(SUBMITTED)
        after = then.state()
        assert (after.status, after.job_id, after.provider_job) == ("processing", "job-1", "theirs-1")

    def test_a_note_whose_outcome_was_in_doubt_may_be_repeated(self) -> None:
        given(REQUESTED, started(1, 1), DISPATCHED).when(dispatch(1)).then_nothing()
        given(REQUESTED, started(1, 1), DISPATCHED, SUBMITTED).when(submission(1)).then_nothing()

    @pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
    def test_an_attempt_does_not_leave_twice(self, sent: tuple[GenerationEvent, ...]) -> None:
        given(REQUESTED, started(1, 1), *sent).when(dispatch(1, "job-2")).then_refused(AttemptSent)

    def test_an_attempt_does_not_change_its_id_at_the_provider(self) -> None:
        given(REQUESTED, started(1, 1), DISPATCHED, SUBMITTED).when(submission(1, "theirs-2")).then_refused(AttemptSent)

    @pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
    def test_what_may_have_arrived_is_not_begun_anew(self, sent: tuple[GenerationEvent, ...]) -> None:
        given(REQUESTED, started(1, 1), *sent).when(start(2)).then_refused(AttemptSent)

    @pytest.mark.parametrize("command", FENCED, ids=repr)
    def test_a_worker_whose_claim_was_taken_over_says_nothing(self, command: GenerationCommand) -> None:
        given(REQUESTED, started(1, 1), started(2, 2)).when(command).then_refused(LeaseLost, fence=1, newest=2)
        history = REQUESTED, started(1, 1), DISPATCHED, resumed(2)
        given(*history).when(command).then_refused(LeaseLost, fence=1, newest=2)


class TestResuming:
    @pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
    def test_a_newer_claim_goes_on_with_the_same_attempt(self, sent: tuple[GenerationEvent, ...]) -> None:
        before = given(REQUESTED, started(1, 1), *sent).state()
        after = given(REQUESTED, started(1, 1), *sent).when(resume(2)).then(resumed(2)).state()
        assert after == replace(before, fence=2)

    def test_it_may_end_the_attempt(self) -> None:
        given(REQUESTED, started(1, 1), DISPATCHED, SUBMITTED, resumed(2)).when(success(2)).then(COMPLETED)

    @pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
    @pytest.mark.parametrize("fence", [1, 2])
    def test_an_older_claim_does_not(self, fence: int, sent: tuple[GenerationEvent, ...]) -> None:
        given(REQUESTED, started(1, 2), *sent).when(resume(fence)).then_refused(LeaseLost, fence=fence, newest=2)

    @pytest.mark.parametrize(
        "history", [(), (started(1, 1),), (started(1, 1), DISPATCHED, deferred(1, 1))], ids=["none", "here", "put off"]
    )
    def test_where_nothing_was_sent_there_is_nothing_to_go_on_with(self, history: tuple[GenerationEvent, ...]) -> None:
        given(REQUESTED, *history).when(resume(5)).then_refused(NothingSent)


class TestDeferring:
    @pytest.mark.parametrize("sent", [(), *SENT.values()], ids=["here", *SENT])
    def test_an_attempt_without_effect_makes_room_for_the_next(self, sent: tuple[GenerationEvent, ...]) -> None:
        then = given(REQUESTED, started(1, 1), *sent).when(deferral(1)).then(deferred(1, 1))
        then.when(start(2)).then(started(2, 2)).when(deferral(2)).then(deferred(2, 2))

    def test_a_provider_s_id_belongs_to_its_attempt_alone(self) -> None:
        history = REQUESTED, started(1, 1), DISPATCHED, SUBMITTED, deferred(1, 1), started(2, 2)
        task = given(*history).state()
        assert (task.job_id, task.provider_job, task.cancels) == (None, None, False)
        given(*history).when(CancelGeneration()).then(CANCELLED)

    @pytest.mark.parametrize("command", FENCED, ids=repr)
    def test_of_an_attempt_that_is_over_nothing_more_is_said(self, command: GenerationCommand) -> None:
        history = REQUESTED, started(1, 1), DISPATCHED, deferred(1, 1)
        given(*history).when(command).then_refused(LeaseLost, fence=1, newest=1)

    def test_a_task_that_was_put_off_can_be_cancelled_and_no_provider_is_called(self) -> None:
        history = REQUESTED, started(1, 1), DISPATCHED, SUBMITTED, deferred(1, 1)
        given(*history).when(CancelGeneration()).then(CANCELLED)


class TestTimingOut:
    @pytest.mark.parametrize("fence", [1, None])
    @pytest.mark.parametrize("sent", [(), (DISPATCHED,)], ids=["here", "about to leave"])
    def test_a_task_whose_time_is_over_fails(self, sent: tuple[GenerationEvent, ...], fence: int | None) -> None:
        given(REQUESTED, started(1, 1), *sent).when(time_out(fence)).then(TIMED_OUT)

    @pytest.mark.parametrize("fence", [1, None])
    def test_what_the_provider_has_is_watched(self, fence: int | None) -> None:
        after = given(REQUESTED, started(1, 1), DISPATCHED, SUBMITTED).when(time_out(fence)).then(WATCHED).state()
        assert (after.status, after.aftermath) == ("failed", "watch")

    def test_a_task_that_waits_can_run_out_of_time_too(self) -> None:
        given(REQUESTED).when(time_out(None)).then(TIMED_OUT)


class TestAftermath:
    OPEN = REQUESTED, started(1, 1), DISPATCHED, SUBMITTED
    TIMED_OUT = *OPEN, WATCHED
    CANCELLED = *OPEN, GenerationCancelled(aftermath="cancel")

    def test_of_a_cancelled_task_the_job_is_to_be_stopped(self) -> None:
        after = given(*self.OPEN).when(CancelGeneration()).then(GenerationCancelled(aftermath="cancel")).state()
        assert (after.status, after.aftermath) == ("cancelled", "cancel")

    def test_where_no_single_job_can_be_stopped_nothing_is_left_to_do(self) -> None:
        history = REQUESTED, started(1, 1), DISPATCHED, replace(SUBMITTED, cancels=False)
        given(*history).when(CancelGeneration()).then(CANCELLED)

    def test_cancelling_what_waits_leaves_nothing_to_do_at_any_provider(self) -> None:
        given(REQUESTED).when(CancelGeneration()).then(CANCELLED)

    @pytest.mark.parametrize("delivered", [1, 3])
    def test_works_that_come_after_the_time_are_given_for_nothing(self, delivered: int) -> None:
        late = GenerationDeliveredLate(delivered=delivered)
        after = given(*self.TIMED_OUT).when(RecordLateDelivery(delivered=delivered)).then(late).state()
        assert (after.status, after.aftermath) == ("completed", None)

    def test_they_are_given_once(self) -> None:
        history = *self.TIMED_OUT, GenerationDeliveredLate(delivered=3)
        given(*history).when(RecordLateDelivery(delivered=3)).then_refused(TaskOver, status="completed")

    @pytest.mark.parametrize(
        "history",
        [CANCELLED, (*OPEN, FAILED), (*OPEN, COMPLETED), (*TIMED_OUT, GenerationClosed(outcome="given_up"))],
        ids=["cancelled", "failed", "completed", "closed"],
    )
    def test_what_comes_after_any_other_end_is_dropped(self, history: tuple[GenerationEvent, ...]) -> None:
        given(*history).when(RecordLateDelivery(delivered=3)).then_refused(TaskOver)

    @pytest.mark.parametrize("delivered", [0, 4])
    def test_giving_nothing_or_more_than_asked_is_a_mistake_of_the_caller(self, delivered: int) -> None:
        given(*self.TIMED_OUT).when_mistaken(RecordLateDelivery(delivered=delivered))

    @pytest.mark.parametrize("history", [CANCELLED, TIMED_OUT], ids=["cancelled", "timed out"])
    def test_it_is_over_once(self, history: tuple[GenerationEvent, ...]) -> None:
        close = CloseAftermath(outcome="over")
        given(*history).when(close).then(GenerationClosed(outcome="over")).when(close).then_nothing()

    def test_closing_leaves_the_end_as_it_was(self) -> None:
        task = given(*self.CANCELLED).when(CloseAftermath(outcome="stopped")).state()
        assert (task.status, task.aftermath) == ("cancelled", None)

    @pytest.mark.parametrize("history", [(REQUESTED,), OPEN, (*OPEN, FAILED)], ids=["waiting", "processing", "failed"])
    def test_without_one_there_is_nothing_to_close(self, history: tuple[GenerationEvent, ...]) -> None:
        given(*history).when(CloseAftermath(outcome="over")).then_nothing()


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

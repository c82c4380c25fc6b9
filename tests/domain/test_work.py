"""A work is made by one task and comes out or fails once."""

import pytest

from mintage.domain.work.decider import (
    WORK,
    CompleteWork,
    CreateWork,
    FailWork,
    Work,
    WorkCommand,
    WorkExists,
    WorkOver,
    WorkUnknown,
)
from mintage.domain.work.events import WorkCompleted, WorkCreated, WorkEvent, WorkFailed
from tests.scenario import Given


def given(*history: WorkEvent) -> Given[Work, WorkCommand, WorkEvent]:
    return Given(WORK, *history)


CREATE = CreateWork(user_id="ann", task_id="task-1", number=3, position=1, work_type="image")
CREATED = WorkCreated(user_id="ann", task_id="task-1", number=3, position=1, work_type="image")
COMPLETE = CompleteWork(
    file="f.png",
    thumbnail="t.webp",
    content_type="image/png",
    file_size=12_345,
    width=640,
    height=480,
    credits=3,
    duration_s=5,
)
COMPLETED = WorkCompleted(
    file="f.png",
    thumbnail="t.webp",
    content_type="image/png",
    file_size=12_345,
    width=640,
    height=480,
    credits=3,
    duration_s=5,
)
FAIL = FailWork(error_message="no luck")
FAILED = WorkFailed(error_message="no luck")

ENDINGS = pytest.mark.parametrize("ending", [COMPLETED, FAILED], ids=["completed", "failed"])
ENDERS = pytest.mark.parametrize("command", [COMPLETE, FAIL], ids=["complete", "fail"])


def test_a_work_is_in_the_making_from_the_start() -> None:
    assert given().when(CREATE).then(CREATED).state() == Work(user_id="ann", status="processing")


def test_a_work_comes_out() -> None:
    assert given(CREATED).when(COMPLETE).then(COMPLETED).state() == Work(user_id="ann", status="completed")


def test_a_work_fails() -> None:
    assert given(CREATED).when(FAIL).then(FAILED).state() == Work(user_id="ann", status="failed")


def test_an_id_is_used_once() -> None:
    given(CREATED).when(CREATE).then_refused(WorkExists)


@ENDINGS
def test_the_id_of_a_work_that_ended_is_not_used_again(ending: WorkEvent) -> None:
    given(CREATED, ending).when(CREATE).then_refused(WorkExists)


@ENDERS
def test_what_was_never_begun_cannot_end(command: WorkCommand) -> None:
    given().when(command).then_refused(WorkUnknown)


@ENDINGS
@ENDERS
def test_a_work_ends_once(ending: WorkEvent, command: WorkCommand) -> None:
    given(CREATED, ending).when(command).then_refused(WorkOver)

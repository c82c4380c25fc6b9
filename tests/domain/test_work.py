"""A work is made by one task, comes out or fails once, and is its owner's to name, publish and delete."""

import msgspec
import pytest

from mintage.domain.work.decider import (
    WORK,
    ChangeWork,
    CompleteWork,
    CreateWork,
    DeleteWork,
    ExpireWork,
    FailWork,
    Work,
    WorkCommand,
    WorkExists,
    WorkInTheMaking,
    WorkNotYours,
    WorkOver,
    WorkUnknown,
)
from mintage.domain.work.events import (
    WorkCompleted,
    WorkCreated,
    WorkDeleted,
    WorkEvent,
    WorkExpired,
    WorkFailed,
    WorkPublished,
    WorkRenamed,
    WorkUnpublished,
)
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
EXPIRE, EXPIRED = ExpireWork(retention_days=30), WorkExpired(retention_days=30)
PUBLISHED, UNPUBLISHED, DELETED = WorkPublished(), WorkUnpublished(), WorkDeleted()
RENAMED = WorkRenamed(user_id="ann", title="Cat")
CHANGE = ChangeWork(user_id="ann", title="Cat", is_public=True)
DELETE = DeleteWork(user_id="ann")

ENDINGS = pytest.mark.parametrize("ending", [COMPLETED, FAILED], ids=["completed", "failed"])
ENDERS = pytest.mark.parametrize("command", [COMPLETE, FAIL], ids=["complete", "fail"])
ORDERS = pytest.mark.parametrize("command", [CHANGE, DELETE], ids=["change", "delete"])


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


def test_what_failed_may_still_come_out_for_nothing() -> None:
    gift, given_late = msgspec.structs.replace(COMPLETE, credits=0), msgspec.structs.replace(COMPLETED, credits=0)
    given(CREATED, FAILED).when(gift).then(given_late).when(gift).then_refused(WorkOver)
    given(CREATED, FAILED, DELETED).when(gift).then_refused(WorkUnknown)


@pytest.mark.parametrize("history", [(), (COMPLETED,), (FAILED,)], ids=["processing", "completed", "failed"])
def test_the_owner_names_and_publishes_a_work_at_any_time(history: tuple[WorkEvent, ...]) -> None:
    then = given(CREATED, *history).when(CHANGE).then(RENAMED, PUBLISHED)
    assert then.state().is_public


def test_what_is_not_mentioned_stays() -> None:
    given(CREATED).when(ChangeWork(user_id="ann", title="Cat")).then(RENAMED)
    given(CREATED).when(ChangeWork(user_id="ann", is_public=True)).then(PUBLISHED)
    given(CREATED).when(ChangeWork(user_id="ann")).then()


def test_a_title_can_be_taken_away() -> None:
    given(CREATED, RENAMED).when(ChangeWork(user_id="ann", title=None)).then(WorkRenamed(user_id="ann"))


@pytest.mark.parametrize("is_public", [True, False])
def test_publishing_twice_is_publishing_once(is_public: bool) -> None:
    history = (PUBLISHED,) if is_public else (PUBLISHED, UNPUBLISHED)
    given(CREATED, *history).when(ChangeWork(user_id="ann", is_public=is_public)).then()


def test_a_published_work_is_withdrawn() -> None:
    withdraw = ChangeWork(user_id="ann", is_public=False)
    assert given(CREATED, PUBLISHED).when(withdraw).then(UNPUBLISHED).state() == Work("ann", "processing")


@ENDINGS
def test_a_work_that_ended_is_deleted(ending: WorkEvent) -> None:
    given(CREATED, ending).when(DELETE).then(DELETED)


def test_a_work_in_the_making_is_not_deleted() -> None:
    given(CREATED).when(DELETE).then_refused(WorkInTheMaking)


@pytest.mark.parametrize("command", [CHANGE, DELETE, COMPLETE, FAIL], ids=["change", "delete", "complete", "fail"])
def test_a_deleted_work_is_unknown(command: WorkCommand) -> None:
    given(CREATED, COMPLETED, PUBLISHED, DELETED).when(command).then_refused(WorkUnknown)


def test_the_id_of_a_deleted_work_is_not_used_again() -> None:
    given(CREATED, COMPLETED, DELETED).when(CREATE).then_refused(WorkExists)


@ORDERS
def test_what_was_never_begun_is_nobodys(command: WorkCommand) -> None:
    given().when(command).then_refused(WorkUnknown)


BY_BOB = pytest.mark.parametrize(
    "command",
    [ChangeWork(user_id="bob", title="Mine"), ChangeWork(user_id="bob"), DeleteWork(user_id="bob")],
    ids=["change", "change nothing", "delete"],
)


@BY_BOB
def test_to_anybody_else_a_private_work_is_unknown(command: WorkCommand) -> None:
    given(CREATED, COMPLETED).when(command).then_refused(WorkUnknown)
    given(CREATED, COMPLETED, PUBLISHED, UNPUBLISHED).when(command).then_refused(WorkUnknown)


@BY_BOB
def test_a_public_work_is_its_owners_alone_to_change(command: WorkCommand) -> None:
    given(CREATED, COMPLETED, PUBLISHED).when(command).then_refused(WorkNotYours)


@pytest.mark.parametrize("history", [(), (PUBLISHED,), (RENAMED,)], ids=["private", "public", "named"])
def test_what_came_out_expires(history: tuple[WorkEvent, ...]) -> None:
    state = given(CREATED, COMPLETED, *history).when(EXPIRE).then(EXPIRED).state()
    assert state == Work("ann", "expired", is_public=PUBLISHED in history)


@pytest.mark.parametrize(
    "history",
    [(), (CREATED,), (CREATED, FAILED), (CREATED, COMPLETED, EXPIRED), (CREATED, COMPLETED, DELETED)],
    ids=["unknown", "processing", "failed", "expired", "deleted"],
)
def test_what_has_no_files_does_not_expire(history: tuple[WorkEvent, ...]) -> None:
    given(*history).when(EXPIRE).then()


def test_an_expired_work_is_still_its_owners_to_name_and_delete() -> None:
    given(CREATED, COMPLETED, EXPIRED).when(ChangeWork(user_id="ann", title="Cat")).then(RENAMED)
    given(CREATED, COMPLETED, PUBLISHED, EXPIRED).when(ChangeWork(user_id="ann", is_public=False)).then(UNPUBLISHED)
    given(CREATED, COMPLETED, EXPIRED).when(DELETE).then(DELETED)
    given(CREATED, COMPLETED, EXPIRED).when(DeleteWork(user_id="bob")).then_refused(WorkUnknown)


@ENDERS
def test_an_expired_work_is_not_made_again(command: WorkCommand) -> None:
    given(CREATED, COMPLETED, EXPIRED).when(command).then_refused(WorkOver)

"""What can happen to a work.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster.
"""

from typing import Literal, TypeAlias

from mintage.domain.decider import Event

WorkType: TypeAlias = Literal["image", "video"]


class WorkCreated(Event, frozen=True, tag="work.created"):
    """A task was accepted that will make this work. ``number`` is v1's integer id; ``position`` counts from 0."""

    user_id: str
    task_id: str
    number: int
    position: int
    work_type: WorkType


class WorkCompleted(Event, frozen=True, tag="work.completed"):
    """The file is stored (``file`` and ``thumbnail`` are storage keys, size in bytes); it cost so many credits."""

    file: str
    thumbnail: str
    content_type: str
    file_size: int
    width: int
    height: int
    credits: int
    duration_s: int | None = None


class WorkFailed(Event, frozen=True, tag="work.failed"):
    """The task ended without this work."""

    error_message: str


WorkEvent: TypeAlias = WorkCreated | WorkCompleted | WorkFailed

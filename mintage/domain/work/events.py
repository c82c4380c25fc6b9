"""What can happen to a work.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from typing import ClassVar, Literal, TypeAlias

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


class WorkRenamed(Event, frozen=True, tag="work.renamed"):
    """The owner gave the work another title, or took it away."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("title",)

    user_id: str
    title: str | None = None


class WorkPublished(Event, frozen=True, tag="work.published"):
    """From now on anybody who is signed in may see the work, and anybody at all its file."""


class WorkUnpublished(Event, frozen=True, tag="work.unpublished"):
    """The work is the owner's alone again."""


class WorkExpired(Event, frozen=True, tag="work.expired"):
    """Its files were kept for ``retention_days`` after they were made, as long as any are; they go after this."""

    retention_days: int


class WorkDeleted(Event, frozen=True, tag="work.deleted"):
    """The owner removed the work for good; its file goes after this. What it cost stays spent."""


WorkEvent: TypeAlias = (
    WorkCreated | WorkCompleted | WorkFailed | WorkRenamed | WorkPublished | WorkUnpublished | WorkExpired | WorkDeleted
)

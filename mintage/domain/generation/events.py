"""What can happen to a generation task.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from datetime import datetime
from typing import ClassVar, Literal, TypeAlias

from mintage.domain.decider import Event

TaskType: TypeAlias = Literal["text2img", "img2img", "text2video", "img2video"]
Document: TypeAlias = Literal["v1", "server"]
Parameter: TypeAlias = str | int | float | bool
Aftermath: TypeAlias = Literal["cancel", "watch"]
"""What is still to be done at a provider after a task's end: cancel its job, or watch for works that come too late."""
Outcome: TypeAlias = Literal["stopped", "over", "failed", "missing", "given_up"]
"""How an aftermath ended: the job was stopped, was over, brought nothing, is not known there, or took too long."""


class GenerationRequested(Event, frozen=True, tag="generation.requested"):
    """A task was accepted at a frozen ``price`` in credits; ``works`` are its outputs to be, in order.

    ``number`` is v1's integer id. ``renderer`` names what will really serve the model, ``upstream`` its name there.
    ``source_file`` is the storage key of the source image, if its url is one of ours. Whoever has a higher ``priority``
    goes first. A task that is not done at ``deadline_at`` fails.
    """

    PERSONAL: ClassVar[tuple[str, ...]] = ("prompt", "negative_prompt", "source_image_url")

    user_id: str
    number: int
    document: Document
    task_type: TaskType
    model_provider: str
    model_name: str
    renderer: str
    prompt: str
    parameters: dict[str, Parameter]
    price: int
    works: tuple[str, ...]
    negative_prompt: str | None = None
    source_image_url: str | None = None
    style: str | None = None
    transparent: bool = False
    source_file: str | None = None
    upstream: str = ""
    priority: int = 0
    deadline_at: datetime | None = None


class GenerationStarted(Event, frozen=True, tag="generation.started"):
    """A worker began attempt number ``attempt``; ``fence`` is its claim's, and only it may end the attempt."""

    attempt: int
    fence: int
    worker: str


class GenerationDispatched(Event, frozen=True, tag="generation.dispatched"):
    """The attempt is about to leave for a provider, under an id of ours. It may have arrived from now on."""

    attempt: int
    job_id: str


class GenerationSubmitted(Event, frozen=True, tag="generation.submitted"):
    """The provider has the attempt, under an id of its own; ``cancels`` is whether it can stop this one job."""

    attempt: int
    provider_job: str
    cancels: bool = False


class GenerationResumed(Event, frozen=True, tag="generation.resumed"):
    """Another claim goes on with an attempt that has left; ``fence`` takes the place of the attempt's."""

    fence: int
    worker: str


class GenerationDeferred(Event, frozen=True, tag="generation.deferred"):
    """The attempt surely had no effect; the next is due at ``retry_at``. ``deferrals`` counts these, from 1."""

    attempt: int
    deferrals: int
    error_code: str
    retry_at: datetime


class GenerationCompleted(Event, frozen=True, tag="generation.completed"):
    """The works came out (``delivered`` of them) and ``charged`` credits of the hold were captured."""

    delivered: int
    charged: int


class GenerationFailed(Event, frozen=True, tag="generation.failed"):
    """Nothing came out, and nothing was charged."""

    error_code: str
    error_message: str
    aftermath: Aftermath | None = None


class GenerationCancelled(Event, frozen=True, tag="generation.cancelled"):
    """The person gave the task up, and nothing was charged."""

    aftermath: Aftermath | None = None


class GenerationDeliveredLate(Event, frozen=True, tag="generation.delivered_late"):
    """Works came out after the task had run out of time and its hold was released: they are given for nothing."""

    delivered: int


class GenerationClosed(Event, frozen=True, tag="generation.closed"):
    """What still had to be done at the provider after the task's end is over."""

    outcome: Outcome


GenerationEvent: TypeAlias = (
    GenerationRequested
    | GenerationStarted
    | GenerationDispatched
    | GenerationSubmitted
    | GenerationResumed
    | GenerationDeferred
    | GenerationCompleted
    | GenerationFailed
    | GenerationCancelled
    | GenerationDeliveredLate
    | GenerationClosed
)

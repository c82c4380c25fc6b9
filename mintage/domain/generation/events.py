"""What can happen to a generation task.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from typing import ClassVar, Literal, TypeAlias

from mintage.domain.decider import Event

TaskType: TypeAlias = Literal["text2img", "img2img", "text2video", "img2video"]
Document: TypeAlias = Literal["v1", "server"]
Parameter: TypeAlias = str | int | float | bool


class GenerationRequested(Event, frozen=True, tag="generation.requested"):
    """A task was accepted at a frozen ``price`` in credits; ``works`` are its outputs to be, in order.

    ``number`` is v1's integer id. ``renderer`` names what will really serve the model. ``source_file`` is the storage
    key of the source image, if its url is one of ours.
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


class GenerationStarted(Event, frozen=True, tag="generation.started"):
    """A worker began attempt number ``attempt``; ``fence`` is its claim's, and only it may end the attempt."""

    attempt: int
    fence: int
    worker: str


class GenerationCompleted(Event, frozen=True, tag="generation.completed"):
    """The works came out (``delivered`` of them) and ``charged`` credits of the hold were captured."""

    delivered: int
    charged: int


class GenerationFailed(Event, frozen=True, tag="generation.failed"):
    """Nothing came out, and nothing was charged."""

    error_code: str
    error_message: str


class GenerationCancelled(Event, frozen=True, tag="generation.cancelled"):
    """The person gave the task up, and nothing was charged."""


GenerationEvent: TypeAlias = (
    GenerationRequested | GenerationStarted | GenerationCompleted | GenerationFailed | GenerationCancelled
)

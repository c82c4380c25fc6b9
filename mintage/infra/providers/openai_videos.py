"""Films by the protocol of OpenAI's ``/v1/videos``, which outlived that API in gateways."""

import asyncio
from io import BytesIO
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from PIL import Image, ImageOps

from mintage.application.catalogue import Model
from mintage.application.providers import FateUnknown, Finished, Job, JobMissing, JobRefused, Running, Told, Unreachable
from mintage.domain.generation.events import TaskType
from mintage.infra.providers.openai_errors import said
from mintage.infra.providers.wire import (
    RETRY_MAX_S,
    Ask,
    Part,
    Reply,
    Seconds,
    Wire,
    is_policy,
    number,
    pause_of,
    read,
    word,
)
from mintage.infra.providers.wishes import Sizes, aspect_of, nearest, prompt_of, shape_of

TASKS: Final[frozenset[TaskType]] = frozenset({"text2video", "img2video"})

_DONE: Final = frozenset({"completed", "complete", "success", "succeeded", "finished"})
_OVER: Final = frozenset({"failed", "failure", "fail", "error", "cancelled", "canceled"})


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sizes`` and ``seconds`` are those the models take."""

    timeout_s: Seconds = 60.0
    sizes: Sizes = ("1280x720", "720x1280")
    seconds: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1)] = (4, 8, 12)


class _Video(msgspec.Struct, frozen=True):
    # Gateways differ in all but the names.
    id: Any = None
    task_id: Any = None
    status: Any = None
    progress: Any = None
    error: Any = None


class OpenAiVideos:
    cancels = False
    finds = False
    repeats = False

    def __init__(self, wire: Wire, options: Options) -> None:
        self._wire = wire
        self._options = options

    async def create(self, job: Job, told: Told) -> Running:
        told(0.0)
        asked = await self._asked(job)
        reply = await self._wire.create(asked, said)
        video = read(reply, _Video, FateUnknown)
        provider_job = video.id or video.task_id
        if not isinstance(provider_job, str | int):
            raise FateUnknown("the answer names no video")
        _refuse_failed(video)
        return Running(str(provider_job), _progress(video), _again(reply))

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:
        path = f"videos/{quote(provider_job, safe='')}"
        reply = await self._wire.ask(Ask(method="GET", path=path))
        video = read(reply, _Video, Unreachable)
        _refuse_failed(video)
        if str(video.status).lower() not in _DONE:
            # Whatever else it is called: a word that nobody knows is no end.
            return Running(provider_job, _progress(video), _again(reply))
        film = await self._wire.file(f"{path}/content")
        if not film:
            raise JobMissing("the film is gone")
        return Finished((film, *[None] * (job.count - 1)))

    async def find(self, job: Job) -> str | None:
        raise NotImplementedError("the list of videos says nothing that tells ours from others")

    async def cancel(self, provider_job: str) -> bool:
        raise NotImplementedError("the protocol has no way to stop a video")

    async def close(self) -> None:
        await self._wire.close()

    async def _asked(self, job: Job) -> Ask:
        size = self._size(job)
        # The length is a text there. The number is refused.
        fields = {"model": job.model, "prompt": prompt_of(job), "size": size, "seconds": self._seconds(job)}
        if job.source is None:
            return Ask(method="POST", path="videos", json=fields)
        # A reference of another size than the film is refused.
        reference = await asyncio.to_thread(_fitted, job.source, size)
        parts: list[tuple[str, Part]] = [(name, (None, value)) for name, value in fields.items()]
        parts.append(("input_reference", ("source.png", reference, "image/png")))
        return Ask(method="POST", path="videos", parts=tuple(parts))

    def _size(self, job: Job) -> str:
        """The nearest in shape, and of several the one whose shorter side is most like the resolution."""
        across, down = shape_of(job) or (16.0, 9.0)
        resolution = str(job.parameters.get("resolution", "")).removesuffix("p")
        if resolution.isdecimal() and int(resolution):
            scale = int(resolution) / min(across, down)
            across, down = across * scale, down * scale
        return nearest((across, down), self._options.sizes)

    def _seconds(self, job: Job) -> str:
        """Never shorter than was asked for, as long as there is such a length."""
        asked = job.parameters.get("duration", 0)
        wanted = asked if isinstance(asked, int | float) else 0
        return str(min((one for one in self._options.seconds if one >= wanted), default=max(self._options.seconds)))


def refusal(options: Options, model: Model) -> str | None:
    duration = model.parameters.get("duration")
    if duration is not None and not (duration.max is not None and duration.max <= max(options.seconds)):
        return f"parameters.duration has to be at most {max(options.seconds)}, the longest of options.seconds"
    return None


def _refuse_failed(video: _Video) -> None:
    if str(video.status).lower() not in _OVER:
        return
    error = video.error if isinstance(video.error, dict) else {"message": video.error}
    code = word(error.get("code")) or "failed"
    blame = is_policy(error.get("code"), error.get("message"))
    raise JobRefused("policy" if blame else "provider", code, "the video failed")


def _progress(video: _Video) -> float | None:
    """0 to 1 of a whole number of percent, which some write as ``30%``."""
    percent = number(str(video.progress).removesuffix("%"))
    return None if percent is None else min(max(percent / 100, 0.0), 1.0)


def _again(reply: Reply) -> float | None:
    wait_ms = number(reply.headers.get("openai-poll-after-ms"))
    return pause_of(reply.headers) if wait_ms is None else min(max(wait_ms / 1000, 0.0), RETRY_MAX_S)


def _fitted(png: bytes, size: str) -> bytes:
    width, height = map(int, aspect_of(size))
    with Image.open(BytesIO(png), formats=("PNG",)) as picture:
        fitted = ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    written = BytesIO()
    fitted.save(written, "PNG")
    return written.getvalue()

"""The built-in renderer as a provider: it needs no network, costs nobody anything, and may be asked again at will."""

import asyncio
from io import BytesIO

from PIL import Image

from mintage.application.lifecycle import work_type_of
from mintage.application.providers import Finished, Job, JobMissing, JobRefused, Running, Told
from mintage.infra.renderer import (
    FilmRequest,
    ImageRequest,
    RenderingFailed,
    filmed,
    frame_size,
    render,
    rerender,
    size_for,
)


class Builtin:
    """Implements ``application.providers.Provider``; every create is finished when it returns."""

    cancels = False
    finds = False
    repeats = True

    async def create(self, job: Job, told: Told) -> Finished:
        """Paint in a thread, where Pillow and the encoder let others go on. Raises ``JobRefused``, and as ``told``."""
        try:
            return Finished(await asyncio.to_thread(_made, job, told))
        except RenderingFailed as error:
            raise JobRefused("provider", "rendering_failed", str(error)) from error

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:  # noqa: ARG002
        raise JobMissing(f"{provider_job}: the built-in renderer keeps no jobs")

    async def find(self, job: Job) -> str | None:  # noqa: ARG002
        return None

    async def cancel(self, provider_job: str) -> bool:  # noqa: ARG002
        return False

    async def close(self) -> None:
        pass


def _made(job: Job, told: Told) -> tuple[bytes, ...]:
    source = None
    if job.source is not None:
        with Image.open(BytesIO(job.source)) as picture:
            source = picture.convert("RGB")
    if work_type_of(job.task_type) == "video":
        return (_film(job, source, told),)
    images = []
    for index in range(job.count):
        images.append(_image(job, source, index))
        told(len(images) / job.count)
    return tuple(images)


def _image(job: Job, source: Image.Image | None, index: int) -> bytes:
    asked = _Asked(job)
    width, height = asked.whole("width"), asked.whole("height")
    if source is None:
        width, height = width or 1024, height or 1024
    else:
        width, height = size_for(source.size, width, height)
    request = ImageRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt or "",
        width=width,
        height=height,
        style=job.style or asked.text("style"),
        transparent=job.transparent,
        seed=asked.whole("seed") or 0,
        index=index,
    )
    strength = job.parameters.get("strength", 0.7)
    assert isinstance(strength, int | float)
    return render(request) if source is None else rerender(request, source, strength)


def _film(job: Job, source: Image.Image | None, told: Told) -> bytes:
    asked = _Asked(job)
    lines = int((asked.text("resolution") or "720p").removesuffix("p"))
    width, height = frame_size(lines, _aspect(asked.text("aspect_ratio"), source))
    request = FilmRequest(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt or "",
        duration_s=asked.whole("duration") or 5,
        width=width,
        height=height,
        seed=asked.whole("seed") or 0,
    )
    return filmed(request, source, told).mp4


class _Asked:
    """The parameters of a job, each of the type that the catalogue has checked it for."""

    def __init__(self, job: Job) -> None:
        self._parameters = job.parameters

    def whole(self, name: str) -> int | None:
        value = self._parameters.get(name)
        assert value is None or isinstance(value, int)
        return value

    def text(self, name: str) -> str | None:
        value = self._parameters.get(name)
        assert value is None or isinstance(value, str)
        return value


def _aspect(asked: str | None, source: Image.Image | None) -> float:
    if asked is not None:
        across, down = asked.split(":")
        return int(across) / int(down)
    return 16 / 9 if source is None else source.width / source.height

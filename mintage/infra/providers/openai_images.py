"""OpenAI's images, and whoever speaks that protocol: one request that waits for all the images of a job."""

from base64 import b64decode
from typing import Any, Final

import msgspec

from mintage.application.providers import FateUnknown, Finished, Job, JobRefused, Told
from mintage.domain.generation.events import TaskType
from mintage.infra.providers.openai_errors import said
from mintage.infra.providers.wire import Ask, Part, Seconds, Wire, read
from mintage.infra.providers.wishes import Sizes, nearest, prompt_of, shape_of

TASKS: Final[frozenset[TaskType]] = frozenset({"text2img", "img2img"})

_IMAGE_MAX: Final = 64 * 1_048_576
"""The largest image, in bytes of base64."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``sizes`` are those the models take. Not all models know ``transparent`` backgrounds."""

    timeout_s: Seconds = 300.0
    sizes: Sizes = ("1024x1024", "1536x1024", "1024x1536")
    quality: str = "auto"
    transparent: bool = True


class _Image(msgspec.Struct, frozen=True):
    # One that is broken must not spoil the others, which are paid for as well.
    b64_json: Any = None


class _Images(msgspec.Struct, frozen=True):
    data: tuple[_Image, ...]


class OpenAiImages:
    cancels = False
    finds = False
    repeats = False

    def __init__(self, wire: Wire, options: Options) -> None:
        self._wire = wire
        self._options = options

    async def create(self, job: Job, told: Told) -> Finished:
        if job.transparent and not self._options.transparent:
            raise JobRefused("user", "no_transparency", "this provider's models paint no transparent background")
        told(0.0)
        reply = await self._wire.create(self._asked(job), said)
        images = [_decoded(image.b64_json) for image in read(reply, _Images, FateUnknown).data[: job.count]]
        if not any(images):
            raise JobRefused("provider", "no_images", "the answer holds no image")
        return Finished((*images, *[None] * (job.count - len(images))))

    async def poll(self, job: Job, provider_job: str) -> Finished:
        raise NotImplementedError("a job here is over when its create is")

    async def find(self, job: Job) -> str | None:
        raise NotImplementedError("OpenAI keeps no list of images")

    async def cancel(self, provider_job: str) -> bool:
        raise NotImplementedError("OpenAI has no way to stop an image")

    async def close(self) -> None:
        await self._wire.close()

    def _asked(self, job: Job) -> Ask:
        bytes_max = job.count * _IMAGE_MAX
        # The model is always named: the default is one that is no more. Pictures of these models come as base64 only,
        # and asking for that is refused.
        fields: dict[str, str | int] = {
            "model": job.model,
            "prompt": prompt_of(job),
            "n": job.count,
            "size": self._size(job),
            "quality": str(job.parameters.get("quality", self._options.quality)),
            "output_format": "png",
            "user": job.customer,
        }
        if job.transparent:
            fields["background"] = "transparent"
        if job.source is None:
            return Ask(method="POST", path="images/generations", json=fields, bytes_max=bytes_max)
        strength = job.parameters.get("strength")
        if isinstance(strength, int | float) and strength <= 0.5 and not job.model.endswith("-mini"):
            fields["input_fidelity"] = "high"
        parts: list[tuple[str, Part]] = [(name, (None, str(value))) for name, value in fields.items()]
        parts.append(("image", ("source.png", job.source, "image/png")))
        return Ask(method="POST", path="images/edits", parts=tuple(parts), bytes_max=bytes_max)

    def _size(self, job: Job) -> str:
        shape = shape_of(job)
        return "auto" if shape is None else nearest(shape, self._options.sizes)


def _decoded(base64: Any) -> bytes | None:
    try:
        return b64decode(base64, validate=True) or None
    except (TypeError, ValueError):
        return None

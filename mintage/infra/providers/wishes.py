"""What was asked for in the words of providers that have fewer fields for it than we have."""

import math
import struct
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import msgspec

from mintage.application.providers import Job

STYLES: Final = {
    "realistic": "photorealistic photograph",
    "cartoon": "cartoon",
    "oil-painting": "oil painting",
    "3d-render": "3D render",
    "watercolor": "watercolor painting",
    "cyberpunk": "cyberpunk",
}
"""How a prompt puts the styles of the documents; any other is put as it is called."""

Sizes: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}\Z")], ...], msgspec.Meta(min_length=1)
]
"""Those that the models of a provider take, such as ``1024x1024``."""

Size: TypeAlias = tuple[float, float]
"""Width and height; where only their ratio is known, in any unit."""


def style_of(job: Job) -> str | None:
    """The style of the request, or the parameter of that name."""
    return job.style or _text(job, "style")


def prompt_of(job: Job, *, style: bool = True, negative: bool = True) -> str:
    """The prompt with everything in it that has no field of its own there."""
    parts = [job.prompt]
    if style and (named := style_of(job)):
        parts.append(f"Style: {STYLES.get(named, named)}.")
    if negative and job.negative_prompt:
        parts.append(f"Avoid: {job.negative_prompt}")
    return "\n".join(parts)


def shape_of(job: Job) -> Size | None:
    """The size or at least the aspect that was asked for, else that of the source, else None."""
    width, height = job.parameters.get("width"), job.parameters.get("height")
    if isinstance(width, int) or isinstance(height, int):
        return float(width or 1024), float(height or 1024)
    if aspect := _text(job, "aspect_ratio"):
        return aspect_of(aspect)
    return None if job.source is None else png_size(job.source)


def aspect_of(text: str) -> Size:
    """Of ``16:9`` or ``1024x768``; raises ``ValueError``."""
    across, _, down = text.replace("x", ":").partition(":")
    size = float(across), float(down)
    if not min(size) > 0:
        raise ValueError(f"{text!r} is no size")
    return size


def png_size(png: bytes) -> Size:
    """What the first chunk of a PNG says of it."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def nearest(shape: Size, sizes: Sequence[str]) -> str:
    """Of the sizes or aspects on offer the one most like it: in shape first, then in area."""
    return min(sizes, key=lambda size: (round(_unlike(shape, aspect_of(size)), 6), _larger(shape, aspect_of(size))))


def _unlike(one: Size, other: Size) -> float:
    return abs(math.log(one[0] / one[1]) - math.log(other[0] / other[1]))


def _larger(one: Size, other: Size) -> float:
    return abs(math.log(one[0] * one[1]) - math.log(other[0] * other[1]))


def _text(job: Job, name: str) -> str | None:
    value = job.parameters.get(name)
    return value if isinstance(value, str) and value else None

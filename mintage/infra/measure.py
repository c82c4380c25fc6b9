"""What a provider hands over becomes a work only if it is a picture or a film that can be read."""

from io import BytesIO
from typing import Final

import av
import av.error
import msgspec
from PIL import Image

from mintage.domain.work.events import WorkType
from mintage.infra.pictures import NotTaken, unpacked
from mintage.infra.renderer import thumbnail

PIXELS_MAX: Final = 50_000_000
_KINDS: Final = {
    "PNG": (".png", "image/png"),
    "JPEG": (".jpg", "image/jpeg"),
    "WEBP": (".webp", "image/webp"),
}


class NotAWork(Exception):
    """It is not what was asked for: something else, broken, or too large."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One file; ``suffix`` is what its name ends in."""

    content: bytes
    thumbnail: bytes
    suffix: str
    content_type: str
    width: int
    height: int
    duration_s: int | None = None


def measured(content: bytes, kind: WorkType) -> Made:
    """The file to be stored for a product, with its thumbnail. Raises ``NotAWork``. Never on the event loop."""
    try:
        return _picture(content) if kind == "image" else _film(content)
    except NotTaken as error:
        raise NotAWork(str(error)) from error
    except (av.error.FFmpegError, StopIteration) as error:
        raise NotAWork(f"not a film that we read: {error}") from error


def _picture(content: bytes) -> Made:
    picture = unpacked(content, formats=tuple(_KINDS), pixels_max=PIXELS_MAX, side=PIXELS_MAX)
    with Image.open(BytesIO(content), formats=tuple(_KINDS)) as opened:
        suffix, content_type = _KINDS[str(opened.format)]
    return Made(
        content=content,
        thumbnail=thumbnail(picture),
        suffix=suffix,
        content_type=content_type,
        width=picture.width,
        height=picture.height,
    )


def _film(content: bytes) -> Made:
    with av.open(BytesIO(content), "r", format="mp4") as film:
        frame = next(film.decode(video=0))
        seconds = (film.duration or 0) / av.time_base
    return Made(
        content=content,
        thumbnail=thumbnail(Image.fromarray(frame.to_ndarray(format="rgb24"))),
        suffix=".mp4",
        content_type="video/mp4",
        width=frame.width,
        height=frame.height,
        duration_s=max(1, round(seconds)),
    )

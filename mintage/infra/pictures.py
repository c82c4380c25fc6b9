"""Pictures from outside: unpacked only once it is known what that may cost."""

from io import BytesIO
from typing import Final

from PIL import Image, ImageOps

SCANS_MAX: Final = 100
"""Passes over a JPEG, each of which costs as much as its pixels and hardly a byte; encoders make about ten."""

_JPEG: Final = b"\xff\xd8\xff"
_SCAN: Final = b"\xff\xda"
_BY_CHANCE: Final = 32_768
"""In so many bytes of something else, such as the film that a telephone appends, a scan may seem to begin."""


class NotTaken(Exception):
    """What is there is no image that we read, or one that asks too much."""


def unpacked(content: bytes, *, formats: tuple[str, ...], pixels_max: int, side: int) -> Image.Image:
    """The picture, or the first of a moving one, as RGB or RGBA with its metadata; raises ``NotTaken``.

    A JPEG may come out smaller than it is, if it is more than ``side`` pixels in both directions, but not below that.
    """
    if content.startswith(_JPEG) and content.count(_SCAN) > SCANS_MAX + len(content) // _BY_CHANCE:
        raise NotTaken("more scans than any encoder makes")
    try:
        with Image.open(BytesIO(content), formats=formats) as found:
            if found.width * found.height > pixels_max:
                raise NotTaken(f"more than {pixels_max} pixels")
            found.draft("RGB", (side, side))
            return found.convert("RGBA" if found.has_transparency_data else "RGB")
    except NotTaken:
        raise
    except Exception as error:
        # Decoders raise anything for a file that is broken or pretends.
        raise NotTaken("not an image that we read") from error


def upright(picture: Image.Image) -> Image.Image:
    """A picture from ``unpacked`` turned as its metadata say; raises ``NotTaken``."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:
        # Broken metadata make it raise anything too.
        raise NotTaken("not an image that we read") from error

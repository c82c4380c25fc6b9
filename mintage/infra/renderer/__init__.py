"""A renderer that needs no network: the same request always makes the same picture, or the same film."""

import io

from PIL import Image

from mintage.infra.renderer import encode
from mintage.infra.renderer.film import Film, FilmRequest, Step, filmed, frame_size
from mintage.infra.renderer.painting import STYLES, ImageRequest, RenderingFailed, painted
from mintage.infra.renderer.repaint import repainted, size_for

__all__ = [
    "STYLES",
    "Film",
    "FilmRequest",
    "ImageRequest",
    "RenderingFailed",
    "Step",
    "filmed",
    "frame_size",
    "render",
    "rerender",
    "size_for",
    "thumbnail",
]


def render(request: ImageRequest) -> bytes:
    """PNG bytes: RGBA around the subject alone when transparent, else RGB. Raises ``RenderingFailed``."""
    return encode.png(painted(request))


def rerender(request: ImageRequest, source: Image.Image, strength: float) -> bytes:
    """PNG bytes of the source repainted: itself at strength 0, hardly any of it at 1. Raises ``RenderingFailed``."""
    return encode.png(repainted(request, source, strength))


def thumbnail(picture: bytes | Image.Image, side: int = 320) -> bytes:
    """WebP whose longer side is at most `side`; see-through where the picture is."""
    if isinstance(picture, Image.Image):
        return encode.webp_within(picture, side)
    with Image.open(io.BytesIO(picture)) as image:
        return encode.webp_within(image, side)

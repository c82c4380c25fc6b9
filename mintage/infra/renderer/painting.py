"""A painting is a prompt composed and laid down in one technique: the same request always gives the same picture."""

import hashlib

import msgspec
import numpy as np
from PIL import Image

from mintage.infra.renderer.brief import read
from mintage.infra.renderer.canvas import Canvas
from mintage.infra.renderer.compose import Scene, compose, cut_out
from mintage.infra.renderer.palette import Palette, palette_for
from mintage.infra.renderer.shapes import Frame
from mintage.infra.renderer.styles import TECHNIQUES

STYLES: tuple[str, ...] = tuple(TECHNIQUES)
SIDE_MIN, SIDE_MAX = 64, 2048


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    prompt: str
    width: int = 1024
    height: int = 1024
    style: str | None = None
    """One of STYLES; none means realistic."""
    negative_prompt: str = ""
    transparent: bool = False
    seed: int = 0
    index: int = 0
    """Which of the pictures of one order this is; each is different."""


class RenderingFailed(Exception):
    """Nothing came of the request."""


def painted(request: ImageRequest) -> Image.Image:
    """RGBA around the subject alone when transparent, else RGB. Raises ``RenderingFailed``."""
    accept(request)
    chance = chance_of(request.prompt, request.seed, request.index)
    brief = read(request.prompt, request.negative_prompt, chance)
    palette = palette_for(brief, chance)
    scene = (cut_out if request.transparent else compose)(
        brief, palette, frame_of(request.width, request.height), chance
    )
    return _laid_down(request, palette, scene, chance)


def accept(request: ImageRequest) -> None:
    refuse_what_asks_to_fail(request.prompt)
    if request.style is not None and request.style not in TECHNIQUES:
        raise RenderingFailed(f"unknown style {request.style!r}")
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in (request.width, request.height)):
        raise RenderingFailed(f"sides must be between {SIDE_MIN} and {SIDE_MAX}, not {request.width}x{request.height}")


def refuse_what_asks_to_fail(prompt: str) -> None:
    if "[fail]" in prompt:
        raise RenderingFailed("the prompt asks for a failure")


def chance_of(prompt: str, seed: int, index: int = 0) -> np.random.Generator:
    """Size and style are left out: the same words keep their composition when only those change."""
    words = f"{seed} {index} {prompt}".encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(words, digest_size=16).digest()))


def frame_of(width: int, height: int) -> Frame:
    unit = min(width, height)
    return Frame(width / unit, height / unit)


def _laid_down(request: ImageRequest, palette: Palette, scene: Scene, chance: np.random.Generator) -> Image.Image:
    technique = TECHNIQUES[request.style or "realistic"]
    canvas = Canvas(request.width, request.height, palette, chance, cutout=request.transparent)
    technique.prepare(canvas)
    for one in scene.scenery:
        technique.paint(canvas, one)
    if scene.subjects:
        technique.settle(canvas)
    for one in (*scene.subjects, *scene.veil):
        technique.paint(canvas, one)
    image = technique.finish(canvas)
    if canvas.alpha is not None:
        image.putalpha(canvas.alpha)
    return image

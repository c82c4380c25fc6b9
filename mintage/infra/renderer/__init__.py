"""A renderer that needs no network: the same request always paints the same PNG."""

import hashlib

import msgspec
import numpy as np
from PIL import Image

from mintage.infra.renderer import encode
from mintage.infra.renderer.brief import read
from mintage.infra.renderer.canvas import Canvas
from mintage.infra.renderer.compose import Scene, compose, cut_out
from mintage.infra.renderer.palette import Palette, palette_for
from mintage.infra.renderer.shapes import Frame
from mintage.infra.renderer.styles import TECHNIQUES

__all__ = ["STYLES", "ImageRequest", "RenderingFailed", "render", "thumbnail"]

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
    """No picture came of the request."""


def render(request: ImageRequest) -> bytes:
    """PNG bytes: RGBA around the subject alone when transparent, else RGB."""
    _accept(request)
    chance = _chance(request)
    brief = read(request.prompt, request.negative_prompt, chance)
    palette = palette_for(brief, chance)
    unit = min(request.width, request.height)
    frame = Frame(request.width / unit, request.height / unit)
    scene = (cut_out if request.transparent else compose)(brief, palette, frame, chance)
    return encode.png(_painted(request, palette, scene, chance))


def thumbnail(png: bytes, side: int = 320) -> bytes:
    """WebP whose longer side is at most `side`; see-through where the picture is."""
    return encode.webp_within(png, side)


def _accept(request: ImageRequest) -> None:
    if "[fail]" in request.prompt:
        raise RenderingFailed("the prompt asks for a failure")
    if request.style is not None and request.style not in TECHNIQUES:
        raise RenderingFailed(f"unknown style {request.style!r}")
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in (request.width, request.height)):
        raise RenderingFailed(f"sides must be between {SIDE_MIN} and {SIDE_MAX}, not {request.width}x{request.height}")


def _chance(request: ImageRequest) -> np.random.Generator:
    """Size and style are left out: the same words keep their composition when only those change."""
    words = f"{request.seed} {request.index} {request.prompt}".encode("utf-8", "surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(words, digest_size=16).digest()))


def _painted(request: ImageRequest, palette: Palette, scene: Scene, chance: np.random.Generator) -> Image.Image:
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

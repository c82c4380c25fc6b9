"""Watercolor: thin washes with dark drying edges and blooms, on white paper whose border stays bare."""

import numpy as np
from PIL import Image, ImageChops

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.canvas import Canvas, Cover, Field
from mintage.infra.renderer.palette import Colour, mix, tuned
from mintage.infra.renderer.shapes import Layer, Role

PAPER: Colour = (0.985, 0.975, 0.945)


def prepare(canvas: Canvas) -> None:
    p = canvas.palette
    c.backdrop(canvas, _wash(p.zenith), _wash(p.middle), mix(_wash(p.horizon), PAPER, 0.4), PAPER)
    pools = c.to_mask((canvas.noise - 0.35) * 1.6, canvas.size)
    bare = Image.new("RGB", canvas.size, c.ink(PAPER))
    canvas.image = Image.composite(Image.blend(canvas.image, bare, 0.5), canvas.image, pools)


def paint(canvas: Canvas, layer: Layer) -> None:
    if layer.role is Role.SHADOW and layer.depth > 0.5:
        return
    cover = canvas.cover(layer, sharp=layer.role is not Role.SHADOW and layer.soft < 0.05)
    if cover is None:
        return
    if c.flat(layer):
        canvas.lay(c.gradient(cover, _wash(layer.top), _wash(layer.bottom)), cover)
        return
    mask = _bled(canvas, cover)
    density = _density(canvas, cover, mask, 0.2 if layer.role is Role.CLOUD else 1.0)
    thick = c.gradient(cover, _pigment(layer.top), _pigment(layer.bottom))
    thin = c.gradient(cover, mix(_wash(layer.top), PAPER, 0.35), mix(_wash(layer.bottom), PAPER, 0.15))
    sheer = 0.96 if layer.role is Role.THING else 0.86
    canvas.lay(Image.composite(thick, thin, density), cover, mask.point([int(v * sheer) for v in range(256)]))


def finish(canvas: Canvas) -> Image.Image:
    width, height = canvas.size
    grain = canvas.chance.normal(0, 1, (min(height, 512), min(width, 512))).astype(np.float32)
    tooth = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) * 0.010 + 0.975
    sheet = Image.new("L", canvas.size)
    tile = c.to_mask(tooth, (tooth.shape[1], tooth.shape[0]))
    for x in range(0, width, tile.width):
        for y in range(0, height, tile.height):
            sheet.paste(tile, (x, y))
    image = canvas.image
    if not canvas.cutout:
        image = Image.composite(image, Image.new("RGB", canvas.size, c.ink(PAPER)), _painted_area(canvas))
    return ImageChops.multiply(image, Image.merge("RGB", (sheet, sheet, sheet)))


def _painted_area(canvas: Canvas) -> Image.Image:
    """A border no brush reached, wavering like a hand."""
    rows, columns = canvas.noise.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    inset = np.minimum(np.minimum(x, columns - 1 - x), np.minimum(y, rows - 1 - y)) * (2 / canvas.unit)
    wavy = inset + (canvas.noise - 0.5) * 0.05
    return c.to_mask((wavy - 0.042) * 90, canvas.size)


def _bled(canvas: Canvas, cover: Cover) -> Image.Image:
    """The outline after the water has moved it: pushed about by noise, still crisp."""
    radius = max(canvas.unit * 0.0045, 0.6)
    noise = _noise(canvas, cover)
    soft = np.asarray(c.blurred(cover.mask, radius), np.float32) / 255
    return c.to_mask((soft - 0.5 + (noise - 0.5) * 0.7) * 3.2 + 0.5, cover.mask.size)


def _density(canvas: Canvas, cover: Cover, mask: Image.Image, edge: float) -> Image.Image:
    """Pigment gathers at the drying edge and in the hollows of the paper."""
    inner = np.asarray(c.blurred(mask, max(canvas.unit * 0.006, 0.8)), np.float32) / 255
    pooled = 0.30 + (_noise(canvas, cover) - 0.5) * 1.1
    return c.to_mask(pooled + np.clip(1.0 - inner, 0, 0.5) * 2.1 * edge, cover.mask.size)


def _noise(canvas: Canvas, cover: Cover) -> Field:
    patch = Image.fromarray(canvas.patch(canvas.noise, cover.box))
    return np.asarray(patch.resize(cover.mask.size, Image.Resampling.BILINEAR), np.float32)


def _wash(colour: Colour) -> Colour:
    return mix(tuned(colour, saturation=1.25), PAPER, 0.22)


def _pigment(colour: Colour) -> Colour:
    return tuned(mix(colour, PAPER, 0.04), saturation=1.35, value=0.84)

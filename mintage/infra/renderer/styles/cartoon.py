"""Cartoon: flat bright colours in two tones, a dark outline round every shape, a sky in bands."""

import numpy as np
from PIL import Image

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.canvas import Canvas
from mintage.infra.renderer.palette import Colour, mix, scaled, tuned
from mintage.infra.renderer.shapes import Layer, Role

INK: Colour = (0.10, 0.08, 0.14)


def prepare(canvas: Canvas) -> None:
    p = canvas.palette
    bands = [_pop(mix(p.zenith, p.horizon, share)) for share in (0.0, 0.3, 0.6, 0.9)]
    rows = np.minimum(np.arange(canvas.size[1]) * 6 // canvas.size[1], 3)
    column = np.array([c.ink(band) for band in bands], np.uint8)[rows]
    canvas.image.paste(Image.fromarray(column[:, None, :]).resize(canvas.size, Image.Resampling.NEAREST))


def paint(canvas: Canvas, layer: Layer) -> None:
    if layer.role is Role.SHADOW and layer.depth > 0.5:
        return
    line = canvas.unit * (0.0048 - 0.0026 * layer.depth)
    outlined = layer.role in {Role.LAND, Role.THING, Role.CLOUD, Role.WATER} and layer.soft < 0.05
    if outlined and (edge := canvas.cover(layer, grow=max(line, 0.7), sharp=True)):
        canvas.lay(c.solid(edge, mix(INK, canvas.palette.horizon, 0.35 * layer.depth)), edge)
    cover = canvas.cover(layer, sharp=True)
    if cover is None:
        return
    tone = _pop(mix(layer.top, layer.bottom, 0.3))
    if c.flat(layer) or layer.role is Role.WATER:
        canvas.lay(c.solid(cover, tone if layer.role is not Role.SHADOW else INK), cover)
        return
    radius = max(min(min(cover.mask.size) * 0.14, canvas.unit * 0.03), 1.0)
    lit = c.to_mask(c.relief(cover.mask, radius) * 0.5 + 0.5, cover.mask.size)
    step = lit.point([0 if v < 82 else min((v - 82) * 20, 255) for v in range(256)])
    canvas.lay(
        Image.composite(c.solid(cover, tone), c.solid(cover, mix(scaled(tone, 0.68), (0.3, 0.2, 0.5), 0.12)), step),
        cover,
    )


def finish(canvas: Canvas) -> Image.Image:
    return canvas.image


def _pop(colour: Colour) -> Colour:
    """Saturated, and rounded to a few levels like a printed palette."""
    vivid = tuned(colour, saturation=1.35, value=1.1)
    red, green, blue = (round(part * 9) / 9 for part in vivid)
    return red, green, blue

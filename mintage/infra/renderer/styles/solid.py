"""3D render: every shape is a smooth plastic solid under studio light, with soft shadows and highlights."""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageChops

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.canvas import Canvas, Cover
from mintage.infra.renderer.palette import Colour, mix, scaled, tuned
from mintage.infra.renderer.shapes import Layer, Role

BALLS_MAX = 40


def prepare(canvas: Canvas) -> None:
    p = canvas.palette
    c.backdrop(canvas, _plastic(p.zenith), _plastic(mix(p.zenith, p.horizon, 0.6)), _plastic(p.horizon))


def paint(canvas: Canvas, layer: Layer) -> None:
    cover = canvas.cover(layer, sharp=not c.flat(layer) and layer.soft < 0.05)
    if cover is None:
        return
    if c.flat(layer):
        canvas.lay(c.gradient(cover, layer.top, layer.bottom), cover)
        return
    if layer.role in {Role.CLOUD, Role.THING} and 1 < len(layer.shapes) <= BALLS_MAX:
        # Puffs and petals are separate balls, each resting on the one before.
        for shape in layer.shapes:
            if ball := canvas.cover(replace(layer, shapes=(shape,)), sharp=layer.soft < 0.05):
                _shadow(canvas, layer, ball)
                canvas.lay(_rounded(canvas, layer, ball), ball)
        return
    _shadow(canvas, layer, cover)
    canvas.lay(_rounded(canvas, layer, cover), cover)


def settle(canvas: Canvas) -> None:
    if not canvas.cutout:
        canvas.image = c.blurred(canvas.image, canvas.unit * 0.003)


def finish(canvas: Canvas) -> Image.Image:
    return canvas.image if canvas.cutout else c.vignette(c.glow_over(canvas.image, canvas.unit * 0.05, 205, 0.45), 0.3)


def _shadow(canvas: Canvas, layer: Layer, cover: Cover) -> None:
    """Cast down and to the right upon whatever is behind."""
    if layer.role is Role.WATER:
        return
    reach = canvas.unit * (0.012 + 0.008 * (layer.role is Role.LAND))
    x0, y0, x1, y1 = cover.box
    pad = int(reach * 2.5)
    wide = Image.new("L", (x1 - x0 + 2 * pad, y1 - y0 + 2 * pad))
    wide.paste(cover.mask, (pad + int(reach * 0.7), pad + int(reach)))
    soft = c.blurred(wide, reach).point([int(v * 0.42) for v in range(256)])
    box = (x0 - pad, y0 - pad, x1 + pad, y1 + pad)
    if canvas.alpha is not None:
        # Standing free, a solid shades its own parts and nothing else.
        soft = ImageChops.multiply(soft, canvas.alpha.crop(box))
    canvas.image.paste((20, 16, 44), box, soft)


def _rounded(canvas: Canvas, layer: Layer, cover: Cover) -> Image.Image:
    size = cover.mask.size
    body = max(min(min(size) * 0.30, canvas.unit * 0.09), 1.0)
    rim = max(body * 0.35, 1.0)
    broad, narrow = c.relief(cover.mask, body), c.relief(cover.mask, rim)
    half = (max(size[0] // 2, 1), max(size[1] // 2, 1))
    field = sum(
        np.asarray(Image.fromarray(part).resize(half, Image.Resampling.BICUBIC)) * weight
        for part, weight in ((broad, 0.62), (narrow, 0.20))
    )
    shade = c.to_mask(np.asarray(field, np.float32) + 0.56, size)
    top, bottom = _plastic(layer.top), _plastic(layer.bottom)
    lit = Image.composite(
        c.gradient(cover, scaled(top, 1.14), scaled(bottom, 1.10)),
        c.gradient(
            cover,
            *((mix(_core(tone), tone, 0.6) if layer.role is Role.CLOUD else _core(tone)) for tone in (top, bottom)),
        ),
        shade,
    )
    if layer.role is not Role.THING and layer.role is not Role.CLOUD:
        return lit
    shine = c.to_mask(np.clip(np.asarray(field, np.float32) * 1.9 - 0.62, 0, 1) ** 2, size)
    return Image.composite(c.solid(cover, (1, 1, 1)), lit, shine.point([int(v * 0.8) for v in range(256)]))


def _plastic(colour: Colour) -> Colour:
    return mix(tuned(colour, saturation=1.05, value=1.05), (1.0, 0.96, 0.98), 0.16)


def _core(colour: Colour) -> Colour:
    return mix(tuned(colour, saturation=1.2, value=0.56), (0.34, 0.24, 0.56), 0.20)

"""Cyberpunk: dark shapes edged in neon, a burning horizon, a grid underfoot, wet mirrors and scanlines."""

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.canvas import Canvas, Cover
from mintage.infra.renderer.palette import Colour, bright, mix, scaled, tuned
from mintage.infra.renderer.shapes import Layer, Role

NEON: tuple[Colour, ...] = ((1.0, 0.16, 0.68), (0.10, 0.92, 1.0), (0.64, 0.28, 1.0))
VOID: Colour = (0.035, 0.02, 0.09)


def prepare(canvas: Canvas) -> None:
    hue = mix((0.62, 0.08, 0.52), canvas.palette.horizon, 0.12)
    c.backdrop(canvas, VOID, (0.12, 0.03, 0.24), hue, (1.0, 0.36, 0.55))


def paint(canvas: Canvas, layer: Layer) -> None:
    cover = canvas.cover(layer, sharp=layer.role is Role.CLOUD and layer.soft < 0.05)
    if cover is None:
        return
    neon = _neon(layer)
    match layer.role:
        case Role.LIGHT:
            canvas.lay(c.gradient(cover, mix(layer.top, neon, 0.45), neon), cover)
        case Role.SHADOW | Role.VEIL | Role.MARK:
            tint = 0.55 if layer.role is Role.SHADOW else 0.30
            # A painted wall in the distance is night like everything else.
            dim = 0.25 if layer.role is Role.MARK and layer.depth > 0.9 else 1.0
            top, bottom = (scaled(mix(tone, neon, tint), dim) for tone in (layer.top, layer.bottom))
            canvas.lay(c.gradient(cover, top, bottom), cover)
        case Role.CLOUD:
            thin = cover.mask.point([int(v * 0.42) for v in range(256)])
            canvas.lay(c.gradient(cover, scaled(neon, 0.8), VOID), cover, thin)
        case Role.WATER:
            _wet(canvas, cover)
            _grid(canvas, cover)
        case _:
            _edged(canvas, layer, cover, neon)


def finish(canvas: Canvas) -> Image.Image:
    image = canvas.image
    if canvas.cutout:
        return image
    image = c.glow_over(image, canvas.unit * 0.022, 110, 0.75)
    image = c.glow_over(image, canvas.unit * 0.07, 150, 0.55)
    # A cheap lens bends red and blue apart.
    shift = max(round(canvas.unit * 0.002), 1)
    red, green, blue = image.split()
    image = Image.merge("RGB", (ImageChops.offset(red, shift, 0), green, ImageChops.offset(blue, -shift, 0)))
    return c.vignette(_scanned(image), 0.5)


def _neon(layer: Layer) -> Colour:
    """The same layer always burns in the same colour: warm things magenta, cool things cyan, dark ones violet."""
    red, _, blue = layer.top
    if bright(layer.top) < 0.22:
        return NEON[2]
    return NEON[0] if red >= blue else NEON[1]


def _edged(canvas: Canvas, layer: Layer, cover: Cover, neon: Colour) -> None:
    near = layer.role is Role.THING
    keep = 0.55 if near and layer.depth < 0.02 else 0.22
    body = mix(VOID, tuned(layer.top, saturation=1.2), keep)
    foot = mix(VOID, tuned(layer.bottom, saturation=1.2), keep * 0.6)
    dark = c.gradient(cover, mix(body, NEON[0], 0.30 * layer.depth), foot)
    radius = max(canvas.unit * 0.012, 1.0)
    rim_left, rim_right = c.relief(cover.mask, radius, (-0.9, -0.5)), c.relief(cover.mask, radius, (0.9, -0.3))
    size = cover.mask.size
    dark = Image.composite(c.solid(cover, neon), dark, c.to_mask(rim_left * 0.55, size))
    dark = Image.composite(
        c.solid(cover, NEON[1] if neon != NEON[1] else NEON[0]), dark, c.to_mask(rim_right * 0.4, size)
    )
    canvas.lay(dark, cover)
    line = max(canvas.unit * 0.0016 * (1.2 - layer.depth), 0.55)
    if layer.role is Role.LAND:
        _grid(canvas, cover, faint=0.35)
    core = ImageChops.subtract(cover.mask, _shrunk(cover.mask, line))
    canvas.lay(c.solid(cover, mix(neon, (1, 1, 1), 0.25)), cover, core)


def _shrunk(mask: Image.Image, by: float) -> Image.Image:
    """The mask less a thin band along its inside."""
    return c.blurred(mask, by).point([max(0, min(255, (v - 150) * 5)) for v in range(256)])


def _wet(canvas: Canvas, cover: Cover) -> None:
    mirror = c.mirrored(canvas, cover, blur=canvas.unit * 0.010)
    canvas.lay(Image.blend(c.gradient(cover, (0.24, 0.05, 0.30), VOID), mirror, 0.6), cover)


def _grid(canvas: Canvas, cover: Cover, faint: float = 0.6) -> None:
    """Lines running to the vanishing point, and across."""
    width, height = cover.mask.size
    if height < canvas.unit * 0.2 or cover.bottom < canvas.size[1]:
        return
    lines = Image.new("L", (width, height))
    pen = ImageDraw.Draw(lines)
    thick = max(round(canvas.unit * 0.0022), 1)
    for at in np.linspace(-6, 6, 49):
        pen.line((width / 2 + at * width * 0.06, 0, width / 2 + at * width * 0.8, height), fill=255, width=thick)
    for step in np.linspace(0.05, 1.0, 14) ** 2.2:
        pen.line((0, step * height, width, step * height), fill=255, width=thick)
    fade = c.gradient(cover, (0.25, 0.25, 0.25), (1, 1, 1)).getchannel(0)
    mask = ImageChops.multiply(ImageChops.multiply(lines, cover.mask), fade)
    canvas.lay(c.solid(cover, NEON[1]), cover, mask.point([int(v * faint) for v in range(256)]))


def _scanned(image: Image.Image) -> Image.Image:
    rows = np.full((image.height, 1), 255, np.uint8)
    pitch = max(image.height // 256, 2)
    rows[::pitch] = 205
    veil = Image.fromarray(rows).resize(image.size, Image.Resampling.NEAREST)
    return ImageChops.multiply(image, Image.merge("RGB", (veil, veil, veil)))

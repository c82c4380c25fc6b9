"""Realistic: soft light, rough ground, haze, a lens with depth of field, and film grain."""

import numpy as np
from PIL import Image, ImageChops

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.canvas import Canvas, Cover
from mintage.infra.renderer.palette import Colour, mix, scaled, tuned
from mintage.infra.renderer.shapes import Layer, Role


def prepare(canvas: Canvas) -> None:
    p = canvas.palette
    c.backdrop(canvas, p.zenith, p.middle, p.horizon)


def paint(canvas: Canvas, layer: Layer) -> None:
    cover = canvas.cover(layer)
    if cover is None:
        return
    match layer.role:
        case Role.CLOUD:
            cloud(canvas, layer, cover, raggedness=2.0)
        case Role.WATER:
            water(canvas, layer, cover, clearness=0.45)
        case Role.LAND | Role.THING:
            grit = 5.0 if layer.role is Role.LAND else 1.6 if layer.depth > 0.0 else 0.6
            modelled(canvas, layer, cover, roundness=0.9 if layer.role is Role.THING else 0.25, grit=grit)
        case _:
            canvas.lay(c.gradient(cover, layer.top, layer.bottom), cover)


def settle(canvas: Canvas) -> None:
    """The lens is focused on the subject."""
    if not canvas.cutout:
        canvas.image = c.blurred(canvas.image, canvas.unit * 0.0045)


def finish(canvas: Canvas) -> Image.Image:
    if canvas.cutout:
        return canvas.image
    image = c.glow_over(canvas.image, canvas.unit * 0.03, 190, 0.5)
    # A gentle film curve: deeper shadows, softer highlights.
    curve = [int(255 * (v / 255 + 0.09 * np.sin((v / 255 - 0.5) * 2 * np.pi) * 0.9)) for v in range(256)]
    image = image.point([min(max(v, 0), 255) for v in curve] * 3)
    return c.grained(c.vignette(image, 0.42), canvas.chance, 2.2)


def modelled(canvas: Canvas, layer: Layer, cover: Cover, *, roundness: float, grit: float) -> None:
    """Lit from the upper left: `roundness` swells the outline, `grit` roughens the surface."""
    x0, y0, x1, y1 = cover.box
    half = (max((x1 - x0) // 2, 1), max((y1 - y0) // 2, 1))
    radius = min(min(x1 - x0, y1 - y0) * 0.22, canvas.unit * 0.045)
    swell = c.relief(cover.mask, max(radius, 1.0)) * roundness
    rough = c.bump(canvas, cover.box, grit * (0.4 + 0.6 * (1 - layer.depth)))
    field = np.asarray(Image.fromarray(swell).resize(half, Image.Resampling.BILINEAR)) * 0.55 + (
        0.56 if layer.depth > 0.0 else 0.64
    )
    field = field + np.asarray(Image.fromarray(rough).resize(half, Image.Resampling.BILINEAR))
    shade = c.to_mask(field, cover.mask.size)
    light = canvas.palette.sun
    high = c.gradient(cover, _lift(layer.top, light), _lift(layer.bottom, light))
    cool = 0.14 if layer.depth > 0.0 else 0.05
    low = c.gradient(cover, *(mix(_dusk(tone), canvas.palette.zenith, cool) for tone in (layer.top, layer.bottom)))
    canvas.lay(Image.composite(high, low, shade), cover)


def cloud(canvas: Canvas, layer: Layer, cover: Cover, *, raggedness: float) -> None:
    """The outline is a suggestion; noise decides where vapour really is."""
    noise = np.asarray(
        Image.fromarray(canvas.patch(canvas.vapour * 0.65 + canvas.noise * 0.35, cover.box)).resize(
            cover.mask.size, Image.Resampling.BILINEAR
        )
    )
    density = np.asarray(cover.mask, np.float32) / 255
    vapour = np.clip(density * (1 + raggedness) - raggedness * (1.15 - noise) * 0.9, 0, 1) * np.minimum(
        density * 1.4, 1
    )
    mask = c.to_mask(vapour.astype(np.float32), cover.mask.size)
    shade = c.to_mask(0.55 + 0.9 * (noise - 0.45), cover.mask.size)
    bright, dim = (
        c.gradient(cover, layer.top, layer.bottom),
        c.gradient(cover, layer.bottom, scaled(layer.bottom, 0.86)),
    )
    canvas.lay(Image.composite(bright, dim, shade), cover, mask)


def water(canvas: Canvas, layer: Layer, cover: Cover, *, clearness: float) -> None:
    """Mirrors what stands behind it, broken by ripples that widen towards the viewer."""
    mirror = c.mirrored(canvas, cover, blur=canvas.unit * 0.008)
    width, height = cover.mask.size
    ripple = c.fractal(
        canvas.chance, (max(width // 2, 8), max(height // 2, 8)), canvas.unit * 0.02, octaves=4, stretch=7.0
    )
    field = (ripple - 0.5) * np.linspace(0.5, 1.5, ripple.shape[0], dtype=np.float32)[:, None]
    body = c.gradient(cover, layer.top, layer.bottom)
    seen = Image.blend(body, mirror, clearness)
    crest = ImageChops.screen(
        seen, c.gradient(cover, scaled(canvas.palette.horizon, 0.5), scaled(canvas.palette.horizon, 0.25))
    )
    canvas.lay(
        Image.composite(
            crest,
            ImageChops.multiply(seen, c.solid(cover, (0.75, 0.80, 0.86))),
            c.to_mask(0.35 + field * 1.8, (width, height)),
        ),
        cover,
    )


def _lift(colour: Colour, light: Colour) -> Colour:
    # Brightening stops where the brightest part would burn out and turn the hue.
    return mix(scaled(colour, min(1.22, 1.0 / max(*colour, 0.01))), light, 0.10)


def _dusk(colour: Colour) -> Colour:
    return mix(tuned(colour, saturation=1.15, value=0.5), (0.40, 0.14, 0.12), 0.06)

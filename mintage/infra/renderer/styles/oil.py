"""Oil painting: thousands of brush strokes that follow the form, thick enough to catch the light, on canvas."""

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from mintage.infra.renderer import canvas as c
from mintage.infra.renderer.canvas import Canvas, Field
from mintage.infra.renderer.palette import mix, tuned
from mintage.infra.renderer.shapes import Layer, Role
from mintage.infra.renderer.styles import photo


def prepare(canvas: Canvas) -> None:
    p = canvas.palette
    c.backdrop(canvas, tuned(p.zenith, saturation=1.15), p.middle, mix(p.horizon, (1.0, 0.86, 0.60), 0.25))


def paint(canvas: Canvas, layer: Layer) -> None:
    cover = canvas.cover(layer)
    if cover is None:
        return
    match layer.role:
        case Role.CLOUD:
            photo.cloud(canvas, layer, cover, raggedness=0.6)
        case Role.WATER:
            photo.water(canvas, layer, cover, clearness=0.5)
        case Role.LAND | Role.THING:
            photo.modelled(canvas, layer, cover, roundness=1.0, grit=5.0 if layer.role is Role.LAND else 1.0)
        case _:
            canvas.lay(c.gradient(cover, layer.top, layer.bottom), cover)


def finish(canvas: Canvas) -> Image.Image:
    image = canvas.image
    angle, edges = _flow(canvas)
    for size, count, share in ((0.030, 3600, 1.0), (0.015, 6500, 0.75), (0.0075, 6500, 0.45)):
        image = _stroked(canvas, image, angle, edges, size=size, count=count, share=share)
    detail = c.to_mask((edges - 5.0) / 26.0, (edges.shape[1], edges.shape[0])).resize(
        canvas.size, Image.Resampling.BICUBIC
    )
    accents = Image.composite(canvas.image, image, detail.point([int(v * 0.62) for v in range(256)]))
    return _impasto(canvas, accents)


def _flow(canvas: Canvas) -> tuple[Field, Field]:
    """Along which angle a brush would move at each place, and how much is going on there."""
    width, height = max(canvas.size[0] // 8, 8), max(canvas.size[1] // 8, 8)
    grey = np.asarray(canvas.image.convert("L").resize((width, height), Image.Resampling.BOX), np.float32)
    down, across = np.gradient(grey)
    coarse = (max(width // 3, 2), max(height // 3, 2))
    terms = [
        np.asarray(Image.fromarray(term).resize(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float32)
        for term in (across * across - down * down, 2 * across * down, across * across + down * down)
    ]
    wander = np.asarray(Image.fromarray(canvas.noise).resize((width, height)), np.float32)
    along = np.arctan2(terms[1], terms[0]) / 2 + np.pi / 2
    calm = np.exp(-np.maximum(terms[2], 0) / 60.0)
    return along * (1 - calm) + calm * (wander - 0.5) * 3.4, np.sqrt(np.maximum(terms[2], 0))


def _stroked(
    canvas: Canvas, image: Image.Image, angle: Field, edges: Field, *, size: float, count: int, share: float
) -> Image.Image:
    """One pass of one brush; the finer brushes only go where there is something to say."""
    width, height = canvas.size
    source = np.asarray(c.blurred(canvas.image, size * canvas.unit * 0.22))
    aspect = min(width * height / canvas.unit**2, 3.0)
    spots = canvas.chance.random((int(count * aspect), 2)) * (width, height)
    xs, ys = spots[:, 0].astype(int), spots[:, 1].astype(int)
    cells = (
        np.minimum(ys * angle.shape[0] // height, angle.shape[0] - 1),
        np.minimum(xs * angle.shape[1] // width, angle.shape[1] - 1),
    )
    busy = edges[cells] * (1.0 / 14.0) + canvas.chance.random(len(xs)) * 0.25
    keep = (busy > (1.0 - share)) if share < 1.0 else np.ones(len(xs), bool)
    xs, ys, turns = xs[keep], ys[keep], angle[cells][keep]
    jitter = canvas.chance.normal(0, 9, (len(xs), 1)) + canvas.chance.normal(0, 5, (len(xs), 3))
    inks = np.clip(source[ys, xs] + jitter, 0, 255).astype(np.uint8).tolist()
    # Long strokes in the calm, short dabs where the form turns.
    reach = (
        canvas.unit
        * size
        * canvas.chance.uniform(0.7, 1.5, len(xs))
        / (1.0 + np.minimum(edges[cells][keep] / 9.0, 2.0))
    )
    dx, dy = np.cos(turns) * reach, np.sin(turns) * reach
    thick = np.maximum(canvas.unit * size * 0.42 * canvas.chance.uniform(0.6, 1.2, len(xs)), 1.0).round().astype(int)
    lines = np.stack([xs - dx, ys - dy, xs + dx, ys + dy], axis=1).tolist()
    painted = image.copy()
    pen = ImageDraw.Draw(painted)
    for line, ink, wide in zip(lines, inks, thick.tolist(), strict=True):
        pen.line(line, fill=tuple(ink), width=wide)
    return painted


def _impasto(canvas: Canvas, image: Image.Image) -> Image.Image:
    """Raking light over ridges of paint and the weave beneath."""
    grey = np.asarray(image.convert("L"), np.int16)
    ridges = np.zeros(grey.shape, np.int16)
    ridges[1:, 1:] = grey[1:, 1:] - grey[:-1, :-1]
    y, x = np.mgrid[0:64, 0:64]
    weave = (
        5 * np.sin(x * np.pi / 2) * np.cos(y * np.pi / 4) + 5 * np.cos(x * np.pi / 4) * np.sin(y * np.pi / 2)
    ).astype(np.int16)
    rows, columns = -(-grey.shape[0] // 64), -(-grey.shape[1] // 64)
    cloth = np.tile(weave, (rows, columns))[: grey.shape[0], : grey.shape[1]]
    light = Image.fromarray(np.clip(128 + np.clip(ridges, -40, 40) * 3 // 4 + cloth, 0, 255).astype(np.uint8))
    raked = ImageChops.add(image, Image.merge("RGB", (light, light, light)), 1, -128)
    return raked if canvas.cutout else c.vignette(raked, 0.25)

"""A canvas is one picture being painted: pixels, coverage and the noise they share, all from one seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from mintage.infra.renderer.palette import Colour, Palette
from mintage.infra.renderer.shapes import Layer, Role

Field = NDArray[np.float32]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Cover:
    """Where a layer lies: its box on the canvas, the mask inside that box, and the layer's own span of rows."""

    box: Box
    mask: Image.Image
    top: float
    bottom: float


class Canvas:
    def __init__(self, width: int, height: int, palette: Palette, chance: np.random.Generator, *, cutout: bool):
        self.size = (width, height)
        self.unit = float(min(width, height))
        self.palette = palette
        self.chance = chance
        self.image = Image.new("RGB", self.size)
        self.alpha = Image.new("L", self.size) if cutout else None
        half = (max(width // 2, 8), max(height // 2, 8))
        self.noise = fractal(chance, half, self.unit / 2 * 0.34, octaves=6)
        self.vapour = fractal(chance, half, self.unit / 2 * 0.11, octaves=5)

    @property
    def cutout(self) -> bool:
        return self.alpha is not None

    def cover(self, layer: Layer, *, grow: float = 0.0, sharp: bool = False) -> Cover | None:
        """The layer's mask, antialiased; `grow` thickens every outline by that many pixels."""
        if not layer.shapes:
            return None
        soft = 0.0 if sharp else layer.soft * self.unit
        corners = np.concatenate(layer.shapes) * self.unit
        margin = grow + 3 * soft + 2
        low, high = corners.min(axis=0), corners.max(axis=0)
        x0, y0 = (max(int(edge - margin), 0) for edge in low)
        x1, y1 = (min(int(edge + margin) + 2, limit) for edge, limit in zip(high, self.size, strict=True))
        if x1 <= x0 or y1 <= y0:
            return None
        mask = _drawn(layer, (x0, y0, x1, y1), self.unit, grow)
        if soft > 0.3:
            mask = blurred(mask, soft)
        if layer.opacity < 1.0:
            mask = mask.point([int(v * layer.opacity) for v in range(256)])
        return Cover((x0, y0, x1, y1), mask, float(low[1]), float(high[1]))

    def lay(self, paint: Image.Image, cover: Cover, mask: Image.Image | None = None) -> None:
        """Paint lies over what is there; on bare ground it keeps its own colour however thin it is."""
        mask = mask or cover.mask
        if self.alpha is not None:
            under = self.alpha.crop(cover.box)
            bare = ImageChops.multiply(ImageChops.invert(under), mask.point([0] + [255] * 255))
            self.alpha.paste(255, cover.box, mask)
            mask = ImageChops.lighter(mask, bare)
        self.image.paste(paint, cover.box, mask)

    def patch(self, field: Field, box: Box) -> Field:
        """The part of a half-size field under a box."""
        x0, y0, x1, y1 = (edge // 2 for edge in box)
        x0, y0 = min(x0, field.shape[1] - 1), min(y0, field.shape[0] - 1)
        return field[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _drawn(layer: Layer, box: Box, unit: float, grow: float) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    fine = 4 if width * height < 40_000 else 2
    sheet = Image.new("L", (width * fine, height * fine))
    pen = ImageDraw.Draw(sheet)
    origin = np.array(box[:2])
    for shape in layer.shapes:
        points = ((shape * unit - origin) * fine).ravel().tolist()
        pen.polygon(points, fill=255)
        if grow > 0:
            pen.line(points + points[:4], fill=255, width=max(round(grow * 2 * fine), 1), joint="curve")
    return sheet.reduce(fine)


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """A Gaussian blur at the resolution the radius deserves."""
    coarse = int(min(radius / 2.5, *image.size))
    if coarse < 2:
        return image.filter(ImageFilter.GaussianBlur(radius))
    small = image.reduce(coarse).filter(ImageFilter.GaussianBlur(radius / coarse))
    return small.resize(image.size, Image.Resampling.BICUBIC)


def fractal(
    chance: np.random.Generator, size: tuple[int, int], cell: float, *, octaves: int, stretch: float = 1.0
) -> Field:
    """Fractal noise between 0 and 1: `cell` pixels per feature of the lowest octave, wider by `stretch`."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for _ in range(octaves):
        grid = (int(height / cell) + 3, int(width / (cell * stretch)) + 3)
        knots = Image.fromarray(chance.random(grid, dtype=np.float32))
        window = (1.0, 1.0, min(1.0 + width / (cell * stretch), grid[1]), min(1.0 + height / cell, grid[0]))
        total += weight * np.asarray(knots.resize(size, Image.Resampling.BICUBIC, box=window))
        cell, weight = max(cell / 2, 1.0), weight / 2
    total -= total.min()
    total /= max(float(total.max()), 1e-6)
    return total


def to_mask(field: NDArray[np.floating], size: tuple[int, int]) -> Image.Image:
    """A field of 0 to 1 as an 8-bit mask of the size asked for."""
    small = Image.fromarray((np.clip(field, 0.0, 1.0) * 255).astype(np.uint8))
    return small if small.size == size else small.resize(size, Image.Resampling.BICUBIC)


def relief(mask: Image.Image, radius: float, light: tuple[float, float] = (-0.62, -0.78)) -> Field:
    """How much each part of a rounded-up mask faces the light, about -1 to 1, at reduced size."""
    coarse = max(int(min(radius / 4, min(mask.size) / 8)), 1)
    small = mask.reduce(coarse) if coarse > 1 else mask
    pad = int(radius / coarse) + 2
    # Where the frame cuts a shape off it goes on; elsewhere the box leaves bare pixels around it.
    ring = Image.fromarray(np.pad(np.asarray(small), pad, mode="edge"))
    height = np.asarray(ring.filter(ImageFilter.GaussianBlur(radius / coarse)), np.float32)
    down, across = np.gradient(height * (2.2 * radius / coarse / 255))
    facing = -(across * light[0] + down * light[1])
    return np.asarray(facing[pad:-pad, pad:-pad], np.float32)


def bump(canvas: Canvas, box: Box, strength: float, light: tuple[int, int] = (2, 3)) -> Field:
    """The shared noise seen as rough ground: lit on one side of every rise."""
    field = canvas.patch(canvas.noise, box) + 0.35 * canvas.patch(canvas.vapour, box)
    across, down = light
    shifted = np.pad(field, ((down, 0), (across, 0)), mode="edge")[: field.shape[0], : field.shape[1]]
    return np.asarray((field - shifted) * strength, np.float32)


def gradient(cover: Cover, top: Colour, bottom: Colour) -> Image.Image:
    """Top to bottom of the layer, of which the box may show only a part."""
    x0, y0, x1, y1 = cover.box
    span = max(cover.bottom - cover.top, 1.0)
    share = np.clip((np.arange(y0, y1, dtype=np.float32) - cover.top) / span, 0.0, 1.0)[:, None]
    rows = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    column = Image.fromarray((np.clip(rows, 0, 1) * 255 + 0.5).astype(np.uint8)[:, None, :])
    return column.resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST)


def solid(cover: Cover, colour: Colour) -> Image.Image:
    return Image.new("RGB", cover.mask.size, ink(colour))


def ink(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, round(part * 255))) for part in colour)
    return red, green, blue


def backdrop(canvas: Canvas, *stops: Colour) -> None:
    """Fills the whole canvas from its top to the horizon."""
    height = canvas.size[1]
    places = np.linspace(0, height * 0.66, len(stops))
    rows = np.stack([np.interp(np.arange(height), places, [stop[part] for stop in stops]) for part in range(3)], axis=1)
    column = Image.fromarray(np.clip(rows * 255 + 0.5, 0, 255).astype(np.uint8)[:, None, :])
    canvas.image.paste(column.resize(canvas.size, Image.Resampling.NEAREST))


def flat(layer: Layer) -> bool:
    return layer.role in {Role.MARK, Role.LIGHT, Role.SHADOW, Role.VEIL}


def glow_over(image: Image.Image, radius: float, threshold: int, strength: float) -> Image.Image:
    """Light spilling from whatever is brighter than the threshold."""
    ramp = [int(max(v - threshold, 0) * 255 / (255 - threshold) * strength) for v in range(256)]
    coarse = max(int(min(radius / 2.5, *image.size)), 1)
    small = image.reduce(coarse).point(ramp * 3).filter(ImageFilter.GaussianBlur(radius / coarse))
    return ImageChops.screen(image, small.resize(image.size, Image.Resampling.BICUBIC))


def vignette(image: Image.Image, strength: float) -> Image.Image:
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    dim = 1.0 - strength * np.clip((x * x + y * y) / 2 - 0.12, 0, 1)
    veil = to_mask(dim.astype(np.float32), image.size)
    return ImageChops.multiply(image, Image.merge("RGB", (veil, veil, veil)))


def grained(image: Image.Image, chance: np.random.Generator, strength: float) -> Image.Image:
    """Film grain, the same in all three colours."""
    tile = chance.normal(128, strength, (min(image.height, 512), min(image.width, 512)))
    grain = Image.new("L", image.size)
    piece = Image.fromarray(np.clip(tile, 0, 255).astype(np.uint8))
    for x in range(0, image.width, piece.width):
        for y in range(0, image.height, piece.height):
            grain.paste(piece, (x, y))
    return ImageChops.add(image, Image.merge("RGB", (grain, grain, grain)), 1, -128)


def mirrored(canvas: Canvas, cover: Cover, *, blur: float) -> Image.Image:
    """What stands above a layer's upper edge, upside down and blurred, filling its box."""
    x0, y0, x1, y1 = cover.box
    depth = min(y1 - y0, y0)
    if depth < 2:
        return canvas.image.crop(cover.box)
    above = canvas.image.crop((x0, y0 - depth, x1, y0)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return blurred(above.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR), blur)

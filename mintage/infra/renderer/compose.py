"""A composition is a brief laid out in a frame: layers from the farthest to the nearest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mintage.infra.renderer import cast, land, objects, places, sky
from mintage.infra.renderer.brief import Brief
from mintage.infra.renderer.palette import Palette, mix
from mintage.infra.renderer.shapes import Frame, Layer, Role, ellipse, layer, placed, slab, stroke

# How often mountains close the view where nobody asked for them.
_FAR_HILLS = {"landscape": 1.0, "garden": 0.8, "sea": 0.4}
AFLOAT = ("boat", "fish")
ALOFT = ("rocket", "balloon", "butterfly")
_SIZES = {
    "house": 0.44,
    "castle": 0.56,
    "boat": 0.42,
    "car": 0.46,
    "person": 0.92,
    "robot": 0.62,
    "butterfly": 0.40,
    "tree": 0.70,
    "cup": 0.46,
    "ball": 0.24,
}


@dataclass(frozen=True, slots=True)
class Scene:
    scenery: tuple[Layer, ...]
    subjects: tuple[Layer, ...]
    veil: tuple[Layer, ...]


def compose(brief: Brief, palette: Palette, frame: Frame, chance: np.random.Generator) -> Scene:
    horizon = frame.height * float(chance.uniform(0.52, 0.60) if brief.subjects else chance.uniform(0.56, 0.68))
    return Scene(
        scenery=tuple(_scenery(brief, palette, frame, horizon, chance)),
        subjects=tuple(_subjects(brief, palette, frame, horizon, chance)),
        veil=tuple(sky.falling(brief, frame, chance)),
    )


def cut_out(brief: Brief, palette: Palette, frame: Frame, chance: np.random.Generator) -> Scene:
    """Only what the prompt is about, standing free; a place without a thing becomes an island of itself."""
    if brief.subjects:
        return Scene((), tuple(_row(brief, palette, frame, frame.height * 0.5 + 0.42, 1.35, chance)), ())
    tree = placed(objects.tree(chance, palette.leaf), -0.20, -0.04, 0.42)
    home = objects.house(chance, night=palette.dark)
    built = objects.castle(night=palette.dark) if brief.setting == "city" else home
    parts = [*land.island(palette, chance), *tree, *placed(built, 0.17, -0.03, 0.32)]
    return Scene((), tuple(placed(parts, frame.width / 2, frame.height / 2 + 0.14, 0.86)), ())


def _scenery(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator
) -> Iterator[Layer]:
    yield from _distance(brief, palette, frame, horizon, chance)
    match brief.setting:
        case "city":
            yield from places.city(brief, palette, frame, horizon, chance)
        case "sea":
            yield from land.sea(brief, palette, frame, horizon, chance)
        case "forest":
            yield from land.woods(palette, frame, horizon, chance)
        case "desert":
            yield from land.dunes(palette, frame, horizon, chance)
        case "space":
            yield from places.space(palette, frame, chance)
        case "still":
            yield from places.table(palette, frame, horizon)
        case "portrait":
            yield from places.studio(palette, frame, chance)
        case "abstract":
            yield from places.abstraction(palette, frame, chance)
        case place:
            yield from _open_country(brief, palette, frame, horizon, chance, garden=place == "garden")
    yield from _company(brief, palette, frame, horizon, chance)


def _distance(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator
) -> Iterator[Layer]:
    """The sky, and mountains where they belong or are asked for."""
    if brief.setting not in {"still", "portrait", "abstract"}:
        above = frame.height if brief.setting == "space" else horizon
        skies = replace(brief, sky=brief.sky - {"moon"}) if brief.setting == "space" else brief
        yield from sky.heavens(skies, palette, frame, above, chance)
    if brief.wants("mountains") or chance.random() < _FAR_HILLS.get(brief.setting, 0.0):
        yield from land.mountains(palette, frame, horizon, chance, tall=brief.wants("mountains"))


def _open_country(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator, *, garden: bool
) -> Iterator[Layer]:
    yield from land.hills(palette, frame, horizon, chance)
    if garden:
        yield from land.bushes(palette, frame, horizon, chance)
    elif not brief.subjects and chance.random() < 0.75:
        yield from land.stream(palette, frame, horizon, chance)
    room = frame.height - horizon
    for x, y, size in ((0.12, 0.24, 0.34), (0.24, 0.14, 0.24), (0.9, 0.28, 0.38)):
        at = frame.width * (x + float(chance.uniform(-0.04, 0.04)))
        yield from placed(objects.tree(chance, palette.leaf), at, horizon + room * y, min(size, room))
    blooms = (garden and "snow" not in brief.sky) or brief.wants("flowers")
    if garden or blooms or brief.subjects:
        yield from land.meadow(palette, frame, horizon, chance, blooms=blooms)


def _company(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator
) -> Iterator[Layer]:
    """Small life: birds in a clear sky, and on the water a far sail."""
    if brief.setting in {"landscape", "sea", "mountains"} and not brief.sky & {"rain", "snow"} and not palette.dark:
        x, y = frame.width * chance.uniform(0.3, 0.7), horizon * chance.uniform(0.3, 0.6)
        flock = chance.uniform(-0.12, 0.12, (5, 2))
        wings = [
            stroke([(x + a - 0.022, y + b - 0.008), (x + a, y + b), (x + a + 0.022, y + b - 0.010)], 0.0045, 0.002)
            for a, b in flock
        ]
        yield layer(wings, (0.16, 0.16, 0.20), role=Role.MARK, depth=0.6)
    if brief.setting == "sea" and not brief.subjects:
        yield from placed(objects.boat(palette.accent), frame.width * chance.uniform(0.3, 0.7), horizon + 0.03, 0.12)
    if brief.setting == "desert" and not brief.subjects:
        yield from placed(_cactus(palette), frame.width * chance.uniform(0.2, 0.8), horizon + 0.2, 0.28)


def _cactus(palette: Palette) -> list[Layer]:
    arms = [stroke([(s * 0.02, -0.40), (s * 0.24, -0.42), (s * 0.24, -0.70)], 0.12, 0.10) for s in (-1, 1)]
    return [layer([*arms, slab(-0.09, -0.95, 0.09, 0.02, 0.09)], palette.leaf)]


def _subjects(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator
) -> Iterator[Layer]:
    room = frame.height - horizon
    ground = horizon + room * (0.45 if brief.setting == "still" else 0.72)
    if brief.setting == "still" and not brief.subjects:
        brief = replace(brief, subjects=("flowers", "fruit"))
    yield from _row(brief, palette, frame, ground, 1.0, chance)


def _row(
    brief: Brief, palette: Palette, frame: Frame, ground: float, zoom: float, chance: np.random.Generator
) -> Iterator[Layer]:
    """Subjects side by side, each upon its own shadow."""
    count, sway = len(brief.subjects), 0.07 if zoom == 1.0 else 0.01
    for place, name in enumerate(brief.subjects):
        size = _SIZES.get(name, 0.52) * zoom * (1.0 if count == 1 else 0.78)
        size = min(size, 0.96) if name == "person" else size
        gap = min(frame.width / max(count, 1), 0.62)
        x = frame.width / 2 + (place - (count - 1) / 2) * gap + float(chance.uniform(-sway, sway))
        y = ground
        if name == "person":
            y = frame.height
        elif name in ALOFT and zoom == 1.0:
            y = min(ground, frame.height * 0.5 + size * 0.5) - 0.1
        elif zoom == 1.0 and name not in AFLOAT:
            shade = ellipse(x + 0.05 * size, ground, size * 0.52, size * 0.075)
            yield layer(shade, (0.05, 0.05, 0.10), role=Role.SHADOW, opacity=0.5, soft=0.022)
        things = cast.drawn(name, brief, palette, chance)
        mirror = bool(chance.random() < 0.5)
        for one in placed(things, x, y, size, mirror=mirror):
            yield _lit(one, palette)


def _lit(one: Layer, palette: Palette) -> Layer:
    """Subjects take the colour of the light, but stay readable at night."""
    if one.role is Role.LIGHT:
        return one
    soft = replace(palette, light=mix(palette.light, (1, 1, 1), 1 / 3))
    return replace(one, top=soft.lit(one.top), bottom=soft.lit(one.bottom))

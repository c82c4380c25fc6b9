"""Ground to stand on: mountains, woods, dunes, meadows and the sea, from the horizon to the viewer's feet."""

from collections.abc import Iterator

import numpy as np

from mintage.infra.renderer.brief import Brief
from mintage.infra.renderer.objects import flower
from mintage.infra.renderer.palette import NAMED, Colour, Palette, mix, scaled, tuned
from mintage.infra.renderer.shapes import Frame, Layer, Points, Role, blob, ellipse, layer, ridge, slab, stroke


def mountains(
    palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator, *, tall: bool
) -> Iterator[Layer]:
    height = min(horizon, 1.1) * (1.0 if tall else 0.56)
    for depth, share in ((0.92, 1.0), (0.7, 0.78), (0.48, 0.5)):
        skyline = ridge(
            chance, frame, horizon + 0.02, height * share, step=0.30 * (0.4 + share / 2), rough=0.46, peaked=True
        )
        rock = palette.hazed(mix(palette.far, palette.near, 0.55 * (1 - depth)), depth * 0.62)
        yield layer(skyline, rock, palette.hazed(rock, 0.5), role=Role.LAND, depth=depth)
        if tall and depth > 0.6:
            white = palette.hazed(palette.lit((0.97, 0.98, 1.0)), depth * 0.3)
            yield layer(_snowcap(skyline, chance), white, role=Role.LAND, depth=depth)


def _snowcap(skyline: Points, chance: np.random.Generator) -> list[Points]:
    """Where the skyline is above the snow line: closed strips with a ragged lower edge."""
    crest = skyline[:-2]
    line = float(np.quantile(crest[:, 1], 0.5))
    high = crest[:, 1] < line
    cuts = np.flatnonzero(np.diff(high.astype(np.int8))) + 1
    caps = []
    for run in np.split(np.arange(len(crest)), cuts):
        if len(run) < 3 or not high[run[0]]:
            continue
        top = crest[run]
        knots = np.arange(0, len(run) + 5, 5)
        ragged = np.interp(np.arange(len(run)), knots, chance.uniform(0.25, 0.95, len(knots)))
        depth = (line - top[:, 1]) * ragged
        caps.append(np.concatenate([top, np.stack([top[:, 0], top[:, 1] + depth], axis=1)[::-1]]))
    return caps


def hills(palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    room = frame.height - horizon
    for depth, drop, high in ((0.46, 0.05, 0.12), (0.22, 0.25, 0.16), (0.05, 0.56, 0.18)):
        grass = mix(palette.land, palette.near, 1.0 - depth * 2.1)
        crest = palette.hazed(scaled(grass, 1.32), depth * 0.6)
        swell = ridge(chance, frame, horizon + room * drop, min(room, 0.6) * high * 2.2, step=0.62, rough=0.3)
        yield layer(swell, crest, scaled(grass, 0.5), role=Role.LAND, depth=depth)


def stream(palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    """A river that comes from the hills and widens to the viewer's feet."""
    room, bend = frame.height - horizon, float(chance.choice([-1.0, 1.0]))
    t = np.linspace(0.0, 1.0, 40)
    reach = min(frame.width, 2.2)
    middle = frame.width / 2 + bend * reach * (0.16 * np.sin(t * 5.2 + 0.6) * (0.25 + t) - 0.05)
    half = reach * (0.006 + 0.17 * t**1.9)
    down = horizon + room * (0.16 + 0.90 * t**1.25)
    banks = np.concatenate([np.stack([middle - half, down], 1), np.stack([middle + half, down], 1)[::-1]])
    yield layer(banks, mix(palette.water, palette.horizon, 0.6), palette.water, role=Role.WATER, depth=0.2)


def dunes(palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    room = frame.height - horizon
    for depth, drop in ((0.6, 0.0), (0.36, 0.16), (0.18, 0.40), (0.04, 0.68)):
        sand = palette.hazed(mix(palette.land, palette.lit((0.80, 0.50, 0.26)), 0.8 - depth), depth * 0.5)
        swell = ridge(chance, frame, horizon + room * drop, min(room, 0.7) * 0.62, step=0.8, rough=0.16)
        yield layer(swell, scaled(sand, 1.15), scaled(sand, 0.62), role=Role.LAND, depth=depth)


def woods(palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    """Rows of trees, larger and darker towards the viewer, framing a glade in the middle."""
    room = frame.height - horizon
    for depth, drop, size in ((0.75, 0.0, 0.26), (0.5, 0.10, 0.36), (0.26, 0.26, 0.52), (0.06, 0.55, 0.85)):
        base = horizon + room * drop
        leaf = palette.hazed(scaled(palette.leaf, 0.55 + depth * 0.6), depth * 0.75)
        floor = ridge(chance, frame, base, 0.03, step=0.4)
        count = int(min(frame.width * 1.9 / size + 2, 90))
        crowns, trunks = [], []
        for x in np.linspace(-0.05, frame.width + 0.05, count):
            aside = abs(x / frame.width - 0.5) * 2
            if depth < 0.4 and aside < 0.62:
                continue
            at, tall = float(x + chance.uniform(-0.06, 0.06)), size * float(chance.uniform(0.7, 1.1))
            trunks.append(stroke([(at, base + 0.05), (at, base - tall * 0.4)], tall * 0.05, tall * 0.04))
            crowns += _conifer(at, base, tall) if chance.random() < 0.7 else _broadleaf(at, base, tall)
        if trunks:
            yield layer(
                trunks,
                scaled(palette.hazed((0.26, 0.18, 0.13), depth * 0.6), 0.9 if not palette.dark else 0.3),
                role=Role.THING,
                depth=depth,
            )
            yield layer(crowns, scaled(leaf, 1.3), scaled(leaf, 0.7), role=Role.THING, depth=depth)
        yield layer(
            floor, palette.hazed(palette.land, depth * 0.5), scaled(palette.near, 0.8), role=Role.LAND, depth=depth
        )


def _conifer(x: float, base: float, tall: float) -> list[Points]:
    tiers = []
    for start, end, half in ((0.12, 0.50, 0.20), (0.34, 0.74, 0.155), (0.58, 1.0, 0.105)):
        tiers.append(
            np.array(
                [(x, base - tall * end), (x + tall * half, base - tall * start), (x - tall * half, base - tall * start)]
            )
        )
    return tiers


def _broadleaf(x: float, base: float, tall: float) -> list[Points]:
    return [
        ellipse(x + tall * dx, base - tall * y, tall * r, corners=28)
        for dx, y, r in ((0, 0.62, 0.24), (-0.15, 0.5, 0.17), (0.15, 0.52, 0.17))
    ]


def sea(brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    far = mix(palette.water, palette.horizon, 0.35)
    yield layer(
        slab(-0.1, horizon, frame.width + 0.1, frame.height + 0.1),
        far,
        scaled(palette.water, 0.6),
        role=Role.WATER,
        depth=0.3,
    )
    room = frame.height - horizon
    foam = palette.lit((1, 1, 1))
    for share in np.linspace(0.04, 0.96, 9):
        y = horizon + room * share**1.4
        length = 0.03 + 0.15 * share
        starts = chance.uniform(-0.1, frame.width, int(min(frame.width * 9, 90)))
        waves = [
            stroke(
                [(x, y + j), (x + length / 2, y + j - 0.012 * share), (x + length, y + j)],
                0.0016 + 0.005 * share,
                0.0008,
            )
            for x, j in zip(starts, chance.uniform(-0.02, 0.02, len(starts)) * (0.3 + share), strict=True)
        ]
        yield layer(waves, mix(palette.horizon, foam, 0.5), role=Role.MARK, depth=0.3, opacity=0.24)
    if not brief.subjects or brief.subjects[0] not in {"boat", "fish"}:
        sand = palette.lit((0.93, 0.83, 0.64))
        shore = ridge(chance, frame, frame.height - min(room, 0.8) * 0.16, 0.07, step=0.9, rough=0.25)
        yield layer(shore - (0, 0.016), foam, role=Role.MARK, depth=0.05, opacity=0.85, soft=0.003)
        yield layer(shore, sand, scaled(sand, 0.75), role=Role.LAND, depth=0.05)


def meadow(
    palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator, *, blooms: bool
) -> Iterator[Layer]:
    """Grass and, where asked for, flowers growing towards the viewer."""
    room = frame.height - horizon
    for share in (0.45, 0.7, 0.92):
        y = horizon + room * share
        size = 0.02 + 0.045 * share
        xs = chance.uniform(0, frame.width, int(min(frame.width * 70, 420)))
        blades = [
            stroke(
                [(x, y + 0.02), (x + lean * 0.4, y - size * 0.6), (x + lean, y - size * 1.3)],
                0.007 * (0.4 + share),
                0.001,
            )
            for x, lean in zip(xs, chance.uniform(-0.02, 0.02, len(xs)), strict=True)
        ]
        grass = mix(palette.land, palette.near, share)
        yield layer(blades, scaled(grass, 1.25), grass, role=Role.MARK, depth=0.1)
        if not blooms:
            continue
        for name in chance.choice(["red", "pink", "purple", "white", "gold"], 3, replace=False):
            petal: Colour = tuned(palette.lit(NAMED[str(name)]), saturation=0.9)
            spots = chance.uniform(0, frame.width, int(min(7 * frame.width, 40)))
            heads = [flower(float(x), y - float(chance.uniform(-0.02, 0.10)), size * 0.75, petal) for x in spots]
            yield layer([shape for head in heads for shape in head[0].shapes], petal, depth=0.1)
            yield layer(
                [shape for head in heads for shape in head[1].shapes],
                palette.lit((0.98, 0.80, 0.26)),
                role=Role.MARK,
                depth=0.1,
            )


def bushes(palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    for depth, size in ((0.35, 0.13), (0.22, 0.10)):
        leaf = palette.hazed(scaled(palette.leaf, 0.8 + depth), depth * 0.7)
        xs = np.arange(-0.05, frame.width + 0.1, size * 0.9)[:80]
        puffs = [
            ellipse(
                float(x),
                horizon + 0.04 - size * chance.uniform(-0.2, 0.45),
                size * chance.uniform(0.7, 1.1),
                size * 0.8,
                corners=28,
            )
            for x in xs
        ]
        yield layer(puffs, scaled(leaf, 1.25), scaled(leaf, 0.7), depth=depth)


def island(palette: Palette, chance: np.random.Generator) -> list[Layer]:
    """A tuft of land to stand on when there is no frame: drawn at the origin, one unit wide."""
    top = blob((-0.5, -0.02), (-0.25, -0.09), (0.2, -0.10), (0.5, -0.02), (0.3, 0.05), (-0.3, 0.05))
    rock = blob(
        (-0.47, -0.01), (0.47, -0.01), (0.28, 0.14), (0.06, 0.26 + 0.04 * float(chance.random())), (-0.22, 0.16)
    )
    return [
        layer(rock, palette.lit((0.55, 0.42, 0.32)), scaled(palette.far, 0.6)),
        layer(top, scaled(palette.land, 1.2), palette.land),
    ]

"""Settings that are not landscapes: the city, outer space, a table, a studio, an abstraction."""

from collections.abc import Iterator

import numpy as np

from mintage.infra.renderer.brief import Brief
from mintage.infra.renderer.palette import NAMED, Colour, Palette, mix, scaled, tuned
from mintage.infra.renderer.shapes import Frame, Layer, Points, Role, ellipse, layer, ridge, slab, stroke


def city(brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    """Three rows of towers with lit windows, then the street or the water they are mirrored in."""
    night = palette.dark or brief.time == "sunset"
    for depth, high, width in ((0.85, 0.80, 0.10), (0.55, 0.62, 0.115), (0.25, 0.36, 0.14)):
        wall = palette.hazed(mix(palette.far, (0.22, 0.25, 0.32), 0.7 * (1 - depth)), depth * 0.8)
        towers, panes, masts = _towers(frame, horizon, min(horizon, 1.2) * high, width, chance)
        yield layer(masts, wall, role=Role.MARK, depth=depth)
        yield layer(towers, scaled(wall, 1.12), scaled(wall, 0.8), depth=depth)
        glass = palette.hazed(palette.lit((0.78, 0.88, 0.96)), depth * 0.6)
        shade = (1.0, 0.82 + 0.1 * depth, 0.50) if night else glass
        lit = [pane for pane in panes if chance.random() < (0.55 if night else 0.8)]
        yield layer(lit, shade, role=Role.LIGHT if night else Role.MARK, depth=depth, opacity=0.95 - 0.5 * depth)
    wet = brief.wants("sea") or brief.wants("rain") or night
    floor = mix(palette.water, palette.zenith, 0.4) if wet else palette.lit((0.52, 0.53, 0.56))
    ground = slab(-0.1, horizon - 0.01, frame.width + 0.1, frame.height + 0.1)
    yield layer(
        ground, mix(floor, palette.horizon, 0.3), scaled(floor, 0.6), role=Role.WATER if wet else Role.LAND, depth=0.2
    )
    if wet:
        yield from _streaks(palette, frame, horizon, chance, night=night)
    yield layer(slab(-0.1, horizon - 0.014, frame.width + 0.1, horizon + 0.006), scaled(palette.near, 0.8), depth=0.2)


def _streaks(
    palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator, *, night: bool
) -> Iterator[Layer]:
    """Lamps drawn out on the wet ground."""
    room = frame.height - horizon
    for hue in (NAMED["gold"], mix(NAMED["orange"], (1, 1, 1), 0.3), palette.accent):
        xs = chance.uniform(0, frame.width, int(min(frame.width * 9, 60)))
        bars = []
        for x in xs:
            y = horizon + room * float(chance.uniform(0.02, 0.25))
            for step in range(int(chance.integers(3, 8))):
                half = float(chance.uniform(0.006, 0.020)) * (1 + step * 0.12)
                bars.append(ellipse(float(x), y + room * 0.055 * step, half, 0.0042, corners=14))
        yield layer(
            bars, hue if night else palette.horizon, role=Role.LIGHT if night else Role.MARK, opacity=0.5, soft=0.0015
        )


def _towers(
    frame: Frame, base: float, high: float, width: float, chance: np.random.Generator
) -> tuple[list[Points], list[Points], list[Points]]:
    towers: list[Points] = []
    panes: list[Points] = []
    masts: list[Points] = []
    x = -width * float(chance.random())
    while x < frame.width and len(towers) < 60:
        w = width * float(chance.uniform(0.6, 1.15))
        h = high * float(chance.uniform(0.3, 0.6) + 0.4 * chance.random() ** 2)
        towers.append(slab(x, base - h, x + w * 0.94, base + 0.01))
        if chance.random() < 0.4:
            towers.append(slab(x + w * 0.22, base - h * 1.14, x + w * 0.72, base - h))
            masts.append(slab(x + w * 0.46, base - h * 1.3, x + w * 0.49, base - h))
        cell = max(width * 0.2, 0.019)
        for px in np.arange(x + cell * 0.5, x + w * 0.94 - cell * 0.8, cell):
            for py in np.arange(base - h + cell * 0.6, base - cell, cell * 1.35):
                panes.append(slab(px, py, px + cell * 0.55, py + cell * 0.72))
        x += w
    return towers, panes[:2600], masts


def space(palette: Palette, frame: Frame, chance: np.random.Generator) -> Iterator[Layer]:
    for _ in range(5):
        gas = tuned((0.46, 0.20, 0.62), turn=float(chance.uniform(-0.3, 0.35)))
        x, y = chance.uniform(0.1, 0.9, 2) * (frame.width, frame.height)
        cloud = ellipse(x, y, chance.uniform(0.2, 0.42), chance.uniform(0.08, 0.2), chance.uniform(-0.9, 0.3))
        yield layer(cloud, gas, role=Role.CLOUD, depth=1.0, soft=0.09, opacity=0.5)
    hue = tuned(palette.accent, saturation=0.8)
    x, y, r = (
        frame.width * chance.uniform(0.62, 0.78),
        frame.height * chance.uniform(0.24, 0.36),
        chance.uniform(0.15, 0.21),
    )
    yield layer(ellipse(x, y, r), mix(hue, (1, 1, 1), 0.15), scaled(hue, 0.7), depth=0.6)
    bands = [
        stroke([(x - r * c, y + r * d), (x, y + r * (d + 0.14)), (x + r * c, y + r * d)], r * 0.1, r * 0.06)
        for d, c in ((-0.45, 0.84), (-0.05, 0.95), (0.4, 0.86))
    ]
    yield layer(bands, scaled(hue, 0.75), role=Role.MARK, depth=0.6, soft=0.004, opacity=0.6)
    half = np.linspace(-0.12, np.pi + 0.12, 30)
    ring = [(x + r * 1.75 * np.cos(t), y + r * (0.40 * np.sin(t) - 0.12 * np.cos(t))) for t in half]
    yield layer(stroke(ring, r * 0.14), mix(hue, (1.0, 0.95, 0.85), 0.6), role=Role.MARK, depth=0.6, opacity=0.85)
    yield layer(ellipse(frame.width * 0.2, frame.height * 0.6, 0.05), (0.72, 0.70, 0.74), (0.4, 0.4, 0.46), depth=0.6)
    surface = ridge(chance, frame, frame.height * 0.86, 0.10, step=0.5, rough=0.4)
    yield layer(
        surface, scaled(tuned(hue, turn=0.08, saturation=0.55), 0.62), scaled(hue, 0.2), role=Role.LAND, depth=0.1
    )


def table(palette: Palette, frame: Frame, horizon: float) -> Iterator[Layer]:
    wood: Colour = palette.lit((0.60, 0.40, 0.25))
    wall = mix(palette.lit((0.82, 0.76, 0.66)), tuned(palette.accent, saturation=0.5, value=0.8), 0.4)
    yield layer(
        slab(-0.1, -0.1, frame.width + 0.1, frame.height + 0.1), wall, scaled(wall, 0.7), role=Role.MARK, depth=0.95
    )
    yield layer(
        ellipse(frame.width * 0.28, horizon * 0.42, 0.42, 0.5),
        palette.lit((1.0, 0.95, 0.82)),
        role=Role.SHADOW,
        depth=0.9,
        soft=0.2,
        opacity=0.55,
    )
    yield layer(slab(-0.1, horizon, frame.width + 0.1, frame.height + 0.1), wood, scaled(wood, 0.6), depth=0.15)
    yield layer(slab(-0.1, horizon, frame.width + 0.1, horizon + 0.008), scaled(wood, 1.3), role=Role.MARK, depth=0.15)


def studio(palette: Palette, frame: Frame, chance: np.random.Generator) -> Iterator[Layer]:
    """Out-of-focus lights behind someone sitting for a portrait."""
    wall = mix(tuned(palette.accent, saturation=0.55, value=0.62), palette.middle, 0.35)
    yield layer(
        slab(-0.1, -0.1, frame.width + 0.1, frame.height + 0.1), wall, scaled(wall, 0.5), role=Role.MARK, depth=0.95
    )
    for _ in range(16):
        x, y = chance.uniform(-0.05, 1.05, 2) * (frame.width, frame.height)
        glow = mix(palette.accent, palette.horizon, float(chance.random()))
        yield layer(
            ellipse(x, y, chance.uniform(0.03, 0.11)),
            glow,
            role=Role.SHADOW,
            depth=0.9,
            opacity=float(chance.uniform(0.2, 0.5)),
            soft=0.006,
        )


def abstraction(palette: Palette, frame: Frame, chance: np.random.Generator) -> Iterator[Layer]:
    """Flowing bands and floating discs: words that name nothing still make a picture of their own."""
    base = tuned(palette.accent, saturation=0.85)
    step = float(chance.choice([0.06, 0.1, 0.33]))
    for place, share in enumerate(np.linspace(0.12, 0.92, 7)):
        hue = mix(tuned(base, turn=step * place), palette.horizon, 0.35 * (1 - share))
        wave = ridge(chance, frame, frame.height * share, frame.height * 0.22, step=0.85, rough=0.18)
        yield layer(wave, scaled(hue, 1.15), scaled(hue, 0.55), depth=1.0 - share)
        if place % 2:
            x, r = frame.width * chance.uniform(0.1, 0.9), chance.uniform(0.05, 0.14)
            disc = mix(NAMED["gold"], tuned(base, turn=0.5), float(chance.random()))
            yield layer(ellipse(x, frame.height * (share - 0.18), r), mix(disc, (1, 1, 1), 0.25), disc, depth=0.3)

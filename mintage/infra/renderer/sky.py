"""What hangs above the horizon, and what falls from it."""

from collections.abc import Iterator

import numpy as np

from mintage.infra.renderer.brief import Brief
from mintage.infra.renderer.palette import NAMED, Palette, mix
from mintage.infra.renderer.shapes import Frame, Layer, Role, ellipse, layer, stroke


def heavens(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator
) -> Iterator[Layer]:
    """Stars, then sun or moon, then rainbow and clouds; `horizon` is how far down the sky reaches."""
    if "stars" in brief.sky:
        yield from _stars(frame, horizon, chance)
    side = 0.24 if chance.random() < 0.5 else 0.76
    x, low = frame.width * (side + chance.uniform(-0.06, 0.06)), brief.time in {"dawn", "sunset"}
    y = horizon * (
        chance.uniform(0.62, 0.80) * (0.6 if brief.wants("mountains") else 1.0) if low else chance.uniform(0.22, 0.36)
    )
    if "moon" in brief.sky:
        yield from _moon(frame.width - x if "sun" in brief.sky else x, horizon * chance.uniform(0.2, 0.34), chance)
    if "sun" in brief.sky and not palette.dark:
        yield from _sun(x, y, palette, low=low)
    if "rainbow" in brief.sky:
        yield from _rainbow(frame, horizon)
    if "clouds" in brief.sky:
        yield from _clouds(brief, palette, frame, horizon, chance)


def falling(brief: Brief, frame: Frame, chance: np.random.Generator) -> Iterator[Layer]:
    """Fog, rain or snow, in front of everything."""
    area = min(frame.width * frame.height, 6.0)
    if "fog" in brief.sky:
        for share in (0.50, 0.62, 0.78):
            at = frame.width * float(chance.uniform(0.2, 0.8))
            bank = ellipse(at, frame.height * share, frame.width * chance.uniform(0.5, 0.8), frame.height * 0.035)
            yield layer(bank, (0.90, 0.92, 0.94), role=Role.VEIL, opacity=0.42, soft=0.06, drift=(share * 0.05, 0.0))
    if "rain" in brief.sky:
        for count, length, width, speed in ((260, 0.05, 0.0018, 1.1), (70, 0.10, 0.0032, 1.7)):
            spots = _scattered(chance, int(count * area), frame)
            streaks = [stroke([(x, y), (x - length * 0.22, y + length)], width) for x, y in spots]
            along = (-0.22 * speed, speed)
            yield layer(streaks, (0.86, 0.92, 1.0), role=Role.VEIL, opacity=0.42, drift=along)
    if "snow" in brief.sky:
        for count, size, soft, speed in ((190, 0.0035, 0.0, 0.05), (70, 0.007, 0.001, 0.09), (14, 0.015, 0.005, 0.16)):
            spots = _scattered(chance, int(count * area), frame)
            flakes = [ellipse(x, y, size * chance.uniform(0.6, 1.2), corners=10) for x, y in spots]
            aslant = (speed * 0.3, speed)
            yield layer(flakes, (1, 1, 1), role=Role.VEIL, opacity=0.88, soft=soft, drift=aslant)


def _scattered(chance: np.random.Generator, count: int, frame: Frame) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in chance.random((count, 2)) * (frame.width, frame.height)]


def _stars(frame: Frame, horizon: float, chance: np.random.Generator) -> Iterator[Layer]:
    area = min(frame.width * horizon, 5.0)
    for count, size, opacity in ((330, 0.0014, 0.65), (90, 0.0024, 0.9), (14, 0.0042, 1.0)):
        spots = _scattered(chance, int(count * area), Frame(frame.width, horizon))
        points = [ellipse(x, y, size * chance.uniform(0.6, 1.3), corners=8) for x, y in spots]
        yield layer(points, (1.0, 0.98, 0.92), role=Role.LIGHT, depth=1.0, opacity=opacity)


def _sun(x: float, y: float, palette: Palette, *, low: bool) -> Iterator[Layer]:
    size = 0.085 if low else 0.06
    for reach, opacity in ((0.42, 0.30), (0.18, 0.5)):
        halo = mix(palette.sun, palette.horizon, 0.3)
        yield layer(ellipse(x, y, reach * 0.6), halo, role=Role.SHADOW, depth=1.0, opacity=opacity, soft=reach * 0.36)
    yield layer(ellipse(x, y, size), palette.sun, role=Role.LIGHT, depth=1.0)


def _moon(x: float, y: float, chance: np.random.Generator) -> Iterator[Layer]:
    pale = (0.97, 0.96, 0.88)
    yield layer(ellipse(x, y, 0.15), (0.60, 0.68, 0.90), role=Role.SHADOW, depth=1.0, opacity=0.38, soft=0.09)
    yield layer(ellipse(x, y, 0.082), pale, role=Role.LIGHT, depth=1.0)
    seas = [ellipse(x + a * 0.05, y + b * 0.05, 0.010 + 0.012 * c) for a, b, c in chance.uniform(-1, 1, (6, 3))]
    yield layer(seas, (0.80, 0.80, 0.78), role=Role.MARK, depth=1.0, opacity=0.55, soft=0.004)


def _rainbow(frame: Frame, horizon: float) -> Iterator[Layer]:
    reach = min(frame.width * 0.44, horizon * 0.86)
    for place, name in enumerate(("red", "orange", "gold", "green", "blue", "purple")):
        r = reach * (1.0 - 0.035 * place)
        arc = [(frame.width / 2 - r * np.cos(t), horizon - r * np.sin(t)) for t in np.linspace(-0.1, np.pi + 0.1, 24)]
        yield layer(stroke(arc, reach * 0.037), NAMED[name], role=Role.CLOUD, depth=0.95, opacity=0.6, soft=0.004)


def _clouds(
    brief: Brief, palette: Palette, frame: Frame, horizon: float, chance: np.random.Generator
) -> Iterator[Layer]:
    heavy = bool(brief.sky & {"rain", "snow"})
    count = int(min((6 if heavy or "clouds" in brief.extras else 3) * max(frame.width, 1.0), 24))
    crest = mix(palette.lit((1, 1, 1)), palette.horizon, 0.12)
    if palette.dark or heavy:
        crest = mix(palette.horizon, palette.lit((1, 1, 1)), 0.2 if palette.dark else 0.3)
    belly = mix(palette.middle, crest, 0.4)
    for x in np.linspace(0, frame.width, count, endpoint=False) + frame.width / count / 2:
        nearness = float(chance.uniform(0.2, 1.0))
        size = min(0.05 + 0.075 * nearness, 0.3 * horizon)
        at = (float(x) + float(chance.uniform(-0.08, 0.08)), horizon * (0.74 - 0.54 * nearness))
        puffs = [
            ellipse(at[0] + size * dx, at[1] - size * lift * chance.uniform(0.2, 0.45), size * r, size * r * 0.62)
            for dx, lift, r in ((-1.25, 0, 0.5), (-0.6, 1, 0.75), (0.1, 1.5, 0.9), (0.75, 0.8, 0.7), (1.35, 0, 0.48))
        ]
        yield layer(puffs, crest, belly, role=Role.CLOUD, depth=0.9, soft=size * 0.10, opacity=0.92)

"""A palette is the light of one scene: every colour in it has been seen by the same sun."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mintage.infra.renderer.brief import Brief

Colour = tuple[float, float, float]
"""Red, green and blue from 0 to 1."""


def mix(a: Colour, b: Colour, share: float) -> Colour:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def times(a: Colour, b: Colour) -> Colour:
    return (min(a[0] * b[0], 1.0), min(a[1] * b[1], 1.0), min(a[2] * b[2], 1.0))


def scaled(a: Colour, factor: float) -> Colour:
    return (min(a[0] * factor, 1.0), min(a[1] * factor, 1.0), min(a[2] * factor, 1.0))


def tuned(colour: Colour, *, turn: float = 0.0, saturation: float = 1.0, value: float = 1.0) -> Colour:
    hue, sat, val = colorsys.rgb_to_hsv(*colour)
    return colorsys.hsv_to_rgb((hue + turn) % 1.0, min(sat * saturation, 1.0), min(val * value, 1.0))


def bright(colour: Colour) -> float:
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


@dataclass(frozen=True, slots=True)
class Palette:
    zenith: Colour
    middle: Colour
    horizon: Colour
    light: Colour
    """What white becomes in this light."""
    sun: Colour
    far: Colour
    land: Colour
    near: Colour
    water: Colour
    leaf: Colour
    accent: Colour
    dark: bool = False

    def lit(self, colour: Colour) -> Colour:
        return times(colour, self.light)

    def hazed(self, colour: Colour, depth: float) -> Colour:
        return mix(colour, self.horizon, 0.85 * depth)


_TIMES = {
    "dawn": Palette(
        (0.42, 0.52, 0.78), (0.86, 0.72, 0.80), (1.0, 0.86, 0.74), (1.0, 0.90, 0.88), (1.0, 0.90, 0.72),
        (0.52, 0.52, 0.68), (0.44, 0.55, 0.36), (0.24, 0.36, 0.25), (0.36, 0.54, 0.68), (0.34, 0.50, 0.30),
        (0.95, 0.55, 0.60),
    ),
    "noon": Palette(
        (0.16, 0.44, 0.84), (0.44, 0.70, 0.94), (0.84, 0.93, 0.98), (1.06, 1.03, 0.97), (1.0, 0.97, 0.80),
        (0.36, 0.50, 0.64), (0.42, 0.63, 0.27), (0.20, 0.42, 0.17), (0.10, 0.46, 0.64), (0.25, 0.52, 0.20),
        (0.96, 0.40, 0.36),
    ),
    "sunset": Palette(
        (0.22, 0.18, 0.44), (0.82, 0.36, 0.40), (1.0, 0.70, 0.34), (1.0, 0.80, 0.68), (1.0, 0.86, 0.52),
        (0.40, 0.25, 0.46), (0.42, 0.32, 0.24), (0.20, 0.14, 0.18), (0.32, 0.24, 0.46), (0.32, 0.30, 0.18),
        (1.0, 0.46, 0.28),
    ),
    "night": Palette(
        (0.02, 0.03, 0.12), (0.06, 0.11, 0.30), (0.20, 0.30, 0.54), (0.52, 0.58, 0.84), (0.94, 0.95, 0.88),
        (0.12, 0.18, 0.36), (0.10, 0.22, 0.26), (0.04, 0.10, 0.15), (0.06, 0.14, 0.32), (0.08, 0.24, 0.22),
        (0.98, 0.78, 0.42), dark=True,
    ),
}  # fmt: skip

NAMED: dict[str, Colour] = {
    "red": (0.86, 0.14, 0.14), "orange": (0.96, 0.52, 0.12), "gold": (0.96, 0.78, 0.26),
    "green": (0.24, 0.66, 0.30), "cyan": (0.18, 0.72, 0.74), "blue": (0.16, 0.36, 0.84),
    "purple": (0.54, 0.26, 0.76), "pink": (0.97, 0.56, 0.70), "white": (0.96, 0.96, 0.95),
    "black": (0.10, 0.10, 0.12),
}  # fmt: skip

_SEASONS: dict[str, tuple[Colour, Colour]] = {
    "autumn": ((0.78, 0.42, 0.12), (0.70, 0.54, 0.24)),
    "spring": ((0.96, 0.66, 0.76), (0.52, 0.70, 0.36)),
    "snow": ((0.60, 0.70, 0.74), (0.90, 0.94, 0.98)),
    "desert": ((0.42, 0.52, 0.26), (0.90, 0.68, 0.40)),
}


def palette_for(brief: Brief, chance: np.random.Generator) -> Palette:
    palette = _TIMES[brief.time]
    for season, (leaf, land) in _SEASONS.items():
        if brief.wants(season):
            palette = replace(
                palette, leaf=palette.lit(leaf), land=palette.lit(land), near=scaled(palette.lit(land), 0.72)
            )
    if brief.sky & {"rain", "fog"}:
        palette = _each(palette, lambda c: tuned(mix(c, (0.5, 0.54, 0.58), 0.3), saturation=0.6, value=0.82))
    turn = float(chance.uniform(-0.025, 0.025))
    palette = _each(palette, lambda c: tuned(c, turn=turn))
    accent = tuned(palette.accent, turn=float(chance.uniform(-0.5, 0.5)))
    if not brief.colours:
        return replace(palette, accent=accent)
    wash = NAMED[brief.colours[0]]
    # "A red fox" is about the fox; "red mountains" are about the whole picture.
    share = 0.06 if brief.subjects else 0.24
    tinted = _each(palette, lambda c: mix(c, scaled(wash, 0.35 + bright(c)), share))
    return replace(tinted, accent=palette.lit(wash))


def _each(palette: Palette, change: Callable[[Colour], Colour]) -> Palette:
    return replace(
        palette,
        zenith=change(palette.zenith),
        middle=change(palette.middle),
        horizon=change(palette.horizon),
        far=change(palette.far),
        land=change(palette.land),
        near=change(palette.near),
        water=change(palette.water),
        leaf=change(palette.leaf),
    )

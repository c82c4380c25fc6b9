"""Everything in a scene is a layer of closed outlines, measured in units of the picture's shorter side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from mintage.infra.renderer.palette import Colour

Points = NDArray[np.float64]
"""One closed outline, n rows of x and y; y grows downwards."""


class Role(Enum):
    LIGHT = auto()
    """Shines by itself: sun, moon, stars, lamps, windows."""
    CLOUD = auto()
    LAND = auto()
    WATER = auto()
    THING = auto()
    MARK = auto()
    """A detail upon a thing: painted flat, never outlined or rounded."""
    SHADOW = auto()
    VEIL = auto()
    """In front of everything: rain, snow."""


@dataclass(frozen=True, slots=True)
class Frame:
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layer:
    shapes: tuple[Points, ...]
    top: Colour
    bottom: Colour
    role: Role = Role.THING
    depth: float = 0.0
    """0 is within reach, 1 is the horizon."""
    opacity: float = 1.0
    soft: float = 0.0
    """How far the edge is blurred."""
    drift: tuple[float, float] = (0.0, 0.0)
    """Where it is going, in units a second: a film shows it, a picture holds it still."""


def layer(
    shapes: Points | Iterable[Points], top: Colour, bottom: Colour | None = None, *, role: Role = Role.THING,
    depth: float = 0.0, opacity: float = 1.0, soft: float = 0.0, drift: tuple[float, float] = (0.0, 0.0),
) -> Layer:  # fmt: skip
    outlines = (shapes,) if isinstance(shapes, np.ndarray) else tuple(shapes)
    # Pillow compares its numbers with tuples, which numpy's own floats turn into arrays.
    return Layer(outlines, top, bottom or top, role, float(depth), float(opacity), float(soft), drift)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0, corners: int = 56) -> Points:
    angle = np.linspace(0.0, 2 * np.pi, corners, endpoint=False)
    across, down = rx * np.cos(angle), (rx if ry is None else ry) * np.sin(angle)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([x + across * c - down * s, y + across * s + down * c], axis=1)


def slab(x0: float, y0: float, x1: float, y1: float, roundness: float = 0.0) -> Points:
    """A rectangle; roundness is the radius of its corners."""
    if roundness <= 0.0:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    r = min(roundness, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    arc = np.linspace(0.0, np.pi / 2, 7)
    corners = ((x1 - r, y1 - r, 0.0), (x0 + r, y1 - r, 0.5), (x0 + r, y0 + r, 1.0), (x1 - r, y0 + r, 1.5))
    return np.concatenate(
        [np.stack([x + r * np.cos(arc + a * np.pi), y + r * np.sin(arc + a * np.pi)], 1) for x, y, a in corners]
    )


def polygon(*points: tuple[float, float]) -> Points:
    return np.array(points)


def blob(*points: tuple[float, float], steps: int = 8) -> Points:
    """A closed smooth curve through the points (Catmull-Rom)."""
    return _smooth(np.array(points), steps, closed=True)


def stroke(points: Sequence[tuple[float, float]], width: float, tip: float | None = None) -> Points:
    """A smooth line as wide as asked where it starts, as wide as its tip where it ends."""
    line = _smooth(np.array(points), 8, closed=False)
    heading = np.gradient(line, axis=0)
    heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
    side = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
    half = np.linspace(width, width if tip is None else tip, len(line))[:, None] / 2
    return np.concatenate([line + side * half, (line - side * half)[::-1]])


def ridge(
    chance: np.random.Generator,
    frame: Frame,
    base: float,
    height: float,
    *,
    step: float,
    rough: float = 0.5,
    peaked: bool = False,
) -> Points:
    """Land from edge to edge: a fractal skyline over `base`, solid down to the bottom of the frame.

    Peaked land rises and falls in straight flanks, other land rolls.
    """
    x = np.linspace(-0.02, frame.width + 0.02, int(min(max(frame.width * 220, 160), 1400)))
    y = np.zeros_like(x)
    strength = 1.0
    while step > 0.004:
        knots = chance.uniform(-1.0, 1.0, int(frame.width / step) + 4)
        at = x / step + 1.0 + chance.random()
        if peaked and strength == 1.0:
            knots = np.where(np.arange(len(knots)) % 2 == 0, np.abs(knots), -np.abs(knots)) * 0.8 + knots * 0.2
        y += strength * _between(knots, at, eased=not peaked)
        step, strength = step / 2, strength * rough
    skyline = np.stack([x, base - height * (0.5 + y / 2.2)], axis=1)
    floor = frame.height + 0.05
    return np.concatenate([skyline, [(frame.width + 0.02, floor), (-0.02, floor)]])


def placed(layers: Iterable[Layer], x: float, y: float, size: float, *, mirror: bool = False) -> list[Layer]:
    """Moves things drawn around the origin to where they stand."""
    scale = np.array([-size if mirror else size, size])
    return [
        replace(one, shapes=tuple(shape * scale + (x, y) for shape in one.shapes), soft=one.soft * float(size))
        for one in layers
    ]


def _between(knots: NDArray[np.float64], at: NDArray[np.float64], *, eased: bool) -> NDArray[np.float64]:
    index = np.minimum(at.astype(np.int64), len(knots) - 2)
    t = at - index
    if eased:
        t = t * t * (3 - 2 * t)
    values: NDArray[np.float64] = knots[index] * (1 - t) + knots[index + 1] * t
    return values


def _smooth(points: Points, steps: int, *, closed: bool) -> Points:
    ring = np.concatenate([points[-1:], points, points[:2]]) if closed else points[[0, *range(len(points)), -1]]
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    runs = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(ring, ring[1:], ring[2:], ring[3:], strict=False)
    ]
    return np.concatenate(runs if closed else [*runs, points[-1:]])

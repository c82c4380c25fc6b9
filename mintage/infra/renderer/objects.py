"""Made and grown things, each drawn standing at the origin and about one unit tall."""

import numpy as np

from mintage.infra.renderer.palette import Colour, mix, scaled
from mintage.infra.renderer.shapes import Layer, Points, Role, blob, ellipse, layer, polygon, slab, stroke

GLASS: Colour = (0.56, 0.76, 0.90)
LAMP: Colour = (1.0, 0.86, 0.46)
WOOD: Colour = (0.45, 0.29, 0.18)


def house(chance: np.random.Generator, *, night: bool) -> list[Layer]:
    walls: tuple[Colour, ...] = ((0.95, 0.88, 0.74), (0.90, 0.76, 0.66), (0.84, 0.88, 0.90))
    roofs: tuple[Colour, ...] = ((0.74, 0.27, 0.20), (0.35, 0.40, 0.52), (0.50, 0.30, 0.20))
    wall, roof = walls[int(chance.integers(3))], roofs[int(chance.integers(3))]
    panes = [slab(x, -0.38, x + 0.17, -0.20) for x in (-0.38, 0.21)] + [ellipse(0, -0.62, 0.075)]
    bars = [slab(x + 0.078, -0.38, x + 0.092, -0.20) for x in (-0.38, 0.21)]
    return [
        layer(slab(0.22, -0.98, 0.34, -0.60), scaled(roof, 0.8)),
        layer(polygon((-0.48, 0), (-0.48, -0.50), (0, -0.86), (0.48, -0.50), (0.48, 0)),
            wall, scaled(wall, 0.86)),
        layer(polygon((-0.62, -0.44), (0, -0.95), (0.62, -0.44), (0.53, -0.40), (0, -0.82),
            (-0.53, -0.40)), roof, scaled(roof, 0.8)),
        layer([slab(x - 0.02, -0.40, x + 0.19, -0.18) for x in (-0.38, 0.21)], WOOD, role=Role.MARK),
        layer(panes, LAMP if night else GLASS, role=Role.LIGHT if night else Role.MARK),
        layer(bars, WOOD, role=Role.MARK),
        layer(slab(-0.11, -0.34, 0.11, 0.0, 0.02), scaled(roof, 0.7)),
        layer(ellipse(0.07, -0.16, 0.016), LAMP, role=Role.MARK),
    ]  # fmt: skip


def castle(*, night: bool) -> list[Layer]:
    stone, roof = (0.74, 0.72, 0.74), (0.36, 0.32, 0.58)

    def tower(x: float, half: float, high: float) -> tuple[Points, Points]:
        cone = polygon((x - half * 1.35, -high), (x, -high - half * 3.2), (x + half * 1.35, -high))
        return slab(x - half, -high, x + half, 0.0), cone

    towers = [tower(-0.44, 0.09, 0.52), tower(0.44, 0.09, 0.52), tower(-0.2, 0.10, 0.66), tower(0.2, 0.10, 0.62)]
    battlements = [slab(x, -0.42, x + 0.05, -0.35) for x in np.arange(-0.42, 0.40, 0.09)]
    slits = [
        ellipse(x, y, 0.022, 0.045) for x, y in ((-0.44, -0.40), (0.44, -0.40), (-0.2, -0.52), (0.2, -0.50), (0, -0.58))
    ]
    return [
        layer([slab(-0.13, -0.72, 0.13, 0)], stone, scaled(stone, 0.8)),
        layer(polygon((-0.17, -0.72), (0, -1.05), (0.17, -0.72)), roof),
        layer([body for body, _ in towers[2:]], stone, scaled(stone, 0.8)),
        layer([cone for _, cone in towers[2:]], roof),
        layer([slab(-0.46, -0.36, 0.46, 0.0), *battlements], scaled(stone, 0.94), scaled(stone, 0.74)),
        layer([body for body, _ in towers[:2]], stone, scaled(stone, 0.8)),
        layer([cone for _, cone in towers[:2]], roof),
        layer(slits, LAMP if night else (0.24, 0.22, 0.30), role=Role.LIGHT if night else Role.MARK),
        layer(blob((-0.10, 0), (-0.10, -0.16), (0, -0.25), (0.10, -0.16), (0.10, 0)), WOOD, role=Role.MARK),
    ]


def boat(accent: Colour) -> list[Layer]:
    sail = (0.98, 0.96, 0.90)
    return [
        layer(stroke([(0.02, -0.15), (0.02, -1.0)], 0.025), WOOD),
        layer(blob((0.05, -0.97), (0.30, -0.52), (0.42, -0.24), (0.05, -0.24), steps=5),
            sail, scaled(sail, 0.86)),
        layer(blob((-0.01, -0.88), (-0.22, -0.50), (-0.34, -0.24), (-0.01, -0.24), steps=5),
            mix(sail, accent, 0.65)),
        layer(polygon((0.02, -1.0), (0.16, -1.04), (0.02, -1.08)), accent, role=Role.MARK),
        layer(blob((-0.50, -0.20), (0, -0.17), (0.54, -0.22), (0.38, -0.02), (0, 0.02), (-0.36, -0.02)),
            accent, scaled(accent, 0.55)),
        layer(stroke([(-0.47, -0.165), (0, -0.135), (0.49, -0.18)], 0.03), sail, role=Role.MARK),
    ]  # fmt: skip


def car(accent: Colour) -> list[Layer]:
    wheels = [ellipse(x, -0.11, 0.115) for x in (-0.36, 0.36)]
    return [
        layer(blob((-0.40, -0.34), (-0.26, -0.56), (0.0, -0.61), (0.22, -0.55), (0.40, -0.34)),
            scaled(accent, 0.9)),
        layer([blob((-0.32, -0.35), (-0.22, -0.51), (-0.03, -0.55), (-0.02, -0.35)), blob((0.03, -0.35),
            (0.03, -0.55), (0.19, -0.50), (0.31, -0.35))], GLASS, (0.80, 0.90, 0.96), role=Role.MARK),
        layer(blob((-0.66, -0.14), (-0.66, -0.32), (-0.40, -0.38), (0.40, -0.38), (0.66, -0.30),
            (0.68, -0.14), (0.3, -0.10), (-0.3, -0.10)), accent, scaled(accent, 0.7)),
        layer(wheels, (0.10, 0.10, 0.12)),
        layer([ellipse(x, -0.11, 0.058) for x in (-0.36, 0.36)], (0.76, 0.78, 0.82)),
        layer(ellipse(0.62, -0.27, 0.04, 0.032), (1.0, 0.95, 0.70), role=Role.LIGHT),
        layer(ellipse(-0.635, -0.27, 0.026, 0.032), (0.95, 0.20, 0.18), role=Role.LIGHT),
    ]  # fmt: skip


def rocket(accent: Colour) -> list[Layer]:
    hull = (0.93, 0.94, 0.96)
    return [
        layer(blob((-0.09, -0.16), (0.09, -0.16), (0.05, 0.0), (0, 0.14), (-0.05, 0.0)), (1.0, 0.72, 0.20),
            (1.0, 0.32, 0.10), role=Role.LIGHT),
        layer([blob((s * 0.13, -0.42), (s * 0.30, -0.22), (s * 0.30, -0.06), (s * 0.13, -0.18))
            for s in (-1, 1)], accent),
        layer(blob((0, -1.02), (0.13, -0.82), (0.18, -0.52), (0.13, -0.17), (-0.13, -0.17), (-0.18, -0.52),
            (-0.13, -0.82)), hull, scaled(hull, 0.84)),
        layer(blob((0, -1.03), (0.09, -0.90), (0.13, -0.80), (0, -0.78), (-0.13, -0.80), (-0.09, -0.90)),
            accent),
        layer(ellipse(0, -0.60, 0.09), (0.30, 0.34, 0.42)),
        layer(ellipse(0, -0.60, 0.066), GLASS, (0.24, 0.44, 0.70), role=Role.MARK),
        layer(slab(-0.145, -0.24, 0.145, -0.20, 0.01), accent, role=Role.MARK),
    ]  # fmt: skip


def balloon(accent: Colour) -> list[Layer]:
    gores = [blob((s * w, -0.99), (s * (w + 0.20), -0.72), (s * w * 0.9, -0.38), (s * (w + 0.02),
        -0.72)) for s in (-1, 1) for w in (0.03, 0.16)]  # fmt: skip
    return [
        layer([stroke([(s * 0.12, -0.36), (s * 0.06, -0.12)], 0.01) for s in (-1, 1)], WOOD, role=Role.MARK),
        layer(blob((0, -1.0), (0.30, -0.88), (0.37, -0.66), (0.20, -0.40), (0.07, -0.30), (-0.07, -0.30),
            (-0.20, -0.40), (-0.37, -0.66), (-0.30, -0.88)), accent, scaled(accent, 0.85)),
        layer(gores, (0.99, 0.92, 0.76), role=Role.MARK),
        layer(slab(-0.08, -0.13, 0.08, 0.0, 0.03), WOOD),
    ]  # fmt: skip


def ball(accent: Colour) -> list[Layer]:
    stripes = [stroke([(-0.44, y), (0.0, y + 0.17), (0.44, y)], 0.10) for y in (-0.74, -0.42)]
    return [
        layer(ellipse(0, -0.5, 0.5), accent, scaled(accent, 0.8)),
        layer(stripes, (0.99, 0.95, 0.86), role=Role.MARK),
        layer(ellipse(-0.17, -0.72, 0.11, 0.07, -0.6), (1, 1, 1), role=Role.MARK, opacity=0.6, soft=0.03),
    ]


def cup(accent: Colour) -> list[Layer]:
    steam = [stroke([(x, -0.74), (x + 0.05, -0.84), (x - 0.03, -0.94), (x + 0.03, -1.06)],
        0.035, 0.008) for x in (-0.12, 0.03, 0.17)]  # fmt: skip
    handle = stroke([(0.30, -0.58), (0.52, -0.56), (0.50, -0.30), (0.26, -0.24)], 0.075)
    return [
        layer(steam, (1, 1, 1), role=Role.CLOUD, opacity=0.55, soft=0.015),
        layer(ellipse(0.02, -0.05, 0.52, 0.085), scaled(accent, 0.8)),
        layer(handle, accent),
        layer(blob((-0.36, -0.66), (0.36, -0.66), (0.32, -0.30), (0.18, -0.08), (-0.18, -0.08),
            (-0.32, -0.30)), accent, scaled(accent, 0.8)),
        layer(ellipse(0, -0.665, 0.355, 0.085), mix(accent, (1, 1, 1), 0.4)),
        layer(ellipse(0, -0.655, 0.315, 0.065), (0.36, 0.20, 0.11), role=Role.MARK),
    ]  # fmt: skip


def _apple(x: float, coat: Colour, size: float) -> list[Layer]:
    shape = blob(
        (0, -0.86),
        (0.30, -0.96),
        (0.48, -0.62),
        (0.34, -0.12),
        (0, -0.04),
        (-0.34, -0.12),
        (-0.48, -0.62),
        (-0.30, -0.96),
    )
    leaf = blob((0.02, -1.02), (0.16, -1.18), (0.34, -1.14), (0.18, -1.00))
    return [
        layer(shape * size + (x, 0), coat, scaled(coat, 0.8)),
        layer(stroke([(0, -0.84), (0.02, -0.98), (0.07, -1.10)], 0.045) * size + (x, 0), WOOD, role=Role.MARK),
        layer(leaf * size + (x, 0), (0.36, 0.62, 0.22)),
    ]


def fruits() -> list[Layer]:
    row: tuple[tuple[float, Colour, float], ...] = (
        (-0.5, (0.86, 0.20, 0.18), 0.46),
        (0.02, (0.96, 0.72, 0.20), 0.52),
        (0.5, (0.60, 0.76, 0.26), 0.42),
    )
    return [one for x, coat, size in row for one in _apple(x, coat, size)]


def vase(chance: np.random.Generator, accent: Colour) -> list[Layer]:
    heads = [
        (float(x), -0.98 + 0.9 * float(x) ** 2 + float(chance.uniform(-0.05, 0.05)))
        for x in np.linspace(-0.34, 0.34, 5)
    ]
    stems = [stroke([(x * 0.15, -0.42), (x * 0.6, (y - 0.5) / 2), (x, y)], 0.02) for x, y in heads]
    pot = mix(accent, (0.30, 0.46, 0.70), 0.55)
    blooms = [one for x, y in heads for one in flower(x, y, 0.125, _petal(chance))]
    return [
        layer(stems, (0.24, 0.48, 0.20), role=Role.MARK),
        layer([ellipse(s * 0.16, -0.62, 0.12, 0.045, s * -0.6) for s in (-1, 1)], (0.30, 0.56, 0.24)),
        *blooms,
        layer(blob((-0.12, -0.50), (0.12, -0.50), (0.10, -0.42), (0.24, -0.22), (0.15, -0.01),
            (-0.15, -0.01), (-0.24, -0.22), (-0.10, -0.42)), pot, scaled(pot, 0.7)),
    ]  # fmt: skip


def flower(x: float, y: float, size: float, petal: Colour) -> list[Layer]:
    turns, reach = np.linspace(0, 2 * np.pi, 7, endpoint=False), size * 0.62
    petals = [
        ellipse(x + reach * np.cos(t), y + reach * np.sin(t), size * 0.42, size * 0.27, t, corners=20) for t in turns
    ]
    return [
        layer(petals, mix(petal, (1, 1, 1), 0.2), petal),
        layer(ellipse(x, y, size * 0.32), (0.98, 0.80, 0.26), (0.80, 0.50, 0.12)),
    ]


def bouquet(chance: np.random.Generator, petal: Colour | None = None) -> list[Layer]:
    """A few tall flowers standing in the grass."""
    heads = [(x, -float(chance.uniform(0.62, 0.95)) + abs(x) * 0.5) for x in (-0.36, 0.38, -0.17, 0.20, 0.02)]
    stems = [stroke([(x * 0.45, 0.0), (x * 0.7, y / 2), (x, y)], 0.022) for x, y in heads]
    leaves = [ellipse(s * 0.13, y, 0.15, 0.035, s * -0.7) for s, y in ((-1, -0.18), (1, -0.26), (-1, -0.34))]
    blooms = [one for x, y in heads for one in flower(x, y, 0.17, petal or _petal(chance))]
    return [layer(stems, (0.22, 0.46, 0.18), role=Role.MARK), layer(leaves, (0.28, 0.56, 0.22)), *blooms]


def tree(chance: np.random.Generator, leaf: Colour) -> list[Layer]:
    puffs = [(0.0, -0.62, 0.30), (-0.24, -0.54, 0.20), (0.24, -0.55, 0.21), (-0.14, -0.80, 0.20), (0.15, -0.82, 0.19)]
    crown = [ellipse(x + chance.uniform(-0.03, 0.03), y, r, r * 0.92) for x, y, r in puffs]
    trunk = blob((-0.04, -0.5), (0.04, -0.5), (0.045, -0.12), (0.10, 0.0), (-0.10, 0.0), (-0.045, -0.12))
    return [
        layer(trunk, WOOD, scaled(WOOD, 0.7)),
        layer(crown[1:3], scaled(leaf, 0.8), scaled(leaf, 0.6)),
        layer(crown[:1] + crown[3:], scaled(leaf, 1.2), scaled(leaf, 0.85)),
    ]


def _petal(chance: np.random.Generator) -> Colour:
    petals: tuple[Colour, ...] = (
        (0.94, 0.30, 0.36),
        (0.97, 0.62, 0.74),
        (0.72, 0.46, 0.88),
        (0.98, 0.93, 0.90),
        (0.98, 0.58, 0.24),
    )
    return petals[int(chance.integers(5))]

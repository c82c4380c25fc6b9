"""Birds, fish, people and a robot, each drawn standing at the origin, one unit tall, looking at the viewer."""

import numpy as np

from mintage.infra.renderer.palette import Colour, mix, scaled
from mintage.infra.renderer.shapes import Layer, Points, Role, blob, ellipse, layer, polygon, slab, stroke

INK: Colour = (0.08, 0.06, 0.07)
WHITE: Colour = (0.98, 0.97, 0.95)
ROSE: Colour = (0.95, 0.62, 0.62)


def bird(chance: np.random.Generator) -> list[Layer]:
    plumage: tuple[Colour, ...] = ((0.20, 0.50, 0.86), (0.90, 0.30, 0.24), (0.96, 0.76, 0.22), (0.26, 0.62, 0.44))
    coat = plumage[int(chance.integers(len(plumage)))]
    legs = [stroke([(x, -0.22), (x + 0.02, -0.02)], 0.022) for x in (-0.05, 0.06)]
    toes = [stroke([(x - 0.05, -0.005), (x + 0.09, -0.01)], 0.02) for x in (-0.05, 0.06)]
    return [
        layer(legs + toes, (0.45, 0.30, 0.20), role=Role.MARK),
        layer(blob((-0.20, -0.40), (-0.55, -0.22), (-0.62, -0.14), (-0.40, -0.18), (-0.18, -0.25)),
            scaled(coat, 0.6)),
        layer(blob((-0.32, -0.34), (-0.22, -0.58), (0.02, -0.72), (0.26, -0.60), (0.28, -0.34),
            (0.06, -0.17), (-0.18, -0.20)), coat, scaled(coat, 0.85)),
        layer(blob((0.26, -0.62), (0.27, -0.38), (0.12, -0.21), (-0.04, -0.21), (0.10, -0.40)),
            mix(coat, WHITE, 0.75), role=Role.MARK, soft=0.01),
        layer(ellipse(0.19, -0.76, 0.19), coat),
        layer(polygon((0.34, -0.82), (0.54, -0.74), (0.34, -0.69)), (0.98, 0.66, 0.16)),
        layer(blob((0.10, -0.52), (-0.08, -0.60), (-0.30, -0.40), (-0.44, -0.22), (-0.14, -0.28),
            (0.08, -0.36)), scaled(coat, 0.72)),
        layer([stroke([(0.04, -0.40 + d), (-0.14, -0.36 + d), (-0.30, -0.28 + d / 2)], 0.014, 0.004)
            for d in (-0.06, 0.0, 0.05)], scaled(coat, 0.5), role=Role.MARK),
        layer(ellipse(0.25, -0.80, 0.042), INK, role=Role.MARK),
        layer(ellipse(0.237, -0.815, 0.013), (1, 1, 1), role=Role.LIGHT),
    ]  # fmt: skip


def fish(chance: np.random.Generator) -> list[Layer]:
    coat: Colour = ((0.97, 0.50, 0.16), (0.95, 0.30, 0.26), (0.30, 0.60, 0.92))[int(chance.integers(3))]
    fin = mix(coat, (1.0, 0.9, 0.6), 0.35)
    return [
        layer(blob((-0.30, -0.45), (-0.62, -0.72), (-0.56, -0.45), (-0.64, -0.18)), fin),
        layer([blob((-0.12, -0.62), (0.04, -0.86), (0.22, -0.64)), blob((-0.06, -0.28), (0.02, -0.10),
            (0.14, -0.26))], fin),
        layer(blob((-0.38, -0.45), (-0.10, -0.67), (0.26, -0.64), (0.48, -0.44), (0.26, -0.26),
            (-0.10, -0.24)), coat, mix(coat, WHITE, 0.45)),
        layer([stroke([(x, -0.63), (x + 0.05, -0.45), (x, -0.27)], 0.05, 0.03) for x in (-0.12, 0.13)],
            WHITE, role=Role.MARK, opacity=0.85),
        layer(ellipse(0.31, -0.50, 0.055), WHITE, role=Role.MARK),
        layer(ellipse(0.32, -0.50, 0.034), INK, role=Role.MARK),
        layer(blob((0.06, -0.44), (-0.10, -0.36), (0.04, -0.34)), fin),
    ]  # fmt: skip


def butterfly(chance: np.random.Generator) -> list[Layer]:
    wing: Colour = ((0.96, 0.58, 0.16), (0.30, 0.52, 0.95), (0.86, 0.34, 0.72))[int(chance.integers(3))]

    def both(shape: Points) -> list[Points]:
        return [shape, shape * (-1.0, 1.0)]

    upper = blob((0.03, -0.52), (0.18, -0.84), (0.50, -0.92), (0.54, -0.62), (0.30, -0.44))
    lower = blob((0.03, -0.48), (0.34, -0.44), (0.42, -0.24), (0.24, -0.08), (0.08, -0.26))
    inner = (upper - (0.29, -0.66)) * 0.72 + (0.27, -0.65)
    under = (lower - (0.22, -0.30)) * 0.66 + (0.21, -0.31)
    return [
        layer(both(lower), scaled(wing, 0.35)),
        layer(both(under), mix(wing, WHITE, 0.3), role=Role.MARK),
        layer(both(upper), scaled(wing, 0.35)),
        layer(both(inner), wing, role=Role.MARK),
        layer(both(ellipse(0.46, -0.80, 0.03)), WHITE, role=Role.MARK),
        layer([stroke([(0, -0.70), (s * 0.06, -0.84), (s * 0.15, -0.92)], 0.014, 0.01) for s in (-1, 1)],
            INK, role=Role.MARK),
        layer(ellipse(0, -0.48, 0.035, 0.25), INK),
    ]  # fmt: skip


def person(chance: np.random.Generator) -> list[Layer]:
    """A bust, head and shoulders."""
    skins: tuple[Colour, ...] = ((0.98, 0.83, 0.72), (0.90, 0.70, 0.55), (0.62, 0.42, 0.30))
    hairs: tuple[Colour, ...] = ((0.13, 0.09, 0.09), (0.36, 0.20, 0.11), (0.78, 0.56, 0.28), (0.44, 0.12, 0.12))
    skin, hair = skins[int(chance.integers(3))], hairs[int(chance.integers(4))]
    cloth: Colour = (float(chance.uniform(0.2, 0.9)), float(chance.uniform(0.2, 0.6)), float(chance.uniform(0.3, 0.9)))
    lip, blush = mix(skin, (0.80, 0.16, 0.22), 0.7), mix(skin, (0.95, 0.35, 0.35), 0.45)
    return [
        layer(blob((0, -0.99), (0.22, -0.92), (0.30, -0.66), (0.33, -0.36), (0.22, -0.22), (-0.22, -0.22),
            (-0.33, -0.36), (-0.30, -0.66), (-0.22, -0.92)), scaled(hair, 0.8)),
        layer(blob((-0.10, -0.34), (0.10, -0.34), (0.40, -0.22), (0.50, 0.06), (-0.50, 0.06),
            (-0.40, -0.22)), cloth, scaled(cloth, 0.8)),
        layer(blob((-0.09, -0.48), (0.09, -0.48), (0.10, -0.32), (0.15, -0.27), (0.0, -0.16),
            (-0.15, -0.27), (-0.10, -0.32)), scaled(skin, 0.9)),
        layer(blob((0, -0.93), (0.16, -0.87), (0.215, -0.68), (0.185, -0.52), (0.07, -0.40),
            (-0.07, -0.40), (-0.185, -0.52), (-0.215, -0.68), (-0.16, -0.87)), skin, scaled(skin, 0.96)),
        layer([ellipse(s * 0.12, -0.555, 0.05, 0.03) for s in (-1, 1)], blush,
            role=Role.MARK, soft=0.02, opacity=0.6),
        layer([ellipse(s * 0.088, -0.655, 0.048, 0.030) for s in (-1, 1)], WHITE, role=Role.MARK),
        layer([ellipse(s * 0.088, -0.655, 0.028, 0.030) for s in (-1, 1)], mix(hair, (0.30, 0.36, 0.42),
            0.4), role=Role.MARK),
        layer([ellipse(s * 0.088, -0.655, 0.014, 0.016) for s in (-1, 1)], INK, role=Role.MARK),
        layer([ellipse(s * 0.088 - 0.010, -0.666, 0.007) for s in (-1, 1)], (1, 1, 1), role=Role.LIGHT),
        layer([stroke([(s * 0.036, -0.660), (s * 0.075, -0.690), (s * 0.142, -0.664)], 0.012, 0.014)
            for s in (-1, 1)], INK, role=Role.MARK),
        layer([stroke([(s * 0.040, -0.730), (s * 0.09, -0.746), (s * 0.148, -0.722)], 0.013, 0.006)
            for s in (-1, 1)], scaled(hair, 0.9), role=Role.MARK),
        layer(stroke([(0.012, -0.64), (0.026, -0.575), (-0.012, -0.56)], 0.008, 0.012), scaled(skin, 0.72),
            role=Role.MARK),
        layer(blob((-0.066, -0.500), (-0.02, -0.506), (0, -0.499), (0.02, -0.506), (0.066, -0.500),
            (0.03, -0.470), (0, -0.464), (-0.03, -0.470)), lip, role=Role.MARK),
        layer(stroke([(-0.066, -0.500), (0, -0.486), (0.066, -0.500)], 0.006), scaled(lip, 0.6),
            role=Role.MARK),
        layer([blob((-0.04, -0.95), (0.16, -0.95), (0.25, -0.74), (0.225, -0.56), (0.19, -0.72),
            (0.05, -0.86)), blob((0.06, -0.95), (-0.16, -0.95), (-0.25, -0.74), (-0.225, -0.52),
            (-0.19, -0.72), (-0.06, -0.84))], hair),
    ]  # fmt: skip


def robot(chance: np.random.Generator) -> list[Layer]:
    metals: tuple[Colour, ...] = ((0.70, 0.76, 0.82), (0.86, 0.72, 0.42), (0.52, 0.70, 0.78), (0.82, 0.46, 0.40))
    metal = metals[int(chance.integers(4))]
    dark, eye = scaled(metal, 0.5), (0.30, 0.95, 1.0)
    return [
        layer([stroke([(s * 0.11, -0.2), (s * 0.11, -0.04)], 0.10) for s in (-1, 1)], dark),
        layer([slab(s * 0.13 - 0.10, -0.09, s * 0.13 + 0.10, 0.0, 0.04) for s in (-1, 1)], metal),
        layer([stroke([(s * 0.24, -0.48), (s * 0.38, -0.36), (s * 0.36, -0.22)], 0.085) for s in (-1, 1)],
            dark),
        layer([ellipse(s * 0.36, -0.20, 0.065) for s in (-1, 1)], metal),
        layer(slab(-0.24, -0.55, 0.24, -0.16, 0.09), metal, scaled(metal, 0.8)),
        layer(slab(-0.13, -0.46, 0.13, -0.28, 0.03), dark, role=Role.MARK),
        layer([ellipse(x, -0.37, 0.028) for x in (-0.07, 0.0, 0.07)], eye, role=Role.LIGHT),
        layer(slab(-0.06, -0.62, 0.06, -0.53), dark),
        layer(stroke([(0, -0.90), (0, -1.02)], 0.022), dark),
        layer(ellipse(0, -1.03, 0.035), (1.0, 0.40, 0.34), role=Role.LIGHT),
        layer([ellipse(s * 0.29, -0.76, 0.045, 0.075) for s in (-1, 1)], dark),
        layer(slab(-0.28, -0.93, 0.28, -0.60, 0.11), metal, scaled(metal, 0.86)),
        layer(slab(-0.22, -0.86, 0.22, -0.68, 0.08), (0.08, 0.10, 0.14), role=Role.MARK),
        layer([ellipse(s * 0.105, -0.77, 0.058) for s in (-1, 1)], eye, role=Role.LIGHT),
    ]  # fmt: skip

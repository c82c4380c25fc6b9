"""Living things (and one robot), each drawn standing at the origin, one unit tall, looking at the viewer."""

from dataclasses import dataclass

import numpy as np

from mintage.infra.renderer.palette import Colour, mix, scaled
from mintage.infra.renderer.shapes import Layer, Points, Role, blob, ellipse, layer, polygon, slab, stroke

INK: Colour = (0.08, 0.06, 0.07)
WHITE: Colour = (0.98, 0.97, 0.95)
ROSE: Colour = (0.95, 0.62, 0.62)


@dataclass(frozen=True, slots=True)
class Coat:
    fur: Colour
    belly: Colour
    patch: Colour
    """Ears, limbs or stripes."""
    iris: Colour


_COATS: dict[str, tuple[Coat, ...]] = {
    "cat": (
        Coat((0.93, 0.60, 0.28), (1.0, 0.90, 0.76), (0.78, 0.42, 0.15), (0.35, 0.66, 0.32)),
        Coat((0.56, 0.58, 0.64), (0.88, 0.89, 0.92), (0.38, 0.40, 0.46), (0.90, 0.70, 0.20)),
        Coat((0.96, 0.92, 0.86), (1.0, 1.0, 0.98), (0.86, 0.68, 0.50), (0.28, 0.56, 0.84)),
    ),
    "dog": (
        Coat((0.84, 0.60, 0.34), (0.98, 0.92, 0.82), (0.50, 0.31, 0.16), (0.32, 0.19, 0.10)),
        Coat((0.95, 0.90, 0.82), (1.0, 0.99, 0.96), (0.60, 0.42, 0.28), (0.26, 0.17, 0.11)),
    ),
    "rabbit": (
        Coat((0.93, 0.90, 0.88), (1.0, 0.99, 0.98), (0.82, 0.78, 0.76), (0.50, 0.20, 0.24)),
        Coat((0.72, 0.58, 0.46), (0.94, 0.88, 0.80), (0.56, 0.43, 0.33), (0.24, 0.15, 0.10)),
    ),
    "bear": (Coat((0.58, 0.38, 0.22), (0.84, 0.66, 0.46), (0.46, 0.29, 0.16), (0.16, 0.10, 0.07)),),
    "panda": (Coat((0.96, 0.96, 0.95), (0.97, 0.97, 0.96), (0.13, 0.13, 0.15), (0.14, 0.09, 0.07)),),
    "fox": (Coat((0.91, 0.45, 0.14), (1.0, 0.95, 0.88), (0.25, 0.14, 0.10), (0.62, 0.40, 0.10)),),
}


def critter(kind: str, chance: np.random.Generator) -> list[Layer]:
    """A sitting animal: one body, and the ears, muzzle and tail that make it a cat, a dog, a bear."""
    coats = _COATS[kind]
    coat = coats[int(chance.integers(len(coats)))]
    limb = coat.patch if kind in {"panda", "fox"} else coat.fur
    return [
        *_tail(kind, coat),
        layer([ellipse(x, -0.09, 0.15, 0.10) for x in (-0.19, 0.19)], scaled(limb, 0.92)),
        layer(blob((0, -0.58), (0.20, -0.46), (0.27, -0.20), (0.18, -0.03), (-0.18, -0.03), (-0.27, -0.20),
            (-0.20, -0.46)), coat.fur, scaled(coat.fur, 0.86)),
        layer(ellipse(0, -0.31, 0.14, 0.19), coat.belly, role=Role.MARK, soft=0.015),
        layer([stroke([(x, -0.38), (x * 1.1, -0.2), (x, -0.04)], 0.12, 0.11) for x in (-0.09, 0.09)], limb),
        layer([ellipse(x, -0.035, 0.078, 0.05) for x in (-0.095, 0.095)],
            coat.belly if kind == "cat" else limb),
        *([] if kind == "dog" else _ears(kind, coat)),
        layer(_head(kind), coat.fur, scaled(coat.fur, 0.95)),
        *(_ears(kind, coat) if kind == "dog" else []),
        *_face(kind, coat),
    ]  # fmt: skip


def _head(kind: str) -> Points:
    if kind == "fox":
        return blob((0, -0.92), (0.20, -0.86), (0.30, -0.66), (0.14, -0.54), (0, -0.47), (-0.14, -0.54),
            (-0.30, -0.66), (-0.20, -0.86))  # fmt: skip
    return ellipse(0, -0.70, 0.285 if kind in {"cat", "panda"} else 0.26, 0.225)


def _tail(kind: str, coat: Coat) -> list[Layer]:
    match kind:
        case "cat":
            curl = stroke([(0.18, -0.07), (0.42, -0.08), (0.47, -0.30), (0.38, -0.50)], 0.10, 0.06)
            return [layer(curl, coat.fur), layer(ellipse(0.382, -0.49, 0.035), coat.patch)]
        case "fox":
            brush = blob((0.15, -0.04), (0.42, -0.02), (0.56, -0.25), (0.50, -0.50), (0.38, -0.30), (0.25, -0.16))
            tip = blob((0.55, -0.30), (0.50, -0.51), (0.43, -0.38), (0.49, -0.36))
            return [layer(brush, coat.fur), layer(tip, WHITE)]
        case "dog":
            return [layer(stroke([(0.18, -0.10), (0.34, -0.20), (0.38, -0.38)], 0.10, 0.05), coat.fur)]
        case _:
            return [layer(ellipse(0.25, -0.12, 0.08), coat.belly)]


def _ears(kind: str, coat: Coat) -> list[Layer]:
    def pair(shape: Points) -> list[Points]:
        return [shape, shape * (-1.0, 1.0)]

    match kind:
        case "cat" | "fox":
            high = -1.04 if kind == "cat" else -1.10
            outer = blob((0.07, -0.86), (0.13, -0.95), (0.225, high), (0.272, -0.90), (0.27, -0.72), (0.15, -0.76))
            inner = blob((0.13, -0.88), (0.165, -0.93), (0.217, high + 0.055), (0.24, -0.88), (0.19, -0.80))
            return [
                layer(pair(outer), coat.fur),
                layer(pair(inner), ROSE if kind == "cat" else coat.patch, role=Role.MARK),
            ]
        case "dog":
            flap = blob((0.16, -0.90), (0.27, -0.88), (0.36, -0.70), (0.33, -0.52), (0.24, -0.56), (0.22, -0.76))
            return [layer(pair(flap), coat.patch)]
        case "rabbit":
            long, lining = ellipse(0.11, -1.05, 0.072, 0.25, 0.14), ellipse(0.112, -1.05, 0.038, 0.19, 0.14)
            return [layer(pair(long), coat.fur), layer(pair(lining), ROSE, role=Role.MARK)]
        case _:
            return [layer(pair(ellipse(0.20, -0.885, 0.09)), coat.patch),
                layer(pair(ellipse(0.20, -0.88, 0.048)), mix(coat.patch, ROSE, 0.3),
                role=Role.MARK)]  # fmt: skip


def _face(kind: str, coat: Coat) -> list[Layer]:
    marks = Role.MARK
    layers: list[Layer] = []
    if kind == "cat":
        stripes = [stroke([(x, -0.90), (x * 0.8, -0.81)], 0.028, 0.008) for x in (-0.08, 0.0, 0.08)]
        cheeks = [stroke([(s * 0.275, y), (s * 0.19, y + 0.01)], 0.022, 0.006) for s in (-1, 1) for y in (-0.70, -0.64)]
        layers.append(layer(stripes + cheeks, coat.patch, role=marks))
    if kind == "panda":
        layers.append(layer([ellipse(s * 0.115, -0.71, 0.075, 0.09, s * 0.5) for s in (-1, 1)], coat.patch, role=marks))
    if kind == "fox":
        layers.append(layer([blob((s * 0.02, -0.58), (s * 0.16, -0.66), (s * 0.29, -0.65),
            (s * 0.14, -0.545), (s * 0.01, -0.48)) for s in (-1, 1)], coat.belly, role=marks))  # fmt: skip
    muzzle = 0.105 if kind in {"dog", "bear"} else 0.07
    nose = (0.05, 0.036) if kind in {"dog", "bear"} else (0.032, 0.024)
    if kind != "fox":
        layers.append(layer([ellipse(s * 0.052, -0.60, muzzle, 0.062) for s in (-1, 1)], coat.belly, role=marks))
    white = coat.belly if kind == "panda" else WHITE
    layers += [
        layer([ellipse(s * 0.115, -0.715, 0.058, 0.066) for s in (-1, 1)], INK, role=marks),
        layer([ellipse(s * 0.115, -0.713, 0.049, 0.058) for s in (-1, 1)], mix(coat.iris, white, 0.1), role=marks),
        layer([ellipse(s * 0.113, -0.715, 0.028, 0.050) for s in (-1, 1)], INK, role=marks),
        layer([ellipse(s * 0.115 - 0.016, -0.738, 0.015) for s in (-1, 1)], (1, 1, 1), role=Role.LIGHT),
    ]
    if kind == "dog":
        layers.append(
            layer(
                blob((-0.035, -0.565), (0.035, -0.565), (0.03, -0.50), (-0.03, -0.50)), (0.93, 0.45, 0.48), role=marks
            )
        )
    nose_ink = ROSE if kind in {"cat", "rabbit"} else INK
    smile = [stroke([(0, -0.615), (s * 0.02, -0.578), (s * 0.065, -0.585)], 0.011, 0.006) for s in (-1, 1)]
    layers += [layer(smile, INK, role=marks), layer(ellipse(0, -0.63, *nose), nose_ink, role=marks)]
    if kind in {"cat", "rabbit", "fox"}:
        hairs = [stroke([(s * 0.10, -0.60 + d * 0.3), (s * 0.25, -0.61 + d), (s * 0.38, -0.59 + 2 * d)],
            0.007, 0.002) for s in (-1, 1) for d in (-0.035, 0.0, 0.035)]  # fmt: skip
        layers.append(layer(hairs, WHITE if kind == "cat" else INK, role=marks, opacity=0.8))
    return layers


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
        layer([stroke([(s * 0.035, -0.725), (s * 0.09, -0.745), (s * 0.145, -0.725)], 0.020, 0.008)
            for s in (-1, 1)], scaled(hair, 0.9), role=Role.MARK),
        layer(stroke([(0.012, -0.64), (0.026, -0.575), (-0.012, -0.56)], 0.008, 0.012), scaled(skin, 0.72),
            role=Role.MARK),
        layer(blob((-0.062, -0.490), (-0.02, -0.506), (0, -0.499), (0.02, -0.506), (0.062, -0.490),
            (0, -0.462)), lip, role=Role.MARK),
        layer(stroke([(-0.062, -0.490), (0, -0.486), (0.062, -0.490)], 0.006), scaled(lip, 0.6),
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

"""One sitting animal, drawn at the origin one unit tall; its ears, muzzle, tail and coat say which."""

from dataclasses import dataclass

import numpy as np

from mintage.infra.renderer.creatures import INK, ROSE, WHITE
from mintage.infra.renderer.palette import Colour, mix, scaled
from mintage.infra.renderer.shapes import Layer, Points, Role, blob, ellipse, layer, stroke


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

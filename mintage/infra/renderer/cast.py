"""Every subject a prompt can name is drawn here or by nobody."""

from collections.abc import Callable

import numpy as np

from mintage.infra.renderer import creatures, objects
from mintage.infra.renderer.brief import Brief
from mintage.infra.renderer.palette import NAMED, Colour, Palette, mix
from mintage.infra.renderer.shapes import Layer

_CRITTERS = frozenset({"cat", "dog", "rabbit", "bear", "panda", "fox"})
_BEINGS: dict[str, Callable[[np.random.Generator], list[Layer]]] = {
    "bird": creatures.bird,
    "fish": creatures.fish,
    "butterfly": creatures.butterfly,
    "person": creatures.person,
    "robot": creatures.robot,
}
_PAINTED: dict[str, Callable[[Colour], list[Layer]]] = {
    "boat": objects.boat,
    "car": objects.car,
    "rocket": objects.rocket,
    "balloon": objects.balloon,
    "cup": objects.cup,
}


def drawn(name: str, brief: Brief, palette: Palette, chance: np.random.Generator) -> list[Layer]:
    if name in _CRITTERS:
        return creatures.critter(name, chance)
    if name in _BEINGS:
        return _BEINGS[name](chance)
    coat = _coat(brief, chance)
    if name in _PAINTED:
        return _PAINTED[name](coat)
    match name:
        case "house":
            return objects.house(chance, night=palette.dark or brief.time == "sunset")
        case "castle":
            return objects.castle(night=palette.dark)
        case "fruit":
            return objects.fruits()
        case "tree":
            return objects.tree(chance, palette.leaf)
        case _:
            return objects.vase(chance, coat) if brief.setting == "still" else objects.bouquet(chance)


def _coat(brief: Brief, chance: np.random.Generator) -> Colour:
    if brief.colours:
        return NAMED[brief.colours[0]]
    return mix(NAMED[str(chance.choice(["red", "blue", "cyan", "orange", "pink"]))], (0.9, 0.9, 0.9), 0.25)

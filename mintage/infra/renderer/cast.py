"""Every subject a prompt can name is drawn here or by nobody."""

from collections.abc import Callable

import numpy as np

from mintage.infra.renderer import creatures, critter, objects
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
    "ball": objects.ball,
}
_PLACED: dict[str, Callable[[Palette, np.random.Generator], list[Layer]]] = {
    "house": lambda palette, chance: objects.house(chance, night=palette.dark),
    "castle": lambda palette, _: objects.castle(night=palette.dark),
    "tree": lambda palette, chance: objects.tree(chance, palette.leaf),
    "fruit": lambda _palette, _chance: objects.fruits(),
}


def drawn(name: str, brief: Brief, palette: Palette, chance: np.random.Generator) -> list[Layer]:
    if name in _CRITTERS:
        return critter.critter(name, chance)
    if name in _BEINGS:
        return _BEINGS[name](chance)
    coat = _coat(brief, chance)
    if name in _PAINTED:
        return _PAINTED[name](coat)
    if name in _PLACED:
        return _PLACED[name](palette, chance)
    if brief.setting == "still":
        return objects.vase(chance, coat)
    return objects.bouquet(chance, coat if brief.colours else None)


def _coat(brief: Brief, chance: np.random.Generator) -> Colour:
    if brief.colours:
        return NAMED[brief.colours[0]]
    return mix(NAMED[str(chance.choice(["red", "blue", "cyan", "orange", "pink"]))], (0.9, 0.9, 0.9), 0.25)

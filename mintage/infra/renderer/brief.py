"""A brief says what a prompt asks to see; any text at all yields one, and the same text the same one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mintage.infra.renderer import lexicon

TIMES = ("dawn", "noon", "sunset", "night")
SETTINGS = ("space", "city", "sea", "mountains", "forest", "desert", "garden", "still", "landscape", "abstract")
CREATURES = ("cat", "dog", "rabbit", "bear", "panda", "fox", "bird", "fish", "butterfly", "robot", "person")
OBJECTS = ("house", "castle", "boat", "car", "rocket", "balloon", "tree", "cup", "fruit", "flowers", "ball")
COLOURS = ("red", "orange", "gold", "green", "cyan", "blue", "purple", "pink", "white", "black")

_HOME = {
    "boat": "sea",
    "fish": "sea",
    "rocket": "space",
    "car": "city",
    "robot": "city",
    "cup": "still",
    "fruit": "still",
    "person": "portrait",
    "flowers": "garden",
    "butterfly": "garden",
    "tree": "landscape",
}
_SKIES = ("sun", "moon", "stars", "clouds", "rain", "snow", "fog", "rainbow")
_SUBJECTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Brief:
    time: str
    setting: str
    sky: frozenset[str]
    subjects: tuple[str, ...]
    extras: frozenset[str]
    """Further settings, seasons and motifs named beside the main one."""
    colours: tuple[str, ...]

    def wants(self, tag: str) -> bool:
        return tag in self.extras or tag in self.sky or tag in self.subjects or tag == self.setting


def read(prompt: str, negative_prompt: str, chance: np.random.Generator) -> Brief:
    unwanted = frozenset(lexicon.tags(negative_prompt)) | lexicon.refused(prompt)
    tags = tuple(tag for tag in lexicon.tags(prompt) if tag not in unwanted)
    subjects = _subjects(tags)
    setting = _setting(tags, subjects, unwanted, chance)
    time = _time(tags, setting, unwanted, chance)
    return Brief(
        time=time,
        setting=setting,
        sky=_sky(tags, time, unwanted, chance),
        subjects=subjects,
        extras=frozenset(tags) - frozenset(subjects),
        colours=tuple(tag for tag in tags if tag in COLOURS),
    )


def _subjects(tags: Sequence[str]) -> tuple[str, ...]:
    named = [tag for tag in tags if tag in CREATURES or tag in OBJECTS]
    # Flowers and trees stand around whoever is named with them; alone they are the subject.
    leads = [tag for tag in named if tag not in {"flowers", "tree"}]
    return tuple((leads or named)[:_SUBJECTS_MAX])


def _setting(
    tags: Sequence[str], subjects: Sequence[str], unwanted: frozenset[str], chance: np.random.Generator
) -> str:
    named = [tag for tag in SETTINGS if tag in tags]
    # "A landscape with mountains" is about the mountains: the vague word yields to the plain one.
    if named:
        return named[0]
    homes = [_HOME[subject] for subject in subjects if subject in _HOME]
    if homes and homes[0] not in unwanted:
        return homes[0]
    open_air = (
        ("garden", "landscape") if subjects else ("landscape", "mountains", "sea", "forest", "abstract", "desert")
    )
    return str(chance.choice([place for place in open_air if place not in unwanted] or ["abstract"]))


def _time(tags: Sequence[str], setting: str, unwanted: frozenset[str], chance: np.random.Generator) -> str:
    if named := [tag for tag in tags if tag in TIMES]:
        return named[0]
    if "moon" in tags or "stars" in tags or setting == "space":
        return "night"
    # Grown-up cities are best lit at dusk; everything else mostly by day.
    odds = {"city": (0.1, 0.3, 0.35, 0.25), "sea": (0.2, 0.5, 0.3, 0.0)}.get(setting, (0.15, 0.7, 0.15, 0.0))
    weights = np.array([0.0 if time in unwanted else odd for time, odd in zip(TIMES, odds, strict=True)])
    return str(chance.choice(TIMES, p=weights / weights.sum())) if weights.sum() else "noon"


def _sky(tags: Sequence[str], time: str, unwanted: frozenset[str], chance: np.random.Generator) -> frozenset[str]:
    sky = {tag for tag in tags if tag in _SKIES}
    wet = bool(sky & {"rain", "snow", "fog"})
    if time == "night":
        sky |= set() if wet else {"stars", "moon"}
    elif not wet and "moon" not in sky:
        sky.add("sun")
    if wet or "clouds" in sky or (time != "night" and chance.random() < 0.8):
        sky.add("clouds")
    return frozenset(sky - unwanted)

"""A style is a technique: how the ground is prepared, one layer painted, the scenery set back, the picture finished."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from mintage.infra.renderer.canvas import Canvas
from mintage.infra.renderer.shapes import Layer
from mintage.infra.renderer.styles import cartoon, cyberpunk, oil, photo, solid, watercolor


@dataclass(frozen=True, slots=True)
class Technique:
    prepare: Callable[[Canvas], None]
    paint: Callable[[Canvas, Layer], None]
    finish: Callable[[Canvas], Image.Image]
    settle: Callable[[Canvas], None] = lambda _: None
    """Between the scenery and the subjects."""


TECHNIQUES: dict[str, Technique] = {
    "realistic": Technique(photo.prepare, photo.paint, photo.finish, photo.settle),
    "cartoon": Technique(cartoon.prepare, cartoon.paint, cartoon.finish),
    "oil-painting": Technique(oil.prepare, oil.paint, oil.finish),
    "3d-render": Technique(solid.prepare, solid.paint, solid.finish, solid.settle),
    "watercolor": Technique(watercolor.prepare, watercolor.paint, watercolor.finish),
    "cyberpunk": Technique(cyberpunk.prepare, cyberpunk.paint, cyberpunk.finish),
}

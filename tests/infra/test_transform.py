"""A repainted picture is the source at strength 0, goes away from it with every step, and stays a picture."""

import io
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mintage.infra.renderer import STYLES, ImageRequest, RenderingFailed, render, rerender, size_for

STEPS = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


def asked(prompt: str = "transform this image", **choices: object) -> ImageRequest:
    how: dict[str, object] = {"prompt": prompt, "width": 160, "height": 112, **choices}
    return ImageRequest(**how)  # type: ignore[arg-type]


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def pixels(png: bytes) -> NDArray[np.float64]:
    return np.asarray(opened(png), np.float64)


def scene() -> Image.Image:
    return opened(render(ImageRequest(prompt="a fox in a forest", width=160, height=112)))


def drawing() -> Image.Image:
    """Hard shapes in plain colours."""
    picture = Image.new("RGB", (160, 112), (240, 240, 235))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((20, 30, 70, 90), fill=(200, 30, 40))
    pen.ellipse((80, 20, 140, 80), fill=(30, 60, 200))
    return picture


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (112, 160, 3), np.uint8))


SOURCES = {"scene": scene, "drawing": drawing, "noise": noise}


@pytest.mark.parametrize("source", SOURCES)
def test_strength_nothing_is_the_source_itself(source: str) -> None:
    picture = SOURCES[source]()
    assert (pixels(rerender(asked(), picture, 0.0)) == np.asarray(picture, np.float64)).all()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("style", [None, *STYLES])
def test_the_stronger_the_less_is_left(source: str, style: str | None) -> None:
    picture = SOURCES[source]()
    before = np.asarray(picture, np.float64)
    ways = [
        np.abs(pixels(rerender(asked("a castle at night", style=style), picture, step)) - before).mean()
        for step in STEPS
    ]
    assert ways[0] == 0
    assert all(near < far for near, far in pairwise(ways)), ways
    assert ways[-1] > 15


def test_the_source_painted_again_with_its_own_words_still_goes_away_from_it() -> None:
    request = ImageRequest(prompt="a fox in a forest", width=160, height=112)
    source = opened(render(request))
    ways = [np.abs(pixels(rerender(request, source, step)) - np.asarray(source, float)).mean() for step in STEPS]
    assert all(near < far for near, far in pairwise(ways)), ways


def test_the_prompt_decides_the_light() -> None:
    night, noon = (pixels(rerender(asked(prompt), scene(), 0.7)).mean() for prompt in ("night", "noon"))
    assert night < noon - 10


@pytest.mark.parametrize("change", [{"seed": 1}, {"index": 1}, {"style": "cartoon"}, {"prompt": "the sea"}])
def test_every_choice_changes_the_picture(change: dict[str, object]) -> None:
    source = scene()
    one, other = (pixels(rerender(request, source, 0.8)) for request in (asked(), asked(**change)))  # type: ignore[arg-type]
    assert np.abs(one - other).mean() > 3


@pytest.mark.parametrize("style", STYLES)
def test_the_same_request_gives_the_same_bytes(style: str) -> None:
    assert rerender(asked(style=style), scene(), 0.7) == rerender(asked(style=style), scene(), 0.7)


@pytest.mark.parametrize("size", [(64, 64), (64, 512), (301, 77)])
@pytest.mark.parametrize("style", STYLES)
def test_any_size_is_filled(size: tuple[int, int], style: str) -> None:
    picture = opened(rerender(asked(width=size[0], height=size[1], style=style), scene(), 0.9))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", size)


@pytest.mark.parametrize(
    ("source", "width", "height", "size"),
    [
        *(((640, 480), None, None, (640, 480)), ((4096, 2048), None, None, (2048, 1024))),
        *(
            ((640, 480), 320, None, (320, 240)),
            ((640, 480), None, 960, (1280, 960)),
            ((640, 480), 100, 100, (100, 100)),
        ),
        *(((10, 10), None, None, (64, 64)), ((4000, 10), None, None, (2048, 64)), ((1, 2048), 64, None, (64, 2048))),
    ],
)
def test_the_size_follows_the_source_unless_it_is_given(
    source: tuple[int, int], width: int | None, height: int | None, size: tuple[int, int]
) -> None:
    assert size_for(source, width, height) == size


def test_anyone_can_watch_a_refund() -> None:
    with pytest.raises(RenderingFailed):
        rerender(asked("[fail]"), scene(), 0.5)

"""The built-in renderer keeps its word: real pictures of what was asked for, the same every time."""

import hashlib
import io
import itertools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mintage.infra.renderer import STYLES, ImageRequest, RenderingFailed, render, thumbnail

KITTEN = "一只可爱的小猫在花园里玩耍"


def small(prompt: str = KITTEN, **choices: object) -> ImageRequest:
    asked: dict[str, object] = {"prompt": prompt, "width": 128, "height": 128, **choices}
    return ImageRequest(**asked)  # type: ignore[arg-type]


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def pixels(request: ImageRequest) -> NDArray[np.float64]:
    return np.asarray(opened(render(request)), np.float64)


def colour(prompt: str, **choices: object) -> NDArray[np.float64]:
    """The mean colour over a few pictures, so that no single composition decides."""
    means = [pixels(small(prompt, index=index, width=80, height=80, **choices)).mean(axis=(0, 1)) for index in range(2)]
    return np.mean(means, axis=0)  # type: ignore[no-any-return]


def distance(one: ImageRequest, other: ImageRequest) -> float:
    return float(np.abs(pixels(one) - pixels(other)).mean())


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(128, 128), (200, 96), (65, 129)])
def test_a_real_png_of_exactly_the_size_in_every_style(style: str, size: tuple[int, int]) -> None:
    picture = opened(render(small(style=style, width=size[0], height=size[1])))
    picture.load()
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", size)
    assert picture.info["Software"] == "mintage built-in renderer"


@pytest.mark.parametrize("size", [(64, 64), (64, 2048), (2048, 64), (67, 1021)])
@pytest.mark.parametrize("prompt", ["a city by the sea at night", "下雪的森林", "abstract", "flowers on a table"])
def test_any_shape_of_frame(size: tuple[int, int], prompt: str) -> None:
    assert opened(render(small(prompt, width=size[0], height=size[1]))).size == size


PLACES = "space city sea mountains forest desert garden still landscape abstract portrait"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("place", PLACES.split())
def test_every_place_in_every_style(place: str, style: str) -> None:
    assert opened(render(small(f"{place} in the snow", style=style, width=64, height=64))).size == (64, 64)


@pytest.mark.parametrize("size", [(63, 128), (128, 2049), (0, 0)])
def test_sizes_it_cannot_paint_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(RenderingFailed, match="sides must be between"):
        render(small(width=size[0], height=size[1]))


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(RenderingFailed, match="unknown style"):
        render(small(style="crayon"))


@pytest.mark.parametrize("style", STYLES)
def test_the_same_request_gives_the_same_bytes(style: str) -> None:
    assert render(small(style=style)) == render(small(style=style))


def test_the_same_bytes_in_another_process_whatever_its_hash_seed() -> None:
    program = (
        "import hashlib; from mintage.infra.renderer import ImageRequest, render\n"
        f"prompt = {KITTEN!r} + ' by the sea, rain, red and blue'\n"
        "print(hashlib.sha256(render(ImageRequest(prompt=prompt, width=96, height=96))).hexdigest())"
    )
    here = hashlib.sha256(render(small(KITTEN + " by the sea, rain, red and blue", width=96, height=96))).hexdigest()
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert there.stdout.strip() == here


def test_threads_do_not_disturb_each_other() -> None:
    orders = [small(style=style, width=64, height=64) for style in STYLES]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render, orders)) == [render(order) for order in orders]


@pytest.mark.parametrize("change", [{"seed": 1}, {"index": 1}, {"prompt": "a dog"}, {"style": "cartoon"}])
def test_every_choice_changes_the_picture(change: dict[str, object]) -> None:
    assert distance(small(), small(**change)) > 4  # type: ignore[arg-type]


def test_words_it_does_not_know_still_change_the_picture() -> None:
    assert distance(small("zxcv qwer"), small("zxcv qwert")) > 4


def test_the_pictures_of_one_order_all_differ() -> None:
    assert len({render(small(index=index)) for index in range(4)}) == 4


def test_no_two_styles_look_alike() -> None:
    gallery = {style: pixels(small(style=style)) for style in STYLES}
    for one, other in itertools.combinations(STYLES, 2):
        assert np.abs(gallery[one] - gallery[other]).mean() > 6, (one, other)


@pytest.mark.parametrize(
    ("dark", "bright"), [("night", "noon"), ("夜晚的山", "中午的山"), ("sea at midnight", "sunny sea")]
)
def test_night_is_darker_than_day(dark: str, bright: str) -> None:
    assert colour(dark).mean() < colour(bright).mean() - 30


@pytest.mark.parametrize(
    ("redder", "than"),
    [
        ("sunset over a valley", "forest at noon"),
        ("日落", "白天的森林"),
        ("red car", "blue car"),
        ("autumn hill noon", "hill noon"),
    ],
)
def test_the_palette_follows_the_words(redder: str, than: str) -> None:
    def redness(rgb: NDArray[np.float64]) -> float:
        return float(rgb[0] - rgb[1:].mean())

    assert redness(colour(redder)) > redness(colour(than)) + 4


@pytest.mark.parametrize("chinese", ["小狗", "机器人", "城市", "大海", "城堡", "热气球"])
def test_both_languages_name_the_same_things(chinese: str) -> None:
    from mintage.infra.renderer.lexicon import tags

    english = {
        "小狗": "puppy",
        "机器人": "robots",
        "城市": "city",
        "大海": "ocean",
        "城堡": "castles",
        "热气球": "balloon",
    }
    assert tags(chinese) == tags(english[chinese])


def test_longer_words_win_over_the_words_inside_them() -> None:
    from mintage.infra.renderer.lexicon import tags

    assert tags("熊猫和猫头鹰") == ("panda", "bird")


THINGS = ("cat", "dog", "rabbit", "bear", "panda", "fox", "bird", "fish", "butterfly", "robot", "person", "house")
MADE = ("castle", "boat", "car", "rocket", "balloon", "tree", "cup", "fruit", "flowers", "ball")


@pytest.mark.parametrize("thing", THINGS + MADE)
def test_each_thing_stands_in_the_middle_of_its_place(thing: str) -> None:
    """With the word refused the same place is painted without it."""
    place = "meadow at noon"
    with_it, without = (
        pixels(small(f"{thing} {place}", negative_prompt=refused, width=80, height=80)) for refused in ("", thing)
    )
    assert np.abs(with_it - without)[20:70, 20:60].mean() > 10


@pytest.mark.parametrize("motif", ["clouds", "moon", "stars", "rain", "snow", "fog", "rainbow", "mountains"])
def test_a_negative_prompt_removes_a_motif(motif: str) -> None:
    asked = f"valley noon {motif}"
    assert distance(small(asked), small(asked, negative_prompt=f"{motif}, blurry")) > 0.5


def test_the_prompt_itself_may_refuse() -> None:
    from mintage.infra.renderer.brief import read

    for prompt in ("a valley with no clouds", "山谷，没有云", "a valley without any clouds"):
        assert "clouds" not in read(prompt, "", np.random.default_rng(1)).sky


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("prompt", [KITTEN, "a beautiful landscape", "portrait of a girl"])
def test_transparent_pictures_hold_the_subject_alone(style: str, prompt: str) -> None:
    picture = opened(render(small(prompt, style=style, transparent=True)))
    assert picture.mode == "RGBA"
    alpha = np.asarray(picture)[:, :, 3]
    assert (alpha.min(), alpha.max()) == (0, 255)
    assert alpha[0].max() == 0
    assert 0.05 < (alpha > 128).mean() < 0.9


@pytest.mark.parametrize("prompt", ["[fail]", "a cat [fail] please"])
def test_anyone_can_watch_a_refund(prompt: str) -> None:
    with pytest.raises(RenderingFailed):
        render(small(prompt))


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 320), (320, 160)), ((256, 512), (160, 320)), ((128, 96), (128, 96))]
)
def test_thumbnails_fit_and_never_grow(size: tuple[int, int], expected: tuple[int, int]) -> None:
    small_one = opened(thumbnail(render(small(width=size[0], height=size[1]))))
    assert (small_one.format, small_one.size) == ("WEBP", expected)


def test_thumbnails_stay_transparent() -> None:
    little = opened(thumbnail(render(small(transparent=True)), side=64))
    assert little.size == (64, 64)
    assert np.asarray(little.getchannel("A")).min() == 0


@settings(max_examples=40, deadline=None)
@given(
    prompt=st.text(max_size=80).filter(lambda text: "[fail]" not in text),
    style=st.sampled_from([None, *STYLES]),
    transparent=st.booleans(),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_any_text_is_a_picture(prompt: str, style: str | None, transparent: bool, seed: int) -> None:
    request = ImageRequest(prompt=prompt, width=64, height=64, style=style, transparent=transparent, seed=seed)
    assert opened(render(request)).size == (64, 64)

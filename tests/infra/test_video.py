"""Films are what was asked for to the frame, play anywhere, and glide."""

import io
import tempfile
from collections.abc import Iterator

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mintage.infra.renderer import Film, FilmRequest, RenderingFailed, filmed, frame_size
from mintage.infra.renderer import film as films

Pixels = NDArray[np.uint8]


def asked(prompt: str = "a cat in a garden", **choices: object) -> FilmRequest:
    how: dict[str, object] = {"prompt": prompt, "duration_s": 1, "width": 192, "height": 108, **choices}
    return FilmRequest(**how)  # type: ignore[arg-type]


def frames(film: Film) -> list[Pixels]:
    with av.open(io.BytesIO(film.mp4), "r") as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def spot(side: int = 400) -> Image.Image:
    """A bright disc in the middle of the dark."""
    picture = Image.new("RGB", (side, side), (20, 20, 30))
    ImageDraw.Draw(picture).ellipse((side * 0.4, side * 0.4, side * 0.6, side * 0.6), fill=(250, 250, 240))
    return picture


@pytest.mark.parametrize(("duration", "size"), [(1, (192, 108)), (2, (108, 192)), (3, (96, 96))])
def test_a_playable_film_of_exactly_what_was_asked(duration: int, size: tuple[int, int]) -> None:
    film = filmed(asked(duration_s=duration, width=size[0], height=size[1]), None)
    with av.open(io.BytesIO(film.mp4), "r") as container:
        (stream,) = container.streams.video
        assert len(container.streams.get()) == 1
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (*size, duration * 24)
        assert stream.average_rate == films.FPS
        assert stream.duration is not None
        assert stream.time_base is not None
        assert stream.duration * stream.time_base == duration
        assert len(list(container.decode(stream))) == duration * 24
    assert film.poster.size == size


def test_it_starts_playing_before_all_of_it_is_there() -> None:
    mp4 = filmed(asked(), None).mp4
    assert mp4[4:8] == b"ftyp"
    assert mp4.index(b"moov") < mp4.index(b"mdat")


def test_a_worker_killed_in_the_middle_leaves_nothing_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/there/is/no/such/place")
    assert len(frames(filmed(asked(), None))) == 24


@pytest.mark.parametrize("seconds", [1, 40])
def test_the_index_fits_into_its_room_however_long_the_film(seconds: int) -> None:
    request = asked(duration_s=seconds, width=32, height=32)
    noise = np.random.default_rng(1).integers(0, 255, (24 * seconds, 32, 32, 3), np.uint8)
    film = films._encoded(map(Image.fromarray, noise), request)
    assert len(frames(Film(film, spot()))) == 24 * seconds


def test_the_same_request_gives_the_same_film() -> None:
    assert filmed(asked(), None).mp4 == filmed(asked(), None).mp4


@pytest.mark.parametrize("change", [{"seed": 1}, {"prompt": "a dog in a garden"}])
def test_every_choice_changes_the_film(change: dict[str, object]) -> None:
    one, other = (frames(filmed(request, None)) for request in (asked(), asked(**change)))  # type: ignore[arg-type]
    assert np.abs(one[12].astype(int) - other[12]).mean() > 4


@pytest.mark.parametrize(
    "prompt",
    [
        *("a cat playing with a ball", "snow in the mountains at night", "下雨的城市", "a boat on the sea in fog"),
        *("a red rocket in space", "portrait of a girl", "abstract", "flowers on a table", "一只熊猫", "", "zxcv"),
    ],
)
def test_any_scene_moves_and_is_never_bare(prompt: str) -> None:
    shown = frames(filmed(asked(prompt), None))
    assert np.abs(shown[0].astype(int) - shown[-1]).mean() > 2
    for frame in shown:
        assert frame.std() > 8
        # Nothing of the painting's own edge comes into sight.
        for edge in (frame[0], frame[-1], frame[:, 0], frame[:, -1]):
            assert edge.max() > 12


@pytest.mark.parametrize("move", list(films.MOVES))
@pytest.mark.parametrize("nearness", [films.SKY, films.LAND, films.SUBJECT])
def test_the_camera_never_sees_beyond_the_painting(move: str, nearness: float) -> None:
    for view in films.MOVES[move]:
        left, top, right, bottom = view.box((1000, 500), nearness)
        assert 0 <= left < right <= 1000
        assert 0 <= top < bottom <= 500


def centre(frame: Image.Image) -> tuple[float, float]:
    """Where the light is, to a fraction of a pixel."""
    light = np.clip(np.asarray(frame.convert("L"), float) - 60, 0, None)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return float((x * light).sum() / light.sum()), float((y * light).sum() / light.sum())


@pytest.mark.parametrize("move", list(films.MOVES))
def test_the_camera_glides(monkeypatch: pytest.MonkeyPatch, move: str) -> None:
    """From frame to frame nothing jumps to a whole pixel: the way bends no more than the easing bends it."""
    monkeypatch.setattr(films, "MOVES", {move: films.MOVES[move]})
    seen = list(_drawn(asked("x", duration_s=4, width=320, height=320), spot(500)))
    way = np.array([centre(frame) for frame in seen])
    assert np.abs(np.diff(way, n=2, axis=0)).max() < 0.1
    sizes = np.array([np.sqrt((np.asarray(frame.convert("L"), float) - 20).sum()) for frame in seen])
    assert np.abs(np.diff(sizes, n=2)).max() / sizes.mean() < 0.0008


def _drawn(request: FilmRequest, source: Image.Image) -> Iterator[Image.Image]:
    """The frames before they are encoded."""
    kept: list[Image.Image] = []

    def keep(images: Iterator[Image.Image], _: FilmRequest) -> bytes:
        kept.extend(images)
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(films, "_encoded", keep)
        filmed(request, source)
    yield from kept


def test_near_things_move_farther_than_far_ones() -> None:
    start, end = films.MOVES["left"]
    ways = [
        end.box((1000, 1000), nearness)[0] - start.box((1000, 1000), nearness)[0]
        for nearness in (films.SKY, films.LAND, films.SUBJECT)
    ]
    assert sorted(ways, reverse=True) == ways
    assert ways[0] < 0


def test_snow_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a picture that is held still, only the weather moves, and it comes in again at the top."""
    still = films.View(0.0, 0.0, 1.2)
    monkeypatch.setattr(films, "MOVES", {"still": (still, still)})
    dark = Image.new("RGB", (300, 300), (10, 10, 20))
    calm, snow = (
        [np.asarray(frame) for frame in _drawn(asked(prompt, duration_s=2, width=300, height=300), dark)]
        for prompt in ("a picture", "a picture in the snow")
    )
    assert np.ptp(np.stack(calm), axis=0).max() == 0
    assert np.ptp(np.stack(snow), axis=0).max() > 150
    shares = [float((frame > 120).mean()) for frame in snow]
    assert min(shares) > 0.5 * max(shares) > 0


def test_a_film_of_a_picture_shows_the_picture() -> None:
    shown = frames(filmed(asked("animate this", width=160, height=160), spot()))
    for frame in shown:
        assert frame[80, 80].min() > 200
        assert frame[4, 4].max() < 60


@pytest.mark.parametrize(
    ("lines", "aspect", "size"),
    [
        *((480, 16 / 9, (854, 480)), (720, 16 / 9, (1280, 720)), (1080, 16 / 9, (1920, 1080))),
        *((720, 9 / 16, (720, 1280)), (480, 1.0, (480, 480)), (480, 100.0, (1152, 480)), (480, 0.01, (480, 1152))),
        *((720, 4 / 3, (960, 720)), (480, 1.2345, (592, 480))),
    ],
)
def test_frame_sizes_are_even_and_bounded(lines: int, aspect: float, size: tuple[int, int]) -> None:
    assert frame_size(lines, aspect) == size


def test_each_frame_is_told_of_and_any_may_be_the_last() -> None:
    told: list[float] = []
    filmed(asked(), None, told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)
    assert len(told) == 25

    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        told.append(share)
        if share > 0.5:
            raise Enough

    told.clear()
    with pytest.raises(Enough):
        filmed(asked(), None, stop)
    assert 0.5 < told[-1] < 0.6


@pytest.mark.parametrize("source", [None, spot()])
def test_anyone_can_watch_a_refund(source: Image.Image | None) -> None:
    with pytest.raises(RenderingFailed):
        filmed(asked("a cat [fail]"), source)

"""A film is a camera that glides through a painting, or over somebody's picture, at 24 frames a second."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from io import BytesIO
from itertools import takewhile
from typing import Final, TypeAlias

import av
import msgspec
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image, ImageOps

from mintage.infra.renderer import sky
from mintage.infra.renderer.brief import CREATURES, Brief, read
from mintage.infra.renderer.canvas import Canvas, ink
from mintage.infra.renderer.compose import AFLOAT, ALOFT, compose
from mintage.infra.renderer.painting import chance_of, frame_of, refuse_what_asks_to_fail
from mintage.infra.renderer.palette import palette_for
from mintage.infra.renderer.shapes import Frame, Layer, Role
from mintage.infra.renderer.styles import TECHNIQUES

FPS: Final = 24
ASPECT_MAX: Final = 2.4
OVERSCAN: Final = 1.25
"""How much larger than a frame the painting is, so that the camera has somewhere to go."""
SKY, LAND, SUBJECT = 0.55, 1.0, 1.4
"""How far a plane moves when the camera does: the nearer the farther."""
LIFE_S: Final = 3.2
"""How long a breath takes, or a wave."""
INDEX_MIN: Final = 4_096
"""Bytes that the index of any film takes; a frame takes at most 44 more."""
# Things glide under it. Hamming pulls them towards whole pixels, and sharper ones take twice the time.
_FILTER: Final = Image.Resampling.BILINEAR

Step: TypeAlias = Callable[[float], None]
"""Told after each piece of work which share of the whole is done; raises to stop it."""


class FilmRequest(msgspec.Struct, frozen=True, kw_only=True):
    prompt: str
    duration_s: int
    width: int
    height: int
    negative_prompt: str = ""
    seed: int = 0


class Film(msgspec.Struct, frozen=True):
    """H.264 in MP4, and the frame that stands for it."""

    mp4: bytes
    poster: Image.Image


@dataclass(frozen=True, slots=True)
class View:
    """What the camera sees of the painting: how far off its middle, as a share of it, and how much magnified."""

    x: float
    y: float
    zoom: float

    def box(self, size: tuple[int, int], nearness: float) -> tuple[float, float, float, float]:
        """The window as a plane of that nearness sees it, always inside the painting."""
        zoom = 1.0 + (self.zoom - 1.0) * nearness
        slack = 0.5 - 0.5 / zoom
        x, y = (0.5 + min(max(off * nearness, -slack), slack) for off in (self.x, self.y))
        half = 0.5 / zoom
        return (x - half) * size[0], (y - half) * size[1], (x + half) * size[0], (y + half) * size[1]


MOVES: Final = {
    "in": (View(0.0, -0.005, 1.06), View(0.0, 0.03, 1.25)),
    "out": (View(0.01, 0.03, 1.25), View(0.0, 0.0, 1.06)),
    "left": (View(0.06, 0.0, 1.18), View(-0.06, 0.005, 1.20)),
    "right": (View(-0.06, 0.005, 1.18), View(0.06, 0.0, 1.20)),
    "rise": (View(0.0, 0.035, 1.18), View(0.0, -0.03, 1.16)),
}


@dataclass(frozen=True, slots=True)
class Life:
    """What moves in a subject by itself, as shares of its height: how far it stretches, and how far it is lifted."""

    stretch: float = 0.0
    lift: float = 0.0


@dataclass(frozen=True, slots=True)
class Plane:
    """A sheet of the painting; without a matte it fills the frame."""

    picture: Image.Image
    nearness: float
    matte: Image.Image | None = None
    life: Life = Life()


@dataclass(frozen=True, slots=True)
class Weather:
    """Rain, snow or fog: a mask that repeats in both directions, and how many of its pixels it moves a second."""

    mask: Image.Image
    colour: tuple[int, int, int]
    drift: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stage:
    planes: tuple[Plane, ...]
    weather: tuple[Weather, ...]
    start: View
    end: View


def frame_size(lines: int, aspect: float) -> tuple[int, int]:
    """Even sides, the shorter one of so many ``lines``; what is longer than ``ASPECT_MAX`` is cut off."""
    aspect = min(max(aspect, 1 / ASPECT_MAX), ASPECT_MAX)
    width, height = (lines * aspect, float(lines)) if aspect >= 1 else (float(lines), lines / aspect)
    return round(width / 2) * 2, round(height / 2) * 2


def filmed(request: FilmRequest, source: Image.Image | None, step: Step = lambda _: None) -> Film:
    """A film of the prompt, or of the picture if there is one. Raises ``RenderingFailed``."""
    refuse_what_asks_to_fail(request.prompt)
    chance = chance_of(request.prompt, request.seed)
    brief = read(request.prompt, request.negative_prompt, chance)
    size = round(request.width * OVERSCAN), round(request.height * OVERSCAN)
    stage = _painted(brief, size, chance) if source is None else _hung(brief, source, size, chance)
    step(0.0)
    count = request.duration_s * FPS
    poster = _frame(stage, request, count // 3 / (count - 1), count // 3 / FPS)
    return Film(_encoded(_frames(stage, request, count, step), request), poster)


def _painted(brief: Brief, size: tuple[int, int], chance: np.random.Generator) -> Stage:
    """The sky, the land and the subjects of one painting, each upon a plane of its own."""
    palette, frame, technique = palette_for(brief, chance), frame_of(*size), TECHNIQUES["realistic"]
    scene = compose(brief, palette, frame, chance)
    heavens = tuple(takewhile(_is_heaven, scene.scenery))
    canvas = Canvas(*size, palette, chance, cutout=False)
    technique.prepare(canvas)
    planes: list[Plane] = []
    for nearness, layers in ((SKY, heavens), (LAND, scene.scenery[len(heavens) :]), (SUBJECT, scene.subjects)):
        if planes and not layers:
            continue
        canvas.alpha = Image.new("L", size) if planes else None
        for one in layers:
            technique.paint(canvas, one)
        matte, canvas.alpha = canvas.alpha, None
        if nearness < SUBJECT and scene.subjects:
            technique.settle(canvas)
        life = _life(brief) if nearness == SUBJECT else Life()
        planes.append(Plane(technique.finish(canvas), nearness, matte, life))
    return Stage(tuple(planes), _weather(canvas, frame, scene.veil), *_move(chance))


def _hung(brief: Brief, source: Image.Image, size: tuple[int, int], chance: np.random.Generator) -> Stage:
    """Somebody's picture, in the weather that the prompt asks for."""
    picture = ImageOps.fit(source, size, Image.Resampling.LANCZOS)
    frame = frame_of(*size)
    canvas = Canvas(*size, palette_for(brief, chance), chance, cutout=False)
    return Stage((Plane(picture, LAND),), _weather(canvas, frame, sky.falling(brief, frame, chance)), *_move(chance))


def _is_heaven(layer: Layer) -> bool:
    return layer.depth >= 0.9 and layer.role not in {Role.LAND, Role.WATER, Role.THING}


def _move(chance: np.random.Generator) -> tuple[View, View]:
    return MOVES[str(chance.choice(list(MOVES)))]


def _life(brief: Brief) -> Life:
    if any(subject in ALOFT for subject in brief.subjects):
        return Life(lift=0.03)
    if any(subject in AFLOAT for subject in brief.subjects):
        return Life(lift=0.012)
    return Life(stretch=0.008) if any(subject in CREATURES for subject in brief.subjects) else Life()


def _weather(canvas: Canvas, frame: Frame, veil: Iterable[Layer]) -> tuple[Weather, ...]:
    sheets = []
    for one in veil:
        if cover := canvas.cover(_endless(one, frame)):
            mask = Image.new("L", canvas.size)
            mask.paste(cover.mask, cover.box)
            along, down = one.drift
            tiled = Image.fromarray(np.tile(np.asarray(mask), (2, 2)))
            sheets.append(Weather(tiled, ink(one.top), (along * canvas.unit, down * canvas.unit)))
    return tuple(sheets)


def _endless(layer: Layer, frame: Frame) -> Layer:
    """What sticks out on one side comes in again on the other."""
    size = np.array((frame.width, frame.height))
    moved = (shape + size * (x, y) for shape in layer.shapes for x in (-1, 0, 1) for y in (-1, 0, 1))
    reach = 3 * layer.soft
    inside = [one for one in moved if (one.max(axis=0) > -reach).all() and (one.min(axis=0) < size + reach).all()]
    return replace(layer, shapes=tuple(inside))


def _frames(stage: Stage, request: FilmRequest, count: int, step: Step) -> Iterator[Image.Image]:
    for number in range(count):
        yield _frame(stage, request, number / (count - 1), number / FPS)
        step((number + 1) / count)


def _frame(stage: Stage, request: FilmRequest, share: float, at_s: float) -> Image.Image:
    """The picture when so much of the camera's way is done, so many seconds after the start."""
    eased = 0.5 - 0.5 * math.cos(math.pi * share)
    view = View(*(a + (b - a) * eased for a, b in zip(astuple(stage.start), astuple(stage.end), strict=True)))
    size = request.width, request.height
    backdrop, *nearer = stage.planes
    frame = backdrop.picture.resize(size, _FILTER, box=view.box(backdrop.picture.size, backdrop.nearness))
    for plane in nearer:
        _lay(frame, plane, view, at_s)
    for sheet in stage.weather:
        frame.paste(sheet.colour, (0, 0, *size), _blown(sheet, size, view, at_s))
    return frame


def _lay(frame: Image.Image, plane: Plane, view: View, at_s: float) -> None:
    """Put a plane's painted part where the camera sees it, to a fraction of a pixel."""
    assert plane.matte is not None
    painted = plane.matte.getbbox()
    if painted is None:
        return
    window = np.array(view.box(plane.matte.size, plane.nearness)).reshape(2, 2)
    scale = np.array(frame.size) / (window[1] - window[0])
    place = (np.array(painted, float).reshape(2, 2) - window[0]) * scale
    height = place[1, 1] - place[0, 1]
    swing = math.sin(at_s * 2 * math.pi / LIFE_S)
    place[0, 1] -= height * plane.life.stretch * swing
    place[:, 1] -= height * plane.life.lift * swing
    seen = np.stack([np.maximum(np.floor(place[0]), 0), np.minimum(np.ceil(place[1]), frame.size)]).astype(int)
    if (seen[1] <= seen[0]).any():
        return
    # Whole pixels of the frame, seen back to the fractions of the plane that they show.
    ratio = (np.array(painted[2:]) - painted[:2]) / (place[1] - place[0])
    part = np.clip((seen - place[0]) * ratio + painted[:2], 0, plane.matte.size)
    size, box = tuple((seen[1] - seen[0]).tolist()), tuple(part.ravel().tolist())
    paint, matte = (sheet.resize(size, _FILTER, box=box) for sheet in (plane.picture, plane.matte))
    frame.paste(paint, tuple(seen.ravel().tolist()), matte)


def _blown(sheet: Weather, size: tuple[int, int], view: View, at_s: float) -> Image.Image:
    whole = np.array(sheet.mask.size) / 2
    left, top, right, bottom = view.box((int(whole[0]), int(whole[1])), LAND)
    x, y = (np.array((left, top)) - np.array(sheet.drift) * at_s) % whole
    return sheet.mask.resize(size, _FILTER, box=(x, y, x + right - left, y + bottom - top))


def _encoded(frames: Iterable[Image.Image], request: FilmRequest) -> bytes:
    file = BytesIO()
    # Room for the index in front, so that a browser can begin before it has the whole.
    room = {"moov_size": str(INDEX_MIN + 44 * FPS * request.duration_s)}
    with av.open(file, "w", format="mp4", options=room) as container:
        container.metadata["comment"] = "mintage built-in renderer"
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = request.width, request.height, "yuv420p"
        stream.colorspace, stream.color_range = Colorspace.ITU709, ColorRange.MPEG
        stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.asarray(image))
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(stream.encode())
    return file.getvalue()

"""The works of a task as the built-in renderer makes them: files, and what is to be said of each."""

from PIL import Image

from mintage.application.generations import work_type_of
from mintage.infra.measure import Made
from mintage.infra.renderer import (
    FilmRequest,
    ImageRequest,
    Step,
    filmed,
    frame_size,
    render,
    rerender,
    size_for,
    thumbnail,
)
from mintage.projections.queue import Claim


def make(task: Claim, source: Image.Image | None, step: Step) -> list[Made]:
    """One for each work, in order; ``step`` learns how far it is, and may raise. Raises ``RenderingFailed``."""
    if work_type_of(task.task_type) == "video":
        return [_film(task, source, step)]
    images = []
    for index in range(len(task.works)):
        images.append(_image(task, source, index))
        step(len(images) / len(task.works))
    return images


def _image(task: Claim, source: Image.Image | None, index: int) -> Made:
    asked = task.parameters
    width, height = asked.get("width"), asked.get("height")
    if source is None:
        width, height = width or 1024, height or 1024
    else:
        width, height = size_for(source.size, width, height)
    request = ImageRequest(
        prompt=task.prompt,
        negative_prompt=task.negative_prompt or "",
        width=width,
        height=height,
        style=task.style or asked.get("style"),
        transparent=task.transparent,
        seed=asked.get("seed", 0),
        index=index,
    )
    png = render(request) if source is None else rerender(request, source, asked.get("strength", 0.7))
    return Made(
        content=png,
        thumbnail=thumbnail(png),
        suffix=".png",
        content_type="image/png",
        width=width,
        height=height,
    )


def _film(task: Claim, source: Image.Image | None, step: Step) -> Made:
    asked = task.parameters
    width, height = frame_size(int(asked.get("resolution", "720p").removesuffix("p")), _aspect(task, source))
    request = FilmRequest(
        prompt=task.prompt,
        negative_prompt=task.negative_prompt or "",
        duration_s=asked.get("duration", 5),
        width=width,
        height=height,
        seed=asked.get("seed", 0),
    )
    film = filmed(request, source, step)
    return Made(
        content=film.mp4,
        thumbnail=thumbnail(film.poster),
        suffix=".mp4",
        content_type="video/mp4",
        width=width,
        height=height,
        duration_s=request.duration_s,
    )


def _aspect(task: Claim, source: Image.Image | None) -> float:
    if (asked := task.parameters.get("aspect_ratio")) is not None:
        across, down = asked.split(":")
        return int(across) / int(down)
    return 16 / 9 if source is None else source.width / source.height

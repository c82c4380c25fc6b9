"""Stability's v2beta: a form for each image, and an image, or why there is none, for each form."""

import asyncio
from typing import Final

import msgspec

from mintage.application.catalogue import Model
from mintage.application.providers import FateUnknown, Finished, Job, JobRefused, NotSent, Told
from mintage.domain.generation.events import TaskType
from mintage.infra.providers.wire import Ask, Part, Reply, Said, Seconds, Wire, hinted, word
from mintage.infra.providers.wishes import nearest, prompt_of, shape_of, style_of

TASKS: Final[frozenset[TaskType]] = frozenset({"text2img", "img2img"})

LOCKED_OUT_S: Final = 60.0
"""How long a key that asked too often is answered nothing else; no header says so."""

_IMAGE_MAX: Final = 64 * 1_048_576
_SEEDS: Final = 4_294_967_295
_ASPECTS: Final = ("21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21")
_PRESETS: Final = frozenset(
    {
        *("enhance", "anime", "photographic", "digital-art", "comic-book", "fantasy-art"),
        *("line-art", "analog-film", "neon-punk", "isometric", "low-poly", "origami"),
        *("modeling-compound", "cinematic", "3d-model", "pixel-art", "tile-texture"),
    }
)
_OURS: Final = {
    "realistic": "photographic",
    "cartoon": "comic-book",
    "3d-render": "3d-model",
    "cyberpunk": "neon-punk",
}
"""Styles of the documents that have a preset; the others are put into the prompt."""
_POLICY: Final = frozenset({"content_moderation", "public_figure"})


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    timeout_s: Seconds = 180.0


class _Problem(msgspec.Struct, frozen=True):
    name: str = ""


class Stability:
    cancels = False
    finds = False
    repeats = False

    def __init__(self, wire: Wire, _: Options) -> None:
        self._wire = wire

    async def create(self, job: Job, told: Told) -> Finished:
        told(0.0)
        asks = [_asked(job, index) for index in range(job.count)]
        come: list[bytes] = []

        async def one(ask: Ask) -> bytes | NotSent | FateUnknown | JobRefused:
            try:
                image = await self._painted(ask, job)
            except (NotSent, FateUnknown, JobRefused) as error:
                return error
            come.append(image)
            told(len(come) / job.count)
            return image

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(ask)) for ask in asks]
        except BaseExceptionGroup as stopped:
            # Nobody waits any more; which of them noticed first is of no interest.
            raise stopped.exceptions[0] from None
        results = [task.result() for task in tasks]
        if not come:
            raise _worst([result for result in results if isinstance(result, Exception)])
        return Finished(tuple(result if isinstance(result, bytes) else None for result in results))

    async def poll(self, job: Job, provider_job: str) -> Finished:
        raise NotImplementedError("a job here is over when its create is")

    async def find(self, job: Job) -> str | None:
        raise NotImplementedError("Stability keeps no list of images")

    async def cancel(self, provider_job: str) -> bool:
        raise NotImplementedError("Stability has no way to stop an image")

    async def close(self) -> None:
        await self._wire.close()

    async def _painted(self, ask: Ask, job: Job) -> bytes:
        image = _image(await self._wire.create(ask, _said))
        if not job.transparent:
            return image
        # There is no parameter for it. The image is paid for, so whatever happens now it is not made again.
        cut = _form(job, "edit/remove-background", {"output_format": "png"}, image)
        try:
            return _image(await self._wire.create(cut, _said))
        except NotSent as error:
            raise FateUnknown(f"the background is not removed: {error}") from None


def refusal(_: Options, model: Model) -> str | None:
    if _path(model.upstream) is None:
        return f"upstream is core, ultra or a model of sd3.5, not {model.upstream!r}"
    if "img2img" in model.tasks and model.upstream == "core":
        return "core paints without a source"
    return None


def _path(upstream: str) -> str | None:
    if upstream in {"core", "ultra"}:
        return f"generate/{upstream}"
    return "generate/sd3" if upstream.startswith("sd3.5-") else None


def _asked(job: Job, index: int) -> Ask:
    path = _path(job.model)
    assert path is not None, "refused at the start"
    style = style_of(job)
    preset = _OURS.get(style or "", style) if _OURS.get(style or "", style) in _PRESETS else None
    fields = {"prompt": prompt_of(job, style=preset is None, negative=False), "output_format": "png"}
    if preset is not None:
        fields["style_preset"] = preset
    if job.negative_prompt:
        fields["negative_prompt"] = job.negative_prompt
    if isinstance(seed := job.parameters.get("seed"), int):
        # Each image is a request of its own, and the same seed would make the same of it.
        fields["seed"] = str((seed + index) % _SEEDS)
    if path == "generate/sd3":
        fields["model"] = job.model
    if job.source is not None:
        # Theirs is ours: 0 keeps the source, 1 ignores it.
        fields["strength"] = str(job.parameters.get("strength", 0.7))
        if path == "generate/sd3":
            fields["mode"] = "image-to-image"
    if (job.source is None or path != "generate/sd3") and (shape := shape_of(job)) is not None:
        fields["aspect_ratio"] = nearest(shape, _ASPECTS)
    return _form(job, path, fields, job.source)


def _form(job: Job, path: str, fields: dict[str, str], image: bytes | None) -> Ask:
    parts: list[tuple[str, Part]] = [(name, (None, value)) for name, value in fields.items()]
    if image is not None:
        parts.append(("image", ("source.png", image, "image/png")))
    return Ask(
        method="POST",
        path=f"v2beta/stable-image/{path}",
        parts=tuple(parts),
        headers={"Accept": "image/*", "Stability-Client-User-Id": job.customer[:256]},
        bytes_max=_IMAGE_MAX,
    )


def _image(reply: Reply) -> bytes:
    if reply.headers.get("finish-reason", "SUCCESS").upper() == "CONTENT_FILTERED":
        # Answered 200, with a picture that is blurred beyond use.
        raise JobRefused("policy", "CONTENT_FILTERED", "the picture was blurred")
    if not reply.headers.get("content-type", "").lower().startswith("image/") or not reply.content:
        raise FateUnknown("the answer is no image")
    return reply.content


def _said(reply: Reply) -> Said:
    name = word(hinted(reply, _Problem, _Problem()).name)
    if name in _POLICY:
        return Said(code=name, blame="policy")
    # A failure that they tell of themselves costs nothing; one of a gateway's says nothing of theirs.
    return Said(code=name, untouched=name == "internal_error", retry_in_s=LOCKED_OUT_S if reply.status == 429 else None)


def _worst(errors: list[NotSent | FateUnknown | JobRefused]) -> Exception:
    """One for all: that something may have been paid for, else that it would end the same, else how long to wait."""
    for kind in (FateUnknown, JobRefused):
        for error in errors:
            if isinstance(error, kind):
                return error
    return max(errors, key=lambda error: (isinstance(error, NotSent) and error.retry_in_s) or 0.0)

"""Models at Replicate: a prediction is made of an input that the operator wrote, asked after, and its files fetched."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec

from mintage.application.catalogue import Model
from mintage.application.providers import FateUnknown, Finished, Job, JobMissing, JobRefused, Running, Told, Unreachable
from mintage.domain.generation.events import TaskType
from mintage.infra.providers.templates import SOURCE, filled, template_refusal, values_of
from mintage.infra.providers.wire import Ask, Reply, Said, Seconds, Wire, hinted, is_policy, read, unreachable, word

TASKS: Final[frozenset[TaskType]] = frozenset({"text2img", "img2img", "text2video", "img2video"})

_STEP: Final = re.compile(r"\b(\d{1,3})%\|")
_DEPTH_MAX: Final = 8


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``inputs`` are the models' inputs by their ``upstream``; files are fetched from ``hosts`` and below them."""

    inputs: dict[str, dict[str, Any]]
    hosts: tuple[Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+\Z")], ...] = ("replicate.delivery",)
    timeout_s: Seconds = 60.0


class _Prediction(msgspec.Struct, frozen=True):
    id: str
    status: str = ""
    output: Any = None
    error: Any = None
    logs: Any = None
    data_removed: bool = False


class _File(msgspec.Struct, frozen=True):
    urls: dict[str, str]


class _Problem(msgspec.Struct, frozen=True):
    title: Any = None


class Replicate:
    cancels = True
    finds = False
    repeats = False

    def __init__(self, wire: Wire, options: Options) -> None:
        self._wire = wire
        self._options = options

    async def create(self, job: Job, told: Told) -> Running:
        told(0.0)
        values = values_of(job)
        if job.source is not None:
            values[SOURCE] = await self._uploaded(job.source)
            told(0.0)
        body = {"version": job.model, "input": filled(self._options.inputs[job.model], values)}
        reply = await self._wire.create(Ask(method="POST", path="predictions", json=body), _said)
        prediction = read(reply, _Prediction, FateUnknown)
        _refuse_ended(prediction)
        return Running(prediction.id, _progress(prediction))

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:
        reply = await self._wire.ask(Ask(method="GET", path=_path(provider_job)))
        prediction = read(reply, _Prediction, Unreachable)
        _refuse_ended(prediction)
        if prediction.status != "succeeded":
            return Running(provider_job, _progress(prediction))
        if prediction.data_removed:
            raise JobRefused("provider", "data_removed", "the files were removed before they were fetched")
        urls = list(_urls(prediction.output))[: job.count]
        if not urls:
            raise JobRefused("provider", "no_output", "it succeeded without a file")
        files = [await self._wire.file(url, self._options.hosts) for url in urls]
        if not any(files):
            raise JobMissing("the files are gone")
        return Finished((*(file or None for file in files), *[None] * (job.count - len(files))))

    async def find(self, job: Job) -> str | None:
        raise NotImplementedError("Replicate's list says nothing that tells ours from others")

    async def cancel(self, provider_job: str) -> bool:
        ask = Ask(method="POST", path=f"{_path(provider_job)}/cancel")
        reply = await self._wire.answer(ask)
        if reply.status in {404, 410}:
            return False
        if not reply.good:
            raise unreachable(ask, reply)
        return read(reply, _Prediction, Unreachable).status not in {"succeeded", "failed"}

    async def close(self) -> None:
        await self._wire.close()

    async def _uploaded(self, source: bytes) -> str:
        ask = Ask(method="POST", path="files", parts=(("content", ("source.png", source, "image/png")),))
        reply = await self._wire.prepare(ask, _said)
        # It is not the prediction whose fate is unknown here.
        found = hinted(reply, _File, _File({})).urls.get("get")
        if found is None:
            raise JobRefused("provider", "no_file", "the upload was answered without a url")
        return found


def refusal(options: Options, model: Model) -> str | None:
    template = options.inputs.get(model.upstream)
    if template is None:
        return f"options.inputs has no {model.upstream!r}"
    reason = template_refusal(template, model)
    return None if reason is None else f"options.inputs.{model.upstream}: {reason}"


def _path(provider_job: str) -> str:
    return f"predictions/{quote(provider_job, safe='')}"


def _said(reply: Reply) -> Said:
    title = hinted(reply, _Problem, _Problem()).title
    return Said(code=word(title.replace(" ", "_") if isinstance(title, str) else None))


def _refuse_ended(prediction: _Prediction) -> None:
    if prediction.status in {"canceled", "aborted"}:
        raise JobRefused("provider", prediction.status, "the prediction was stopped")
    if prediction.status == "failed":
        blame = is_policy(prediction.error) or "(E005)" in str(prediction.error)
        raise JobRefused("policy" if blame else "provider", "failed", "the prediction failed")


def _progress(prediction: _Prediction) -> float | None:
    """As the last bar in the log says: there is nothing better."""
    steps = _STEP.findall(prediction.logs) if isinstance(prediction.logs, str) else []
    return min(int(steps[-1]) / 100, 1.0) if steps else None


def _urls(output: Any, depth: int = 0) -> Iterator[str]:
    """Every url in the output, in order: some models give one, some a list, some an object."""
    match output:
        case str() if output.startswith(("https://", "http://")):
            yield output
        case list() | dict() if depth < _DEPTH_MAX:
            for inner in output.values() if isinstance(output, dict) else output:
                yield from _urls(inner, depth + 1)

"""A ComfyUI server of one's own: a job is a workflow that the operator drew, queued under an id that we choose.

A job is only ever stopped by its own id: the server may work for others, too.
"""

from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

import msgspec

from mintage.application.catalogue import Model
from mintage.application.providers import FateUnknown, Finished, Job, JobMissing, JobRefused, Running, Told, Unreachable
from mintage.domain.generation.events import Parameter, TaskType
from mintage.infra.providers.templates import SOURCE, filled, places_of, template_refusal, values_of
from mintage.infra.providers.wire import Ask, Reply, Said, Seconds, Wire, hinted, read, unreachable, word

TASKS: Final[frozenset[TaskType]] = frozenset({"text2img", "img2img", "text2video", "img2video"})

_QUEUE_MAX: Final = 64 * 1_048_576
"""The queue is told with every workflow that waits in it."""
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_FILMS: Final = frozenset({".mp4", ".webm", ".mov", ".mkv"})

_GIVEN: Final[dict[str, Parameter]] = {"seed": 0, "negative_prompt": "", "style": ""}
"""What stands in a place for which nothing was asked; the seed is the job's own."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``workflows`` are files as ComfyUI exports them for its API, by the models' ``upstream``."""

    workflows: dict[str, str]
    timeout_s: Seconds = 60.0


class _Queued(msgspec.Struct, frozen=True):
    prompt_id: str


class _Problem(msgspec.Struct, frozen=True):
    # A text, or an object with a type.
    error: Any = None


class _Uploaded(msgspec.Struct, frozen=True):
    name: str
    subfolder: str = ""


class _Job(msgspec.Struct, frozen=True):
    """How a job stands, in the words of the newer interface."""

    status: str
    outputs: dict[str, Any] = {}
    execution_error: Any = None


class _Ran(msgspec.Struct, frozen=True):
    status_str: str = ""
    messages: list[Any] = []


class _Past(msgspec.Struct, frozen=True):
    outputs: dict[str, Any] = {}
    status: _Ran | None = None


class _Queue(msgspec.Struct, frozen=True):
    queue_running: list[list[Any]]
    queue_pending: list[list[Any]]


class _Cancelled(msgspec.Struct, frozen=True):
    cancelled: bool


class ComfyUi:
    cancels = True
    finds = True
    repeats = False

    def __init__(self, wire: Wire, options: Options) -> None:
        self._wire = wire
        self._workflows = {name: _workflow(path) for name, path in options.workflows.items()}

    async def create(self, job: Job, told: Told) -> Running:
        told(0.0)
        # With everything as it was before, ComfyUI would paint nothing and point to the old files.
        values: dict[str, Parameter] = {**_GIVEN, "seed": int(job.job_id[-8:], 16)}
        values |= values_of(job)
        if job.source is not None:
            values[SOURCE] = await self._uploaded(job)
            told(0.0)
        body = {"prompt": filled(self._workflows[job.model], values), "prompt_id": job.job_id}
        reply = await self._wire.create(Ask(method="POST", path="prompt", json=body), _said)
        return Running(read(reply, _Queued, FateUnknown).prompt_id)

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:
        seen = await self._seen(provider_job)
        if seen is None:
            raise JobMissing("neither in the queue nor in the history")
        match seen.status:
            case "completed":
                return await self._finished(job, seen)
            case "failed":
                error = seen.execution_error if isinstance(seen.execution_error, dict) else {}
                raise JobRefused("provider", word(error.get("exception_type")) or "failed", "the workflow failed")
            case "cancelled":
                raise JobRefused("provider", "cancelled", "the workflow was interrupted")
            case _:
                return Running(provider_job)

    async def find(self, job: Job) -> str | None:
        return None if await self._seen(job.job_id) is None else job.job_id

    async def cancel(self, provider_job: str) -> bool:
        ask = Ask(method="POST", path=f"api/jobs/{quote(provider_job, safe='')}/cancel")
        reply = await self._wire.answer(ask)
        if reply.good:
            return read(reply, _Cancelled, Unreachable).cancelled
        if reply.status not in {404, 405}:
            raise unreachable(ask, reply)
        return await self._cancelled_the_old_way(provider_job)

    async def close(self) -> None:
        await self._wire.close()

    async def _uploaded(self, job: Job) -> str:
        parts = (
            ("image", (f"mintage-{job.job_id}.png", job.source or b"", "image/png")),
            ("type", (None, "input")),
            ("overwrite", (None, "true")),
        )
        reply = await self._wire.prepare(Ask(method="POST", path="upload/image", parts=parts), _said)
        # Under another name than ours, if it likes.
        uploaded = hinted(reply, _Uploaded, _Uploaded(""))
        if not uploaded.name:
            raise JobRefused("provider", "no_file", "the upload was answered without a name")
        return f"{uploaded.subfolder}/{uploaded.name}" if uploaded.subfolder else uploaded.name

    async def _seen(self, prompt_id: str) -> _Job | None:
        """How the job stands; None if the server knows nothing of it. Raises ``Unreachable``."""
        ask = Ask(method="GET", path=f"api/jobs/{quote(prompt_id, safe='')}")
        reply = await self._wire.answer(ask)
        if reply.good:
            return read(reply, _Job, Unreachable)
        if reply.status not in {404, 405}:
            raise unreachable(ask, reply)
        if hinted(reply, _Problem, _Problem()).error is not None:
            return None
        # A server without that interface. A job goes from the queue to the history, so it is looked for in that order.
        queue = await self._queue()
        if _is_in(queue.queue_running, prompt_id) or _is_in(queue.queue_pending, prompt_id):
            return _Job("in_progress")
        return await self._past(prompt_id)

    async def _queue(self) -> _Queue:
        return read(await self._known("queue"), _Queue, Unreachable)

    async def _past(self, prompt_id: str) -> _Job | None:
        reply = await self._known(f"history/{quote(prompt_id, safe='')}")
        past = read(reply, dict[str, _Past], Unreachable).get(prompt_id)
        if past is None:
            return None
        ran = past.status or _Ran()
        if ran.status_str != "error":
            return _Job("completed", past.outputs)
        events = {one[0]: one[1] for one in ran.messages if isinstance(one, list) and len(one) == 2}
        if "execution_interrupted" in events:
            return _Job("cancelled")
        return _Job("failed", execution_error=events.get("execution_error"))

    async def _known(self, path: str) -> Reply:
        ask = Ask(method="GET", path=path, bytes_max=_QUEUE_MAX)
        reply = await self._wire.answer(ask)
        if not reply.good:
            raise unreachable(ask, reply)
        return reply

    async def _cancelled_the_old_way(self, prompt_id: str) -> bool:
        await self._done("queue", {"delete": [prompt_id]})
        queue = await self._queue()
        if _is_in(queue.queue_running, prompt_id):
            # Without the id it would stop whatever runs, whoever it is for.
            await self._done("interrupt", {"prompt_id": prompt_id})
            return True
        return await self._past(prompt_id) is None

    async def _done(self, path: str, body: dict[str, Any]) -> None:
        ask = Ask(method="POST", path=path, json=body)
        reply = await self._wire.answer(ask)
        if not reply.good:
            raise unreachable(ask, reply)

    async def _finished(self, job: Job, seen: _Job) -> Finished:
        kinds = _FILMS if job.task_type.endswith("video") else _IMAGES
        places = [f"view?{_query(file)}" for file in _files(seen.outputs) if _suffix(file) in kinds][: job.count]
        if not places:
            raise JobRefused("provider", "no_output", "the workflow saved no file of that kind")
        files = [await self._wire.file(place) or None for place in places]
        if not any(files):
            raise JobMissing("the files are gone")
        return Finished((*files, *[None] * (job.count - len(files))))


def refusal(options: Options, model: Model) -> str | None:
    path = options.workflows.get(model.upstream)
    if path is None:
        return f"options.workflows has no {model.upstream!r}"
    try:
        workflow = _workflow(path)
    except (OSError, ValueError) as error:
        return f"options.workflows.{model.upstream}: {error}"
    if len({task.startswith("img") for task in model.tasks}) > 1:
        return "a workflow does tasks with a source image or tasks without, not both"
    reason = template_refusal(workflow, model)
    if reason is None:
        # A node that lacks an input refuses every task.
        unsure = {name for name, bounds in model.parameters.items() if bounds.default is None and name not in _GIVEN}
        if absent := unsure & places_of(workflow):
            reason = f"{{{min(absent)}}} may be absent: parameters.{min(absent)} needs a default"
    return None if reason is None else f"options.workflows.{model.upstream}: {reason}"


def _workflow(path: str) -> dict[str, Any]:
    """Raises ``OSError``, ``ValueError``."""
    workflow = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])
    if not all(isinstance(node, dict) and "class_type" in node for node in workflow.values()):
        raise ValueError(f"{path} is no workflow as ComfyUI exports it for its API")
    return workflow


def _said(reply: Reply) -> Said:
    """What is wrong is wrong with the workflow, which is the operator's."""
    error = hinted(reply, _Problem, _Problem()).error
    code = word(error.get("type")) if isinstance(error, dict) else ""
    return Said(code=code, blame="provider" if 400 <= reply.status < 500 and reply.status not in {408, 429} else None)


def _is_in(queue: list[list[Any]], prompt_id: str) -> bool:
    return any(len(entry) > 1 and entry[1] == prompt_id for entry in queue)


def _files(outputs: dict[str, Any]) -> list[dict[str, Any]]:
    """What the nodes saved for good, in the order of the nodes; previews are of type ``temp``."""
    lists = [
        files
        for _, node in sorted(outputs.items(), key=lambda one: (len(one[0]), one[0]))
        if isinstance(node, dict)
        for files in node.values()
        if isinstance(files, list)
    ]
    found = [file for files in lists for file in files if isinstance(file, dict) and file.get("type") == "output"]
    return [file for file in found if isinstance(file.get("filename"), str)]


def _suffix(file: dict[str, Any]) -> str:
    return PurePosixPath(file["filename"]).suffix.lower()


def _query(file: dict[str, Any]) -> str:
    named = {"filename": file["filename"], "subfolder": str(file.get("subfolder", "")), "type": "output"}
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in named.items())

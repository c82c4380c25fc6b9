"""A ComfyUI server, as it is now (``modern``) and as it was in 2025: queue, history, files, and who is stopped."""

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.providers.server import Answer, ProviderServer, Refused, Request, demand, filmed, painted, told


@dataclass
class Prompt:
    id: str
    graph: dict[str, Any]
    state: str = "pending"
    messages: list[Any] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)


class ComfyUiServer(ProviderServer):
    """Each look at the queue, the history or a job is one step of time: the first that waits runs, then is done.

    ``ends`` says what becomes of them; ``extension`` of what sort their files are; ``withheld`` images do not come out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.modern = True
        self.ends = "success"
        self.extension = ".png"
        self.withheld = 0
        self.steps_each = 1
        self.stands_still = False
        self.cancel_ignored = False
        self.prompts: list[Prompt] = []
        self.uploads: dict[str, bytes] = {}
        self.gone: set[str] = set()
        self._steps = 0

    def handle(self, request: Request) -> Answer:
        demand("origin" not in request.headers, lambda: Answer(403))
        match request.method, request.path.split("/")[1:]:
            case "POST", ["upload", "image"]:
                return self._upload(request)
            case "POST", ["prompt"]:
                return self._prompt(request.json())
            case "GET", ["api", "jobs", name] if self.modern:
                self.step()
                return self._job(name)
            case "POST", ["api", "jobs", name, "cancel"] if self.modern:
                return told({"cancelled": self._stop(name)})
            case "GET", ["queue"]:
                self.step()
                return told({"queue_running": self._waiting("running"), "queue_pending": self._waiting("pending")})
            case "GET", ["history", name]:
                self.step()
                return told({one.id: self._past(one) for one in self.prompts if one.id == name and one.state == "done"})
            case "POST", ["queue"]:
                for name in request.json().get("delete", []):
                    self.prompts = [one for one in self.prompts if (one.id, one.state) != (name, "pending")]
                return Answer()
            case "POST", ["interrupt"]:
                self._interrupt(request.json().get("prompt_id") if request.body else None)
                return Answer()
            case "GET", ["view"]:
                return self._view(request.query)
        # As aiohttp says it; the page's own files are there for GET, so that others are not allowed.
        raise Refused(
            Answer(404 if request.method == "GET" else 405, b"404: Not Found", {"content-type": "text/plain"})
        )

    def queue_of_others(self) -> str:
        """Somebody else's job, first in the queue."""
        self.prompts.insert(0, Prompt(str(uuid.uuid4()), {"1": {"class_type": "SaveImage", "inputs": {}}}))
        return self.prompts[0].id

    def restart(self) -> None:
        """Queue and history are in memory only."""
        self.prompts = []

    def state(self, name: str) -> str:
        return next((one.state for one in self.prompts if one.id == name), "unknown")

    def step(self) -> None:
        self._steps += 1
        if self.stands_still or self._steps % self.steps_each:
            return
        for one in self.prompts:
            if one.state == "running":
                self._finish(one, self.ends)
                return
            if one.state == "pending":
                one.state = "running"
                return

    def _upload(self, request: Request) -> Answer:
        parts = request.form()
        demand(parts["image"].filename and parts["type"].value == b"input", lambda: Answer(400))
        name = f"renamed {parts['image'].filename}"
        self.uploads[name] = parts["image"].value
        return told({"name": name, "subfolder": "", "type": "input"})

    def _prompt(self, body: Any) -> Answer:
        demand(body.keys() <= {"prompt", "prompt_id", "client_id", "front", "number"}, lambda: _invalid("no_prompt"))
        name = body.get("prompt_id") or str(uuid.uuid4())
        demand(str(uuid.UUID(name)) == name, lambda: _invalid("invalid_prompt_id"))
        graph = body["prompt"]
        for number, node in graph.items():
            demand("class_type" in node, lambda: _invalid("missing_node_type"))
            reason = self._fault_of(node)
            if reason is not None:
                errors = {number: {"errors": [{"type": reason, "message": "", "details": "a kitten in a garden"}]}}
                raise Refused(_invalid("prompt_outputs_failed_validation", errors))
        self.created += 1
        self.prompts.append(Prompt(name, graph))
        return told({"prompt_id": name, "number": self.created, "node_errors": {}})

    def _fault_of(self, node: dict[str, Any]) -> str | None:
        inputs = node["inputs"]
        if re.search(r"\{[a-z_]+\}", str([value for name, value in inputs.items() if name != "text"])):
            return "invalid_input_type"
        match node["class_type"]:
            case "LoadImage" if inputs.get("image") not in self.uploads:
                return "custom_validation_failed"
            case "KSampler" if type(inputs.get("seed")) is not int:
                return "invalid_input_type"
            case "EmptyLatentImage":
                numbers = [inputs.get(name) for name in ("width", "height", "batch_size")]
                if not all(type(one) is int for one in numbers):
                    return "invalid_input_type"
            case "CLIPTextEncode" if not isinstance(inputs.get("text"), str):
                return "required_input_missing"
        return None

    def _finish(self, one: Prompt, ends: str) -> None:
        one.state = "done"
        one.messages = [["execution_start", {"prompt_id": one.id}]]
        match ends:
            case "success":
                count = 1
                for node in one.graph.values():
                    count = node["inputs"].get("batch_size", count)
                files = [
                    {"filename": f"ComfyUI {index}{self.extension}", "subfolder": "a b", "type": "output"}
                    for index in range(count - self.withheld)
                ]
                preview = {"filename": "preview.png", "subfolder": "", "type": "temp"}
                kind = "images" if self.extension == ".png" else "gifs"
                one.outputs = {"3": {"images": [preview]}, "9": {kind: files, "animated": [False], "text": ["words"]}}
                one.messages.append(["execution_success", {"prompt_id": one.id}])
            case "interrupted":
                one.messages.append(["execution_interrupted", {"prompt_id": one.id, "executed": []}])
            case _:
                told_of = {"prompt_id": one.id, "exception_type": ends, "exception_message": "a kitten in a garden"}
                one.messages.append(["execution_error", told_of])

    def _stop(self, name: str) -> bool:
        for one in self.prompts:
            if one.id == name and one.state in {"pending", "running"}:
                if not self.cancel_ignored:
                    self._finish(one, "interrupted")
                return True
        return False

    def _interrupt(self, name: str | None) -> None:
        for one in self.prompts:
            if one.state == "running" and name in {None, one.id}:
                self._finish(one, "interrupted")

    def _waiting(self, state: str) -> list[Any]:
        return [[number, one.id, one.graph, {}, ["9"]] for number, one in enumerate(self.prompts) if one.state == state]

    def _past(self, one: Prompt) -> dict[str, Any]:
        succeeded = one.messages[-1][0] == "execution_success"
        status = {
            "status_str": "success" if succeeded else "error",
            "completed": succeeded,
            "messages": one.messages,
        }
        return {"prompt": [1, one.id, one.graph, {}, ["9"]], "outputs": one.outputs, "status": status, "meta": {}}

    def _job(self, name: str) -> Answer:
        one = next((one for one in self.prompts if one.id == name), None)
        if one is None:
            return told({"error": "Job not found"}, 404)
        status = {"pending": "pending", "running": "in_progress"}.get(one.state)
        error = None
        if status is None:
            event, error = one.messages[-1]
            status = {"execution_success": "completed", "execution_interrupted": "cancelled"}.get(event, "failed")
        job: dict[str, Any] = {"id": one.id, "status": status, "priority": 1, "outputs_count": 0}
        if one.state == "done":
            job |= {"outputs": one.outputs, "workflow": {"prompt": one.graph, "extra_data": {}}}
        if status == "failed":
            job["execution_error"] = error
        return told(job)

    def _view(self, query: dict[str, str]) -> Answer:
        demand(query.get("type") in {"output", "temp"} and query.get("subfolder") == "a b", lambda: Answer(404))
        name = query["filename"]
        demand(name not in self.gone, lambda: Answer(404))
        index = int(re.findall(r"\d+", name)[0])
        if self.extension == ".png":
            return Answer(200, painted(index), {"content-type": "image/png"})
        return Answer(200, filmed(index), {"content-type": "video/mp4"})


def _invalid(kind: str, node_errors: Any = None) -> Answer:
    error = {"type": kind, "message": "a kitten in a garden", "details": "", "extra_info": {}}
    return told({"error": error, "node_errors": node_errors or {}}, 400)

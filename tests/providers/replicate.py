"""Replicate's predictions as documented: strict bodies, files at urls, an hour to fetch them, and a cancel."""

from dataclasses import dataclass
from typing import Any, Final

from tests.providers.server import KEY, Answer, ProviderServer, Refused, Request, demand, filmed, painted, told

INPUTS: Final = frozenset(
    {"prompt", "negative_prompt", "width", "height", "num_outputs", "seed", "image", "prompt_strength", "duration"}
)


def refused(status: int, title: str, detail: str = "a kitten in a garden") -> Answer:
    return told({"type": "about:blank", "title": title, "detail": f"{detail} {KEY[:8]}", "status": status}, status)


@dataclass
class Made:
    input: dict[str, Any]
    status: str = "starting"
    polls: int = 0


class ReplicateServer(ProviderServer):
    """``shape`` is how its models give their output; ``ends`` what becomes of them; ``error`` their text if failed."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = "list"
        self.ends = "succeeded"
        self.error: str | None = None
        self.running = ["starting", "processing", "processing"]
        self.never_ends = False
        self.withheld = 0
        self.data_removed = False
        self.cancel_ignored = False
        self.output: Any = None
        self.film = False
        self.gone: set[str] = set()
        self.made: dict[str, Made] = {}
        self.uploads: dict[str, bytes] = {}

    def handle(self, request: Request) -> Answer:
        match request.method, request.path.split("/")[1:]:
            case "GET", ["delivery", name]:
                demand(name not in self.gone, lambda: Answer(404))
                index = int(name.partition(".")[0])
                film = Answer(200, filmed(index), {"content-type": "video/mp4"})
                return film if self.film else Answer(200, painted(index), {"content-type": "image/png"})
        unsigned = refused(401, "Unauthenticated")
        demand(request.headers.get("authorization") == f"Bearer {KEY}", lambda: unsigned)
        match request.method, request.path.split("/")[1:]:
            case "POST", ["v1", "files"]:
                content = request.form()["content"]
                demand(content.filename and content.content_type == "image/png", lambda: refused(400, "Bad request"))
                url = f"{self.url}/v1/files/{len(self.uploads)}"
                self.uploads[url] = content.value
                return told({"id": "file1", "urls": {"get": url}, "expires_at": "2026-01-01T00:00:00Z"}, 201)
            case "POST", ["v1", "predictions"]:
                return self._create(request.json())
            case "GET", ["v1", "predictions", name] if name in self.made:
                return self._tell(name)
            case "POST", ["v1", "predictions", name, "cancel"] if name in self.made:
                made = self.made[name]
                if made.status in {"starting", "processing"} and not self.cancel_ignored:
                    made.status = "canceled"
                return told(self._prediction(name))
        raise Refused(refused(404, "Not found"))

    def _create(self, body: dict[str, Any]) -> Answer:
        allowed = {"version", "input", "webhook", "webhook_events_filter"}
        demand(body.keys() <= allowed, lambda: refused(422, "Unprocessable entity", "Additional property"))
        demand(body.get("version") == "someone/painter", lambda: refused(422, "Invalid version or not permitted"))
        given = body["input"]
        demand(given.keys() <= INPUTS and None not in given.values(), lambda: refused(422, "Input validation failed"))
        demand(isinstance(given.get("prompt"), str), lambda: refused(422, "Input validation failed"))
        numbers = [given[name] for name in ("width", "height", "num_outputs", "seed") if name in given]
        demand(all(type(one) is int for one in numbers), lambda: refused(422, "Input validation failed"))
        demand(given.get("image", None) in {None, *self.uploads}, lambda: refused(422, "Input validation failed"))
        self.created += 1
        name = f"pred{self.created}"
        self.made[name] = Made(given)
        return told(self._prediction(name), 201, ratelimit_remaining="599")

    def _tell(self, name: str) -> Answer:
        made = self.made[name]
        if made.status in {"starting", "processing"}:
            made.status = self.running[min(made.polls, len(self.running) - 1)]
            made.polls += 1
            if made.polls > len(self.running) and not self.never_ends:
                made.status = self.ends
        return told(self._prediction(name))

    def _prediction(self, name: str) -> dict[str, Any]:
        made = self.made[name]
        done = made.status == "succeeded"
        return {
            "id": name,
            "model": "someone/painter",
            "version": "hidden",
            "input": made.input,
            "output": self._output(made) if done and not self.data_removed else None,
            "data_removed": done and self.data_removed,
            "error": self.error if made.status == "failed" else None,
            "logs": "Using seed: 3\n 10%|#         | 2/20\n" + (" 55%|#####     | 11/20\n" if made.polls > 1 else ""),
            "status": made.status,
            "created_at": "2026-01-01T00:00:00Z",
            "urls": {"get": "", "cancel": "", "web": ""},
        }

    def _output(self, made: Made) -> Any:
        if self.output is not None:
            return self.output
        suffix = "mp4" if self.film else "png"
        count = made.input.get("num_outputs", 1) - self.withheld
        urls = [f"{self.url}/delivery/{index}.{suffix}" for index in range(count)]
        match self.shape:
            case "text":
                return urls[0]
            case "object":
                return {"seed": 3, "images": [{"url": url} for url in urls], "note": "a kitten"}
            case _:
                return urls

"""OpenAI's images, and its videos as gateways speak them, as documented: strict in what they take."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from PIL import Image

from tests.providers.server import KEY, Answer, ProviderServer, Refused, Request, demand, filmed, painted, told

IMAGE_MODELS: Final = frozenset({"gpt-image-1", "gpt-image-1-mini", "gpt-image-2"})
IMAGE_FIELDS: Final = frozenset(
    {"model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression", "user"}
)
VIDEO_FIELDS: Final = frozenset({"model", "prompt", "seconds", "size"})


def refused(
    code: str, status: int = 400, kind: str = "invalid_request_error", param: str | None = None, **more: Any
) -> Answer:
    message = f"What you sent with {KEY[:8]}... is wrong: a kitten in a garden."
    return told({"error": {"message": message, "type": kind, "param": param, "code": code, **more}}, status)


def moderated(stage: str | None) -> Answer:
    """The stage is not always told."""
    details: Any = (
        {} if stage is None else {"moderation_details": {"moderation_stage": stage, "categories": ["sexual"]}}
    )
    return refused("moderation_blocked", kind="image_generation_user_error", **details)


QUOTA: Final = refused("insufficient_quota", 429, "insufficient_quota")
SLOW_DOWN: Final = refused("slow_down", 503, "rate_limit_error")


def signed(request: Request) -> None:
    demand(request.headers.get("authorization") == f"Bearer {KEY}", lambda: refused("invalid_api_key", 401))


class OpenAiImagesServer(ProviderServer):
    """``withheld`` of the images of each request do not come out; those of ``broken`` indexes are no base64."""

    def __init__(self) -> None:
        super().__init__()
        self.withheld = 0
        self.broken: set[int] = set()

    def handle(self, request: Request) -> Answer:
        signed(request)
        match request.method, request.path:
            case "POST", "/v1/images/generations":
                fields = request.json()
                demand(isinstance(fields.get("n", 1), int), lambda: refused("invalid_type", param="n"))
            case "POST", "/v1/images/edits":
                parts = request.form()
                image = parts.pop("image", None)
                demand(image is not None, lambda: refused("missing_required_parameter", param="image"))
                assert image is not None
                demand(image.filename and image.content_type == "image/png", lambda: refused("invalid_image_file"))
                demand(image.value.startswith(b"\x89PNG"), lambda: refused("invalid_image_file"))
                fields = {name: part.value.decode() for name, part in parts.items()}
                fields["n"] = int(fields.get("n", "1"))
                if (fidelity := fields.pop("input_fidelity", None)) is not None:
                    fits = fidelity in {"high", "low"} and not fields.get("model", "").endswith("-mini")
                    demand(fits, lambda: refused("invalid_value", param="input_fidelity"))
            case _:
                raise Refused(refused("unknown_url", 404))
        return self._images(fields)

    def _images(self, fields: dict[str, Any]) -> Answer:
        for name in fields.keys() - IMAGE_FIELDS:
            raise Refused(refused("unknown_parameter", param=name))
        demand(fields.get("model") in IMAGE_MODELS, lambda: refused("model_not_found", 404, param="model"))
        demand(0 < len(fields.get("prompt", "")) <= 32_000, lambda: refused("invalid_value", param="prompt"))
        demand(1 <= fields.get("n", 1) <= 10, lambda: refused("integer_above_max_value", param="n"))
        sizes = {"auto", "1024x1024", "1536x1024", "1024x1536"}
        demand(fields.get("size", "auto") in sizes, lambda: refused("invalid_value", param="size"))
        demand(fields.get("quality", "auto") in {"low", "medium", "high", "auto"}, lambda: refused("invalid_value"))
        transparent = fields.get("background") == "transparent"
        packed = fields.get("output_format", "png") in {"png", "webp"}
        demand(packed or not transparent, lambda: refused("invalid_value", param="background"))
        self.created += 1
        count = fields.get("n", 1) - self.withheld
        images = [{"b64_json": b64encode(painted(index, transparent=transparent)).decode()} for index in range(count)]
        for index in self.broken:
            images[index] = {"b64_json": "no base64!"}
        return told({"created": 1713833628, "data": images, "usage": {"total_tokens": 4210}}, x_request_id="req_1")


@dataclass
class Film:
    size: str
    seconds: str
    polls: int = 0


class OpenAiVideosServer(ProviderServer):
    """A film is ``done`` at the poll after the ``statuses``, one each; ``failure`` is its error if it fails instead."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses = ["queued", "in_progress", "in_progress"]
        self.done = "completed"
        self.failure: Any = None
        self.never_ends = False
        self.film_type = "video/mp4"
        self.wait_ms: str | None = "1500"
        self.expired = False
        self.id_field = "id"
        self.films: dict[str, Film] = {}

    def handle(self, request: Request) -> Answer:
        signed(request)
        match request.method, request.path.split("/")[1:]:
            case "POST", ["v1", "videos"]:
                return self._create(request)
            case "GET", ["v1", "videos", name] if name in self.films:
                return self._tell(name)
            case "GET", ["v1", "videos", name, "content"] if name in self.films and not self.expired:
                return Answer(200, filmed(), {"content-type": self.film_type})
        raise Refused(refused("not_found", 404))

    def _create(self, request: Request) -> Answer:
        if request.is_form():
            parts = request.form()
            reference = parts.pop("input_reference", None)
            fields: dict[str, Any] = {name: part.value.decode() for name, part in parts.items()}
            demand(reference is not None, lambda: refused("missing_required_parameter", param="input_reference"))
            assert reference is not None
            with Image.open(BytesIO(reference.value)) as picture:
                fits = "x".join(map(str, picture.size)) == fields.get("size")
            demand(fits, lambda: refused("invalid_value", param="input_reference"))
        else:
            fields = request.json()
        for name in fields.keys() - VIDEO_FIELDS:
            raise Refused(refused("unknown_parameter", param=name))
        demand(fields.get("prompt"), lambda: refused("missing_required_parameter", param="prompt"))
        demand(fields.get("model") in {"sora-2", "sora-2-pro"}, lambda: refused("model_not_found", 404))
        # A number is not one of these.
        demand(fields.get("seconds", "4") in ("4", "8", "12"), lambda: refused("invalid_value", param="seconds"))
        demand(fields.get("size", "720x1280") in {"720x1280", "1280x720"}, lambda: refused("invalid_value"))
        self.created += 1
        name = f"video_{self.created}"
        self.films[name] = Film(fields.get("size", "720x1280"), fields.get("seconds", "4"))
        return self._video(name, "queued", 0)

    def _tell(self, name: str) -> Answer:
        film = self.films[name]
        film.polls += 1
        if film.polls <= len(self.statuses) or self.never_ends:
            step = min(film.polls, len(self.statuses)) - 1
            return self._video(name, self.statuses[step], 100 * film.polls // (film.polls + 2))
        return self._video(name, "failed" if self.failure else self.done, 100, self.failure)

    def _video(self, name: str, status: str, progress: int, error: Any = None) -> Answer:
        film = self.films[name]
        video = {
            self.id_field: name,
            "object": "video",
            "model": "sora-2",
            "status": status,
            "progress": progress,
            "created_at": 1712697600,
            "size": film.size,
            "seconds": film.seconds,
            "quality": "standard",
            "error": error,
        }
        wait: Any = {} if self.wait_ms is None else {"openai_poll_after_ms": self.wait_ms}
        return told(video, **wait)

"""Stability's v2beta as documented: forms only, an image for each, and moderation in two ways."""

import re
from typing import Any, Final

from tests.providers.server import KEY, Answer, Part, ProviderServer, Refused, Request, demand, painted, told

ASPECTS: Final = frozenset({"21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21"})
FIELDS: Final = {
    "core": frozenset({"prompt", "negative_prompt", "aspect_ratio", "seed", "style_preset", "output_format"}),
    "ultra": frozenset(
        {"prompt", "negative_prompt", "aspect_ratio", "seed", "style_preset", "output_format", "image", "strength"}
    ),
    "sd3": frozenset(
        {"prompt", "negative_prompt", "aspect_ratio", "seed", "style_preset", "output_format", "image", "strength"}
        | {"mode", "model", "cfg_scale"}
    ),
}
PRESETS: Final = frozenset({"photographic", "comic-book", "3d-model", "neon-punk", "anime"})


def refused(status: int, name: str, error: str = "a kitten in a garden") -> Answer:
    return told({"id": "4212a4b66fbe1cedca4bf2133d35dca5", "name": name, "errors": [f"{error} {KEY[:8]}"]}, status)


MODERATED: Final = refused(403, "content_moderation")
LOCKED_OUT: Final = refused(429, "rate_limit_exceeded")
FAILED: Final = refused(500, "internal_error")


class StabilityServer(ProviderServer):
    """The images of ``filtered`` indexes, in the order of the requests, are blurred; those of ``answers`` are these."""

    def __init__(self) -> None:
        super().__init__()
        self.filtered: set[int] = set()
        self.answers: dict[int, Answer] = {}
        self._came = 0

    def handle(self, request: Request) -> Answer:
        demand(request.headers.get("authorization") == f"Bearer {KEY}", lambda: refused(401, "unauthorized"))
        demand(request.method == "POST", lambda: refused(404, "not_found"))
        demand(request.is_form(), lambda: refused(400, "bad_request", "content-type: must be multipart/form-data"))
        demand(request.headers.get("accept") in {"image/*", "*/*"}, lambda: refused(400, "bad_request"))
        demand(len(request.headers.get("stability-client-user-id", "")) <= 256, lambda: refused(400, "bad_request"))
        prefix, _, method = request.path.rpartition("/")
        match prefix:
            case "/v2beta/stable-image/generate" if method in FIELDS:
                return self._generate(method, request.form())
            case "/v2beta/stable-image/edit" if method == "remove-background":
                return self._cut_out(request.form())
        raise Refused(refused(404, "not_found"))

    def _generate(self, method: str, parts: dict[str, Part]) -> Answer:
        index, self._came = self._came, self._came + 1
        for name in parts.keys() - FIELDS[method]:
            raise Refused(refused(400, "bad_request", f"{name}: is not allowed"))
        fields = {name: part.value.decode() for name, part in parts.items() if name != "image"}
        prompt = fields.get("prompt", "")
        demand(0 < len(prompt) <= 10_000, lambda: refused(400, "bad_request", "prompt: is required"))
        demand(not re.search(r"[\u4e00-\u9fff]", prompt), lambda: refused(422, "invalid_language"))
        demand(fields.get("aspect_ratio", "1:1") in ASPECTS, lambda: refused(400, "bad_request", "aspect_ratio"))
        demand(fields.get("style_preset", "anime") in PRESETS, lambda: refused(400, "bad_request", "style_preset"))
        demand(0 <= int(fields.get("seed", "0")) <= 4_294_967_294, lambda: refused(400, "bad_request", "seed"))
        if method == "sd3":
            self._as_sd3(fields, parts)
        if "image" in parts:
            demand(0 <= float(fields.get("strength", "-1")) <= 1, lambda: refused(400, "bad_request", "strength"))
            demand(parts["image"].filename, lambda: refused(400, "bad_request", "image: is no file"))
        if index in self.answers:
            raise Refused(self.answers[index])
        self.created += 1
        reason = "CONTENT_FILTERED" if index in self.filtered else "SUCCESS"
        return self._image(painted(int(fields.get("seed", index)) % 6), reason)

    def _as_sd3(self, fields: dict[str, Any], parts: dict[str, Part]) -> None:
        known = {"sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium"}
        demand(fields.get("model", "sd3.5-large") in known, lambda: refused(400, "bad_request", "model"))
        repaints = fields.get("mode") == "image-to-image"
        demand(repaints == ("image" in parts), lambda: refused(400, "bad_request", "mode: image"))
        demand(not (repaints and "aspect_ratio" in fields), lambda: refused(400, "bad_request", "aspect_ratio"))

    def _cut_out(self, parts: dict[str, Part]) -> Answer:
        demand(parts.keys() <= {"image", "output_format"}, lambda: refused(400, "bad_request"))
        demand(parts["output_format"].value in {b"png", b"webp"}, lambda: refused(400, "bad_request"))
        demand(parts["image"].value.startswith(b"\x89PNG"), lambda: refused(400, "bad_request"))
        return self._image(painted(transparent=True), "SUCCESS")

    def _image(self, image: bytes, reason: str) -> Answer:
        return Answer(200, image, {"content-type": "image/png", "finish-reason": reason, "x-request-id": "abc"})

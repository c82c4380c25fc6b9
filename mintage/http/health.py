"""Whether the process runs, and whether it may be sent requests."""

from typing import Final

from litestar import Controller, HttpMethod, route

from mintage.http.calls import Call
from mintage.http.replies import Headers, Json

# Some who watch ask for nothing but the status.
_METHODS: Final = [HttpMethod.GET, HttpMethod.HEAD]
_SOON: Final[Headers] = ((b"retry-after", b"1"),)


class HealthController(Controller):
    path = "/health"
    tags = ("health",)

    @route("/live", http_method=_METHODS)
    async def live(self) -> Json:
        return Json(b'{"status":"live"}')

    @route("/ready", http_method=_METHODS)
    async def ready(self, request: Call) -> Json:
        if await request.services.ready():
            return Json(b'{"status":"ready"}')
        return Json(b'{"status":"not ready"}', 503, _SOON)

"""Whether the process runs, and whether it may be sent requests."""

from typing import Final

from litestar import Controller, get

from mintage.http.calls import Call
from mintage.http.replies import Headers, Json

_SOON: Final[Headers] = ((b"retry-after", b"1"),)


class HealthController(Controller):
    path = "/health"
    tags = ("health",)

    @get("/live")
    async def live(self) -> Json:
        return Json(b'{"status":"live"}')

    @get("/ready")
    async def ready(self, request: Call) -> Json:
        if request.services.ready():
            return Json(b'{"status":"ready"}')
        return Json(b'{"status":"not ready"}', 503, _SOON)

"""The files of works, to whoever holds a link that was given out less than a day ago."""

from pathlib import PurePosixPath
from typing import Final

from litestar import Controller, Response, get
from litestar.params import FromPath

from mintage.domain.work.decider import WorkUnknown
from mintage.http.calls import Call
from mintage.http.refusals import Forbidden

_TYPES: Final = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg", ".mp4": "video/mp4"}
_HEADERS: Final = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}


class FileController(Controller):
    path = "/files"
    tags = ("files",)

    @get("/{key:path}")
    async def show(self, request: Call, key: FromPath[str]) -> Response[bytes]:
        files, query, name = request.services.files, request.query, key.lstrip("/")
        if not files.genuine(name, query.text("expires") or "", query.text("signature") or ""):
            raise Forbidden
        content = await files.read(name)
        if content is None:
            raise WorkUnknown
        media_type = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        return Response(content, media_type=media_type, headers=_HEADERS)

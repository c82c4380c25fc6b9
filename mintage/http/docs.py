"""/docs: both documents as OpenAPI, and pages to read and try them that need nothing from the internet."""

from collections.abc import Mapping
from importlib import resources
from pathlib import PurePosixPath
from typing import Final

from litestar import Response, Router, get
from litestar.params import FromPath

from mintage.http.refusals import NoSuchPath

_UI: Final = resources.files("mintage.http") / "docs_ui"
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".png": "image/png"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
_FRESH: Final = {**_HEADERS, "Cache-Control": "no-cache"}
_KEPT: Final = {**_HEADERS, "Cache-Control": "public, max-age=86400"}


def docs(documents: Mapping[str, bytes]) -> Router:
    """Serves OpenAPI documents by name, beside the user interface for them."""
    files = {file.name: file.read_bytes() for file in _UI.iterdir() if PurePosixPath(file.name).suffix in _TYPES}

    @get()
    async def page() -> Response[bytes]:
        return _file("index.html", files["index.html"], _FRESH)

    @get("/{name:str}")
    async def file(name: FromPath[str]) -> Response[bytes]:
        if name not in files:
            raise NoSuchPath
        return _file(name, files[name], _KEPT)

    @get("/{document:str}/openapi.json")
    async def openapi(document: FromPath[str]) -> Response[bytes]:
        if document not in documents:
            raise NoSuchPath
        return Response(documents[document], media_type="application/json", headers=_FRESH)

    return Router("/docs", route_handlers=[page, file, openapi], tags=["docs"])


def _file(name: str, content: bytes, headers: Mapping[str, str]) -> Response[bytes]:
    return Response(content, media_type=_TYPES[PurePosixPath(name).suffix], headers=headers)

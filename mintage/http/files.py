"""Stored files: published works and avatars to anybody, the rest to who holds a link given out less than a day ago."""

import re
from pathlib import PurePosixPath
from typing import Final

from litestar import Controller, HttpMethod, route
from litestar.enums import ScopeType
from litestar.params import FromPath
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from mintage.application.ports import Files
from mintage.domain.work.decider import WorkUnknown
from mintage.http.calls import Call
from mintage.http.refusals import Forbidden
from mintage.projections.works import is_published

PORTION: Final = 1_048_576
"""How much of a file is in memory at a time, in bytes."""
AVATARS: Final = "avatars/"

_TYPES: Final = {".png": b"image/png", ".webp": b"image/webp", ".jpg": b"image/jpeg", ".mp4": b"video/mp4"}
_SIGNED: Final = b"private, max-age=86400"
# What is published now may be withdrawn in a moment: ask again each time, it costs a 304.
_PUBLIC: Final = b"public, no-cache"
_RANGE: Final = re.compile(rb"bytes=([0-9]{1,18})?-([0-9]{1,18})?")


class FileController(Controller):
    path = "/files"
    tags = ("files",)

    @route("/{key:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def show(self, request: Call, key: FromPath[str]) -> "FileReply":
        services, query, name = request.services, request.query, key.lstrip("/")
        found = await services.files.stat(name)
        if found is None:
            raise WorkUnknown
        signed = services.files.genuine(name, query.text("expires") or "", query.text("signature") or "")
        if not (signed or name.startswith(AVATARS) or await is_published(services.db, name)):
            raise Forbidden
        etag = f'"{found.version}"'.encode()
        headers = [
            (b"content-type", _TYPES[PurePosixPath(name).suffix]),
            (b"cache-control", _SIGNED if signed else _PUBLIC),
            (b"etag", etag),
            (b"accept-ranges", b"bytes"),
            (b"x-content-type-options", b"nosniff"),
        ]
        known = request.header(b"if-none-match") or b""
        if etag in known or known.strip() == b"*":
            return FileReply(services.files, name, 304, headers, range(0))
        # Who has a part of another version, or only a date, gets the whole.
        continues = request.header(b"if-range") in {None, etag}
        asked = span_of(request.header(b"range"), found.size) if continues else None
        if asked is None:
            return FileReply(services.files, name, 200, headers, range(found.size))
        if not asked:
            return FileReply(
                services.files, name, 416, [*headers, (b"content-range", b"bytes */%d" % found.size)], asked
            )
        part = (b"content-range", b"bytes %d-%d/%d" % (asked.start, asked.stop - 1, found.size))
        return FileReply(services.files, name, 206, [*headers, part], asked)


def span_of(header: bytes | None, size: int) -> range | None:
    """The bytes that a ``Range`` header asks for, none of them if there are no such; None for the whole file.

    Several ranges and what cannot be read are answered with the whole file, as RFC 9110 allows.
    """
    asked = _RANGE.fullmatch(header or b"")
    if asked is None or asked.groups() == (None, None):
        return None
    first, last = asked.groups()
    if first is None:
        return range(max(0, size - int(last)), size)
    if last is not None and int(last) < int(first):
        return None
    return range(int(first), size if last is None else min(size, int(last) + 1))


class FileReply:
    """An ASGI response that reads a file as it sends it, so that a video takes no more memory than a picture."""

    def __init__(self, files: Files, key: str, status: int, headers: list[tuple[bytes, bytes]], span: range) -> None:
        self._files = files
        self._key = key
        self._status = status
        self._headers = headers
        self._span = span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        length = [] if self._status == 304 else [(b"content-length", b"%d" % len(self._span))]
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self._status,
            "headers": [*self._headers, *length],
        }
        await send(start)
        assert scope["type"] == ScopeType.HTTP
        span = range(0) if scope["method"] == "HEAD" else self._span
        while True:
            portion, span = span[:PORTION], span[PORTION:]
            content = await self._files.read(self._key, portion.start, len(portion)) if portion else b""
            if content is None or len(content) < len(portion):
                # The headers are out already: break off, so that nobody takes this for the whole.
                raise ConnectionError("a file went away while it was sent")
            body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": content, "more_body": bool(span)}
            await send(body)
            if not span:
                return


def avatar_url(files: Files, avatar: str | None) -> str | None:
    """A person's picture as an absolute url: their upload here, or wherever else they said it is."""
    return files.url(avatar, public=True) if avatar is not None and avatar.startswith(AVATARS) else avatar

"""Stored files: published works and avatars to anybody, the rest to who holds a link given out less than a day ago."""

import re
from pathlib import PurePosixPath
from typing import Final

from litestar import Controller, HttpMethod, route
from litestar.params import FromPath
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from mintage.application.ports.files import Files
from mintage.application.transaction import Unavailable
from mintage.domain.work.decider import WorkUnknown
from mintage.http.calls import Call
from mintage.http.refusals import Forbidden
from mintage.projections.works import publicity

PORTION: Final = 1_048_576
"""How much of a file is in memory at a time, in bytes."""
AVATARS: Final = "avatars/"

_TYPES: Final = {
    ".png": b"image/png",
    ".webp": b"image/webp",
    ".jpg": b"image/jpeg",
    ".mp4": b"video/mp4",
    ".webm": b"video/webm",
}
# What is published now may be withdrawn in a moment: caches between us and people may show it for so long after that.
_PUBLIC: Final = b"public, max-age=300, must-revalidate"
_RANGE: Final = re.compile(rb"bytes=([0-9]{1,18})?-([0-9]{1,18})?", re.IGNORECASE)


class FileController(Controller):
    path = "/files"
    tags = ("files",)

    @route("/{key:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def show(self, request: Call, key: FromPath[str]) -> "FileReply":
        services, query, name = request.services, request.query, key.lstrip("/")
        expires = query.text("expires") or ""
        signed = services.files.genuine(name, expires, query.text("signature") or "")
        work_id = services.files.work_of(name)
        if work_id is not None:
            # Whatever a signature says, and wherever its files still are: what is gone is gone.
            is_public = await publicity(services.db, work_id, name)
            if is_public is None:
                raise WorkUnknown
            if not (signed or is_public):
                raise Forbidden
        elif not name.startswith(AVATARS):
            raise WorkUnknown
        found = await services.files.stat(name)
        if found is None:
            raise WorkUnknown
        left = int(expires) - int(services.clock().timestamp()) if signed else 0
        etag = f'"{found.version}"'.encode()
        place = PurePosixPath(name)
        headers = [
            (b"content-type", _TYPES[place.suffix]),
            (b"content-disposition", f'inline; filename="{place.name}"'.encode()),
            (b"cache-control", b"private, max-age=%d" % left if signed else _PUBLIC),
            (b"etag", etag),
            (b"accept-ranges", b"bytes"),
            # Opened by itself it is a picture or a film and never a page of ours.
            (b"content-security-policy", b"default-src 'none'; sandbox"),
            (b"x-content-type-options", b"nosniff"),
        ]
        status, more, span = _asked(request, etag, found.size)
        first = b""
        if request.method == "GET" and (portion := span[:PORTION]):
            # Before the headers: what cannot be read now is an answer of its own.
            first = await services.files.read(name, portion.start, len(portion)) or b""
            if len(first) < len(portion):
                raise WorkUnknown
        return FileReply(services.files, name, status, [*headers, *more], span, first)


def _asked(request: Call, etag: bytes, size: int) -> tuple[int, list[tuple[bytes, bytes]], range]:
    """The status, the headers that go with it, and the bytes; in the order in which RFC 9110 (13.2.2) asks."""
    wanted = request.header(b"if-match")
    if wanted is not None and wanted.strip() != b"*" and etag not in _tags(wanted):
        return 412, [], range(0)
    known = request.header(b"if-none-match")
    if known is not None and (known.strip() == b"*" or etag in {tag.removeprefix(b"W/") for tag in _tags(known)}):
        return 304, [], range(0)
    # Who has a part of another version, or only a date, gets the whole. So does HEAD, which has no parts.
    continues = request.method == "GET" and request.header(b"if-range") in {None, etag}
    asked = span_of(request.header(b"range"), size) if continues else None
    if asked is None:
        return 200, [], range(size)
    if not asked:
        return 416, [(b"content-range", b"bytes */%d" % size)], asked
    return 206, [(b"content-range", b"bytes %d-%d/%d" % (asked.start, asked.stop - 1, size))], asked


def _tags(header: bytes) -> list[bytes]:
    return [tag.strip() for tag in header.split(b",")]


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
    """An ASGI response that reads a file as it sends it, so that a film takes no more memory than a picture.

    ``first`` is what was read of it already; of a ``span`` longer than nothing a HEAD sends nothing but how long it is.
    """

    def __init__(
        self,
        files: Files,
        key: str,
        status: int,
        headers: list[tuple[bytes, bytes]],
        span: range,
        first: bytes,
    ) -> None:
        self._files = files
        self._key = key
        self._status = status
        self._headers = headers
        self._span = span
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        length = [] if self._status == 304 else [(b"content-length", b"%d" % len(self._span))]
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self._status,
            "headers": [*self._headers, *length],
        }
        await send(start)
        content, rest = self._first, self._span[len(self._first) :] if self._first else range(0)
        while True:
            body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": content, "more_body": bool(rest)}
            await send(body)
            if not rest:
                return
            portion, rest = rest[:PORTION], rest[PORTION:]
            content = await self._following(portion)

    async def _following(self, portion: range) -> bytes:
        """Raises ``ConnectionError``: the headers are out already, and breaking off says that this is not the whole."""
        try:
            read = await self._files.read(self._key, portion.start, len(portion))
        except Unavailable as error:
            raise ConnectionError("the store of files went away while one was sent") from error
        if read is None or len(read) < len(portion):
            raise ConnectionError("a file went away while it was sent")
        return read


def avatar_url(files: Files, avatar: str | None) -> str | None:
    """A person's picture as an absolute url: their upload here, or wherever else they said it is."""
    return files.url(avatar, public=True) if avatar is not None and avatar.startswith(AVATARS) else avatar

"""An HTTP server on loopback that behaves as its subclass documents, and fails as a test wants it to."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from io import BytesIO
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from multipart import MultipartParser, parse_options_header
from PIL import Image

KEY: Final = "sk-a-key-that-nobody-may-see"

Mishap: TypeAlias = Literal["reset", "hangup", "silence", "cut", "endless"]
"""The connection is reset, or closed; nothing is said any more; half the answer comes; the answer never ends."""


@dataclass(frozen=True)
class Part:
    value: bytes
    filename: str | None
    content_type: str


@dataclass(frozen=True)
class Request:
    """``target`` is what was sent, ``path`` what it says."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        assert self.headers.get("content-type") == "application/json", self.headers
        return json.loads(self.body)

    def is_form(self) -> bool:
        return self.headers.get("content-type", "").startswith("multipart/form-data")

    def form(self) -> dict[str, Part]:
        """The parts by name; none of the protocols we speak wants one twice."""
        assert self.is_form(), self.headers
        boundary = parse_options_header(self.headers["content-type"])[1]["boundary"]
        parts = list(MultipartParser(BytesIO(self.body), boundary))
        named = {part.name: Part(part.raw, part.filename, part.content_type) for part in parts}
        assert len(named) == len(parts), "a part is there twice"
        return named


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def told(body: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(body).encode(), {"content-type": "application/json", **named})


class Refused(Exception):
    """The server says no."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass(frozen=True)
class Fault:
    """``what`` happens in place of the answer; ``handled``: only after the request was taken as any other."""

    what: Mishap | Answer
    handled: bool


class ProviderServer:
    """``created`` counts the requests that were accepted and cost money; ``requests`` keeps all that came.

    ``connections`` counts those that were made. A ``curt`` server closes each after its answer, and does not say so.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.created = 0
        self.connections = 0
        self.curt = False
        self.mistakes: list[Exception] = []
        self._faults: list[tuple[str, str, Fault]] = []
        self._talks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def fail(self, method: str, path: str, what: Mishap | Answer, *, handled: bool = False, times: int = 1) -> None:
        """The next so many requests whose path begins like this go wrong."""
        self._faults += [(method, path, Fault(what, handled))] * times

    def asked(self, method: str, path: str) -> list[Request]:
        return [one for one in self.requests if one.method == method and one.path.startswith(path)]

    @property
    def talks(self) -> int:
        """Connections that are open."""
        return len(self._talks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._server.wait_closed()
        assert not self.mistakes, self.mistakes

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self.connections += 1
        task.add_done_callback(self._talks.discard)
        try:
            while (request := await _request(reader)) is not None:
                self.requests.append(request)
                await self._respond(request, writer)
                if self.curt:
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass
        except Exception as error:  # noqa: BLE001 -- a server in error fails its test, wherever it happens
            self.mistakes.append(error)
        finally:
            writer.transport.close()

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> None:
        fault = self._fault(request)
        answer = self._handled(request) if fault is None or fault.handled else Answer()
        match None if fault is None else fault.what:
            case None:
                await _send(writer, answer)
            case Answer() as instead:
                await _send(writer, instead)
                if len(instead.body) < int(instead.headers.get("content-length", "0")):
                    writer.transport.close()
            case "reset":
                # Closed with nothing to linger for, it is a reset and no orderly end.
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            case "hangup":
                writer.transport.abort()
            case "silence":
                await asyncio.Event().wait()
            case "cut":
                await _send(writer, answer, cut=True)
                writer.transport.abort()
            case "endless":
                await _send_without_end(writer)

    def _fault(self, request: Request) -> Fault | None:
        for index, (method, path, fault) in enumerate(self._faults):
            if request.method == method and request.path.startswith(path):
                del self._faults[index]
                return fault
        return None

    def _handled(self, request: Request) -> Answer:
        try:
            return self.handle(request)
        except Refused as refused:
            return refused.answer


async def _request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    line, *lines = head.strip().split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "transfer-encoding" not in headers, "nothing that we send is of unknown length"
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    return Request(method, target, unquote(url.path), dict(parse_qsl(url.query)), headers, body)


async def _send(writer: asyncio.StreamWriter, answer: Answer, *, cut: bool = False) -> None:
    headers = {"content-length": str(len(answer.body)), "date": formatdate(usegmt=True), **answer.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = answer.body[: len(answer.body) // 2] if cut else answer.body
    writer.write(f"HTTP/1.1 {answer.status} Said\r\n{head}\r\n".encode("latin-1") + body)
    await writer.drain()


async def _send_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    with suppress(OSError):
        while not writer.transport.is_closing():
            writer.write(b" " * 1_048_576)
            await writer.drain()


def painted(index: int = 0, size: tuple[int, int] = (16, 16), *, transparent: bool = False) -> bytes:
    """A PNG that is unlike that of another index."""
    written = BytesIO()
    colour = (index * 40 % 256, 90, 200, 128) if transparent else (index * 40 % 256, 90, 200)
    Image.new("RGBA" if transparent else "RGB", size, colour).save(written, "PNG")
    return written.getvalue()


def filmed(index: int = 0) -> bytes:
    """What begins as an MP4 does."""
    return b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes([index]) * 2_000


def demand(truth: object, refusal: Callable[[], Answer]) -> None:
    if not truth:
        raise Refused(refusal())

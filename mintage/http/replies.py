"""What is encoded already, on its way out: JSON, and content that is made as it is sent."""

from collections.abc import AsyncIterator
from typing import Final, TypeAlias

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_JSON: Final = (b"content-type", b"application/json")
REPLAYED: Final[Headers] = ((b"idempotency-replayed", b"true"),)


class Json:
    """An ASGI response of nothing but bytes; litestar's own ``Response`` costs several times as much."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, status: int = 200, headers: Headers = ()) -> None:
        self.body = body
        self.status = status
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        length = (b"content-length", b"%d" % len(self.body))
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self.status,
            "headers": [_JSON, length, *self.headers],
        }
        body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": self.body, "more_body": False}
        await send(start)
        await send(body)


class Streamed:
    """An ASGI response whose body comes in portions, each made when the one before is on its way."""

    __slots__ = ("content", "first", "headers")

    def __init__(self, content: AsyncIterator[bytes], first: bytes, headers: Headers) -> None:
        self.content = content
        self.first = first
        self.headers = headers

    @classmethod
    async def begun(cls, content: AsyncIterator[bytes], headers: Headers) -> "Streamed":
        """With the first portion made, so that what cannot begin is refused as usual."""
        return cls(content, await anext(content, b""), headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        start: HTTPResponseStartEvent = {"type": "http.response.start", "status": 200, "headers": [*self.headers]}
        await send(start)
        await send(_portion(self.first, more=True))
        # Whatever fails from here on breaks the reply off: nobody takes it for the whole.
        async for portion in self.content:
            await send(_portion(portion, more=True))
        await send(_portion(b"", more=False))


def _portion(content: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": content, "more_body": more}

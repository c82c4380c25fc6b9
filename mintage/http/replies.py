"""What is encoded already, on its way out: JSON, and content that is made as it is sent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Self, TypeAlias

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
    async def begun(cls, content: AsyncIterator[bytes], headers: Headers) -> Self:
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


class Live(Streamed):
    """A body that goes on as things happen: until there is nothing more to tell, or nobody left to tell it to."""

    __slots__ = ()
    content: AsyncGenerator[bytes, None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        telling = asyncio.create_task(super().__call__(scope, receive, send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            leaving.cancel()
            await asyncio.wait((telling, leaving))
            # What it holds it lets go of now, not when it is collected.
            await self.content.aclose()
        if not telling.cancelled():
            telling.result()


class Nothing:
    """The reply that there is nothing, and nothing to come."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        start: HTTPResponseStartEvent = {"type": "http.response.start", "status": 204, "headers": []}
        await send(start)
        await send(_portion(b"", more=False))


async def _left(receive: Receive) -> None:
    """Come back when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        continue


def _portion(content: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": content, "more_body": more}

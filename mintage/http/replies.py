"""JSON that is encoded already, on its way out."""

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

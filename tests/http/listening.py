"""A client that reads a stream of events as it comes, and may leave at any time; there is no socket between."""

import asyncio
from types import TracebackType
from typing import Any, Self

from tests.contract import Event, events_in

PATIENCE_S = 30.0


class Listening:
    """Used as ``async with``; leaving it is the client going away."""

    def __init__(self, app: Any, path: str, headers: dict[str, str], *, after: str | None = None) -> None:
        sent = headers if after is None else {**headers, "Last-Event-ID": after}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "scheme": "http",
            "server": ("mintage.test", 80),
            "client": ("127.0.0.1", 1),
        }
        self._app = app
        self._gone = asyncio.Event()
        self._came = asyncio.Event()
        self._asked = False
        self._read = 0
        self.reading = asyncio.Event()
        """Cleared, and it takes nothing in any more."""
        self.reading.set()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.content = b""
        self.whole = False
        """Whether the stream was ended by the server, and not broken off."""

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.content += message["body"]
            self.whole = not message.get("more_body", False)
        self._came.set()
        await self.reading.wait()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        self._task.add_done_callback(lambda _: self._came.set())
        await self._until(lambda: self.status != 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        async with asyncio.timeout(PATIENCE_S):
            await self._task

    @property
    def events(self) -> list[Event]:
        return events_in(self.content[: self.content.rfind(b"\n\n") + 2])

    async def next(self) -> Event:
        """The event after the last one that this gave."""
        await self._until(lambda: len(self.events) > self._read)
        self._read += 1
        return self.events[self._read - 1]

    async def ended(self) -> list[Event]:
        """Everything that came, once the server has ended the stream."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait((self._task,))
        assert self.whole
        return self.events

    async def says(self, words: bytes) -> None:
        await self._until(lambda: words in self.content)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert not self._task.done(), f"it ended with {self.status}: {self.content!r}"
                self._came.clear()
                await self._came.wait()


def id_of(event: Event) -> str:
    return f"{event.id[0]}-{event.id[1]}"

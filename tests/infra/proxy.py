"""A TCP proxy before PostgreSQL's unix socket, to cut or freeze connections at the moment that matters."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from psycopg.conninfo import conninfo_to_dict

COMMITTED = b"COMMIT\x00"
"""In what the server says: a transaction is durable."""
COMMIT = b"commit\x00"
"""In what a client says (until it has said it often enough to have it prepared)."""

Direction: TypeAlias = Literal["to_server", "to_client"]
Pipe: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter, Direction]


class Proxy:
    """``cut`` the connection or ``freeze`` it when some bytes pass; those before them arrive, they do not."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._trigger: tuple[Direction, bytes, Callable[[], None]] | None = None
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._talks: set[asyncio.Task[None]] = set()
        self.triggered = asyncio.Event()
        self.port = 0

    def cut_at(self, direction: Direction, passing: bytes) -> None:
        """Both ends find their connection closed; whoever comes later is served."""
        self._arm(direction, passing, self.cut)

    def freeze_at(self, direction: Direction, passing: bytes) -> None:
        """Nothing passes any more and nothing is closed, for newcomers neither, until ``thaw``."""
        self._arm(direction, passing, self.freeze)

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        """The network is back, and knows nothing of the connections that were."""
        self.cut()
        self._thawed.set()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _arm(self, direction: Direction, passing: bytes, strike: Callable[[], None]) -> None:
        self.triggered.clear()
        self._trigger = direction, passing, strike

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        server: asyncio.StreamWriter | None = None
        try:
            self._writers.add(writer)
            await self._thawed.wait()
            back, server = await asyncio.open_unix_connection(self._path)
            self._writers.add(server)
            await asyncio.gather(self._pass((reader, server, "to_server")), self._pass((back, writer, "to_client")))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in filter(None, (writer, server)):
                self._writers.discard(end)
                end.transport.abort()
            self._talks.discard(task)

    async def _pass(self, pipe: Pipe) -> None:
        reader, writer, direction = pipe
        tail = b""
        while data := await reader.read(65536):
            if self._trigger is not None and self._trigger[0] == direction:
                passing, strike = self._trigger[1:]
                # What is looked for may have come in two pieces.
                if (place := (tail + data).find(passing)) >= 0:
                    self._trigger = None
                    before = data[: max(0, place - len(tail))]
                    data = data[len(before) :]
                    writer.write(before)
                    await writer.drain()
                    # The other end gets what was sent before, and time to act on it.
                    await asyncio.sleep(0.05)
                    strike()
                    self.triggered.set()
                tail = data[-len(passing) :]
            await self._thawed.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def leave(self) -> None:
        for talk in list(self._talks):
            talk.cancel()
        while self._talks:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._talks)


@asynccontextmanager
async def proxy_to(conninfo: str) -> AsyncIterator[Proxy]:
    """A proxy to the server that a connection string with a socket directory leads to."""
    parts = conninfo_to_dict(conninfo)
    proxy = Proxy(Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}")
    server = await asyncio.start_server(proxy.talk, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.leave()
        await server.wait_closed()

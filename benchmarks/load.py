"""A load generator that costs little beside the server: keep-alive connections, one request in flight on each."""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import msgspec


class Measured(msgspec.Struct, frozen=True):
    """``rate`` in replies per second, latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    failed: int


def request(path: str, token: str, body: bytes) -> bytes:
    """A POST as sent over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """Sends its requests in turn, the next as soon as the reply to the last is whole."""

    def __init__(self, requests: Sequence[bytes], first: int, load: "_Load") -> None:
        self._requests = requests
        self._next = first
        self._load = load
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        start = buffer.find(b"content-length: ") + 16
        length = int(buffer[start : buffer.find(b"\r\n", start)])
        if len(buffer) < end + 4 + length:
            return
        self._buffer = b""
        self._load.done(time.perf_counter() - self._sent, ok=buffer[9:12] == b"200")
        if self._load.running:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._load.left()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1


class _Load:
    def __init__(self, connections: int, total: int | None) -> None:
        self.running = True
        self._total = total
        self.latencies: list[float] = []
        self.failed = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open = connections

    def done(self, latency: float, *, ok: bool) -> None:
        self.latencies.append(latency)
        self.failed += not ok
        if len(self.latencies) == self._total:
            self.stop()

    def stop(self) -> None:
        self.running = False

    def left(self) -> None:
        self._open -= 1
        if not self._open:
            self.over.set_result(None)


async def run(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float | None = None, total: int | None = None
) -> Measured:
    """Send requests for so long, or so many in all; each connection starts at a place of its own in the list."""
    loop = asyncio.get_running_loop()
    load = _Load(connections, total)
    began = time.perf_counter()
    for number in range(connections):
        first = number * max(1, len(requests) // connections)
        await loop.create_connection(lambda first=first: _Connection(requests, first, load), "127.0.0.1", port)  # type: ignore[misc]
    if seconds is not None:
        loop.call_later(seconds, load.stop)
    await load.over
    took = time.perf_counter() - began
    ordered = sorted(load.latencies)
    return Measured(
        len(ordered) / took,
        ordered[len(ordered) // 2] * 1000,
        ordered[int(len(ordered) * 0.99)] * 1000,
        load.failed,
    )

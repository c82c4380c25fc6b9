"""A provider on loopback, for workers that are processes of their own: it counts every create and forgets nothing."""

import json
import threading
import time
from base64 import b64decode, b64encode
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx

from mintage.application.providers import (
    FateUnknown,
    Finished,
    Job,
    JobMissing,
    NotSent,
    Running,
    Told,
    Unreachable,
)
from tests.infra.far import png

PNG = b64encode(png()).decode()


class Server:
    """``creates`` counts by our ids, ``jobs`` maps theirs to when it will be done; nothing is while ``is_held``."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s = takes_s
        self.creates: Counter[str] = Counter()
        self.ours: dict[str, str] = {}
        self.done_at: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.polls = 0
        self.is_held = False
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self._reply(server.create(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

            def do_GET(self) -> None:
                what, _, which = self.path.strip("/").partition("/")
                self._reply(server.find(which) if what == "find" else server.poll(which))

            def log_message(self, *_: Any) -> None:
                pass

            def _reply(self, body: dict[str, Any] | None) -> None:
                content = json.dumps(body).encode()
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.creates[asked["job_id"]] += 1
            theirs = f"theirs-{self.creates.total()}"
            self.ours[asked["job_id"]] = theirs
            self.done_at[theirs] = time.monotonic() + self.takes_s
            self.counts[theirs] = asked["count"]
        return {"id": theirs}

    def find(self, job_id: str) -> dict[str, Any] | None:
        theirs = self.ours.get(job_id)
        return None if theirs is None else {"id": theirs}

    def poll(self, theirs: str) -> dict[str, Any] | None:
        self.polls += 1
        if theirs not in self.done_at:
            return None
        is_done = not self.is_held and time.monotonic() >= self.done_at[theirs]
        return {"files": [PNG] * self.counts[theirs] if is_done else None}


class Remote:
    """Implements ``application.providers.Provider`` on a ``Server``."""

    cancels = False

    def __init__(self, url: str, *, finds: bool = False, repeats: bool = False) -> None:
        self.finds = finds
        self.repeats = repeats
        self._http = httpx.AsyncClient(base_url=url, timeout=5.0)

    async def create(self, job: Job, told: Told) -> Running | Finished:
        try:
            reply = await self._http.post("/jobs", json={"job_id": job.job_id, "count": job.count})
        except httpx.ConnectError as error:
            raise NotSent(str(error)) from error
        except httpx.TransportError as error:
            raise FateUnknown(str(error)) from error
        return Running(reply.json()["id"])

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:
        files = (await self._asked(f"/jobs/{provider_job}"))["files"]
        return Running(provider_job) if files is None else Finished(tuple(map(b64decode, files)))

    async def find(self, job: Job) -> str | None:
        try:
            return str((await self._asked(f"/find/{job.job_id}"))["id"])
        except JobMissing:
            return None

    async def cancel(self, provider_job: str) -> bool:
        raise AssertionError(provider_job)

    async def close(self) -> None:
        await self._http.aclose()

    async def _asked(self, path: str) -> dict[str, Any]:
        try:
            reply = await self._http.get(path)
        except httpx.TransportError as error:
            raise Unreachable(str(error)) from error
        if reply.status_code == 404:
            raise JobMissing(path)
        found: dict[str, Any] = reply.json()
        return found

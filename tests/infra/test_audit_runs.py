"""``mintage audit verify`` as an auditor runs it: exit codes, what was signed, killed midway and gone on with."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mintage.cli.verify import _Bar
from mintage.infra.audit import audit
from mintage.infra.audit.plan import Kept, StateOfAnother, reading
from mintage.infra.database import connect_sync
from mintage.infra.seal.notes import Signer
from mintage.infra.seal.sealer import signer_of
from tests.conftest import VAULT
from tests.infra.audit_kit import SEED, Story, a_story, checkpoints, database, follow, seal, tamper
from tests.infra.kit import consume, grant, journal_on, one, outcomes, rows, some_id

SMALL_PIECES = """
import sys
from mintage.cli import main
from mintage.infra.audit import plan
if __name__ == "__main__":
    plan.PIECE, plan.ALIGNED = 100, 1024
    sys.exit(main(sys.argv[1:]))
"""
"""The command, cutting the log into pieces so small that there is time to kill it between them."""


@pytest.fixture
async def story(conninfo: str, tmp_path: Path) -> Story:
    return await a_story(conninfo, tmp_path / "checkpoints")


class Auditor:
    """Runs the command on a database, with the secrets that it was made with."""

    def __init__(self, conninfo: str, folder: Path) -> None:
        self._folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("MINTAGE")} | {
            "MINTAGE_DATABASE_URL": conninfo,
            "MINTAGE_MASTER_KEY": b64encode(b"the master key of all the tests.").decode(),
            "MINTAGE_SEAL_KEY": b64encode(SEED).decode(),
        }
        self._program = folder / "small_pieces.py"
        self._program.write_text(SMALL_PIECES)

    def start(self, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, self._program, "audit", "verify", "--data-dir", self._folder / "data", *options],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> tuple[int, str, str]:
        process = self.start(*options)
        out, err = process.communicate(timeout=100)
        return process.returncode, out, err


@pytest.fixture
def auditor(conninfo: str, tmp_path: Path) -> Auditor:
    return Auditor(conninfo, tmp_path)


def test_what_agrees_exits_0_and_says_what_it_comes_to(conninfo: str, story: Story, auditor: Auditor) -> None:
    code, out, err = auditor.run("--jobs", "2")
    assert (code, err) == (0, "")
    events = one(conninfo, "select count(*) from stored_events")
    available, held, owed = rows(conninfo, "select sum(available), sum(held), sum(owed) from credit_accounts")[0]
    assert f"{events} events of {one(conninfo, 'select count(*) from credit_accounts')} accounts" in out
    assert f" = available {available:,} + held {held:,} - owed {owed:,} + spent " in out
    assert "events/s per core" in out
    assert "every rule held at every event, and every read model agrees with the log\n" in out


def test_a_difference_exits_1_and_is_named_on_stdout(conninfo: str, story: Story, auditor: Auditor) -> None:
    sql = "select originator_id, originator_version, notification_id from stored_events where topic = %s"
    stream, version, position = rows(conninfo, sql, ("credits.debt_paid",))[0]
    tamper(conninfo, f"update stored_events set state = state || ' '::bytea where notification_id = {position}")
    code, out, err = auditor.run("--jobs", "1")
    assert (code, err) == (1, "")
    assert f"{stream} event {version}: its hash is not" in out
    assert "\n1 difference\n" in out


async def test_what_came_since_an_audit_was_planned_is_said_not_to_be_in_it(
    conninfo: str, story: Story, auditor: Auditor, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with reading(conninfo) as connection:
        Kept(state, connection)
    async with journal_on(conninfo) as journal:
        await outcomes([grant(some_id(), 5)], journal)
    follow(conninfo)
    code, out, _ = auditor.run("--state", str(state))
    assert (code, "\nnot in it: 1 event that came since this audit began\n" in out) == (0, True), out


def test_what_is_written_in_the_log_does_nothing_to_a_terminal(conninfo: str, story: Story, auditor: Auditor) -> None:
    tamper(conninfo, "update stored_events set topic = E'a\\x1b[2J\\nb' where notification_id = 9")
    code, out, _ = auditor.run()
    assert (code, "\x1b" in out, "lies under a?[2J?b" in out) == (1, False, True), out


def test_the_checkpoints_have_to_be_this_logs(conninfo: str, story: Story, auditor: Auditor, tmp_path: Path) -> None:
    with connect_sync(conninfo) as connection:
        signer = signer_of(connection, SEED)
    folder = tmp_path / "checkpoints"
    key = ("--jobs", "1", "--key", signer.text, "--checkpoints")
    code, out, _ = auditor.run(*key, str(folder))
    assert (code, "the log hashes to all of 3 checkpoints" in out) == (0, True)
    (file,) = folder.iterdir()
    assert auditor.run(*key, str(file))[0] == 0

    forged = tmp_path / "forged.txt"
    newest = checkpoints(conninfo, folder)[-1]
    forged.write_text(Signer(signer.name, bytes(32)).sign(newest.size, newest.root).note)
    code, out, _ = auditor.run(*key, str(forged))
    assert (code, out.startswith("checkpoints: forged.txt: ")) == (1, True)
    forged.write_text(signer.sign(newest.size, bytes(32)).note)
    code, out, _ = auditor.run(*key, str(forged))
    assert (code, f"log: the log is not what was signed at {newest.size} events" in out) == (1, True)
    forged.write_text(signer.sign(newest.size + 5, newest.root).note)
    code, out, _ = auditor.run(*key, str(forged))
    assert (code, f"a log of {newest.size + 5} events was signed" in out) == (1, True)

    forged.write_text(Signer("mintage/another", SEED).sign(newest.size, newest.root).note)
    code, out, err = auditor.run(*key, str(forged))
    assert (code, "there is no checkpoint of" in err) == (2, True)
    code, out, _ = auditor.run(
        "--jobs", "1", "--key", Signer("mintage/another", SEED).text, "--checkpoints", str(forged)
    )
    assert (code, f"log: calls itself {signer.name}" in out) == (1, True)
    assert auditor.run(*key, str(tmp_path / "nowhere"))[0] == 2


async def test_checkpoints_signed_since_are_checked_too(conninfo: str, story: Story, tmp_path: Path) -> None:
    """The audit that goes on is of the log as it was; what was signed after that is of the log as it is now."""
    folder, state = tmp_path / "checkpoints", tmp_path / "state"
    with reading(conninfo) as connection:
        end = Kept(state, connection).plan.end
    async with journal_on(conninfo) as journal:
        await outcomes([consume(story.payer, 1) for _ in range(30)], journal)
    follow(conninfo)
    seal(conninfo, folder)
    signed = checkpoints(conninfo, folder)
    assert signed[-1].size == end + 30
    with database(conninfo, "scratch") as scratch:
        assert audit(conninfo, VAULT, scratch, state, checkpoints=signed).differences == []


@pytest.mark.parametrize("phase", ["replay", "read models"])
async def test_a_killed_audit_goes_on(conninfo: str, auditor: Auditor, tmp_path: Path, phase: str) -> None:
    people = [some_id() for _ in range(200)]
    async with journal_on(conninfo) as journal:
        await outcomes([grant(user_id, 1_000) for user_id in people], journal)
        for _ in range(15):
            await outcomes([consume(user_id, 1) for user_id in people * 5], journal)
    follow(conninfo)
    events = one(conninfo, "select count(*) from stored_events")
    state = tmp_path / "state"
    options = ("--jobs", "2", "--state", str(state))
    process = auditor.start(*options)
    try:
        wanted = 20 if phase == "replay" else len(range(0, events, 1024))
        kept = await _kept(state, "replay" if phase == "replay" else "order", wanted, process)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = {path: path.stat().st_mtime_ns for path in state.glob("*.json")}
    assert set(kept) <= set(left), "what was kept stays kept"
    # What was kept is believed: with a word changed in it, the sum is another one.
    first = min(path for path in left if path.name.startswith("replay"))
    result: Any = msgspec.json.decode(first.read_bytes())
    first.write_bytes(msgspec.json.encode(result | {"events": result["events"] + 1_000_000}))
    code, out, _ = auditor.run(*options)
    assert (code, f"log: {events + 1_000_000} events at {events} positions" in out) == (1, True), out
    assert list(state.iterdir()) == [], "the next audit begins anew"
    code, out, _ = auditor.run(*options)
    assert (code, f"{events:,} events of" in out) == (0, True), out


async def _kept(state: Path, phase: str, count: int, process: "subprocess.Popen[str]") -> list[Path]:
    deadline = time.monotonic() + 60
    while len(found := list(state.glob(f"{phase}-*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    return found


def test_workers_die_with_the_audit(conninfo: str, story: Story, auditor: Auditor, tmp_path: Path) -> None:
    process = auditor.start("--jobs", "2", "--state", str(tmp_path / "state"))
    deadline = time.monotonic() + 60
    while len(workers := _children(process.pid)) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "somebody works on"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def test_what_is_kept_of_another_log_is_refused(conninfo: str, story: Story, tmp_path: Path) -> None:
    with reading(conninfo) as connection:
        Kept(tmp_path / "state", connection)
    tamper(
        conninfo, "delete from stored_events where notification_id = (select max(notification_id) from stored_events)"
    )
    with reading(conninfo) as connection, pytest.raises(StateOfAnother):
        Kept(tmp_path / "state", connection)


def test_progress_is_shown_to_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stderr in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stderr)
        now = iter([0.0, 1.0, 1.01, 2.0, 3.0])
        with _Bar(lambda: next(now)) as bar:  # noqa: B023
            for done in (0, 100, 101, 200):
                bar.draw("replay", done, 200)
            bar.draw("order", 200, 200)
        said = stderr.getvalue()
        if stderr.isatty():
            assert "replay       [###############               ]  50%        100 events/s 1 s left" in said
            assert "order        [##############################] 100%" in said
            assert said.count("\r") == 4, "not oftener than somebody can read"
            assert said.endswith("\n")
        else:
            assert said == ""

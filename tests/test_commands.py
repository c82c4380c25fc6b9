"""The commands as an operator types them, against a server that is a process of its own."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

MINTAGE = [sys.executable, "-m", "mintage"]


def command(*words: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MINTAGE, *words, "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`mintage serve` without a worker, and its address."""
    words = ["serve", "--no-worker", "--port", "0", "--data-dir", str(tmp_path)]
    process = subprocess.Popen([*MINTAGE, *words], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"serving on (http://\S+),", line):
                yield process, found.group(1)
                break
        else:
            pytest.fail("the server did not start")
    finally:
        process.kill()
        process.communicate()


def test_a_server_told_to_stop_answers_who_waits_and_leaves_a_log_that_verifies(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = server
    with httpx.Client(base_url=address, timeout=60) as http:
        body = {"username": "test", "password": "123456"}
        token = http.post("/api/v1/auth/register", json=body).json()["data"]["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        granted = command("admin", "grant-role", "TEST", "finance", data_dir=tmp_path)
        assert (granted.returncode, granted.stdout.partition(" ")[2]) == (0, "(test) has the role finance\n")
        assert http.get("/api/v1/auth/me", headers=bearer).json()["data"]["role"] == "finance"
        key = http.get("/api/credits/receipt-key").json()["data"]["key"]
        replies: list[httpx.Response] = []

        def generate() -> None:
            asked = {"prompt": "a cat", "style": "cartoon"}
            replies.append(httpx.post(f"{address}/api/images/generate", json=asked, headers=bearer, timeout=60))

        waiting = threading.Thread(target=generate)
        waiting.start()
        end = time.monotonic() + 30
        while http.get("/api/v1/auth/me", headers=bearer).json()["data"]["held_computing_power"] != 10:
            assert time.monotonic() < end, "the task was never accepted"
            time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    waiting.join(timeout=60)
    assert process.wait(timeout=60) == 0
    (reply,) = replies
    assert reply.status_code == 202
    assert reply.json()["data"]["images"] == []
    assert reply.json()["data"]["task_id"]

    audited = command("audit", "verify", data_dir=tmp_path)
    assert (audited.returncode, audited.stderr) == (0, "")
    assert "held 10" in audited.stdout
    assert command("audit", "key", data_dir=tmp_path).stdout == f"{key}\n"
    assert command("migrate", data_dir=tmp_path).stdout == "nothing to apply\n"
    assert command("rebuild", "tasks", data_dir=tmp_path).returncode == 0


def test_a_role_is_given_to_whoever_is_named(tmp_path: Path) -> None:
    assert command("migrate", data_dir=tmp_path).returncode == 0
    nobody = command("admin", "grant-role", "nobody", "admin", data_dir=tmp_path)
    assert (nobody.returncode, nobody.stderr) == (1, "mintage: nobody is registered as nobody\n")
    assert command("admin", "grant-role", "nobody", "root", data_dir=tmp_path).returncode == 2


def test_credits_are_adjusted_at_once_or_wait_for_a_second_person(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    def adjust(*words: str) -> subprocess.CompletedProcess[str]:
        return command("admin", "adjust", *words, "--reason", "a broken film", data_dir=tmp_path)

    with httpx.Client(base_url=server[1], timeout=60) as http:
        registered = http.post("/api/v1/auth/register", json={"username": "test", "password": "123456"}).json()["data"]
        bearer = {"Authorization": f"Bearer {registered['token']}"}

        def balance() -> int:
            return int(http.get("/api/credits/balance", headers=bearer).json()["data"]["balance"])

        added = adjust("TEST", "1000", "--expires-at", "2099-01-01T00:00:00Z", "--priority", "7")
        assert (added.returncode, added.stderr) == (0, "")
        assert added.stdout.endswith(f": +1,000 credits for {registered['user']['uuid']}\n")
        assert balance() == 1_100
        assert adjust("test", "-600").returncode == 0
        assert balance() == 500
        large = adjust("test", "1001")
        assert large.returncode == 0
        assert "waits" in large.stdout
        short = adjust("test", "-501")
        assert (short.returncode, "501 credits required, 500 available" in short.stderr) == (1, True)
        assert balance() == 500
        assert adjust("nobody", "1").returncode == 1
        for words in (("0",), ("many",), ("1", "--expires-at", "2099-01-01"), ("1", "--expires-at", "2001-01-01T00Z")):
            assert adjust("test", *words).returncode == 2, words
        for words, said in (
            (("0",), "mintage: amount must not be 0\n"),
            (("1", "--priority", "101"), "mintage: priority must be "),
            (("١",), "argument AMOUNT: '١' is no whole number of credits like 100 or -100\n"),
            (("1_0",), "argument AMOUNT: '1_0' is no whole number"),
        ):
            refused = adjust("test", *words)
            assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
        assert balance() == 500


def test_what_cannot_run_says_why_and_exits_2(tmp_path: Path) -> None:
    for words in (
        ("audit", "verify"),
        ("audit", "key"),
        ("rebuild", "ledger"),
        ("admin", "grant-role", "test", "finance"),
        ("admin", "adjust", "test", "5", "--reason", "r"),
        ("admin", "erase", "0199b1c0-0000-7000-8000-0000000000b1"),
    ):
        nowhere = command(*words, data_dir=tmp_path / "nowhere")
        assert nowhere.returncode == 2
        assert "there is no database" in nowhere.stderr
    assert not (tmp_path / "nowhere").exists()
    port = command("serve", "--port", "99999", data_dir=tmp_path)
    assert port.returncode == 2
    assert "MINTAGE_PORT" in port.stderr
    for option, said in (("--host", "the name of no address"), ("--data-dir", "the name of no directory")):
        unset = subprocess.run([*MINTAGE, "serve", option, ""], capture_output=True, text=True, timeout=60, check=False)
        assert (unset.returncode, said in unset.stderr) == (2, True)

"""The reports as finance types them: beside a running server, on a database nobody serves, on one nobody may write."""

import csv
import io
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import psycopg
import pytest

from mintage.infra.embedded_postgres import EmbeddedPostgres
from tests.exported import from_parquet
from tests.infra.kit import one, run_sql
from tests.infra.months import months_in
from tests.served import served

MINTAGE: Final = [sys.executable, "-m", "mintage", "audit"]


class Auditor:
    """Somebody who may run commands, with a data directory and perhaps a database elsewhere."""

    def __init__(self, folder: Path, conninfo: str = "") -> None:
        self.folder = folder
        key = b64encode(b"the master key of all the tests.").decode()
        elsewhere = {"MINTAGE_DATABASE_URL": conninfo, "MINTAGE_MASTER_KEY": key} if conninfo else {}
        self.env = {**os.environ, **elsewhere}

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [*MINTAGE, *words, "--data-dir", str(self.folder)]
        return subprocess.run(command, env=self.env, capture_output=True, timeout=60, check=False)

    def told(self, *words: str) -> str:
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout.decode()

    def refused(self, *words: str) -> tuple[int, str]:
        done = self.run(*words)
        assert done.stdout == b""
        return done.returncode, done.stderr.decode()

    def json(self, *words: str) -> Any:
        return json.loads(self.told(*words, "--format", "json"))


@pytest.fixture(scope="module")
def past(postgres: EmbeddedPostgres) -> Iterator[str]:
    with months_in(postgres, seed=7, events=300) as conninfo:
        yield conninfo


@pytest.fixture
def auditor(past: str, tmp_path: Path) -> Auditor:
    return Auditor(tmp_path, past)


def test_beside_a_running_server_and_after_it(tmp_path: Path) -> None:
    auditor = Auditor(tmp_path)
    with served(tmp_path) as (address, _), httpx.Client(base_url=address, timeout=60) as http:
        body = {"username": "Ann", "password": "123456"}
        joined = http.post("/api/v1/auth/register", json=body).json()["data"]
        http.headers["Authorization"] = f"Bearer {joined['token']}"
        http.post("/api/credits/recharge", json={"amount": 5, "payment_method": "stripe"})
        for number in range(3):
            http.post("/api/credits/consume", json={"amount": 20, "description": "=SUM(A1)"})
            shown = auditor.json("statement", "ann")
            assert shown["user_id"] == joined["user"]["uuid"]
            assert shown["closing"] == {"available": 130 - 20 * number, "held": 0, "owed": 0}
            assert shown["lines"][-1]["balance_after"] == shown["closing"]["available"]
    after = auditor.json("statement", joined["user"]["uuid"], "--from", shown["lines"][-1]["at"])
    assert (after["opening"]["available"], after["closing"]["available"], len(after["lines"])) == (110, 90, 2)
    table = auditor.told("statement", "ann").splitlines()
    assert "closing: available 90, held 0, owed 0" in table
    assert [line.split()[2] for line in table if "=SUM(A1)" in line] == ["credits.consumed"] * 3
    assert "'=SUM(A1)" in auditor.told("statement", "ann", "--format", "csv")
    assert auditor.json("deferred-revenue")["fen"] == 500
    assert auditor.refused("statement", "nobody") == (1, "mintage: nobody is registered as nobody\n")


@pytest.mark.parametrize("form", ["csv", "parquet", "table"])
def test_reports_as_files_as_of_a_moment(auditor: Auditor, past: str, form: str) -> None:
    user_id = one(past, "select user_id::text from credit_accounts limit 1")
    as_of = one(past, "select to_char(max(created_at), 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF:00') from lots where lot = 2")
    asked: dict[str, list[tuple[str, ...]]] = {
        "csv": [("statement", user_id), ("holds",)],
        "parquet": [("trial-balance",), ("revenue",)],
        "table": [("deferred-revenue",), ("breakage",)],
    }
    for words in [(*report, "--as-of", as_of) for report in asked[form]]:
        told, file = auditor.json(*words), auditor.folder / "report"
        assert told["lines"]
        assert auditor.told(*words, "--format", form, "--output", str(file)) == ""
        content = file.read_bytes()
        if form == "csv":
            read = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
            assert [list(row) for row in read] == [list(told["lines"][0])] * len(told["lines"])
            assert auditor.run(*words, "--format", form).stdout == content
        elif form == "parquet":
            assert from_parquet(content) == told["lines"]
        else:
            assert content.startswith(b"as_of: ")
            assert len(content.splitlines()) == len(told) + len(told["lines"])


def test_the_whole_ledger_for_beancount(auditor: Auditor, past: str) -> None:
    file = auditor.folder / "books.beancount"
    assert auditor.told("export", "--format", "beancount", "--output", str(file)) == ""
    check = Path(sys.executable).with_name("bean-check")
    assert subprocess.run([check, file], capture_output=True, timeout=60, check=False).returncode == 0
    assert file.read_text(encoding="utf-8").count("position:") == one(past, "select count(*) from postings")
    assert [path.name for path in auditor.folder.iterdir() if "books" in path.name] == ["books.beancount"]


def test_a_pipe_is_written_to_and_not_replaced(auditor: Auditor, past: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as reading:
        whole = reading.submit(pipe.read_bytes)
        assert auditor.told("trial-balance", "--format", "csv", "--output", str(pipe)) == ""
        assert whole.result(timeout=10).startswith(b"account,")
    assert pipe.is_fifo()


def test_a_link_is_followed(auditor: Auditor, past: str, tmp_path: Path) -> None:
    file, link = tmp_path / "file.csv", tmp_path / "link.csv"
    file.touch()
    link.symlink_to(file)
    assert auditor.told("trial-balance", "--format", "csv", "--output", str(link)) == ""
    assert link.is_symlink()
    assert file.read_bytes().startswith(b"account,")


def test_a_failed_export_leaves_what_was_there(auditor: Auditor, past: str) -> None:
    file = auditor.folder / "books"
    file.write_text("the one before", encoding="utf-8")
    code, said = auditor.refused("export", "--format", "csv", "--as-of", "2999-01-01T00:00Z", "--output", str(file))
    assert (code, said) == (2, "mintage: as_of must not lie in the future\n")
    assert file.read_text(encoding="utf-8") == "the one before"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("revenue", "--as-of", "yesterday"), "--as-of: 'yesterday' is no moment"),
        (("revenue", "--as-of", "2025-01-01T00:00:00"), "--as-of: '2025-01-01T00:00:00' is no moment"),
        (("revenue", "--as-of", "0001-01-01T00:00:00+12:00"), "--as-of: "),
        (
            ("revenue", "--from", "2025-03-01T00:00Z", "--as-of", "2025-02-01T00:00Z"),
            "from must not be later than as_of",
        ),
        (("holds", "--format", "xlsx"), "--format"),
        (("export", "--format", "hledger"), "--output"),
    ],
)
def test_what_cannot_be_asked_says_why(auditor: Auditor, words: tuple[str, ...], said: str) -> None:
    code, error = auditor.refused(*words)
    assert code == 2
    assert said in error


@pytest.mark.parametrize(
    "words", [("verify",), ("key",), ("holds",), ("reconcile", "statement.csv", "--gateway", "stripe")]
)
def test_a_database_of_another_schema_is_neither_read_nor_migrated(
    conninfo: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    run_sql(conninfo, "update schema_migrations set digest = 'other' where name = 'read model ledger'")
    said = "mintage: this database is not at this program's schema; run `mintage migrate`\n"
    assert Auditor(tmp_path, conninfo).refused(*words) == (2, said)
    assert one(conninfo, "select digest from schema_migrations where name = 'read model ledger'") == "other"


@pytest.mark.parametrize(
    ("output", "said"),
    [("nowhere/x.csv", "No such file or directory"), ("", "Is a directory"), ("file/x", "Not a directory")],
)
def test_what_cannot_be_written_is_told_in_a_sentence(auditor: Auditor, tmp_path: Path, output: str, said: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / output
    assert auditor.refused("holds", "--output", str(path)) == (2, f"mintage: {path}: {said}\n")
    assert not list(tmp_path.glob(".*"))


def test_whoever_stops_reading_is_told_so_in_a_sentence(auditor: Auditor) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*MINTAGE, "holds", "--data-dir", str(auditor.folder)]
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(command, env=auditor.env, stdout=closed, stderr=subprocess.PIPE, timeout=60, check=False)
    said = b"mintage: whoever read the output stopped before it was whole\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_an_audit_says_what_it_cannot_use(auditor: Auditor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    key = auditor.told("key").strip()
    wrong = {
        ("--key", key): "--key is what the notes of --checkpoints are checked with",
        ("--key", key[:-1], "--checkpoints", str(tmp_path)): "argument --key: ",
        ("--key", ""): "argument --key: this is no verifier key",
        ("--jobs", "0"): "'0' is no number of processes from 1 on",
        ("--jobs", "-1"): "--jobs",
        ("--state", str(tmp_path / "file" / "x")): f"mintage: {tmp_path}/file/x: Not a directory\n",
        ("--scratch", str(tmp_path / "file")): f"mintage: {tmp_path}/file: File exists\n",
        ("--checkpoints", str(tmp_path / "nowhere")): f"mintage: {tmp_path}/nowhere: No such file or directory\n",
        ("--checkpoints", str(tmp_path)): "mintage: there is no checkpoint of ",
    }
    for words, said in wrong.items():
        code, error = auditor.refused("verify", *words)
        assert (code, said in error) == (2, True), (words, error)


def test_without_a_database(tmp_path: Path) -> None:
    code, said = Auditor(tmp_path / "nowhere").refused("holds")
    assert (code, "there is no database" in said) == (2, True)


def test_a_database_that_nobody_may_write(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    with months_in(postgres, seed=8, events=100) as conninfo:
        reader = f"reader_{uuid4().hex}"
        run_sql(
            conninfo,
            f"create role {reader} login",
            f"grant select on all tables in schema public to {reader}",
            f"alter role {reader} set default_transaction_read_only = on",
        )
        auditor = Auditor(tmp_path, psycopg.conninfo.make_conninfo(conninfo, user=reader))
        try:
            code, said = auditor.refused("trial-balance")
            assert code == 2
            assert said.startswith("mintage: the read model postings reaches event 0 of ")
            assert "read-only" in said
            assert Auditor(tmp_path, conninfo).json("trial-balance")["position"] >= 100
            assert auditor.json("trial-balance")["position"] >= 100
        finally:
            run_sql(conninfo, f"drop owned by {reader}", f"drop role {reader}")

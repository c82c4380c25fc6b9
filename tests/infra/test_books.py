"""Exports are read back as what they were made from, and the books are what Beancount and hledger themselves accept."""

import csv
import io
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq
import pytest

from mintage.application.books import BOOKS, as_book
from mintage.application.reports import Reports
from mintage.application.tables import FORMULA, TABLES
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.projections import reports as queries
from tests.exported import from_csv, from_parquet, written
from tests.infra.kit import one, rows, the_log
from tests.infra.months import lines, months_in, reports_on
from tests.programs import lacks

EVENTS: Final = 3_000
CHECKS: Final = {
    "beancount": [str(Path(sys.executable).with_name("bean-check"))],
    "hledger": ["hledger", "check", "accounts", "commodities", "ordereddates", "balancednoautoconversion", "-f"],
}
PROGRAMS: Final = pytest.mark.parametrize(
    "program",
    [
        "beancount",
        pytest.param("hledger", marks=pytest.mark.skipif(lacks("hledger"), reason="hledger is not installed")),
    ],
)


@pytest.fixture(scope="module")
def past(postgres: EmbeddedPostgres) -> Iterator[str]:
    with months_in(postgres, seed=5, events=EVENTS) as conninfo:
        yield conninfo


@pytest.fixture
async def reports(past: str) -> AsyncIterator[Reports]:
    async with reports_on(past) as opened:
        yield opened


async def book(reports: Reports, program: str, as_of: datetime | None = None) -> str:
    content = as_book(await reports.ledger(as_of), reports, BOOKS[program]())
    return b"".join([portion async for portion in content]).decode()


def _named(account: str) -> str:
    """What an account of the trial balance is called in the books."""
    kind, _, whose = account.partition(":")
    house = {
        "paid": "Liabilities:Paid",
        "promotional": "Equity:Promotional",
        "revenue": "Income:Revenue",
        "breakage": "Income:Breakage",
        "receivable": f"Assets:Receivable:{whose.capitalize()}",
    }
    return house.get(kind, f"Assets:People:P-{whose}:{kind.capitalize()}")


def check(program: str, text: str, folder: Path) -> tuple[bool, str]:
    """Whether the program accepts it, and what it says if not."""
    file = folder / f"ledger.{program}"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([*CHECKS[program], str(file)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def raised(amount: str) -> Callable[[str], str]:
    """Raise the first amount that this finds by one, the least there is of it."""

    def change(text: str) -> str:
        found = re.search(amount, text)
        assert found is not None
        digits = found.group(1)
        more = str(int(digits.replace(".", "")) + 1)
        written = f"{more[:-2]}.{more[-2:]}" if "." in digits else more
        return text[: found.start(1)] + written + text[found.end(1) :]

    return change


@PROGRAMS
class TestBooks:
    @pytest.mark.parametrize("moment", ["now", "past"])
    async def test_it_is_accepted(self, reports: Reports, past: str, program: str, moment: str, tmp_path: Path) -> None:
        as_of = None if moment == "now" else the_log(past)[EVENTS // 2].at
        text = await book(reports, program, as_of)
        accepted, said = check(program, text, tmp_path)
        assert accepted, said
        upto = one(
            past, "select max(position) from postings where at <= coalesce(%s::timestamptz, 'infinity')", (as_of,)
        )
        assert text.count("position:") == upto
        belonging = (
            "select reference::text from postings where position <= %s and reference is not null order by position"
        )
        assert re.findall(r"\breference:\s?\"?([0-9a-f-]{36})\b", text) == [
            row[0] for row in rows(past, belonging, (upto,))
        ]
        days = one(
            past, "select count(distinct (at at time zone 'UTC')::date) from postings where position <= %s", (upto,)
        )
        assert days > 10
        asserted = set(re.findall(r"^(\d{4}-\d\d-\d\d) (?:\* )?balance", text, re.MULTILINE))
        assert len(asserted) == days
        people = one(past, "select count(distinct user_id) from postings where position <= %s", (upto,))
        ended = text.rpartition("position:")[2]
        assert len(re.findall(r"Assets:People:P-\S+:(?:Available|Held|Owed) .*CREDIT", ended)) >= 3 * people

    async def test_a_falsified_one_is_refused(self, reports: Reports, program: str, tmp_path: Path) -> None:
        text = await book(reports, program)
        consumed = re.compile(r"\n\d{4}-\d\d-\d\d \* \"?credits.consumed\"?\n(?:  .*\n)+")
        falsified: dict[str, Callable[[str], str]] = {
            "a fen more in one leg": raised(r"Receivable:\w+  (\d+\.\d\d) CNY\n"),
            "a credit more in one leg": raised(r":Held  (\d+) CREDIT\n"),
            "an event left out": lambda text: consumed.sub("\n", text, count=1),
            "an event twice": lambda text: consumed.sub(lambda found: found.group() * 2, text, count=1),
            # Beancount's usual tolerance would let this pass.
            "a fen more in an assertion": raised(r"(?:balance Liabilities:Paid  |CNY = )-(\d+\.\d\d)"),
            "a credit more in the last assertions": raised(
                r"(?s)credits\.\w+.*P-\S+:Available  (?:0 CREDIT = )?([1-9]\d*)(?: ~ 0)? CREDIT"
            ),
        }
        for what, falsify in falsified.items():
            changed = falsify(text)
            assert changed != text, what
            accepted, said = check(program, changed, tmp_path)
            assert not accepted, what
            assert re.search("(?i)balance", said), (what, said)

    async def test_it_comes_to_what_the_trial_balance_says(
        self, reports: Reports, program: str, tmp_path: Path
    ) -> None:
        """hledger adds up by itself; what Beancount comes to, its own assertions have said."""
        text = await book(reports, program)
        told = {row.account: (row.credits, row.fen) for row in await lines(await reports.trial_balance(None))}
        if program == "hledger":
            file = tmp_path / "ledger"
            file.write_text(text, encoding="utf-8")
            summed = ["hledger", "bal", "-f", str(file), "-N", "--flat", "--layout=bare", "-O", "csv"]
            out = _output(summed)
            found = [(row["account"], row["commodity"], row["balance"]) for row in csv.DictReader(io.StringIO(out))]
        else:
            found = re.findall(r"balance (\S+)  (\S+) ~ 0(?:\.00)? (\w+)", text.rpartition("position:")[2])
            found = [(account, commodity, amount) for account, amount, commodity in found]
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for account, commodity, amount in found:
            name = re.sub("Revenue:.*", "Revenue", account)
            sums[name][commodity == "CNY"] += int(amount.replace(".", ""))
        assert {name: row for name, row in sums.items() if row != [0, 0]} == {
            _named(account): list(row) for account, row in told.items() if row != (0, 0)
        }

    async def test_there_is_one_to_begin_with(self, reports: Reports, past: str, program: str, tmp_path: Path) -> None:
        before = the_log(past)[0].at - timedelta(seconds=1)
        accepted, said = check(program, await book(reports, program, before), tmp_path)
        assert accepted, said


async def everything(reports: Reports, past: str) -> list[Callable[[], Any]]:
    described = "select user_id::text from transactions where description like '=%%' limit 1"
    user_id, middle = one(past, described), the_log(past)[EVENTS // 3].at
    return [
        lambda: reports.statement(user_id, None, middle),
        lambda: reports.statement(user_id, None, None),
        lambda: reports.trial_balance(None),
        lambda: reports.deferred_revenue(middle),
        lambda: reports.revenue(None, None),
        lambda: reports.breakage(None, middle),
        lambda: reports.holds(None),
        lambda: reports.ledger(None),
        lambda: reports.ledger(datetime.fromisoformat("2001-01-01T00:00:00Z")),
    ]


async def test_csv_and_parquet_say_what_json_says(reports: Reports, past: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 50)
    seen: list[str] = []
    for make in await everything(reports, past):
        report = await make()
        told = msgspec.json.decode(await written(report, "json"))
        text = (await written(await make(), "csv")).decode()
        assert from_csv(text, report.row) == told["lines"], report.name
        parquet = await written(await make(), "parquet")
        assert from_parquet(parquet) == told["lines"], report.name
        scope = msgspec.json.decode(pq.read_metadata(io.BytesIO(parquet)).metadata[b"mintage"])
        told_scope = {name: value for name, value in told.items() if name != "lines"}
        assert {**scope, "as_of": ""} == {**told_scope, "as_of": ""}, report.name
        assert pq.read_schema(io.BytesIO(parquet)).names == list(report.row.__struct_fields__)
        seen += [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in seen)
    assert "''quoted'" in seen
    assert not [cell for cell in seen if cell.startswith(FORMULA[:-1]) and not re.fullmatch(r"-\d+", cell)]


async def test_memory_stays_flat(reports: Reports, past: str) -> None:
    """Every format writes as it reads: no portion is more than a page."""
    for form in ("json", "csv", "parquet"):
        portions = [len(portion) async for portion in TABLES[form](await reports.ledger(None))]
        assert len(portions) > EVENTS / queries.PAGE
        assert max(portions) < sum(portions) * 0.6
    assert rows(past, "select count(*) from postings")[0][0] >= EVENTS

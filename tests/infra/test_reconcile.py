"""`mintage audit reconcile` against a real database: what it prints, how it exits, and that it writes nothing."""

import csv
import io
import json
import re
import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import psycopg
import pytest

from mintage import cli
from mintage.application.transaction import Transaction, Work
from mintage.domain.recharge.decider import RECHARGE, RecordPayment, RecordRefund, RequestRecharge
from mintage.infra.statement import Layout
from tests.infra.kit import journal_on, one, rows, run_sql, some_id
from tests.infra.test_statement import ALIPAY, BEIJING, WECHAT

HEADING: Final = "reference,type,amount,currency,time\n"


class Bookkeeper:
    """Records payments and refunds, and writes the statement that a gateway without a fault would send."""

    def __init__(self, conninfo: str, folder: Path) -> None:
        self._conninfo = conninfo
        self.bill = folder / "bill.csv"

    async def record(self, gateway: str = "wechat") -> None:
        """Three payments of 10, 20 and 30 yuan, pay-1 to pay-3; 5.50 of the last go back as back-1.

        A fourth is asked for and not paid.
        """
        async with journal_on(self._conninfo) as journal:
            for number in (1, 2, 3):
                order, fen = some_id(), number * 1000
                await journal.transact(self._paid(order, gateway, f"{gateway}-pay-{number}", fen), actor="test")
            await journal.transact(self._refunded(order, f"{gateway}-back-1", 550), actor="test")
            await journal.transact(self._asked(some_id(), gateway, 4000), actor="test")

    @staticmethod
    def _asked(order: str, gateway: str, fen: int) -> Work[None]:
        asked = RequestRecharge(user_id=some_id(), amount_fen=fen, credits=fen // 10, payment_method=gateway)

        def work(transaction: Transaction) -> None:
            transaction.begin(RECHARGE, order, asked)

        return work

    @classmethod
    def _paid(cls, order: str, gateway: str, reference: str, fen: int) -> Work[None]:
        asked = cls._asked(order, gateway, fen)
        paid = RecordPayment(payment_reference=reference, amount_fen=fen)

        def work(transaction: Transaction) -> None:
            asked(transaction)
            transaction.execute(RECHARGE, order, paid)

        return work

    @staticmethod
    def _refunded(order: str, reference: str, fen: int) -> Work[None]:
        command = RecordRefund(refund_reference=reference, amount_fen=fen, reason="refund")

        def work(transaction: Transaction) -> None:
            transaction.execute(RECHARGE, order, command)

        return work

    def lines(self, gateway: str = "wechat") -> list[str]:
        sql = """
            select payment_reference, 'payment', amount_fen, paid_at from recharges
            where payment_method = %s and status = 'paid'
            union all select refund_reference, 'refund', amount_fen, created_at from refunds where payment_method = %s
            order by 1"""
        return [
            f"{reference},{movement},{fen // 100}.{fen % 100:02},CNY,{at.isoformat()}\n"
            for reference, movement, fen, at in rows(self._conninfo, sql, (gateway, gateway))
        ]

    def write(self, *lines: str) -> str:
        self.bill.write_text(HEADING + "".join(lines), encoding="utf-8")
        return str(self.bill)


@pytest.fixture
async def books(conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bookkeeper:
    monkeypatch.setenv("MINTAGE_DATABASE_URL", conninfo)
    monkeypatch.setenv("MINTAGE_DATA_DIR", str(tmp_path))
    books = Bookkeeper(conninfo, tmp_path)
    await books.record()
    return books


def reconcile(*words: str) -> int:
    return cli.main(["audit", "reconcile", "--gateway", "wechat", *words])


def test_what_agrees_exits_0(books: Bookkeeper, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile(books.write(*books.lines())) == 0
    assert capsys.readouterr().out == "4 entries stated, 54.50 CNY; 4 recorded, 54.50 CNY; 0 differences\n"


async def test_another_gateways_payments_are_its_own(books: Bookkeeper, capsys: pytest.CaptureFixture[str]) -> None:
    await books.record("alipay")
    assert reconcile(books.write(*books.lines())) == 0
    assert reconcile(books.write(*books.lines("alipay"))) == 1
    assert "4 entries stated, 54.50 CNY; 4 recorded, 54.50 CNY; 8 differences" in capsys.readouterr().out


def test_every_kind_of_difference_exits_1_and_is_named(
    books: Bookkeeper, capsys: pytest.CaptureFixture[str], conninfo: str
) -> None:
    back, first, second, third = books.lines()
    lines = [
        first.replace("10.00", "10.01"),
        second.replace("CNY", "USD"),
        third,
        third,
        third.replace("pay-3", "pay-4"),
        back.replace("back-1", "back-2"),
    ]
    path = books.write(*lines)
    assert reconcile(path, "--format", "json") == 1
    found = json.loads(capsys.readouterr().out)
    kinds = [(one["kind"], one["movement"], one["reference"]) for one in found["differences"]]
    assert sorted(kinds) == [
        ("amount_differs", "payment", "wechat-pay-1"),
        ("currency_differs", "payment", "wechat-pay-2"),
        ("not_at_gateway", "refund", "wechat-back-1"),
        ("not_recorded", "payment", "wechat-pay-4"),
        ("not_recorded", "refund", "wechat-back-2"),
        ("stated_twice", "payment", "wechat-pay-3"),
    ]
    (amount,) = [one for one in found["differences"] if one["kind"] == "amount_differs"]
    assert (amount["stated"]["amount_fen"], amount["stated"]["line"], amount["booked"]["amount_fen"]) == (1001, 2, 1000)
    order = one(conninfo, "select recharge_id::text from recharges where payment_reference = 'wechat-pay-1'")
    assert amount["booked"]["recharge_id"] == order

    assert reconcile(path) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "5 entries stated, 94.51 CNY; 4 recorded, 54.50 CNY; 6 differences"
    (line,) = [
        text for text in printed if text.startswith("amount_differs: payment wechat-pay-1; bill.csv, line 2: 10.01 CNY")
    ]
    assert f"recorded 10.00 CNY at {amount['booked']['at'][:10]}" in line
    assert line.endswith(f"for order {order}")

    assert reconcile(path, "--format", "csv") == 1
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sorted((row["difference"], row["type"], row["reference"]) for row in table) == sorted(kinds)
    (row,) = [row for row in table if row["difference"] == "amount_differs"]
    assert (row["stated_fen"], row["recorded_fen"], row["line"], row["recharge_id"]) == ("1001", "1000", "2", order)


def test_of_a_line_stated_twice_it_is_not_said_that_it_was_not_recorded(
    books: Bookkeeper, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = books.lines()
    assert reconcile(books.write(*lines, lines[-1])) == 1
    difference, totals = capsys.readouterr().out.splitlines()
    assert difference.startswith("stated_twice: payment wechat-pay-3; bill.csv, line 6: ")
    assert difference.endswith("; stated before")
    assert totals.endswith("; 1 difference")


def test_no_cell_becomes_a_formula(books: Bookkeeper, capsys: pytest.CaptureFixture[str]) -> None:
    stated = '"=1+1",payment,1.00,CNY,2026-11-20\n'
    assert reconcile(books.write(*books.lines(), stated), "--format", "csv") == 1
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["reference"] == "'=1+1"


def test_a_period_asks_for_what_happened_in_it(
    books: Bookkeeper, capsys: pytest.CaptureFixture[str], conninfo: str
) -> None:
    """The second payment alone; the statement reaches further, and has it a second earlier, before the period."""
    at: datetime = one(conninfo, "select paid_at from recharges where payment_reference = 'wechat-pay-2'")
    period = ("--from", at.isoformat(), "--to", (at + timedelta(microseconds=1)).isoformat())
    back, first, second, third = books.lines()
    earlier = second.replace(at.isoformat(), (at - timedelta(seconds=1)).isoformat())
    assert reconcile(books.write(earlier), *period) == 0
    assert "0 entries stated, 0.00 CNY; 1 recorded, 20.00 CNY; 0 differences" in capsys.readouterr().out
    assert reconcile(books.write(back, first, third), *period) == 1
    assert "not_at_gateway: payment wechat-pay-2; not stated; recorded 20.00" in capsys.readouterr().out
    # What is stated in the period may be recorded at any time.
    late = [entry.split(",CNY,")[0] + f",CNY,{at.isoformat()}\n" for entry in (back, first)]
    assert reconcile(books.write(*late, second), *period) == 0


def test_a_layout_of_ones_own(books: Bookkeeper, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"payment": "SUCCESS", "refund": "REFUND"}
    cells = [line.strip().split(",") for line in books.lines()]
    text = "单号,状态,金额,时间\n" + "".join(
        f"`{ref},`{words[kind]},`{yuan},`{at}\n" for ref, kind, yuan, _, at in cells
    )
    books.bill.write_bytes((text + "`x,`REVOKED,`1.00,`2026-11-20 12:00:00\n").encode("gbk"))
    columns = "reference=单号,type=状态,amount=金额,time=时间,currency="
    types = "SUCCESS=payment,REFUND=refund,REVOKED=skip"
    assert reconcile(str(books.bill), "--columns", columns, "--types", types) == 0
    assert "4 entries stated, 54.50 CNY" in capsys.readouterr().out


def test_a_time_without_a_zone_is_the_gateways(books: Bookkeeper, capsys: pytest.CaptureFixture[str]) -> None:
    path = books.write("new,payment,1.00,CNY,2026-11-20 12:00:00\n")
    seconds: dict[str, str] = {}
    for words in (["wechat"], ["stripe"], ["wechat", "--zone", "+05:30"]):
        assert cli.main(["audit", "reconcile", path, "--gateway", *words, "--format", "json"]) == 1
        (found,) = [one for one in json.loads(capsys.readouterr().out)["differences"] if one["stated"]]
        seconds[" ".join(words)] = found["stated"]["at"]
    assert seconds == {
        "wechat": "2026-11-20T04:00:00Z",
        "stripe": "2026-11-20T12:00:00Z",
        "wechat --zone +05:30": "2026-11-20T06:30:00Z",
    }


def test_a_line_that_is_wrong_exits_2_and_prints_no_difference(
    books: Bookkeeper, capsys: pytest.CaptureFixture[str]
) -> None:
    path = books.write("unknown,payment,1.00,CNY,2026-11-20\n", "a,payment,1.005,CNY,2026-11-20\n")
    assert reconcile(path) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "mintage: bill.csv, line 3: amount: '1.005' is no amount in yuan like 12.50\n"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--from", "2026-11-21"], "'2026-11-21' is no moment like"),
        (["--from", "2026-11-21T00:00Z", "--to", "2026-11-21T08:00+08:00"], "--from has to be before --to"),
        (["--columns", "sum=amount"], "'sum' is none of reference"),
        (["--columns", "amount="], "amount has to be called something"),
        (["--columns", "amount"], "is not NAME=VALUE"),
        (["--types", "A=payed"], "'payed' is none of payment, refund, skip"),
        (["--zone", "Peking"], "'Peking' is no zone"),
    ],
)
def test_wrong_usage_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], named: str
) -> None:
    monkeypatch.setenv("MINTAGE_DATA_DIR", str(tmp_path))
    try:
        code: object = reconcile(str(tmp_path / "bill.csv"), *words)
    except SystemExit as stopped:
        code = stopped.code
    assert (code, named in capsys.readouterr().err) == (2, True)


def test_what_cannot_be_read_exits_2(books: Bookkeeper, capsys: pytest.CaptureFixture[str], conninfo: str) -> None:
    assert reconcile(str(books.bill.with_name("nothing.csv"))) == 2
    assert "nothing.csv" in capsys.readouterr().err
    run_sql(conninfo, "drop table schema_migrations")
    assert reconcile(books.write()) == 2
    assert "mintage migrate" in capsys.readouterr().err


def test_a_role_that_may_only_read_is_enough(
    books: Bookkeeper, capsys: pytest.CaptureFixture[str], conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a replica: nothing is written."""
    path, reader = books.write(*books.lines()), f"reader_{some_id()[:8]}"
    run_sql(
        conninfo,
        f"create role {reader} login",
        f"grant select on all tables in schema public to {reader}",
        f"alter role {reader} set default_transaction_read_only = on",
    )
    try:
        monkeypatch.setenv("MINTAGE_DATABASE_URL", psycopg.conninfo.make_conninfo(conninfo, user=reader))
        assert reconcile(path) == 0
    finally:
        run_sql(conninfo, f"drop owned by {reader}", f"drop role {reader}")


def test_the_pages_commands_for_the_gateways_bills_are_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    commands = re.findall(r"^mintage (audit reconcile (?:.*\\\n)*.*)$", page, re.MULTILINE)
    layouts = {}
    for command in commands:
        options = cli._parser().parse_args(shlex.split(command.replace("\\\n", " ")))
        layouts[options.gateway] = Layout(BEIJING, options.columns, options.types)
    assert layouts == {"wechat": WECHAT, "alipay": ALIPAY}

"""A gateway's file is understood to the last digit, or the line and the column that are wrong are named."""

import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mintage.application.reconciliation import Booked, Period, Stated, reconcile
from mintage.infra.statement import NEUTRAL, TYPES, Layout, StatementRefused, read_statement

BEIJING: Final = timezone(timedelta(hours=8))
PLAIN: Final = Layout(BEIJING, NEUTRAL, TYPES)
HEADING: Final = "reference,type,amount,currency,time\n"
NOON: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)

WECHAT: Final = Layout(
    BEIJING,
    {
        "reference": "微信订单号",
        "type": "交易状态",
        "amount": "订单金额",
        "currency": "货币种类",
        "time": "交易时间",
        "refund_reference": "微信退款单号",
        "refund_amount": "申请退款金额",
    },
    {"SUCCESS": "payment", "REFUND": "refund", "REVOKED": None},
)
WECHAT_BILL: Final = """\
交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,\
微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r
`2026-11-20 20:00:00,`wx1,`19000,`0,`,`4200000925202101284997714292,`o1,`u1,`NATIVE,`SUCCESS,`OTHERS,`CNY,`11.00,`1.00,\
`0,`0,`0.00,`0.00,`,`,`积分"充值",`,`0.07000,`0.60%,`12.00,`0.00,`\r
`2026-11-20 20:30:00,`wx1,`19000,`0,`,`4200000925202101284997714292,`o1,`u1,`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,\
`50300509332021012800001,`r1,`4.50,`0.00,`ORIGINAL,`SUCCESS,`积分充值,`,`-0.03000,`0.60%,`0.00,`5.00,`\r
`2026-11-20 20:31:00,`wx1,`19000,`0,`,`4200000925202101284997714293,`o2,`u1,`NATIVE,`REVOKED,`OTHERS,`CNY,`1.00,`0.00,\
`0,`0,`0.00,`0.00,`,`,`积分充值,`,`0.00000,`0.60%,`1.00,`0.00,`\r
总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r
`3,`12.00,`4.50,`0.00,`0.04000,`13.00,`5.00\r
"""

ALIPAY: Final = Layout(
    BEIJING,
    {
        "reference": "支付宝交易号",
        "type": "业务类型",
        "amount": "订单金额（元）",
        "currency": "",
        "time": "完成时间",
        "refund_reference": "退款批次号/请求号",
    },
    {"交易": "payment", "退款": "refund"},
)
ALIPAY_BILL: Final = """\
#支付宝业务明细查询
#账号：[20880000000000000156]
#-----------------------------------------业务明细列表----------------------------------------
支付宝交易号,商户订单号,业务类型,完成时间,订单金额（元）,商家实收（元）,退款批次号/请求号,备注
2026112022001400000000000001\t,o1\t,交易\t,2026-11-20 20:00:00,35.80,35.80,,
2026112022001400000000000001\t,o1\t,退款\t,2026-11-20 21:00:00,-5.80,-5.80,r1\t,
#-----------------------------------------业务明细列表结束------------------------------------
#交易合计：1笔，退款合计：1笔
"""


def read(path: Path, text: str | bytes, layout: Layout = PLAIN) -> list[Stated]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_statement([path], layout))


def problems(path: Path, text: str | bytes, layout: Layout = PLAIN) -> list[str]:
    with pytest.raises(StatementRefused) as refused:
        read(path, text, layout)
    return list(refused.value.problems)


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    return tmp_path / "bill.csv"


def told(lines: list[Stated]) -> list[tuple[str, str, int, str, datetime]]:
    return [(line.movement, line.reference, line.amount_fen, line.currency, line.at) for line in lines]


class TestLayouts:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    def test_the_neutral_layout(self, bill: Path, encoding: str) -> None:
        text = f"{HEADING}4200,payment,12.30,CNY,2026-11-20T12:00:00Z\n\nr-1,refund,1,cny,2026-11-20 20:30\n"
        lines = read(bill, text.encode(encoding))
        assert told(lines) == [
            ("payment", "4200", 1230, "CNY", NOON),
            ("refund", "r-1", 100, "CNY", NOON + timedelta(minutes=30)),
        ]
        assert [(line.file, line.line) for line in lines] == [("bill.csv", 2), ("bill.csv", 4)]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
    def test_wechats_trade_bill(self, bill: Path, encoding: str) -> None:
        assert told(read(bill, WECHAT_BILL.encode(encoding), WECHAT)) == [
            ("payment", "4200000925202101284997714292", 1200, "CNY", NOON),
            ("refund", "50300509332021012800001", 500, "CNY", NOON + timedelta(minutes=30)),
        ]

    def test_characters_that_gbk_does_not_have(self, bill: Path) -> None:
        (line, _) = read(bill, WECHAT_BILL.replace('积分"充值"', "𠮷").encode("gb18030"), WECHAT)
        assert line.amount_fen == 1200

    @pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
    def test_alipays_business_detail(self, bill: Path, encoding: str) -> None:
        assert told(read(bill, ALIPAY_BILL.encode(encoding), ALIPAY)) == [
            ("payment", "2026112022001400000000000001", 3580, "CNY", NOON),
            ("refund", "r1", 580, "CNY", NOON + timedelta(hours=1)),
        ]

    def test_columns_in_any_order_among_others_and_with_quotes(self, bill: Path) -> None:
        text = 'time,note,amount,type,currency,reference,\n2026-11-20T12:00+00:00,"a\n,b",0.05,payment,usd,"4,2",\n'
        assert told(read(bill, text)) == [("payment", "4,2", 5, "USD", NOON)]

    def test_several_files_are_one_statement(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
        for number, path in enumerate(paths):
            path.write_text(f"{HEADING}{number},payment,1.00,CNY,2026-11-20T12:00:00Z\n")
        assert [(line.reference, line.file) for line in read_statement(paths, PLAIN)] == [
            ("0", "a.csv"),
            ("1", "b.csv"),
        ]


class TestAmounts:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, 10**14 - 1))
    def test_every_fen_survives(self, bill: Path, fen: int) -> None:
        (line,) = read(bill, f"{HEADING}a,payment,{fen // 100}.{fen % 100:02},CNY,2026-11-20T12:00:00Z\n")
        assert line.amount_fen == fen

    @pytest.mark.parametrize(
        ("cell", "fen"), [("0.1", 10), ("0.29", 29), ("4.35", 435), ("7", 700), ("-0.07", 7), ("-3", 300)]
    )
    def test_what_went_back_may_have_a_minus(self, bill: Path, cell: str, fen: int) -> None:
        (line,) = read(bill, f"{HEADING}a,refund,{cell},CNY,2026-11-20T12:00:00Z\n")
        assert line.amount_fen == fen

    @pytest.mark.parametrize(
        "cell", ["", "1.005", "1e3", "1,5", "١٢", "１２", "+1", "--1", ".5", "5.", "¥5", "NaN", "1 0", "0x1", "9" * 13]
    )
    def test_nothing_is_rounded_or_guessed(self, bill: Path, cell: str) -> None:
        (problem,) = problems(bill, f'{HEADING}a,payment,"{cell}",CNY,2026-11-20T12:00:00Z\n')
        assert problem.startswith("bill.csv, line 2: amount: ")


class TestWhatIsWrongIsNamed:
    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ("a,payment,-1.00,CNY,2026-11-20", "amount: a payment below zero"),
            ("a,sale,1.00,CNY,2026-11-20", "type: 'sale' is none of payment, refund"),
            (",payment,1.00,CNY,2026-11-20", "reference: '' is no reference"),
            ("a\0b,payment,1.00,CNY,2026-11-20", "reference: 'a\\x00b' is no reference"),
            ("4.00123E+27,payment,1.00,CNY,2026-11-20", "reference: '4.00123E+27' was rounded by a spreadsheet"),
            ("a,payment,1.00,yuan,2026-11-20", "currency: 'yuan' is no currency"),
            ("a,payment,1.00,CNY,20/11/26", "time: '20/11/26' is no time"),
            ("a,payment,1.00,CNY,0001-01-01", "time: '0001-01-01' is no time"),
            ("a,payment,1.00,CNY", "4 cells under a heading of 5"),
            ("a,payment,1.00,CNY,2026-11-20,more", "6 cells under a heading of 5"),
            ('a,payment,"1.00,CNY,2026-11-20', "unexpected end of data"),
        ],
    )
    def test_a_line(self, bill: Path, line: str, named: str) -> None:
        good = "b,payment,1.00,CNY,2026-11-20\n"
        (problem,) = problems(bill, f"{HEADING}{good}{line}\n")
        assert problem.startswith(f"bill.csv, line 3: {named}")

    def test_many_lines_up_to_twenty(self, bill: Path) -> None:
        text = HEADING + "a,payment,1.00,CNY,2026-11-20\n" + "a,payment,one,CNY,2026-11-20\n" * 50
        assert [problem.split(":")[0] for problem in problems(bill, text)] == [
            f"bill.csv, line {number}" for number in range(3, 23)
        ]

    def test_a_heading_that_is_not_there(self, bill: Path) -> None:
        for text in ("", "\n", "reference,type,amount,currency\n"):
            (problem,) = problems(bill, text)
            assert "no heading with the columns reference, type, amount, currency, time" in problem

    def test_a_column_that_is_there_twice(self, bill: Path) -> None:
        (problem,) = problems(bill, f"amount,{HEADING}")
        assert problem == "bill.csv, line 1: several columns are called amount"

    def test_more_after_the_totals(self, bill: Path) -> None:
        (problem,) = problems(bill, WECHAT_BILL * 2, WECHAT)
        assert problem == "bill.csv, line 7: there is more after the totals"

    def test_bytes_that_are_no_text(self, bill: Path) -> None:
        for text in (b"reference\xff\xff,type\n", b"cut off in the middle of a character \xe5"):
            assert problems(bill, text) == ["bill.csv: is neither UTF-8 nor GB18030"]

    def test_a_second_file_that_is_wrong_spoils_the_first(self, tmp_path: Path) -> None:
        good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
        good.write_text(f"{HEADING}a,payment,1.00,CNY,2026-11-20\n")
        bad.write_text(f"{HEADING}a,payment,x,CNY,2026-11-20\n")
        with pytest.raises(StatementRefused, match=r"bad\.csv, line 2"):
            list(read_statement([good, bad], PLAIN))


def test_a_long_statement_is_held_once(bill: Path) -> None:
    """100,000 lines: what is needed beyond the lines themselves stays a fraction of them."""
    count = 100_000
    with bill.open("w") as file:
        file.write(HEADING)
        for number in range(count):
            file.write(f"42000009252021{number:014},payment,{number}.{number % 100:02},CNY,2026-11-20T12:00:00Z\n")
    books = (
        Booked("payment", f"42000009252021{number:014}", number * 100 + number % 100, "order", NOON)
        for number in range(count)
    )
    tracemalloc.start()
    try:
        lines = {line.reference: line for line in read_statement([bill], PLAIN)}
        once, _ = tracemalloc.get_traced_memory()
        del lines
        tracemalloc.reset_peak()
        found = reconcile(read_statement([bill], PLAIN), lambda _: books, Period())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.differences, found.stated.entries, found.booked.entries) == ([], count, count)
    assert found.stated.fen == found.booked.fen == sum(number * 100 + number % 100 for number in range(count))
    assert peak < 1.4 * once, (peak, once)

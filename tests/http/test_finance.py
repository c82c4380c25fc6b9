"""Finance reads the reports over HTTP, as JSON and as files; nobody else does."""

import csv
import io
import subprocess
import sys
from datetime import timedelta
from uuid import uuid4

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest

from mintage.application.services import Services
from mintage.domain.registration.events import Role
from mintage.infra import freshness
from mintage.infra.follower import follower_lock
from mintage.projections.postings import POSTINGS
from tests.conftest import Token
from tests.contract import documents, promises
from tests.exported import from_csv, from_parquet, written
from tests.infra.kit import the_log
from tests.infra.months import months, reports_on

REPORTS = ("trial-balance", "deferred-revenue", "revenue", "breakage", "holds")
PARQUET = "application/vnd.apache.parquet"
NAMED = 'attachment; filename="x.csv"'


@pytest.fixture
async def people(conninfo: str, services: Services) -> list[str]:
    return await months(conninfo, seed=6, events=200, people=4)


@pytest.fixture
async def finance(client: httpx.AsyncClient, people: list[str], services: Services, token: Token) -> httpx.AsyncClient:
    """The client as somebody of finance."""
    user, me = await token()
    await services.profiles.grant_role(str(user["uuid"]), "finance", actor="test")
    client.headers.update(me)
    return client


def paths(people: list[str]) -> list[str]:
    return [*REPORTS, f"statement/{people[0]}", "export"]


class TestReports:
    async def test_each_is_the_same_in_every_format(
        self, finance: httpx.AsyncClient, people: list[str], conninfo: str
    ) -> None:
        for as_of in (the_log(conninfo)[120].at, the_log(conninfo)[60].at):
            query = {"as_of": as_of.isoformat()}
            async with reports_on(conninfo) as reports:
                direct = {
                    "trial-balance": await reports.trial_balance(as_of),
                    "deferred-revenue": await reports.deferred_revenue(as_of),
                    "revenue": await reports.revenue(as_of, None),
                    "breakage": await reports.breakage(as_of, None),
                    "holds": await reports.holds(as_of),
                    f"statement/{people[0]}": await reports.statement(people[0], as_of, None),
                }
                for path, report in direct.items():
                    told = await finance.get(f"/api/finance/{path}", params=query)
                    assert told.headers["content-type"] == "application/json"
                    data = told.json()["data"]
                    assert httpx.Response(200, content=await written(report, "json")).json() == data
                    text = await finance.get(f"/api/finance/{path}", params={**query, "format": "csv"})
                    assert text.headers["content-type"] == "text/csv; charset=utf-8"
                    name = f"{report.name}-{as_of:%Y%m%dt%H%M%Sz}"
                    assert text.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
                    parquet = await finance.get(f"/api/finance/{path}", params={**query, "format": "parquet"})
                    assert parquet.headers["content-type"] == PARQUET
                    assert parquet.headers["content-disposition"] == f'attachment; filename="{name}.parquet"'
                    lines = from_parquet(parquet.content)
                    assert from_csv(text.text, report.row) == lines == data["lines"]
        assert len(lines) > 3

    async def test_the_file_of_a_statement_says_whose_it_is(
        self, finance: httpx.AsyncClient, people: list[str]
    ) -> None:
        query = {"as_of": "2025-02-01T00:00:00Z", "format": "csv"}
        for user_id in people[:2]:
            named = (await finance.get(f"/api/finance/statement/{user_id}", params=query)).headers[
                "content-disposition"
            ]
            assert named == f'attachment; filename="statement-{user_id}-20250201t000000z.csv"'

    async def test_a_time_begins_where_it_is_asked_to(
        self, finance: httpx.AsyncClient, people: list[str], conninfo: str
    ) -> None:
        begin, end = the_log(conninfo)[80].at, the_log(conninfo)[140].at
        query = {"from": begin.isoformat(), "as_of": end.isoformat()}
        data = (await finance.get(f"/api/finance/statement/{people[1]}", params=query)).json()["data"]
        wanted = [one.position for one in the_log(conninfo) if one.key == people[1] and begin <= one.at <= end]
        assert wanted
        assert [line["position"] for line in data["lines"]] == [None, *wanted]
        earlier = {"as_of": (begin - timedelta(microseconds=1)).isoformat()}
        before = (await finance.get(f"/api/finance/statement/{people[1]}", params=earlier)).json()["data"]
        assert data["opening"] == before["closing"]
        whole, *parts = [
            (await finance.get("/api/finance/revenue", params=params)).json()["data"]["fen"]
            for params in ({"as_of": end.isoformat()}, earlier, query)
        ]
        assert whole == sum(parts)

    async def test_what_was_just_done_is_in_it(self, finance: httpx.AsyncClient, services: Services) -> None:
        me = (await finance.get("/api/credits/balance")).json()["data"]["user_id"]
        await finance.post("/api/credits/recharge", json={"amount": 5, "payment_method": "alipay"})
        await finance.post("/api/credits/consume", json={"amount": 10, "description": "=1+1"})
        data = (await finance.get(f"/api/finance/statement/{me}")).json()["data"]
        assert [line["event"] for line in data["lines"]][-2:] == ["credits.granted", "credits.consumed"]
        last = data["lines"][-1]
        assert (last["available"], last["available_after"]) == (-10, data["closing"]["available"])
        assert last["description"] == "=1+1"
        text = (await finance.get(f"/api/finance/statement/{me}", params={"format": "csv"})).text
        assert list(csv.DictReader(io.StringIO(text)))[-1]["description"] == "'=1+1"
        deferred = (await finance.get("/api/finance/deferred-revenue")).json()["data"]["lines"]
        assert [line["fen"] for line in deferred if line["user_id"] == me] == [500]

    async def test_the_statement_names_the_order_that_a_refund_needs(self, finance: httpx.AsyncClient) -> None:
        me = (await finance.get("/api/credits/balance")).json()["data"]["user_id"]
        await finance.post("/api/credits/recharge", json={"amount": 5, "payment_method": "alipay"})
        statement = f"/api/finance/statement/{me}"
        *_, bought = (await finance.get(statement)).json()["data"]["lines"]
        refund = {"refund_reference": "4200001234", "amount_fen": 500, "reason": "refund"}
        reply = await finance.post(f"/api/finance/recharges/{bought['reference']}/refund", json=refund)
        assert reply.json()["data"]["refunded_fen"] == 500
        opening, *lines = (await finance.get(statement)).json()["data"]["lines"]
        order = bought["reference"]
        assert {line["reference"] for line in lines if line["event"] == "credits.clawed_back"} == {order}
        assert (opening["reference"], lines[0]["reference"]) == (None, None)
        for path in (statement, "/api/finance/export"):
            text = (await finance.get(path, params={"format": "csv"})).text
            found = [row["event"] for row in csv.DictReader(io.StringIO(text)) if row["reference"] == order]
            assert found == ["credits.granted", "credits.clawed_back"]


class TestExport:
    async def test_the_whole_ledger(self, finance: httpx.AsyncClient, conninfo: str) -> None:
        as_of = the_log(conninfo)[150].at
        query = {"as_of": as_of.isoformat()}
        upto = max(entry.position for entry in the_log(conninfo) if entry.at <= as_of)
        text = await finance.get("/api/finance/export", params=query)
        assert [row["position"] for row in csv.DictReader(io.StringIO(text.text))] == [str(n + 1) for n in range(upto)]
        parquet = await finance.get("/api/finance/export", params={**query, "format": "parquet"})
        assert pq.read_table(io.BytesIO(parquet.content)).num_rows == upto
        for program in ("beancount", "hledger"):
            book = await finance.get("/api/finance/export", params={**query, "format": program})
            assert book.headers["content-type"] == "text/plain; charset=utf-8"
            assert book.headers["content-disposition"].endswith(f'z.{program}"')
            assert book.text.count("position:") == upto


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"as_of": "2999-01-01T00:00:00Z"}, "as_of"),
            ({"as_of": "yesterday"}, "as_of"),
            ({"as_of": "2025-01-01T00:00:00"}, "as_of"),
            ({"as_of": "2025-01-01"}, "as_of"),
            ({"as_of": "0001-01-01T00:00:00+23:59"}, "as_of"),
            ({"as_of": ""}, "as_of"),
            ({"from": "x"}, "from"),
            ({"from": "2025-02-01T00:00:00Z", "as_of": "2025-01-01T00:00:00Z"}, "from"),
            ({"format": "xlsx"}, "format"),
            ({"as_off": "2025-01-01T00:00:00Z"}, "as_off"),
            ({"since": "2025-01-01T00:00:00Z", "format": "json"}, "since"),
        ],
    )
    async def test_what_cannot_be_asked_is_named(
        self, finance: httpx.AsyncClient, people: list[str], query: dict[str, str], field: str
    ) -> None:
        for path in ("revenue", "breakage", f"statement/{people[0]}"):
            reply = await finance.get(f"/api/finance/{path}", params=query)
            assert (reply.status_code, reply.json()["error"]) == (400, "VALIDATION_ERROR")
            assert list(reply.json()["details"]["fields"]) == [field]

    async def test_what_a_report_does_not_take_is_refused_and_never_answered_for_now(
        self, finance: httpx.AsyncClient, people: list[str]
    ) -> None:
        moment, english = "2025-01-01T00:00:00Z", {"Accept-Language": "en"}
        for path in paths(people):
            reply = await finance.get(f"/api/finance/{path}", params={"asof": moment, "a": ""}, headers=english)
            assert reply.status_code == 400
            assert reply.json()["details"]["fields"] == dict.fromkeys(("a", "asof"), "is no parameter here")
        for path in ("trial-balance", "deferred-revenue", "holds", "export"):
            reply = await finance.get(f"/api/finance/{path}", params={"from": moment})
            assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, ["from"])

    async def test_a_moment_that_is_not_understood_is_told_with_an_example(self, finance: httpx.AsyncClient) -> None:
        for language, said in (
            ("en", "must be a moment like 2026-01-31T00:00:00+08:00"),
            ("zh", "必须是带时区的时刻，如 2026-01-31T00:00:00+08:00"),
        ):
            headers = {"Accept-Language": language}
            reply = await finance.get("/api/finance/holds", params={"as_of": "2026-01-31"}, headers=headers)
            assert reply.json()["details"]["fields"] == {"as_of": said}

    async def test_a_plus_that_nobody_encoded(self, finance: httpx.AsyncClient, people: list[str]) -> None:
        for moment in ("02T00:00:00+08:00", "02T00:00:00%2B08:00", "01T16:00:00Z", "01T08:00:00-08:00"):
            query = f"from=2025-02-{moment}"
            data = (await finance.get(f"/api/finance/revenue?{query}&as_of=2025-03-01T00:00:00.5+00:00")).json()["data"]
            assert (data["from"], data["as_of"]) == ("2025-02-01T16:00:00Z", "2025-03-01T00:00:00.500000Z")

    async def test_the_moments_of_long_ago_are_empty_not_wrong(self, finance: httpx.AsyncClient) -> None:
        reply = await finance.get("/api/finance/deferred-revenue", params={"as_of": "0001-01-01T00:00:00Z"})
        assert (reply.json()["data"]["position"], reply.json()["data"]["lines"]) == (0, [])

    async def test_a_statement_of_nobody(self, finance: httpx.AsyncClient) -> None:
        for nobody in (uuid4(), 17):
            reply = await finance.get(f"/api/finance/statement/{nobody}")
            assert (reply.status_code, reply.json()["error"]) == (404, "USER_NOT_FOUND")
        reply = await finance.get("/api/finance/statement/nobody")
        assert (reply.status_code, reply.json()["error"]) == (404, "NOT_FOUND")

    async def test_a_read_model_that_stays_behind_is_not_reported_from(
        self, finance: httpx.AsyncClient, people: list[str], conninfo: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(freshness, "WAIT_S", 0.3)
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("select pg_advisory_lock(%s)", (follower_lock(POSTINGS),))
            await finance.post("/api/credits/consume", json={"amount": 1, "description": "x"})
            for path in paths(people):
                reply = await finance.get(f"/api/finance/{path}")
                assert (reply.status_code, reply.headers["retry-after"]) == (503, "1"), path


class TestGuards:
    async def test_only_finance_and_admins(
        self, client: httpx.AsyncClient, people: list[str], services: Services, token: Token
    ) -> None:
        described = documents()["server"]["paths"]
        assert {f"/api/finance/{path}" for path in paths(["{user_id}"])} <= set(described)
        user, me = await token()
        statuses: dict[Role, int] = {"user": 403, "finance": 200, "admin": 200}
        for role, status in statuses.items():
            await services.profiles.grant_role(str(user["uuid"]), role, actor="test")
            for path in paths(people):
                nobody = await client.get(f"/api/finance/{path}")
                assert (nobody.status_code, nobody.json()["error"]) == (401, "UNAUTHORIZED")
                assert (await client.get(f"/api/finance/{path}", headers=me)).status_code == status, (role, path)


@pytest.mark.parametrize(
    ("media", "content"),
    [
        ("text/csv", b"a,b\r\n1\r\n"),
        ("text/csv", "ä,b\r\n".encode("latin-1")),
        (PARQUET, b"PAR1 and no end"),
        ("text/html", b"<p>"),
        ("text/csv", None),
    ],
)
def test_a_file_that_breaks_a_promise_is_noticed(media: str, content: bytes | None) -> None:
    (promise,) = (one for one in promises() if one.name == "server.finance_holds")
    named = {} if content is None else {"content-disposition": NAMED}
    promise.check(
        httpx.Response(200, headers={"content-type": "text/csv", "content-disposition": NAMED}), b"a,b\r\n1,2\r\n"
    )
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        promise.check(httpx.Response(200, headers={"content-type": media, **named}), content or b"a\r\n")


def test_a_server_that_writes_no_parquet_does_not_carry_what_writes_it() -> None:
    loaded = "import sys, mintage.cli, mintage.http.app; print([name for name in sys.modules if 'arrow' in name])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"

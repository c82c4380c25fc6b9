"""/api/finance, what is read there: the reports, as JSON in the envelope or as files."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any, Final

import msgspec
from litestar import Controller, get
from litestar.params import FromPath

from mintage.application import reports
from mintage.application.books import BOOKS, as_book
from mintage.application.reports import Report
from mintage.application.tables import TABLES
from mintage.domain.registration.decider import PersonUnknown
from mintage.http.calls import Call
from mintage.http.guards import only
from mintage.http.operations import Operation
from mintage.http.queries import Choice, Instant, id_of
from mintage.http.replies import Streamed
from mintage.projections import reports as rows

AS_OF: Final = Instant("as_of")
SINCE: Final = Instant("from")
FORMAT: Final = Choice("format", ("json", "csv", "parquet"))
EXPORT: Final = Choice("format", ("csv", "parquet", "beancount", "hledger"))
MEDIA: Final = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "beancount": "text/plain",
    "hledger": "text/plain",
}
TABULAR: Final = (MEDIA["csv"], MEDIA["parquet"])


def data_of(scope: type[reports.Scope], line: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a report's scope, and its lines."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(scope)} | {"lines": list[line]}  # type: ignore[valid-type]


class FinanceController(Controller):
    path = "/finance"
    tags = ("财务",)
    guards = (only("finance", "admin"),)

    @get("/statement/{user_id:str}")
    @Operation(
        "用户对账单",
        data_of(reports.StatementScope, reports.StatementLine),
        files=TABULAR,
        query=(AS_OF, SINCE, FORMAT),
    )
    async def statement(self, request: Call, user_id: FromPath[str]) -> Streamed:
        """What a person had as of a moment, and each event that led there, with the balances after it."""
        person_id = id_of(user_id)
        if isinstance(person_id, int):
            raise PersonUnknown
        return await _told(request, partial(request.services.reports.statement, person_id), since=True)

    @get("/trial-balance")
    @Operation(
        "试算平衡表",
        data_of(reports.TrialBalanceScope, reports.AccountBalance),
        files=TABULAR,
        query=(AS_OF, FORMAT),
    )
    async def trial_balance(self, request: Call) -> Streamed:
        """Every account in credits and in fen, debits above zero; all together come to zero."""
        return await _told(request, request.services.reports.trial_balance)

    @get("/deferred-revenue")
    @Operation("递延收入", data_of(reports.DeferredScope, rows.Deferred), files=TABULAR, query=(AS_OF, FORMAT))
    async def deferred_revenue(self, request: Call) -> Streamed:
        """What people paid (fen) for credits that were not spent as of a moment."""
        return await _told(request, request.services.reports.deferred_revenue)

    @get("/revenue")
    @Operation("收入确认", data_of(reports.RevenueScope, rows.Revenue), files=TABULAR, query=(AS_OF, SINCE, FORMAT))
    async def revenue(self, request: Call) -> Streamed:
        """What was earned per UTC day and product."""
        return await _told(request, request.services.reports.revenue, since=True)

    @get("/breakage")
    @Operation("失效积分", data_of(reports.RevenueScope, rows.Breakage), files=TABULAR, query=(AS_OF, SINCE, FORMAT))
    async def breakage(self, request: Call) -> Streamed:
        """What was lost unspent per UTC day, because it expired or was removed."""
        return await _told(request, request.services.reports.breakage, since=True)

    @get("/holds")
    @Operation("冻结中的积分", data_of(reports.HoldsScope, rows.OpenHold), files=TABULAR, query=(AS_OF, FORMAT))
    async def holds(self, request: Call) -> Streamed:
        """What was held, as of a moment, for tasks that had not ended."""
        return await _told(request, request.services.reports.holds)

    @get("/export")
    @Operation("导出总账", files=(*TABULAR, "text/plain"), query=(AS_OF, EXPORT))
    async def export(self, request: Call) -> Streamed:
        """Every posting there is, as CSV unless another format is asked for; two are journals for those programs."""
        request.query.only(AS_OF, EXPORT)
        form = request.query.choice(EXPORT) or "csv"
        services = request.services
        ledger = await services.reports.ledger(request.query.instant(AS_OF))
        if form in BOOKS:
            return await _file(ledger, form, as_book(ledger, services.reports, BOOKS[form]()))
        return await _file(ledger, form, TABLES[form](ledger))


async def _told(request: Call, make: Callable[..., Awaitable[Report]], *, since: bool = False) -> Streamed:
    query = request.query
    moments = (AS_OF, SINCE) if since else (AS_OF,)
    query.only(*moments, FORMAT)
    form = query.choice(FORMAT) or "json"
    report = await make(*map(query.instant, moments))
    if form != "json":
        return await _file(report, form, TABLES[form](report))
    return await Streamed.begun(_enveloped(TABLES[form](report)), ((b"content-type", b"application/json"),))


async def _enveloped(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b'{"success":true,"data":' + await anext(data)
    async for portion in data:
        yield portion
    yield b"}"


async def _file(report: Report, form: str, content: AsyncIterator[bytes]) -> Streamed:
    if form == "parquet":
        await asyncio.to_thread(import_module, "pyarrow.parquet")  # it takes long the first time
    media = MEDIA[form] + ("; charset=utf-8" if MEDIA[form].startswith("text/") else "")
    name = f"{report.name}-{report.scope.as_of:%Y%m%dt%H%M%Sz}.{form}"
    headers = (
        (b"content-type", media.encode()),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
    )
    return await Streamed.begun(content, headers)

"""A transaction's statements sent in one go and answered in one go, over libpq's pipeline mode.

psycopg's own pipeline took 27 % of the server's time in one profile under load, this 20 % in another: the layers around
each statement are saved. A statement is prepared when it is first sent, columns travel in binary and all else as text,
and one sync ends the exchange: after it the server knows that nothing more is on its way.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from mintage.infra.columns import kinds_of, packed
from mintage.projections.sql import Statement

_COMMIT: Final = Statement("commit")

Row = tuple[bytes, ...]
"""The columns as PostgreSQL prints them; none of the statements sent this way returns a null."""


class Exchange:
    """The fast way over a psycopg connection in autocommit, which may be used in the ordinary way in between.

    After an error or a cancellation the connection is of no more use.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._pgconn = connection.pgconn
        self._names: dict[str, bytes] = {}

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement; raises the ``psycopg.Error`` of the first that failed."""
        return [_rows(result) for result in await self._run(statements)]

    async def commit(self, statements: Sequence[Statement]) -> None:
        """The statements and COMMIT; raises ``psycopg.Error`` unless all of it was done."""
        *_, last = await self._run([*statements, _COMMIT])
        # COMMIT of a transaction that has failed is answered ROLLBACK, and that is no error to PostgreSQL.
        if last.command_status != b"COMMIT":
            raise psycopg.OperationalError(f"COMMIT was answered {last.command_status!r}")

    async def _run(self, statements: Sequence[Statement]) -> list[PGresult]:
        pgconn = self._pgconn
        bound = [_bound(statement) for statement in statements]
        pgconn.enter_pipeline_mode()
        answers: list[bool] = []
        for statement, (params, formats) in zip(statements, bound, strict=True):
            name = self._names.get(statement.sql)
            if name is None:
                name = self._prepare(statement.sql)
                answers.append(False)
            pgconn.send_query_prepared(name, params, formats)
            answers.append(True)
        pgconn.pipeline_sync()
        await self._flush()
        results = await self._results()
        pgconn.exit_pipeline_mode()
        return [result for result, wanted in zip(results, answers, strict=True) if wanted]

    def _prepare(self, sql: str) -> bytes:
        # Numbered because PostgreSQL tells names apart by 63 bytes; the words are for who reads its log or the wire.
        name = self._names[sql] = f"{len(self._names)} {' '.join(sql.split())[:40]}".encode()
        first, *others = sql.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in enumerate(others, 1))
        self._pgconn.send_prepare(name, numbered.encode())
        return name

    async def _flush(self) -> None:
        pgconn = self._pgconn
        while pgconn.flush():
            await self._ready(writing=True)
            # The server may want its answers read before it reads on.
            pgconn.consume_input()

    async def _results(self) -> list[PGresult]:
        pgconn = self._pgconn
        results: list[PGresult] = []
        while True:
            while pgconn.is_busy():
                await self._ready()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                continue
            status = result.status
            if status == ExecStatus.PIPELINE_SYNC:
                return results
            if status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
                raise errors.error_from_result(result)
            results.append(result)

    async def _ready(self, *, writing: bool = False) -> None:
        """Come back when the server has sent something, or when it takes more if we are writing."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        socket = self._pgconn.socket
        loop.add_reader(socket, _set, ready)
        if writing:
            loop.add_writer(socket, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            if writing:
                loop.remove_writer(socket)


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _bound(statement: Statement) -> tuple[list[bytes], list[Format]]:
    kinds = kinds_of(statement.sql)
    params = [
        _text(param) if kind is None else packed(kind, param)
        for kind, param in zip(kinds, statement.params, strict=True)
    ]
    return params, [Format.TEXT if kind is None else Format.BINARY for kind in kinds]


def _text(param: Any) -> bytes:
    if type(param) is not str:
        return b"%d" % param
    if "\0" in param:
        # libpq would take it for the end.
        raise ValueError("a text with a NUL cannot be stored")
    return param.encode()


def _rows(result: PGresult) -> list[Row]:
    columns = range(result.nfields)
    return [tuple(result.get_value(row, column) or b"" for column in columns) for row in range(result.ntuples)]

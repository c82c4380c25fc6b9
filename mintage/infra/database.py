"""Connections to PostgreSQL: one kind of settings for all, a pool for reading, errors under two names."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from socket import SHUT_RDWR, socket
from typing import Any, Final, TypeVar

import psycopg
from psycopg.rows import kwargs_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from mintage.infra.store import Lost

RowT = TypeVar("RowT")

CHANNEL: Final = "stored_events"
"""Notified with every append; the name the eventsourcing library listens on for this table."""

GONE: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    PoolTimeout,
    OSError,
    TimeoutError,
)
"""The database is out of reach, going away, or let go of us."""

# A writer that dies or hangs must not hold the log: the server lets go of a silent one within seconds, and we give
# up on a silent server as fast.
_SERVER: Final = {
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "statement_timeout": "60s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
    "default_transaction_isolation": "read\\ committed",
    "bytea_output": "hex",
    "search_path": "public",
}


def _options(settings: Mapping[str, str]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


_CLIENT: Final[dict[str, Any]] = {
    "autocommit": True,
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": _options(_SERVER),
}


async def connect(conninfo: str, **server: str) -> psycopg.AsyncConnection[Any]:
    """A connection of its own, in autocommit, with more settings of the server if need be; raises ``Lost``."""
    try:
        return await psycopg.AsyncConnection.connect(conninfo, **{**_CLIENT, "options": _options(_SERVER | server)})
    except GONE as error:
        raise Lost(str(error)) from error


def connect_sync(conninfo: str) -> psycopg.Connection[Any]:
    """The same for commands that run outside an event loop."""
    return psycopg.connect(conninfo, **_CLIENT)


def hang_up(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Make whoever waits for the server, in whichever thread, find the connection closed."""
    if not connection.closed:
        with socket(fileno=os.dup(connection.fileno())) as line, suppress(OSError):
            line.shutdown(SHUT_RDWR)


class Pool:
    """Implements ``projections.sql.Database`` on a pool; every statement is its own transaction."""

    def __init__(self, conninfo: str, *, size: int = 8) -> None:
        self._pool = AsyncConnectionPool(
            conninfo, kwargs=_CLIENT, min_size=1, max_size=size, timeout=5, open=False, name="reads"
        )

    async def open(self) -> None:
        await self._pool.open(wait=True, timeout=30)

    async def close(self) -> None:
        await self._pool.close()

    async def fetch(self, row: type[RowT], sql: str, params: Sequence[Any] = ()) -> list[RowT]:
        async with self.cursor(row) as cursor:
            await cursor.execute(sql, params)
            return await cursor.fetchall()

    async def fetch_one(self, row: type[RowT], sql: str, params: Sequence[Any] = ()) -> RowT | None:
        async with self.cursor(row) as cursor:
            await cursor.execute(sql, params)
            return await cursor.fetchone()

    async def fetch_one_alone(self, lock: int, row: type[RowT], sql: str, params: Any = ()) -> RowT | None:
        """The first row of a statement that sees whatever those before it under the same advisory lock did."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(%s)", (lock,))
            async with connection.cursor(row_factory=kwargs_row(row)) as cursor:
                await cursor.execute(sql, params)
                return await cursor.fetchone()

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run a statement by itself; returns how many rows it touched."""
        async with self._connection() as connection:
            return (await connection.execute(sql, params)).rowcount

    @asynccontextmanager
    async def cursor(self, row: type[RowT]) -> AsyncIterator[psycopg.AsyncCursor[RowT]]:
        async with self._connection() as connection, connection.cursor(row_factory=kwargs_row(row)) as cursor:
            yield cursor

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        try:
            async with self._pool.connection() as connection:
                yield connection
        except GONE as error:
            raise Lost(str(error)) from error
        # Python 3.11 forgets a cancellation that comes just when what asyncio.wait_for waits for is there.
        if task.cancelling() > cancelled:
            raise asyncio.CancelledError

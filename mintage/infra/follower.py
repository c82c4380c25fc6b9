"""Followed read models trail the log: each portion of events is applied once, with its checkpoint, or not at all."""

import asyncio
import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import psycopg

from mintage.infra.columns import execute
from mintage.infra.database import GONE, connect_sync
from mintage.infra.log_reader import PORTION, head, open_personal, portions
from mintage.infra.vault import Vault
from mintage.projections.sql import ReadModel

_log = logging.getLogger(__name__)

IDLE_S: Final = 1.0


def follower_lock(model: ReadModel) -> int:
    """The advisory lock under which a followed read model is written."""
    return int.from_bytes(sha256(f"follower {model.name}".encode()).digest()[:8], signed=True)


def follow_once(connection: psycopg.Connection[Any], vault: Vault, model: ReadModel) -> int:
    """Apply the next portion of events after the checkpoint; returns how many there were."""
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (follower_lock(model),))
        row = connection.execute("select position from checkpoints where name = %s", (model.name,)).fetchone()
        after = int(row[0]) if row else 0
        end = min(head(connection), after + PORTION)
        for entries in portions(connection, after=after, upto=end):
            wanted = [entry for entry in entries if type(entry.event) in model.events]
            if model.personal:
                wanted = open_personal(connection, vault, wanted)
            for statement in model.statements(wanted):
                execute(connection, statement)
        if end > after:
            connection.execute(
                "insert into checkpoints (name, position) values (%s, %s) "
                "on conflict (name) do update set position = excluded.position",
                (model.name, end),
            )
    return end - after


class Steps:
    """Takes one step after another on a connection of its own until it is cancelled.

    ``step`` runs in a thread, and says whether the next one is due at once; whatever it raises, it is called again.
    """

    def __init__(self, name: str, conninfo: str, step: Callable[[psycopg.Connection[Any]], bool]) -> None:
        self._name = name
        self._conninfo = conninfo
        self._step = step
        self._connection: psycopg.Connection[Any] | None = None

    async def run(self) -> None:
        try:
            while True:
                try:
                    more = await self._shielded()
                except GONE as error:
                    _log.warning("%s cannot go on: %s", self._name, error)
                    self._close()
                    more = False
                except Exception:  # noqa: BLE001 -- nothing was kept of the step; it is tried again
                    _log.exception("%s cannot go on", self._name)
                    self._close()
                    more = False
                if not more:
                    await asyncio.sleep(IDLE_S)
        finally:
            self._close()

    async def _shielded(self) -> bool:
        """A step in a thread, which is waited for even when this is cancelled: it has the connection."""
        step = asyncio.ensure_future(asyncio.to_thread(self._connected))
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            await asyncio.gather(step, return_exceptions=True)
            raise

    def _connected(self) -> bool:
        if self._connection is None:
            self._connection = connect_sync(self._conninfo)
        return self._step(self._connection)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Follower(Steps):
    """Keeps one followed read model close behind the log until it is cancelled."""

    def __init__(self, conninfo: str, vault: Vault, model: ReadModel) -> None:
        super().__init__(
            f"read model {model.name}", conninfo, lambda connection: follow_once(connection, vault, model) == PORTION
        )

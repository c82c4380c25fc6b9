"""Followed read models trail the log: each portion of events is applied once, with its checkpoint, or not at all.

They go together, so that the log is read and decoded once for all of them; one that cannot go on keeps no other.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import psycopg

from mintage.domain.recorded import Recorded
from mintage.infra.columns import execute
from mintage.infra.database import GONE, connect_sync, hang_up
from mintage.infra.log_reader import PORTION, head, open_personal, portions
from mintage.infra.vault import Vault
from mintage.projections.sql import ReadModel

_log = logging.getLogger(__name__)

IDLE_S: Final = 1.0
GRACE_S: Final = 5.0
"""How long a step may go on that is to end."""


_CHECKPOINTS: Final = "select name, position from checkpoints where name = any(%s)"
_REACHED: Final = """
insert into checkpoints (name, position) select unnest(%s::text[]), %s
on conflict (name) do update set position = excluded.position"""


def follower_lock(model: ReadModel) -> int:
    """The advisory lock under which a followed read model is written."""
    return int.from_bytes(sha256(f"follower {model.name}".encode()).digest()[:8], signed=True)


def follow_once(connection: psycopg.Connection[Any], vault: Vault, *models: ReadModel) -> int:
    """Apply the next portion of events to those of the models that are furthest behind; returns how many there were."""
    with connection.transaction():
        for lock in sorted(map(follower_lock, models)):
            connection.execute("select pg_advisory_xact_lock(%s)", (lock,))
        found = dict(connection.execute(_CHECKPOINTS, ([model.name for model in models],)).fetchall())
        reached: dict[str, int] = {model.name: found.get(model.name, 0) for model in models}
        after = min(reached.values())
        behind = [model for model in models if reached[model.name] == after]
        end = min(head(connection), after + PORTION, *(position for position in reached.values() if position > after))
        for entries in portions(connection, after=after, upto=end):
            for model in behind:
                apply(connection, vault, model, entries)
        if end > after:
            connection.execute(_REACHED, ([model.name for model in behind], end))
    return end - after


def apply(
    connection: psycopg.Connection[Any],
    vault: Vault,
    model: ReadModel,
    entries: Sequence[Recorded],
    *,
    keys: psycopg.Connection[Any] | None = None,
) -> None:
    """Write what events make of a read model; ``keys`` is where the persons' keys are, if that is another database."""
    wanted = [entry for entry in entries if type(entry.event) in model.events]
    if model.personal:
        wanted = open_personal(keys or connection, vault, wanted)
    for statement in model.statements(wanted):
        execute(connection, statement)


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
        """A step in a thread, which is waited for however often this is cancelled: it has the connection.

        But not for ever: on a database that is silent it hangs up.
        """
        step = asyncio.ensure_future(asyncio.to_thread(self._connected))
        giving_up: asyncio.TimerHandle | None = None
        while not step.done():
            try:
                await asyncio.wait([step])
            except asyncio.CancelledError:
                giving_up = giving_up or asyncio.get_running_loop().call_later(GRACE_S, self._hang_up)
        if giving_up is None:
            return step.result()
        giving_up.cancel()
        step.exception()  # asked for, so that asyncio does not complain of it
        raise asyncio.CancelledError

    def _hang_up(self) -> None:
        if self._connection is not None:
            hang_up(self._connection)

    def _connected(self) -> bool:
        if self._connection is None:
            self._connection = connect_sync(self._conninfo)
        return self._step(self._connection)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class Follower(Steps):
    """Keeps followed read models close behind the log until it is cancelled."""

    def __init__(self, conninfo: str, vault: Vault, *models: ReadModel) -> None:
        def step(connection: psycopg.Connection[Any]) -> bool:
            try:
                return follow_once(connection, vault, *models) == PORTION
            except GONE:
                raise
            except Exception:  # noqa: BLE001 -- said below, of the one that cannot
                tried = [alone(connection, model) for model in models]
                return any(tried)

        def alone(connection: psycopg.Connection[Any], model: ReadModel) -> bool:
            try:
                return follow_once(connection, vault, model) == PORTION
            except GONE:
                raise
            except Exception:  # noqa: BLE001 -- nothing was kept of the step; it is tried again
                _log.exception("read model %s cannot go on", model.name)
                return False

        super().__init__("the follower", conninfo, step)

"""The log in PostgreSQL: events, inline read models and records in one transaction, under one lock.

The lock is an advisory one and not ``LOCK TABLE``, which a vacuum or analyze of the log would keep waiting (see
docs/decisions). It is held to the commit, so that positions appear in order and without a gap.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from typing import Any, Final

import msgspec
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.errors import DiskFull, ProgramLimitExceeded

from mintage.application.records import Receipt, Record
from mintage.domain.catalogue import decider_of
from mintage.domain.recorded import Recorded
from mintage.infra import records as record_sql
from mintage.infra import sessions, wakes
from mintage.infra.chain import Heads, event_hash
from mintage.infra.codec import decode, encode, owner_of, tag_of
from mintage.infra.database import CHANNEL, GONE, connect, hang_up
from mintage.infra.exchange import Exchange, Row
from mintage.infra.keyring import Changes, KeyRing
from mintage.infra.store import TAIL_MAX, Breach, Full, Loaded, Lost, Needs, Snapshot, Stale, Tail
from mintage.infra.vault import Vault
from mintage.projections.sql import ReadModel, Statement, Value

_log = logging.getLogger(__name__)

LOG_LOCK: Final = 0x6D696E74616765
"""The advisory lock that every appender of this database takes ("mintage" in ASCII)."""

OPERATION_S: Final = 20.0
EVENTS_AT_ONCE: Final = 10_000

# Whatever the role or the database is set to: the tail has to be read as it is once the lock is ours.
_BEGIN: Final = Statement("begin isolation level read committed read write")
_TAKE: Final = Statement(f"select pg_advisory_xact_lock({LOG_LOCK})")
# From here on, because idle_in_transaction_session_timeout does not count while half of a pipeline has arrived.
_TAKE_FOR_A_WHILE: Final = Statement(f"{_TAKE.sql}, set_config('transaction_timeout', '8s', true)")
_NOTIFY: Final = Statement(f"notify {CHANNEL}")
_COLUMNS: Final = "notification_id, originator_id, originator_version, topic, state"
_TAIL: Final = (
    f"select {_COLUMNS} from stored_events where notification_id > %s order by notification_id limit {TAIL_MAX + 1}"
)
_NEWEST: Final = f"select {_COLUMNS} from stored_events order by notification_id desc limit 1"
_APPEND: Final = """
insert into stored_events (originator_id, originator_version, topic, state, notification_id, command_id, hash)
select * from unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[], %s::uuid[], %s::bytea[])"""
_SNAPSHOTS: Final = """
select stream, version, state from snapshots
join unnest(%s::text[], %s::integer[]) as wanted (stream, shape) using (stream, shape)"""
_STREAMS: Final = f"""
select {_COLUMNS} from unnest(%s::text[], %s::bigint[]) as wanted (stream, after)
cross join lateral (
    select * from stored_events e where e.originator_id = wanted.stream and e.originator_version > wanted.after
    order by e.originator_version limit {EVENTS_AT_ONCE}
) as events"""
_SNAP: Final = """
insert into snapshots (stream, version, shape, state)
select * from unnest(%s::text[], %s::bigint[], %s::integer[], %s::bytea[])
on conflict (stream) do update set version = excluded.version, shape = excluded.shape, state = excluded.state"""
_RECEIPTS: Final = """
select r.user_id::text, r.path, r.key, r.digest, r.created_at, r.body, r.task_id::text from receipts r
join unnest(%s::uuid[], %s::text[], %s::text[]) as wanted (user_id, path, key) using (user_id, path, key)"""
_NUMBERS: Final = "select kind, last from numbers where kind = any(%s)"
_STORED: Final = "select exists (select from stored_events where command_id = any(%s::uuid[]))"


class PostgresStore:
    """Implements ``Store``; ``inline`` are the read models written with every append."""

    def __init__(self, conninfo: str, vault: Vault, inline: Sequence[ReadModel]) -> None:
        self._conninfo = conninfo
        self._keys = KeyRing(vault)
        self._heads = Heads()
        self._inline = inline
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._exchange: Exchange | None = None
        # Streams too long to be folded in one transaction go on from here.
        self._begun: dict[str, tuple[int, Any]] = {}

    async def lock(self, after: int | None) -> Tail:
        async with self._talking() as connection:
            take = _TAKE_FOR_A_WHILE if connection.info.server_version >= 170000 else _TAKE
            assert self._exchange is not None
            wanted = Statement(_NEWEST) if after is None else Statement(_TAIL, (after,))
            *_, rows = await self._exchange.run([_BEGIN, take, wanted])
            if not rows:
                return Tail(after or 0)
            if after is not None and len(rows) <= TAIL_MAX:
                try:
                    entries = [_entry(row) for row in rows]
                except ValueError:
                    # An event damaged, or of a newer program: whoever needs its stream will be told.
                    _log.exception("an event after position %d cannot be read", after)
                else:
                    self._keys.seen(entries)
                    return Tail(entries[-1].position, entries, entries[-1].at)
            self._keys.forget()
            (newest,) = await self._exchange.run([Statement(_NEWEST)])
            return _forgetful(newest[0])

    async def load(self, needs: Needs) -> Loaded:
        loaded = Loaded(receipts=dict.fromkeys(needs.receipts), numbers=dict.fromkeys(needs.numbers, 0))
        async with self._talking() as connection:
            if needs.streams:
                loaded.streams = await self._states(connection, needs.streams)
            if needs.receipts:
                for row in await _all(
                    connection, _RECEIPTS, [list(column) for column in zip(*needs.receipts, strict=True)]
                ):
                    receipt = Receipt(*row)
                    loaded.receipts[(receipt.user_id, receipt.path, receipt.key)] = receipt
            if needs.numbers:
                loaded.numbers.update(await _all(connection, _NUMBERS, (list(needs.numbers),)))
        return loaded

    async def stored(self, command_ids: Collection[str]) -> bool:
        async with self._talking() as connection:
            return bool((await _one(connection, _STORED, (list(command_ids),)))[0])

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        async with self._talking() as connection:
            try:
                changes = await self._keys.changes(connection, entries)
                heads = await self._heads.before(connection, entries)
                append, newest = _append(entries, changes.keys, heads)
                writes = self._writes(entries, append, records, snapshots, changes)
            except GONE:
                raise
            except Exception as error:
                await connection.execute("rollback")
                raise Breach(None, f"{type(error).__name__}: {error}") from error
            assert self._exchange is not None
            await self._exchange.commit([*writes, _NOTIFY])
            self._keys.stored(changes)
            self._heads.stored(newest)

    async def unlock(self) -> None:
        async with self._talking() as connection:
            await connection.execute("rollback")

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    # -- writing

    def _writes(
        self,
        entries: Sequence[Recorded],
        append: Sequence[Statement],
        records: Sequence[Record],
        snapshots: Iterable[Snapshot],
        changes: Changes,
    ) -> list[Statement]:
        # The records first: an erasure in the same batch takes them away again.
        writes = [*record_sql.statements(records), *changes.writes, *sessions.notices(entries, records), *append]
        writes += wakes.notices(entries)
        kinds = {type(entry.event) for entry in entries}
        for model in self._inline:
            if not kinds.isdisjoint(model.events):
                writes += model.statements(entries)
        rows = [
            (snapshot.stream, snapshot.version, decider_of(snapshot.stream).shape, msgspec.json.encode(snapshot.state))
            for snapshot in snapshots
        ]
        if rows:
            writes.append(Statement(_SNAP, tuple(zip(*rows, strict=True))))
        return writes

    # -- reading

    async def _states(
        self, connection: psycopg.AsyncConnection[Any], streams: Collection[str]
    ) -> dict[str, tuple[int, Any]]:
        """Fold each stream from its snapshot on; in bounded portions where there is none to start from."""
        states: dict[str, tuple[int, Any]] = {stream: (0, decider_of(stream).initial) for stream in streams}
        shapes = [decider_of(stream).shape for stream in streams]
        for stream, version, state in await _all(connection, _SNAPSHOTS, (list(streams), shapes)):
            kind = type(decider_of(stream).initial)
            states[stream] = (version, msgspec.json.decode(state, type=kind))
        for stream in streams:
            states[stream] = max(states[stream], self._begun.get(stream, states[stream]), key=itemgetter(0))
        unread = list(streams)
        while unread:
            after = [states[stream][0] for stream in unread]
            rows = await _all(connection, _STREAMS, (unread, after))
            for row in rows:
                entry = decode(*row)
                state = states[entry.stream][1]
                states[entry.stream] = (entry.version, _evolved(entry, state))
            unread = [
                stream
                for stream, version in zip(unread, after, strict=True)
                if states[stream][0] - version == EVENTS_AT_ONCE
            ]
            # The lock is ours for seconds only; what is folded by then need not be folded again.
            self._begun = {stream: states[stream] for stream in unread}
        return states

    # -- the connection

    @asynccontextmanager
    async def _talking(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection whose every failure is named; after one it is dropped, and the next use makes a new one."""
        connection = self._connection
        if connection is None:
            # Every statement finds its rows by a key. One that was planned while a table was small would go on reading
            # all of it until the next analyze (measured: 45 us a debit became 300 in the first seconds of a new log).
            self._connection = connection = await connect(self._conninfo, enable_seqscan="off")
            # psycopg would throw away the exchange's prepared statements together with its own.
            connection.prepare_threshold = None
            self._exchange = Exchange(connection)
        # Not asyncio.timeout: psycopg would answer the cancellation by asking the silent server to cancel.
        timer = asyncio.get_running_loop().call_later(OPERATION_S, hang_up, connection)
        try:
            yield connection
        except (psycopg.IntegrityError, psycopg.DataError, ProgramLimitExceeded) as error:
            await self._drop()
            constraint = error.diag.constraint_name
            kind = Stale if constraint in {"stored_events_pkey", "stored_events_notification_id_idx"} else Breach
            # Not the details: they show the row, which may hold what is sealed in the log.
            raise kind(constraint, f"{type(error).__name__}: {error.diag.message_primary or error}") from None
        except GONE as error:
            await self._drop()
            raise (Full if isinstance(error, DiskFull) else Lost)(f"{type(error).__name__}: {error}") from error
        except (psycopg.Error, ValueError) as error:
            # ValueError: a text that no encoding takes, or an event that the codec cannot read.
            await self._drop()
            raise Breach(None, f"{type(error).__name__}: {error}") from error
        finally:
            timer.cancel()

    async def _drop(self) -> None:
        try:
            await self.close()
        except GONE:
            self._connection = None


def _append(
    entries: Sequence[Recorded], keys: Mapping[str, AESGCM], heads: dict[str, bytes]
) -> tuple[list[Statement], dict[str, tuple[int, bytes]]]:
    """The write of the events, and the newest version and hash of each stream after it; ``heads`` are those before."""
    if not entries:
        return [], {}
    rows: list[tuple[Value, ...]] = []
    previous = None
    for entry in entries:
        owner = owner_of(entry)
        position, stream, version, tag = entry.position, entry.stream, entry.version, tag_of(entry)
        state = encode(entry, keys[owner] if owner is not None else None)
        command_id = entry.command_id if entry.command_id != previous else None
        digest = heads[stream] = event_hash(heads[stream], position, version, stream, tag, state)
        rows.append((stream, version, tag, state, position, command_id, digest))
        previous = entry.command_id
    newest = {entry.stream: (entry.version, heads[entry.stream]) for entry in entries}
    return [Statement(_APPEND, tuple(zip(*rows, strict=True)))], newest


def _evolved(entry: Recorded, state: Any) -> Any:
    try:
        return decider_of(entry.stream).evolve(state, entry.event)
    except (LookupError, ArithmeticError) as error:
        raise ValueError(f"{entry.stream} event {entry.version} does not follow from those before it") from error


def _forgetful(newest: Row) -> Tail:
    """Where the log ends, for a writer that keeps nothing of what was before."""
    try:
        return Tail(int(newest[0]), None, _entry(newest).at)
    except ValueError:
        return Tail(int(newest[0]), None)


def _entry(row: Row) -> Recorded:
    position, stream, version, topic, state = row
    return decode(int(position), stream.decode(), int(version), topic.decode(), bytes.fromhex(state[2:].decode()))


async def _all(connection: psycopg.AsyncConnection[Any], sql: str, params: Sequence[Any] = ()) -> list[Any]:
    return await (await connection.execute(sql, params)).fetchall()


async def _one(connection: psycopg.AsyncConnection[Any], sql: str, params: Sequence[Any] = ()) -> Any:
    return await (await connection.execute(sql, params)).fetchone()

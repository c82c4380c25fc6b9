"""The log in memory, over the library's in-memory recorder: for tests of deciders, use cases and the journal."""

import asyncio
from collections.abc import Collection, Iterable, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from mintage.application.records import Receipt, Record
from mintage.application.transaction import ReceiptKey
from mintage.domain.catalogue import decider_of, numbered
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased, PersonRegistered
from mintage.infra.codec import decode, encode, owner_of, tag_of
from mintage.infra.store import TAIL_MAX, Breach, Loaded, Needs, Snapshot, Stale, Tail


class MemoryLog:
    """What several ``MemoryStore`` share, as several processes share one database."""

    def __init__(self) -> None:
        self.recorder = POPOApplicationRecorder()
        self.lock = asyncio.Lock()
        self.command_ids: set[str] = set()
        self.receipts: dict[ReceiptKey, Receipt] = {}
        self.records: list[Record] = []
        self.numbers: dict[str, int] = {}
        self.snapshots: dict[tuple[str, int], Snapshot] = {}
        """By stream and the shape of its aggregate's state."""
        self.keys: dict[str, AESGCM] = {}

    def read(self, after: int, limit: int) -> list[Recorded]:
        """Up to ``limit`` events after a position, in log order."""
        rows = self.recorder.select_notifications(after, limit, inclusive_of_start=False)
        return [decode(row.id, str(row.originator_id), row.originator_version, row.topic, row.state) for row in rows]


class MemoryStore:
    """Keeps every promise of ``Store`` but durability and read models."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._locked = False

    async def lock(self, after: int | None) -> Tail:
        await self._log.lock.acquire()
        self._locked = True
        position = self._log.recorder.max_notification_id() or 0
        if position == (after or 0):
            return Tail(position)
        newest = self._log.read(position - 1, 1)[0].at
        if after is None or position - after > TAIL_MAX:
            return Tail(position, None, newest)
        return Tail(position, self._log.read(after, TAIL_MAX), newest)

    async def load(self, needs: Needs) -> Loaded:
        return Loaded(
            streams={stream: self._fold(stream) for stream in needs.streams},
            receipts={key: self._log.receipts.get(key) for key in needs.receipts},
            numbers={kind: self._log.numbers.get(kind, 0) for kind in needs.numbers},
        )

    async def stored(self, command_ids: Collection[str]) -> bool:
        return not self._log.command_ids.isdisjoint(command_ids)

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        log = self._log
        try:
            if entries and entries[0].position != (log.recorder.max_notification_id() or 0) + 1:
                raise Stale("stored_events_notification_id_idx", "the position is taken already")
            command_ids = {entry.command_id for entry in entries}
            if not log.command_ids.isdisjoint(command_ids):
                raise Breach("stored_events_command", "the command is stored already")
            keys = dict(log.keys)
            try:
                rows = [_row(entry, keys) for entry in entries]
            except KeyError as error:
                raise Breach(None, f"no key of {error}") from error
            try:
                log.recorder.insert_events(rows)
            except IntegrityError as error:
                raise Stale("stored_events_pkey", str(error)) from error
            log.keys = keys
            log.command_ids |= command_ids
            log.numbers.update(named for entry in entries if (named := numbered(entry.event)) is not None)
            for record in records:
                if isinstance(record, Receipt):
                    log.receipts[(record.user_id, record.path, record.key)] = record
            log.records += records
            for snapshot in snapshots:
                log.snapshots[(snapshot.stream, decider_of(snapshot.stream).shape)] = snapshot
        finally:
            await self.unlock()

    async def unlock(self) -> None:
        if self._locked:
            self._locked = False
            self._log.lock.release()

    async def close(self) -> None:
        await self.unlock()

    def _fold(self, stream: str) -> tuple[int, object]:
        decider = decider_of(stream)
        version, state = 0, decider.initial
        if (snapshot := self._log.snapshots.get((stream, decider.shape))) is not None:
            version, state = snapshot.version, snapshot.state
        for row in self._log.recorder.select_events(stream, gt=version):
            version = row.originator_version
            state = decider.evolve(state, decode(0, stream, version, row.topic, row.state).event)
        return version, state


def _row(entry: Recorded, keys: dict[str, AESGCM]) -> StoredEvent:
    owner = owner_of(entry)
    match entry.event:
        case PersonRegistered(user_id=user_id):
            keys[user_id] = AESGCM(AESGCM.generate_key(256))
        case PersonErased(user_id=user_id):
            del keys[user_id]
    key = keys[owner] if owner is not None else None
    return StoredEvent(entry.stream, entry.version, tag_of(entry), encode(entry, key))

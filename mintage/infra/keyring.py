"""The persons' keys that a writer has at hand: made with the registration, gone with the erasure, at most so many."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased, PersonRegistered
from mintage.infra.codec import owner_of
from mintage.infra.vault import Vault
from mintage.projections.sql import Statement

KEYS_MAX: Final = 10_000

_LOAD: Final = "select user_id::text, wrapped_key from person_keys where user_id = any(%s::uuid[])"
_MAKE: Final = "insert into person_keys (user_id, wrapped_key) select * from unnest(%s::uuid[], %s::bytea[])"
# Everything beside the log.
_ERASE: Final = (
    "delete from verification_codes where user_id = any(%s::uuid[])",
    "delete from credentials where user_id = any(%s::uuid[])",
    "delete from ended_tokens where user_id = any(%s::uuid[])",
    "delete from receipts where user_id = any(%s::uuid[])",
    "delete from person_keys where user_id = any(%s::uuid[])",
)


class Changes(msgspec.Struct):
    """What a batch does to keys: the writes, the keys it seals with, and what to do when it is stored."""

    writes: list[Statement]
    keys: Mapping[str, AESGCM]
    made: dict[str, AESGCM]
    erased: list[str]


class KeyRing:
    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._keys: dict[str, AESGCM] = {}

    async def changes(self, connection: psycopg.AsyncConnection[Any], entries: Sequence[Recorded]) -> Changes:
        """Make the keys of newcomers, and have at hand whatever the batch seals with."""
        if len(self._keys) > KEYS_MAX:
            self._keys.clear()
        made: dict[str, AESGCM] = {}
        wrapped: dict[str, bytes] = {}
        erased: list[str] = []
        owners: set[str] = set()
        for entry in entries:
            event = entry.event
            if isinstance(event, PersonRegistered):
                made[event.user_id], wrapped[event.user_id] = self._vault.new_key(event.user_id)
            elif isinstance(event, PersonErased):
                erased.append(event.user_id)
            elif (owner := owner_of(entry)) is not None:
                owners.add(owner)
        missing = [owner for owner in owners if owner not in self._keys and owner not in made]
        if missing:
            for user_id, key in await (await connection.execute(_LOAD, (missing,))).fetchall():
                self._keys[user_id] = self._vault.unwrap(user_id, key)
        writes = [Statement(_MAKE, (list(wrapped), list(wrapped.values())))] if made else []
        if erased:
            writes += [Statement(sql, (erased,)) for sql in _ERASE]
        # A key of this batch is nobody's until the batch is stored.
        return Changes(writes, {**self._keys, **made} if made else self._keys, made, erased)

    def stored(self, changes: Changes) -> None:
        """The batch is in the log."""
        self._keys.update(changes.made)
        for user_id in changes.erased:
            self._keys.pop(user_id, None)

    def seen(self, entries: Sequence[Recorded]) -> None:
        """Somebody else's events: whoever they erased has no key any more."""
        for entry in entries:
            if isinstance(entry.event, PersonErased):
                self._keys.pop(entry.event.user_id, None)

    def forget(self) -> None:
        self._keys.clear()

"""Reads the log in order, in portions, with its personal fields opened where that is asked for."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg

from mintage.domain.recorded import Recorded
from mintage.infra.codec import decode, opened, owner_of
from mintage.infra.vault import Vault

PORTION: Final = 1_000

_READ: Final = """
select notification_id, originator_id, originator_version, topic, state from stored_events
where notification_id > %s and notification_id <= %s and (%s::text[] is null or topic = any(%s::text[]))
order by notification_id limit %s"""
_KEYS: Final = "select user_id::text, wrapped_key from person_keys where user_id = any(%s::uuid[])"


class Damaged(Exception):
    """A stored event that is no longer what the codec wrote; the message says what is wrong with it."""

    def __init__(self, stream: str, version: int, message: str) -> None:
        super().__init__(message)
        self.stream = stream
        self.version = version


def head(connection: psycopg.Connection[Any]) -> int:
    """The position of the newest event, 0 for an empty log."""
    row = connection.execute("select coalesce(max(notification_id), 0) from stored_events").fetchone()
    assert row is not None
    return int(row[0])


def portions(
    connection: psycopg.Connection[Any],
    *,
    after: int,
    upto: int,
    size: int = PORTION,
    topics: list[str] | None = None,
) -> Iterator[list[Recorded]]:
    """Every event after one position up to another, sealed as it lies; memory stays flat however long the log is.

    Only those stored under one of ``topics``, if any are given. A portion ends where a command does: what holds after
    each command need not hold in the middle of one.
    """
    limit = size
    while after < upto:
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(_READ, (after, upto, topics, topics, limit)).fetchall()
        if not rows:
            return
        entries = [_decoded(row) for row in rows]
        if len(entries) == limit:
            begun = entries[-1].command_id
            entries = [entry for entry in entries if entry.command_id != begun]
            if not entries:
                limit *= 2
                continue
        limit, after = size, entries[-1].position
        yield entries


def _decoded(row: tuple[int, str, int, str, bytes]) -> Recorded:
    try:
        return decode(*row)
    except ValueError as error:
        raise Damaged(row[1], row[2], str(error)) from error


def open_personal(connection: psycopg.Connection[Any], vault: Vault, entries: Sequence[Recorded]) -> list[Recorded]:
    """The same events with personal fields readable; those of erased persons read ``[erased]``."""
    owners = {owner for entry in entries if (owner := owner_of(entry)) is not None}
    if not owners:
        return list(entries)
    rows = connection.execute(_KEYS, (list(owners),)).fetchall()
    keys = {user_id: vault.unwrap(user_id, wrapped) for user_id, wrapped in rows}
    return [opened(entry, keys.get(owner)) if (owner := owner_of(entry)) else entry for entry in entries]

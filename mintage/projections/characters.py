"""The characters that people keep: what their owner lists and opens."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from mintage.domain.character.events import (
    CharacterAvatarChanged,
    CharacterCreated,
    CharacterDeleted,
    CharacterRenamed,
)
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonErased
from mintage.projections.ledger import count
from mintage.projections.sql import Database, ReadModel, Statement, Value, insert, update

SCHEMA: Final = """
create table characters (
    character_id uuid primary key,
    number bigint not null constraint characters_number unique,
    user_id uuid not null,
    character_type text not null,
    name text not null,
    avatar_url text,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index characters_newest on characters (user_id, number desc);
"""

_COLUMNS: Final = {
    "character_id": "uuid",
    "number": "bigint",
    "user_id": "uuid",
    "character_type": "text",
    "name": "text",
    "avatar_url": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_RENAMED: Final = {"character_id": "uuid", "name": "text"}
_PICTURED: Final = {"character_id": "uuid", "avatar_url": "text"}
_CHANGED: Final = {"character_id": "uuid", "updated_at": "timestamptz"}
_DELETE: Final = "delete from characters where character_id = any(%s::uuid[])"
_ERASE: Final = "delete from characters where user_id = any(%s::uuid[])"


class Character(msgspec.Struct, frozen=True, kw_only=True):
    character_id: str
    number: int
    character_type: str
    name: str
    avatar_url: str | None
    created_at: datetime
    updated_at: datetime


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    created: list[tuple[Value, ...]] = []
    # Of several changes to one character the last counts.
    renamed: dict[str, tuple[Value, ...]] = {}
    pictured: dict[str, tuple[Value, ...]] = {}
    changed: dict[str, tuple[Value, ...]] = {}
    deleted: list[str] = []
    erased: list[str] = []
    for entry in entries:
        key, at = entry.key, entry.at
        match entry.event:
            case CharacterCreated() as event:
                row = (event.number, event.user_id, event.character_type, event.name, event.avatar_url)
                created.append((key, *row, at, at))
            case CharacterRenamed(name=name):
                renamed[key], changed[key] = (key, name), (key, at)
            case CharacterAvatarChanged(avatar_url=avatar_url):
                pictured[key], changed[key] = (key, avatar_url), (key, at)
            case CharacterDeleted():
                deleted.append(key)
            case PersonErased(user_id=user_id):
                erased.append(user_id)
    writes = [insert("characters", _COLUMNS, created)] if created else []
    for columns, rows in ((_RENAMED, renamed), (_PICTURED, pictured), (_CHANGED, changed)):
        if rows:
            writes.append(update("characters", "character_id", columns, list(rows.values())))
    writes += [Statement(sql, (ids,)) for sql, ids in ((_DELETE, deleted), (_ERASE, erased)) if ids]
    return writes


CHARACTERS: Final = ReadModel(
    name="characters",
    tables=("characters",),
    schema=SCHEMA,
    events=frozenset({CharacterCreated, CharacterRenamed, CharacterAvatarChanged, CharacterDeleted, PersonErased}),
    statements=statements,
    personal=True,
)

_SELECT: Final = """
select character_id::text, number, character_type, name, avatar_url, created_at, updated_at from characters
where """


async def characters_of(
    db: Database, user_id: str, *, character_type: str | None, limit: int, offset: int
) -> tuple[list[Character], int]:
    """A page of a person's characters, newest first, and how many match in all."""
    where = "user_id = %(user_id)s"
    if character_type is not None:
        where += " and character_type = %(character_type)s"
    params: Any = {"user_id": user_id, "character_type": character_type, "limit": limit, "offset": offset}
    sql = f"{_SELECT}{where} order by number desc limit %(limit)s offset %(offset)s"
    page = await db.fetch(Character, sql, params)
    return page, await count(db, f"select count(*) as n from characters where {where}", params)


async def character_of(db: Database, user_id: str, character_id: str | int) -> Character | None:
    """A person's character by its UUID or its integer id; None if it is not theirs."""
    condition = "number = %s" if isinstance(character_id, int) else "character_id = %s"
    return await db.fetch_one(Character, f"{_SELECT}{condition} and user_id = %s", (character_id, user_id))

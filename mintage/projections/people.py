"""Who is registered: names, addresses, roles; each name belongs to one account."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from mintage.domain.decider import Event
from mintage.domain.recorded import ERASED, Recorded
from mintage.domain.registration.decider import (
    EmailTaken,
    GoogleTaken,
    PhoneTaken,
    ReferralCodeTaken,
    UsernameTaken,
)
from mintage.domain.registration.events import (
    AvatarChanged,
    EmailChanged,
    EmailVerified,
    GoogleLinked,
    GoogleUnlinked,
    PasswordChanged,
    PersonErased,
    PersonRegistered,
    PersonRenamed,
    PhoneChanged,
    Role,
    RoleGranted,
)
from mintage.domain.registration.names import Login, name_key
from mintage.projections.sql import Database, ReadModel, Statement, Value, exactly, insert, update

# Names may change hands within a batch: who is to be unique is asked at the end of each statement.
SCHEMA: Final = """
create table people (
    user_id uuid primary key,
    number bigint not null constraint people_number unique,
    document text not null,
    username text,
    username_key text constraint people_username unique deferrable initially immediate,
    email text constraint people_email unique deferrable initially immediate,
    phone text constraint people_phone unique deferrable initially immediate,
    name text,
    avatar text,
    google_id text constraint people_google_id unique deferrable initially immediate,
    email_verified boolean not null,
    address integer not null,
    referral_code text not null constraint people_referral_code unique,
    referred_by uuid,
    role text not null constraint people_role check (role in ('user', 'finance', 'admin')),
    session_version integer not null,
    erased boolean not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
create index people_erased on people (updated_at) where erased;
"""

_COLUMNS: Final = {
    "user_id": "uuid",
    "number": "bigint",
    "document": "text",
    "username": "text",
    "username_key": "text",
    "email": "text",
    "phone": "text",
    "name": "text",
    "avatar": "text",
    "google_id": "text",
    "email_verified": "boolean",
    "address": "integer",
    "referral_code": "text",
    "referred_by": "uuid",
    "role": "text",
    "session_version": "integer",
    "erased": "boolean",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A registered person as the clients may see them, and what signing in needs.

    ``avatar`` is a url or the storage key of an upload; ``address`` counts the addresses there have been.
    """

    user_id: str
    number: int
    username: str
    email: str | None
    phone: str | None
    name: str | None
    avatar: str | None
    google_id: str | None
    email_verified: bool
    address: int
    referral_code: str
    role: Role
    session_version: int
    created_at: datetime
    updated_at: datetime


class Standing(msgspec.Struct, frozen=True):
    """Tokens of another session version have ended, and so have those of which ``ended`` holds the ids."""

    session_version: int
    role: Role
    ended: Sequence[str] = ()


_EVENTS: Final[frozenset[type[Event]]] = frozenset(
    {
        PersonRegistered,
        EmailVerified,
        EmailChanged,
        PhoneChanged,
        PersonRenamed,
        AvatarChanged,
        PasswordChanged,
        GoogleLinked,
        GoogleUnlinked,
        RoleGranted,
        PersonErased,
    }
)


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    new: dict[str, dict[str, Value]] = {}
    old: dict[str, dict[str, Value]] = {}
    for entry in entries:
        if isinstance(entry.event, PersonRegistered):
            new[entry.key] = _registered(entry.event, entry.at)
        elif type(entry.event) in _EVENTS:
            row = new.get(entry.key)
            columns = old.setdefault(entry.key, {}) if row is None else row
            _change(columns, entry.event)
            columns["updated_at"] = entry.at
    # Whoever gives a name up comes before whoever gets it, and everybody who is there before the newcomers.
    writes = [_update(column, rows) for column in _COLUMNS if (rows := _changed(old, column))]
    if new:
        writes.append(insert("people", _COLUMNS, [tuple(row.values()) for row in new.values()]))
    return writes


def _registered(event: PersonRegistered, at: datetime) -> dict[str, Value]:
    username = _unless_erased(event.username)
    row: dict[str, Value] = {
        "user_id": event.user_id,
        "number": event.number,
        "document": event.document,
        "username": username,
        "username_key": _key(username),
        "email": _unless_erased(event.email),
        "phone": _unless_erased(event.phone),
        "name": _unless_erased(event.name),
        "avatar": _unless_erased(event.avatar),
        "google_id": _unless_erased(event.google_id),
        "email_verified": event.email_verified,
        "address": 0 if event.email is None else 1,
        "referral_code": event.referral_code,
        "referred_by": event.referred_by,
        "role": "user",
        "session_version": 0,
        "erased": False,
        "created_at": at,
        "updated_at": at,
    }
    assert row.keys() == _COLUMNS.keys()
    return row


def _change(row: dict[str, Value], event: Event) -> None:
    match event:
        case EmailVerified():
            row["email_verified"] = True
        case EmailChanged(email=email, address=address):
            email = _unless_erased(email)
            if row.get("username") is not None and row["username"] == row["email"]:
                assert email is not None
                row |= {"username": email, "username_key": _key(email)}
            row |= {"email": email, "email_verified": False, "address": address}
        case PhoneChanged() | PersonRenamed() | AvatarChanged() | GoogleLinked():
            (column,) = event.PERSONAL
            row[column] = _unless_erased(getattr(event, column))
        case GoogleUnlinked():
            row["google_id"] = None
        case PasswordChanged(session_version=session_version):
            row["session_version"] = session_version
        case RoleGranted(role=role):
            row["role"] = role
        case PersonErased():
            row |= dict.fromkeys(_PERSONAL) | {"erased": True}


def _changed(people: dict[str, dict[str, Value]], column: str) -> list[tuple[Value, ...]]:
    return [(user_id, row[column]) for user_id, row in people.items() if column in row]


def _update(column: str, rows: list[tuple[Value, ...]]) -> Statement:
    if column != "email":
        return update("people", "user_id", {"user_id": "uuid", column: _COLUMNS[column]}, rows)
    user_ids, emails = zip(*rows, strict=True)
    return exactly(len(rows), _CHANGE_EMAIL, (user_ids, emails))


def _key(username: str | None) -> str | None:
    """What makes a username unique; an address for a username is unique as an address is."""
    return username if username is None or "@" in username else name_key(username)


def _unless_erased(text: str | None) -> str | None:
    # In a rebuild: nobody's names are unique any more, and the erasure that follows removes them anyway.
    return None if text == ERASED else text


_PERSONAL: Final = ("username", "username_key", "email", "phone", "name", "avatar", "google_id")

# Who has the address for a username has the new one for a username.
_CHANGE_EMAIL: Final = """
update people p set email = new.email,
    username = case when p.username = p.email then new.email else p.username end,
    username_key = case when p.username = p.email then new.email else p.username_key end
from unnest(%s::uuid[], %s::text[]) as new (user_id, email) where p.user_id = new.user_id"""

PEOPLE: Final = ReadModel(
    name="people",
    tables=("people",),
    schema=SCHEMA,
    events=_EVENTS,
    statements=statements,
    personal=True,
    refusals={
        "people_username": UsernameTaken,
        "people_email": EmailTaken,
        "people_phone": PhoneTaken,
        "people_google_id": GoogleTaken,
        "people_referral_code": ReferralCodeTaken,
    },
)

_SELECT: Final = """
select user_id::text, number, username, email, phone, name, avatar, google_id, email_verified, address,
    referral_code, role, session_version, created_at, updated_at
from people where not erased and """


async def person(db: Database, user_id: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "user_id = %s", (user_id,))


async def person_by_email(db: Database, email: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "email = %s", (email,))


async def person_by_google_id(db: Database, google_id: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "google_id = %s", (google_id,))


async def person_by_referral_code(db: Database, code: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "referral_code = %s", (code.upper(),))


async def person_by_login(db: Database, login: Login) -> Person | None:
    """Whoever has the name; of an e-mail address it is who has it for an address, not for a username."""
    column = next(field for field in Login._fields if getattr(login, field) is not None)
    return await db.fetch_one(Person, f"{_SELECT}{column} = %s", (getattr(login, column),))


class _StandingOf(msgspec.Struct):
    user_id: str
    session_version: int
    role: Role
    ended: Sequence[str]


async def standings_of(db: Database, user_ids: Sequence[str]) -> dict[str, Standing]:
    """What their tokens are judged by; of whom there is no account nothing."""
    sql = """
    select user_id::text, session_version, role,
        array(select token_id::text from ended_tokens e where e.user_id = p.user_id) as ended
    from people p where p.user_id = any(%s::uuid[]) and not p.erased"""
    rows = await db.fetch(_StandingOf, sql, (user_ids,))
    return {row.user_id: Standing(row.session_version, row.role, row.ended) for row in rows}


class _UserId(msgspec.Struct):
    user_id: str


async def lately_erased(db: Database) -> list[str]:
    """Who was erased in the last day in which anybody was."""
    sql = """
    select user_id::text from people
    where erased and updated_at > (select max(updated_at) from people where erased) - interval '1 day'"""
    return [row.user_id for row in await db.fetch(_UserId, sql)]


class _Hash(msgspec.Struct):
    password_hash: str | None


async def password_hash(db: Database, user_id: str) -> str | None:
    """The person's argon2id string; None if they sign in by other means."""
    row = await db.fetch_one(_Hash, "select password_hash from credentials where user_id = %s", (user_id,))
    return row.password_hash if row else None

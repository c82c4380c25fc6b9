"""Who is registered: names, addresses, roles; each name belongs to one account."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from mintage.domain.recorded import ERASED, Recorded
from mintage.domain.registration.decider import EmailTaken, PhoneTaken, ReferralCodeTaken, UsernameTaken
from mintage.domain.registration.events import EmailVerified, PersonErased, PersonRegistered
from mintage.domain.registration.names import name_key
from mintage.projections.sql import Database, ReadModel, Statement, array, insert, update

SCHEMA: Final = """
create table people (
    user_id uuid primary key,
    number bigint not null constraint people_number unique,
    document text not null,
    username text,
    username_key text constraint people_username unique,
    email text constraint people_email unique,
    phone text constraint people_phone unique,
    name text,
    avatar text,
    google_id text constraint people_google_id unique,
    email_verified boolean not null default false,
    referral_code text not null constraint people_referral_code unique,
    referred_by uuid,
    role text not null default 'user',
    session_version integer not null default 0,
    erased boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null
);
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
    "referral_code": "text",
    "referred_by": "uuid",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A registered person as the clients may see them, and what signing in needs."""

    user_id: str
    number: int
    username: str
    email: str | None
    phone: str | None
    name: str | None
    avatar: str | None
    google_id: str | None
    email_verified: bool
    referral_code: str
    role: str
    session_version: int
    created_at: datetime
    updated_at: datetime


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    registered = []
    verified = {}
    erased = {}
    for entry in entries:
        event = entry.event
        if isinstance(event, PersonRegistered):
            username = _unless_erased(event.username)
            registered.append(
                (
                    event.user_id,
                    event.number,
                    event.document,
                    username,
                    name_key(username) if username else None,
                    _unless_erased(event.email),
                    _unless_erased(event.phone),
                    _unless_erased(event.name),
                    event.referral_code,
                    event.referred_by,
                    entry.at,
                    entry.at,
                )
            )
        elif isinstance(event, EmailVerified):
            verified[event.user_id] = (event.user_id, True, entry.at)
        elif isinstance(event, PersonErased):
            erased[event.user_id] = entry.at
    writes = []
    if registered:
        writes.append(insert("people", _COLUMNS, registered))
    if verified:
        columns = {"user_id": "uuid", "email_verified": "boolean", "updated_at": "timestamptz"}
        writes.append(update("people", "user_id", columns, list(verified.values())))
    if erased:
        writes.append(Statement(_ERASE, (array(erased), array(erased.values()))))
    return writes


def _unless_erased(text: str | None) -> str | None:
    # In a rebuild: nobody's names are unique any more, and the erasure that follows removes them anyway.
    return None if text == ERASED else text


_ERASE: Final = """
update people p set username = null, username_key = null, email = null, phone = null, name = null, avatar = null,
    google_id = null, erased = true, session_version = session_version + 1, updated_at = gone.at
from unnest(%s::uuid[], %s::timestamptz[]) as gone (user_id, at) where p.user_id = gone.user_id"""

PEOPLE: Final = ReadModel(
    name="people",
    tables=("people",),
    schema=SCHEMA,
    events=frozenset({PersonRegistered, EmailVerified, PersonErased}),
    statements=statements,
    personal=True,
    refusals={
        "people_username": UsernameTaken,
        "people_email": EmailTaken,
        "people_phone": PhoneTaken,
        "people_referral_code": ReferralCodeTaken,
    },
)

_SELECT: Final = """
select user_id::text, number, username, email, phone, name, avatar, google_id, email_verified, referral_code, role,
    session_version, created_at, updated_at
from people where not erased and """


async def person(db: Database, user_id: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "user_id = %s", (user_id,))


async def person_by_email(db: Database, email: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "email = %s", (email,))


async def person_by_referral_code(db: Database, code: str) -> Person | None:
    return await db.fetch_one(Person, _SELECT + "referral_code = %s", (code.upper(),))


async def person_by_login(db: Database, username: str, email: str | None, phone: str | None) -> Person | None:
    """Whoever signs in under this username, address or number; a username never looks like either of the others."""
    sql = _SELECT + "(username_key = %s or email = %s or phone = %s)"
    return await db.fetch_one(Person, sql, (name_key(username), email, phone))


class _Hash(msgspec.Struct):
    password_hash: str


async def password_hash(db: Database, user_id: str) -> str | None:
    """The person's argon2id string; None if they sign in by other means."""
    row = await db.fetch_one(_Hash, "select password_hash from credentials where user_id = %s", (user_id,))
    return row.password_hash if row else None

"""Names change hands; however the log is cut into batches, who owns which comes out the same."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from mintage.domain.decider import Event
from mintage.domain.recorded import ERASED, Recorded
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
    RoleGranted,
)
from mintage.infra.columns import execute
from mintage.infra.database import connect_sync
from mintage.projections.people import PEOPLE

START = datetime(2026, 3, 1, tzinfo=UTC)
EMAILS = [f"{name}@example.com" for name in ("ann", "bob", "cy")]
PHONES = ["13800138000", "13900139000"]
COLUMNS = (
    "user_id::text, username, email, phone, name, avatar, google_id, email_verified, address, role, session_version"
)


class Town:
    """A few names and many people after them: the plain model, one event at a time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.people: dict[str, dict[str, Any]] = {}
        self.entries: list[Recorded] = []

    def happen(self, user_id: str, event: Any) -> None:
        at = START + timedelta(seconds=len(self.entries))
        version = 1 + sum(entry.key == user_id for entry in self.entries)
        entry = Recorded(len(self.entries) + 1, f"registration-{user_id}", version, at, user_id, "command", event)
        self.entries.append(entry)
        self.people[user_id]["updated_at"] = at

    def free(self, field: str, names: list[str]) -> str | None:
        taken = {person[field] for person in self.people.values()} | {p["username"] for p in self.people.values()}
        left = [name for name in names if name not in taken]
        return self.chance.choice(left) if left else None

    def register(self) -> None:
        number = len(self.people) + 1
        user_id, email = str(UUID(int=number)), self.free("email", EMAILS)
        server = email is not None and self.chance.random() < 0.5
        person: dict[str, Any] = {
            "username": email if server else f"user{number}",
            "email": email,
            "phone": self.free("phone", PHONES) if self.chance.random() < 0.5 else None,
            "name": None,
            "avatar": None,
            "google_id": f"google-{number}" if self.chance.random() < 0.2 else None,
        }
        self.people[user_id] = {
            **person,
            "email_verified": False,
            "address": 0 if email is None else 1,
            "role": "user",
            "session_version": 0,
            "server": server,
            "erased": False,
        }
        event = PersonRegistered(
            user_id=user_id,
            number=number,
            document="server" if server else "v1",
            referral_code=f"CODE{number:04}",
            **person,
        )
        self.happen(user_id, event)

    def change(self) -> None:
        living = [user_id for user_id, person in self.people.items() if not person["erased"]]
        if living:
            user_id = self.chance.choice(living)
            moves = (self.move, self.move, self.call, self.verify, self.rename)
            doing = (*moves, self.lock, self.link, self.unlink, self.erase)
            self.chance.choice(doing)(user_id, self.people[user_id])

    def move(self, user_id: str, person: dict[str, Any]) -> None:
        email = self.free("email", EMAILS)
        if email is None and person["server"]:
            return
        person |= {"email": email, "address": person["address"] + 1, "email_verified": False}
        if person["server"]:
            person["username"] = email
        self.happen(user_id, EmailChanged(user_id=user_id, email=email, address=person["address"]))

    def call(self, user_id: str, person: dict[str, Any]) -> None:
        person["phone"] = self.free("phone", PHONES)
        self.happen(user_id, PhoneChanged(user_id=user_id, phone=person["phone"]))

    def verify(self, user_id: str, person: dict[str, Any]) -> None:
        if person["email"] is not None:
            person["email_verified"] = True
            self.happen(user_id, EmailVerified(user_id=user_id))

    def rename(self, user_id: str, person: dict[str, Any]) -> None:
        person |= {"name": f"Name {len(self.entries)}", "avatar": None}
        self.happen(user_id, PersonRenamed(user_id=user_id, name=person["name"]))
        self.happen(user_id, AvatarChanged(user_id=user_id))

    def lock(self, user_id: str, person: dict[str, Any]) -> None:
        person["session_version"] += 1
        version = person["session_version"]
        self.happen(user_id, PasswordChanged(user_id=user_id, reason="changed", session_version=version))

    def link(self, user_id: str, person: dict[str, Any]) -> None:
        person |= {"google_id": f"linked-{len(self.entries)}", "role": self.chance.choice(["finance", "admin"])}
        self.happen(user_id, GoogleLinked(user_id=user_id, google_id=person["google_id"]))
        self.happen(user_id, RoleGranted(user_id=user_id, role=person["role"]))

    def unlink(self, user_id: str, person: dict[str, Any]) -> None:
        person["google_id"] = None
        self.happen(user_id, GoogleUnlinked(user_id=user_id))

    def erase(self, user_id: str, person: dict[str, Any]) -> None:
        person |= dict.fromkeys(("username", "email", "phone", "name", "avatar", "google_id"))
        person["erased"] = True
        self.happen(user_id, PersonErased(user_id=user_id))

    def rows(self) -> list[tuple[Any, ...]]:
        fields = COLUMNS.replace("user_id::text, ", "").split(", ")
        return sorted(
            (user_id, *(person[field] for field in fields), person["updated_at"])
            for user_id, person in self.people.items()
        )


def lived_through(seed: int) -> Town:
    town = Town(seed)
    for _ in range(60):
        if town.chance.random() < 0.3:
            town.register()
        else:
            town.change()
    return town


def batches(entries: list[Recorded], chance: random.Random, most: int) -> Iterator[list[Recorded]]:
    while entries:
        size = chance.randint(1, most)
        yield entries[:size]
        entries = entries[size:]


def forgotten(entry: Recorded, erased: set[str]) -> Recorded:
    """The event as a rebuild reads it after its person was erased."""
    event: Event = entry.event
    if entry.key not in erased:
        return entry
    gone = {field: ERASED for field in event.PERSONAL if getattr(event, field) is not None}
    return Recorded(
        entry.position,
        entry.stream,
        entry.version,
        entry.at,
        entry.actor,
        entry.command_id,
        type(event)(**{field: getattr(event, field) for field in event.__struct_fields__} | gone),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", range(12))
def test_however_the_log_is_cut_the_rows_are_the_same(conninfo: str, seed: int) -> None:
    town = lived_through(seed)
    erased = {user_id for user_id, person in town.people.items() if person["erased"]}
    replayed = [forgotten(entry, erased) for entry in town.entries]
    with connect_sync(conninfo) as connection:
        for entries in (town.entries, replayed):
            for most in (1, 4, 15, len(entries)):
                assert filled(connection, batches(list(entries), town.chance, most)) == town.rows()


def filled(connection: psycopg.Connection[Any], cut: Iterator[list[Recorded]]) -> list[tuple[Any, ...]]:
    connection.execute("truncate people")
    for batch in cut:
        with connection.transaction():
            for statement in PEOPLE.statements(batch):
                execute(connection, statement)
    return connection.execute(f"select {COLUMNS}, updated_at from people order by 1").fetchall()

"""Whoever had an account for a while keeps nothing of it, and whoever guesses at accounts learns nothing."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import httpx
import pytest

from mintage.application import credentials, people
from mintage.application.services import Services
from mintage.application.transaction import Unavailable
from mintage.domain.registration.decider import REGISTRATION, LinkGoogle
from mintage.projections.people import Person
from tests.conftest import Mailbox

ANN = {"username": "ann", "password": "123456", "email": "ann@example.com"}
RESET = {"email": ANN["email"], "new_password": "newpassword123"}

Known = Callable[[Any, str], Awaitable[Person]]


async def registered(client: httpx.AsyncClient, **changed: str) -> dict[str, str]:
    reply = (await client.post("/api/v1/auth/register", json={**ANN, **changed})).json()
    return {"Authorization": f"Bearer {reply['data']['token']}"}


async def reset_code(client: httpx.AsyncClient, mailbox: Mailbox) -> str:
    await client.post("/api/auth/send-verification", json={"email": ANN["email"], "type": "password_reset"})
    return mailbox[-1].code


def meanwhile(
    module: Any, happens: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch, *, look: int = 1
) -> None:
    """Let something happen once between the commit and the reply, at that ``look`` at the person."""
    known: Known = module.known
    looks = count(1)

    async def later(db: Any, user_id: str) -> Person:
        if next(looks) == look:
            monkeypatch.setattr(module, "known", known)
            await happens()
        return await known(db, user_id)

    monkeypatch.setattr(module, "known", later)


async def test_a_token_of_a_password_that_was_reset_meanwhile_is_born_dead(
    client: httpx.AsyncClient, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    thief = await registered(client)
    code = await reset_code(client, mailbox)

    async def reset() -> None:
        assert (await client.post("/api/auth/reset-password", json={**RESET, "code": code})).is_success

    meanwhile(credentials, reset, monkeypatch, look=2)
    body = {"oldPassword": ANN["password"], "newPassword": "mine for ever"}
    reply = await client.post("/api/v1/users/change-password", json=body, headers=thief)
    assert reply.status_code == 200
    fresh = {"Authorization": f"Bearer {reply.json()['data']['token']}"}
    assert (await client.get("/api/v1/auth/me", headers=fresh)).status_code == 401


async def test_a_newcomers_token_is_of_the_session_it_was_registered_in(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def link() -> None:
        (person,) = await services.db.fetch(dict, "select user_id::text from people")
        command = LinkGoogle(google_id="google-1", address=1, drop_password=True)
        await services.people._journal.transact(
            lambda transaction: transaction.execute(REGISTRATION, person["user_id"], command), actor="system"
        )

    meanwhile(people, link, monkeypatch)
    stranger = await registered(client)
    assert (await client.get("/api/v1/auth/me", headers=stranger)).status_code == 401


async def test_a_google_account_linked_before_the_mailbox_was_proved_goes_with_a_reset(
    client: httpx.AsyncClient, mailbox: Mailbox, services: Services
) -> None:
    await registered(client)
    (person,) = await services.db.fetch(dict, "select user_id::text from people")

    async def told(sql: str) -> Any:
        (row,) = await services.db.fetch(dict, sql)
        return row

    await services.people._journal.transact(
        lambda transaction: transaction.execute(
            REGISTRATION, person["user_id"], LinkGoogle(google_id="google-1", address=1, drop_password=False)
        ),
        actor="system",
    )
    # The stranger gives the account the address of somebody else, who takes it back.
    thief = await client.post("/api/v1/auth/login", json=ANN)
    bearer = {"Authorization": f"Bearer {thief.json()['data']['token']}"}
    await client.put("/api/v1/users/profile", json={"email": "victim@example.com"}, headers=bearer)
    await client.post("/api/auth/send-verification", json={"email": "victim@example.com", "type": "password_reset"})
    body = {"email": "victim@example.com", "code": mailbox[-1].code, "new_password": "newpassword123"}
    assert (await client.post("/api/auth/reset-password", json=body)).is_success
    assert await told("select google_id, email_verified from people") == {"google_id": None, "email_verified": True}
    assert [(notice.to, notice.kind) for notice in mailbox.notices] == [
        ("ann@example.com", "email_changed"),
        ("victim@example.com", "password_changed"),
    ]


async def test_a_reset_that_there_is_no_time_for_uses_no_code_up(
    client: httpx.AsyncClient, mailbox: Mailbox, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered(client)
    code = await reset_code(client, mailbox)

    async def busy(_: str) -> str:
        raise Unavailable("too many wait for the hasher")

    with monkeypatch.context() as patched:
        patched.setattr(services.credentials._hasher, "hash", busy)
        assert (await client.post("/api/auth/reset-password", json={**RESET, "code": code})).status_code == 503
    assert (await client.post("/api/auth/reset-password", json={**RESET, "code": code})).status_code == 200


async def test_of_two_codes_stored_the_other_way_round_one_still_counts(
    client: httpx.AsyncClient, mailbox: Mailbox, services: Services
) -> None:
    await registered(client)
    await services.db.execute("update verification_codes set created_at = created_at + interval '5 seconds'")  # type: ignore[attr-defined]
    await client.post("/api/auth/send-verification", json={"email": ANN["email"], "type": "verification"})
    proof = {"email": ANN["email"], "code": mailbox[-1].code, "type": "verification"}
    assert (await client.post("/api/auth/verify-email", json=proof)).status_code == 200


async def test_names_that_differ_in_nothing_but_case_folding_are_two_addresses(
    client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    one = {"email": "strasse@example.com", "password": "password-one", "name": "One"}
    assert (await client.post("/api/auth/register", json=one)).status_code == 200
    await registered(client, username="other", email="straße@example.com", password="password-two")
    for email, password in ((one["email"], "password-one"), ("straße@example.com", "password-two")):
        reply = await client.post("/api/v1/auth/login", json={"username": email, "password": password})
        assert (reply.status_code, reply.json()["data"]["user"]["email"]) == (200, email)


@pytest.mark.parametrize(
    ("login", "spelled"),
    [
        ("nobody@example.com", "  Nobody@Example.com "),
        ("13900139000", "+86 139 0013 9000"),
        ("nobody", "ＮＯＢＯＤＹ"),
    ],
)
async def test_a_login_of_nobody_is_limited_however_it_is_spelled(
    client: httpx.AsyncClient, login: str, spelled: str
) -> None:
    for _ in range(10):
        assert (await client.post("/api/v1/auth/login", json={"username": login, "password": "x"})).status_code == 401
    reply = await client.post("/api/v1/auth/login", json={"username": spelled, "password": "x"})
    assert reply.status_code == 429

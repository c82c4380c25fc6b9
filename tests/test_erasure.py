"""An erased person is gone from everywhere but the ledger, which still verifies."""

from pathlib import Path

import psycopg
import pytest

from mintage.application.generations import Ask
from mintage.application.once import Repeatable
from mintage.application.people import Newcomer
from mintage.application.ports.identity import GONE
from mintage.application.profiles import Changes
from mintage.application.services import Services
from mintage.application.transaction import Unavailable
from mintage.domain.registration.decider import PersonUnknown
from mintage.infra.audit import verify
from mintage.infra.rebuild import rebuild
from mintage.infra.settings import Settings
from mintage.projections import INLINE
from mintage.projections.ledger import balance_of
from mintage.projections.people import Person, person_by_email
from mintage.projections.sql import Database
from mintage.projections.tasks import task_of
from tests.conftest import VAULT, Mailbox

CANARY = "canary-of-a-person"


def rows_with(conninfo: str, text: str) -> list[str]:
    """Every table that has the text in any column, in clear or as bytes."""
    found = []
    with psycopg.connect(conninfo) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in tables:
            for (row,) in connection.execute(f"select t::text from {table} t").fetchall():
                if text in row or text.encode().hex() in row:
                    found.append(table)
    return sorted(set(found))


async def somebody(services: Services, number: int) -> str:
    newcomer = Newcomer(
        document="v1",
        username=f"{CANARY}-{number}",
        password="123456",
        email=f"{CANARY}-{number}@example.com",
        name=f"{CANARY} {number}",
    )
    return (await services.people.register(newcomer)).user_id


async def picture(services: Services, user_id: str, prompt: str) -> str:
    ask = Ask(document="server", task_type="text2img", prompt=prompt, parameters={"width": 64, "height": 64})
    asked = Repeatable(user_id, "/api/images/generate", "key", b"digest")
    reply = await services.generations.request(user_id, ask, repeatable=asked)
    assert reply.outcome is not None
    await services.news.wait(reply.outcome.task_id, 60)
    await services.generations.keep_reply(asked, prompt.encode())
    return reply.outcome.task_id


async def test_two_erased_people_leave_their_ledger_and_nothing_of_themselves(
    services: Services, conninfo: str, settings: Settings
) -> None:
    people = [await somebody(services, number) for number in (1, 2)]
    for user_id in people:
        await services.webhooks.register(user_id, url=f"https://{CANARY}.example/", event_types=())
    tasks = [await picture(services, user_id, f"{CANARY} in a garden") for user_id in people]
    assert rows_with(conninfo, CANARY) == ["people", "receipts", "tasks", "verification_codes", "webhooks"]
    assert list(Path(settings.data_dir / "media").rglob("*.png"))

    # Codes were mailed to an address that is no longer theirs, too.
    moved = Changes(email=f"{CANARY}-moved@example.com")
    await services.profiles.change(people[0], moved, language="zh", address="127.0.0.1")

    for user_id in people:
        await services.erasure.erase(user_id, actor="operator")

    assert rows_with(conninfo, CANARY) == []
    assert not [path for path in (settings.data_dir / "media").rglob("*") if path.is_file()]
    with psycopg.connect(conninfo) as connection:
        for table in ("credentials", "person_keys", "receipts", "verification_codes"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)
    for user_id, task_id in zip(people, tasks, strict=True):
        assert (await balance_of(services.db, user_id)).available == 90
        task = await task_of(services.db, user_id, task_id)
        assert task is not None
        assert (task.prompt, task.charged) == ("", 10)
        assert await services.sessions.look_up(user_id) is GONE
        with pytest.raises(PersonUnknown):
            await services.erasure.erase(user_id, actor="operator")

    assert verify(conninfo, VAULT).differences == []
    for model in INLINE:
        assert not any(rebuild(conninfo, VAULT, model).differences.values()), model.name


async def test_an_erasure_that_is_not_stored_removes_nothing(
    services: Services, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await somebody(services, 1)
    await picture(services, user_id, "a cat")
    files = sorted((settings.data_dir / "media").rglob("*.*"))

    async def full(*_: object, **__: object) -> None:
        raise Unavailable("too many commands are waiting")

    with monkeypatch.context() as patched:
        patched.setattr(services.erasure._journal, "transact", full)
        with pytest.raises(Unavailable):
            await services.erasure.erase(user_id, actor="operator")
    assert sorted((settings.data_dir / "media").rglob("*.*")) == files != []


async def test_a_code_asked_for_while_somebody_is_erased_is_neither_kept_nor_mailed(
    services: Services, conninfo: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await somebody(services, 1)
    mailed = len(mailbox)

    async def erased_meanwhile(db: Database, email: str) -> Person | None:
        person = await person_by_email(db, email)
        await services.erasure.erase(user_id, actor="operator")
        return person

    monkeypatch.setattr("mintage.application.credentials.person_by_email", erased_meanwhile)
    await services.credentials.send_code(
        f"{CANARY}-1@example.com", "password_reset", language="zh", name=None, address="127.0.0.1"
    )
    assert rows_with(conninfo, CANARY) == []
    assert len(mailbox) == mailed


async def test_an_erased_persons_waiting_task_ends_without_charge(services: Services, conninfo: str) -> None:
    user_id = await somebody(services, 1)
    big = {"width": 2048, "height": 2048, "count": 4}
    ask = Ask(document="v1", task_type="text2img", prompt=CANARY, parameters=big)
    reply = await services.generations.request(user_id, ask)
    assert reply.outcome is not None
    await services.erasure.erase(user_id, actor="operator")
    task = await task_of(services.db, user_id, reply.outcome.task_id)
    assert task is not None
    assert task.status == "cancelled"
    assert (await balance_of(services.db, user_id)).available == 100
    assert verify(conninfo, VAULT).differences == []

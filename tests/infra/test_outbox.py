"""Each event is in the outbox once for each webhook that wanted to hear of it, whatever is killed or made again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from mintage.infra import follower
from mintage.infra import migrate as migration
from mintage.infra.audit import verify
from mintage.infra.database import connect_sync
from mintage.infra.rebuild import rebuild
from mintage.projections.outbox import KEPT, OUTBOX
from mintage.projections.webhooks import WEBHOOKS
from tests.conftest import VAULT
from tests.infra.kit import FILE, erase, one, rows, run_sql, some_id
from tests.infra.webhook_kit import World, world


@pytest.fixture
async def there(conninfo: str, tmp_path: Path) -> AsyncIterator[World]:
    async with world(conninfo, tmp_path) as everything:
        yield everything


def everything(conninfo: str) -> list[Any]:
    """All that the outbox holds, working state included."""
    return [rows(conninfo, f"select t::text from {table} t order by 1") for table in OUTBOX.tables]


async def test_the_owner_hears_of_every_end_of_a_task_and_of_what_they_bought(there: World) -> None:
    ann = await there.person()
    hook = await there.webhook(ann)
    completed, failed = await there.completed(ann), await there.failed(ann)
    cancelled = await there.asked(ann)
    await there.generations.cancel(ann, cancelled)
    await there.recharges.recharge(ann, 5, "wechat", render=lambda _: b"")
    there.follow()
    told = [(delivery.event_type, delivery.subject) for delivery in await there.outbox(hook)]
    assert told == [
        *(("task.processing", completed), ("task.completed", completed)),
        *(("task.processing", failed), ("task.failed", failed), ("task.cancelled", cancelled)),
        ("credits.recharged", None),
    ]


async def test_a_second_attempt_is_no_news(there: World) -> None:
    ann = await there.person()
    hook = await there.webhook(ann)
    task_id = await there.asked(ann)
    for fence in (1, 2):
        await there.lifecycle.start(task_id, fence=fence, worker="w")
    there.follow()
    assert await there.told(hook) == ["task.processing"]


async def test_nobody_hears_of_somebody_else(there: World) -> None:
    ann, bob = await there.person(), await there.person()
    hook = await there.webhook(ann)
    await there.completed(bob)
    await there.recharges.recharge(bob, 5, "wechat", render=lambda _: b"")
    there.follow()
    assert await there.told(hook) == []


async def test_two_webhooks_each_hear_of_what_they_asked_for(there: World) -> None:
    ann = await there.person()
    all_of_it, some = await there.webhook(ann), await there.webhook(ann, "https://b.example/", "task.completed")
    await there.completed(ann)
    there.follow()
    assert await there.told(all_of_it) == ["task.processing", "task.completed"]
    assert await there.told(some) == ["task.completed"]
    ids = [delivery.delivery_id for hook in (all_of_it, some) for delivery in await there.outbox(hook)]
    assert len(set(ids)) == 3


async def test_who_hears_is_who_wanted_to_when_it_happened(there: World) -> None:
    """However many changes and events lie in one portion."""
    ann = await there.person()
    running = await there.asked(ann)
    await there.completed(ann)
    hook = await there.webhook(ann, "https://hooks.example/", "task.completed")
    await there.completed(ann, running)
    await there.webhooks.change(ann, hook, event_types=("task.failed",))
    await there.completed(ann)
    await there.failed(ann)
    await there.webhooks.change(ann, hook, event_types=(), enabled=False)
    await there.completed(ann)
    await there.webhooks.change(ann, hook, enabled=True)
    await there.webhooks.ping(ann, hook)
    there.follow()
    assert await there.told(hook) == ["task.completed", "task.failed", "ping"]
    assert (await there.outbox(hook))[0].subject == running


async def test_a_webhook_that_is_deleted_takes_its_messages_along(there: World) -> None:
    ann = await there.person()
    gone, stays = await there.webhook(ann), await there.webhook(ann)
    await there.completed(ann)
    there.follow()
    await there.webhooks.delete(ann, gone)
    there.follow()
    assert (await there.told(gone), len(await there.told(stays))) == ([], 2)


async def test_an_erased_person_leaves_nothing_in_it(there: World) -> None:
    ann, bob = await there.person(), await there.person()
    for user_id in (ann, bob):
        await there.webhook(user_id)
        await there.failed(user_id)
        await there.asked(user_id)
    there.follow()
    await there.journal.transact(erase(ann), actor="system")
    there.follow()
    for table in (*OUTBOX.tables, *WEBHOOKS.tables):
        assert {str(user_id) for (user_id,) in rows(there.conninfo, f"select user_id from {table}")} == {bob}


@pytest.mark.parametrize("portion", [1, 3, 1_000])
async def test_portions_make_no_difference(there: World, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PORTION", portion)
    ann, bob = await there.person(), await there.person()
    hook = await there.webhook(ann)
    for days in (1, 20, 20, 1):
        await there.completed(ann)
        await there.failed(ann)
        await there.completed(bob)
        there.later(days=days)
    await there.webhooks.change(ann, hook, event_types=("task.failed",))
    await there.failed(ann)
    there.follow()
    differences = rebuild(there.conninfo, VAULT, OUTBOX, swap=False).differences
    assert differences == dict.fromkeys(OUTBOX.tables, 0)
    assert verify(there.conninfo, VAULT).differences == []


async def test_what_is_older_than_it_is_kept_for_is_forgotten(there: World) -> None:
    ann = await there.person()
    hook = await there.webhook(ann)
    await there.failed(ann)
    there.follow()
    there.later(days=KEPT.days)
    await there.completed(ann)
    there.follow()
    assert len(await there.told(hook)) == 4
    assert one(there.conninfo, "select count(*) from webhook_tasks") == 1
    there.now += timedelta(microseconds=1)
    await there.webhooks.ping(ann, hook)
    there.follow()
    assert await there.told(hook) == ["task.processing", "task.completed", "ping"]
    assert one(there.conninfo, "select count(*) from webhook_tasks") == 0


async def test_what_comes_when_its_task_is_too_old_is_told_nobody_however_the_log_is_cut(there: World) -> None:
    ann, bob = await there.person(), await there.person()
    hook = await there.webhook(ann)
    task_id = await there.asked(ann)
    by: dict[str, Any] = {"fence": 1, "worker": "w"}
    await there.lifecycle.start(task_id, **by)
    await there.lifecycle.dispatch(task_id, job_id=some_id(), **by)
    await there.lifecycle.submitted(task_id, provider_job="theirs", cancels=True, **by)
    there.later(days=1)
    await there.lifecycle.time_out(task_id)
    there.follow()
    there.later(days=KEPT.days + 1)
    await there.recharges.recharge(bob, 5, "wechat", render=lambda _: b"")
    there.follow()
    await there.lifecycle.deliver_late(task_id, [FILE] * 3, worker="w")
    there.follow()
    told = await there.told(hook)
    assert verify(there.conninfo, VAULT).differences == []
    assert told == []


async def test_made_again_from_the_first_event_it_is_the_same_and_nothing_is_sent_again(there: World) -> None:
    ann = await there.person()
    hook = await there.webhook(ann)
    await there.completed(ann)
    there.follow()
    # As a courier leaves them: one delivered, one put off.
    run_sql(
        there.conninfo,
        "update webhook_deliveries set status = 'delivered', tries = 1, attempts = '[{\"status\": 204}]'"
        " where event_type = 'task.processing'",
        "update webhook_deliveries set due_at = due_at + interval '1 hour', begun_at = at, tries = 4"
        " where event_type = 'task.completed'",
    )
    before = everything(there.conninfo)
    assert len(await there.told(hook)) == 2
    assert rebuild(there.conninfo, VAULT, OUTBOX).differences == dict.fromkeys(OUTBOX.tables, 0)
    assert everything(there.conninfo) == before


async def test_another_definition_of_it_sends_nothing_again_either(
    there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await there.person()
    await there.webhook(ann)
    await there.completed(ann)
    there.follow()
    await there.completed(ann)
    run_sql(there.conninfo, "update webhook_deliveries set status = 'delivered', tries = 1")
    before = everything(there.conninfo)
    changed = replace(OUTBOX, revision=OUTBOX.revision + 1)
    monkeypatch.setattr(migration, "READ_MODELS", {"outbox": changed})
    monkeypatch.setattr(migration, "FOLLOWED", (changed,))
    assert migration.migrate(there.conninfo, VAULT) == ["read model outbox"]
    assert everything(there.conninfo) == before
    there.follow()
    statuses = rows(there.conninfo, "select status from webhook_deliveries order by position")
    assert [status for (status,) in statuses] == ["delivered", "delivered", "pending", "pending"]


async def test_a_message_and_the_checkpoint_come_together_or_not_at_all(there: World) -> None:
    ann = await there.person()
    hook = await there.webhook(ann)
    await there.completed(ann)
    run_sql(
        there.conninfo,
        """create function die() returns trigger language plpgsql as
        $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$""",
        "create trigger dying before insert or update on checkpoints for each row execute function die()",
    )
    with connect_sync(there.conninfo) as connection, pytest.raises(psycopg.OperationalError):
        follower.follow_once(connection, VAULT, OUTBOX)
    assert await there.told(hook) == []
    run_sql(there.conninfo, "drop trigger dying on checkpoints")
    there.follow()
    assert await there.told(hook) == ["task.processing", "task.completed"]


async def test_no_message_is_made_twice_whatever_the_program_believes(there: World) -> None:
    ann = await there.person()
    hook = await there.webhook(ann)
    await there.completed(ann)
    there.follow()
    run_sql(there.conninfo, "delete from checkpoints where name = 'outbox'")
    with connect_sync(there.conninfo) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        follower.follow_once(connection, VAULT, OUTBOX)
    assert len(await there.told(hook)) == 2

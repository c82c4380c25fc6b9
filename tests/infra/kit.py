"""What the tests of the log, the journal and the read models share: works, stores that disturb, a day's traffic."""

import asyncio
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import resources
from itertools import pairwise
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from mintage.application.adjustments import Adjustments, Wish
from mintage.application.catalogue import Catalogue
from mintage.application.characters import Characters
from mintage.application.generations import Ask, Generations
from mintage.application.lifecycle import Lifecycle, Output
from mintage.application.recharges import Recharges
from mintage.application.records import Receipt, Record
from mintage.application.transaction import Journal, Transaction, Work
from mintage.domain.credits.decider import (
    CREDITS,
    CaptureHold,
    ConsumeCredits,
    CreditCommand,
    GrantCredits,
    HoldCredits,
    ReleaseHold,
)
from mintage.domain.generation.decider import GENERATION
from mintage.domain.recharge.decider import RecordRefund
from mintage.domain.recorded import Recorded
from mintage.domain.registration.decider import REGISTRATION, Erase, Register, VerifyEmail
from mintage.domain.webhook.decider import (
    WEBHOOK,
    ChangeWebhook,
    DeleteWebhook,
    DisableWebhook,
    PingWebhook,
    RegisterWebhook,
    RotateWebhook,
    WebhookCommand,
)
from mintage.domain.work.decider import WORK, ChangeWork, DeleteWork
from mintage.infra.clock import utc_now
from mintage.infra.gateways import SandboxGateway
from mintage.infra.identifiers import new_id
from mintage.infra.journal import JournalLimits, PostgresJournal
from mintage.infra.log_reader import head, portions
from mintage.infra.postgres_store import PostgresStore
from mintage.infra.store import Loaded, Needs, Snapshot, Store, Tail
from mintage.projections import INLINE
from tests.conftest import VAULT

CATALOGUE: Final = msgspec.convert(
    tomllib.loads((resources.files("mintage") / "catalogue.toml").read_text(encoding="utf-8")), Catalogue
)
REFUSALS: Final = {name: refusal for model in INLINE for name, refusal in model.refusals.items()}
FILE: Final = Output(file="f.png", thumbnail="t.png", content_type="image/png", file_size=9, width=8, height=8)


def some_id() -> str:
    return str(uuid4())


# -- journals


def postgres_store(conninfo: str) -> PostgresStore:
    return PostgresStore(conninfo, VAULT, INLINE)


@asynccontextmanager
async def journal_on(
    store: Store | str,
    *,
    clock: Callable[[], datetime] = utc_now,
    seen: Callable[[Sequence[Recorded]], None] = lambda _: None,
    **limits: Any,
) -> AsyncIterator[PostgresJournal]:
    """A running journal on a store, or on a database of this name; drained at the end."""
    journal = PostgresJournal(
        postgres_store(store) if isinstance(store, str) else store,
        clock=clock,
        new_id=new_id,
        refusals=REFUSALS,
        limits=JournalLimits(**limits),
        seen=seen,
    )
    await journal.start()
    try:
        yield journal
    finally:
        await journal.drain()


class Through:
    """A store in front of another, for tests to disturb what passes."""

    def __init__(self, store: Store) -> None:
        self.inner = store
        self.calls: Counter[str] = Counter()

    async def lock(self, after: int | None) -> Tail:
        self.calls["lock"] += 1
        return await self.inner.lock(after)

    async def load(self, needs: Needs) -> Loaded:
        self.calls["load"] += 1
        return await self.inner.load(needs)

    async def stored(self, command_ids: Collection[str]) -> bool:
        self.calls["stored"] += 1
        return await self.inner.stored(command_ids)

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        self.calls["commit"] += 1
        await self.inner.commit(entries, records, snapshots)

    async def unlock(self) -> None:
        self.calls["unlock"] += 1
        await self.inner.unlock()

    async def close(self) -> None:
        await self.inner.close()


class Gated(Through):
    """Holds every commit back until the gate is open; ``waiting`` says that one has come."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()

    async def commit(
        self, entries: Sequence[Recorded], records: Sequence[Record], snapshots: Iterable[Snapshot]
    ) -> None:
        self.waiting.set()
        await self.gate.wait()
        await super().commit(entries, records, snapshots)


# -- works


def _credit(user_id: str, command: Callable[[Transaction], CreditCommand]) -> Work[int]:
    return lambda transaction: transaction.execute(CREDITS, user_id, command(transaction)).available


def grant(user_id: str, amount: int) -> Work[int]:
    """Every work about credits brings what is available after it."""
    transaction_id = some_id()
    return _credit(
        user_id,
        lambda transaction: GrantCredits(
            transaction_id=transaction_id,
            amount=amount,
            source="signup_bonus",
            description="granted",
            now=transaction.now,
        ),
    )


def consume(user_id: str, amount: int, *, transaction_id: str = "", description: str = "spent") -> Work[int]:
    transaction_id = transaction_id or some_id()
    return _credit(
        user_id,
        lambda transaction: ConsumeCredits(
            transaction_id=transaction_id, amount=amount, description=description, now=transaction.now
        ),
    )


def hold(user_id: str, hold_id: str, amount: int) -> Work[int]:
    return _credit(
        user_id,
        lambda transaction: HoldCredits(
            hold_id=hold_id, amount=amount, description="held", product="test/model", now=transaction.now
        ),
    )


def capture(user_id: str, hold_id: str, amount: int) -> Work[int]:
    transaction_id = some_id()
    return _credit(
        user_id,
        lambda transaction: CaptureHold(
            hold_id=hold_id,
            transaction_id=transaction_id,
            amount=amount,
            description="captured",
            now=transaction.now,
        ),
    )


def release(user_id: str, hold_id: str) -> Work[int]:
    return _credit(user_id, lambda transaction: ReleaseHold(hold_id=hold_id, reason="failed", now=transaction.now))


def register(user_id: str, username: str, *, email: str | None = None, name: str | None = None) -> Work[int]:
    """Brings the newcomer's number."""

    def work(transaction: Transaction) -> int:
        number = transaction.number("user")
        command = Register(
            user_id=user_id,
            number=number,
            document="v1",
            username=username,
            referral_code=user_id.replace("-", "")[:16].upper(),
            email=email,
            name=name,
        )
        transaction.begin(REGISTRATION, user_id, command)
        return number

    return work


def erase(user_id: str) -> Work[None]:
    def work(transaction: Transaction) -> None:
        transaction.execute(REGISTRATION, user_id, Erase())

    return work


def receipt(user_id: str, key: str = "k", body: bytes = b"{}") -> Receipt:
    return Receipt(user_id, "/consume", key, b"digest", utc_now(), body)


async def outcomes(works: Iterable[Work[Any]], *journals: Journal) -> list[Any]:
    """All of them at once, dealt to the journals in turn; what each came to, be it an exception."""
    calls = [journals[turn % len(journals)].transact(work, actor="test") for turn, work in enumerate(works)]
    return await asyncio.gather(*calls, return_exceptions=True)


def of(kind: type[Any], results: Iterable[Any]) -> list[Any]:
    return [result for result in results if isinstance(result, kind)]


# -- reading

TERMINATE: Final = """
select pg_terminate_backend(pid) from pg_stat_activity
where pid <> pg_backend_pid() and datname = current_database() and backend_type = 'client backend'"""


def rows(conninfo: str, sql: str, params: Sequence[Any] = ()) -> list[Any]:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return connection.execute(sql.encode(), params or None).fetchall()


def run_sql(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def one(conninfo: str, sql: str, params: Sequence[Any] = ()) -> Any:
    return rows(conninfo, sql, params)[0][0]


def the_log(conninfo: str) -> list[Recorded]:
    """The whole log as it is stored; fails if positions have a gap, versions do, or time runs backwards."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        log = [entry for some in portions(connection, after=0, upto=head(connection)) for entry in some]
    assert [entry.position for entry in log] == list(range(1, len(log) + 1))
    versions: Counter[str] = Counter()
    for entry in log:
        versions[entry.stream] += 1
        assert entry.version == versions[entry.stream]
    assert all(before.at <= after.at for before, after in pairwise(log))
    return log


def account(conninfo: str, user_id: str) -> tuple[int, int]:
    """Available and held, as served."""
    found = rows(conninfo, "select available, held from credit_accounts where user_id = %s", (user_id,))
    return found[0] if found else (0, 0)


def through_port(conninfo: str, port: int) -> str:
    """The same database by TCP, where a proxy listens."""
    parts = cast(dict[str, Any], conninfo_to_dict(conninfo)) | {"host": "127.0.0.1", "port": port}
    return psycopg.conninfo.make_conninfo(**parts, sslmode="disable", gssencmode="disable")


# -- a day's traffic


class Day(msgspec.Struct):
    """Who was there, and in which state their tasks were left."""

    people: list[str]
    gone: list[str]
    completed: str
    partial: str
    failed: str
    cancelled: str
    processing: str
    pending: str


ASK: Final = Ask(document="v1", task_type="text2img", prompt="一只小猫 kitten-canary", parameters={"count": 3})


async def a_day(journal: Journal, people: Sequence[str] = ()) -> Day:
    """A bit of everything that can happen, whoever it happens to: every kind of event, every end of a task."""
    people = people or [some_id() for _ in range(5)]
    generations, lifecycle = Generations(journal, CATALOGUE, new_id), Lifecycle(journal, new_id)
    recharges = Recharges(journal, SandboxGateway(), CATALOGUE.money, new_id)
    for user_id in people:
        tag = user_id[-12:]
        newcomer = register(user_id, f"canary{tag}", email=f"canary{tag}@example.org", name=f"Canary {tag}")
        await journal.transact(newcomer, actor=user_id)
        await journal.transact(grant(user_id, 100), actor=user_id)
    payer, asker, *gone = people
    await recharges.recharge(payer, 5, "wechat", render=lambda _: b"{}")
    await outcomes([consume(user_id, 1 + turn) for turn, user_id in enumerate(people)], journal)
    await journal.transact(
        lambda transaction: transaction.execute(REGISTRATION, asker, VerifyEmail(address=1)) and None, actor=asker
    )

    async def task(user_id: str) -> str:
        reply = await generations.request(user_id, ASK)
        assert reply.outcome is not None
        return reply.outcome.task_id

    day = Day([payer, asker], gone, *[await task(asker) for _ in range(6)])
    for task_id in (day.completed, day.partial, day.failed, day.processing):
        await lifecycle.start(task_id, fence=1, worker="w")
    await lifecycle.succeed(day.completed, [FILE] * 3, kind="image", fence=1, worker="w")
    await lifecycle.succeed(day.partial, [FILE, None, FILE], kind="image", fence=1, worker="w")
    await lifecycle.fail(day.failed, error_code="E", error_message="no", fence=1, worker="w")
    await generations.cancel(asker, day.cancelled)
    await _finance_acts(journal, payer, asker)
    await _keep_works(journal, asker, day)
    await _far_away(generations, lifecycle, [await task(asker) for _ in range(4)], asker)
    await _keep_characters(Characters(journal, new_id), [asker, *gone])
    await _keep_webhooks(journal, [asker, *gone])
    for user_id in gone:
        await generations.request(user_id, ASK)
        await journal.transact(erase(user_id), actor="system")
    return day


async def _far_away(generations: Generations, lifecycle: Lifecycle, tasks: Sequence[str], asker: str) -> None:
    """At a provider: one is put off, sent and cancelled there, one comes late, one is watched, one is gone on with."""
    by: dict[str, Any] = {"fence": 1, "worker": "w"}
    cancelled, late, watched, open_task = tasks
    await lifecycle.start(cancelled, **by)
    await lifecycle.dispatch(cancelled, job_id=some_id(), **by)
    await lifecycle.defer(cancelled, error_code="E", retry_at=utc_now(), **by)
    await lifecycle.start(cancelled, fence=2, worker="w")
    for task_id in (late, watched, open_task):
        await lifecycle.start(task_id, **by)
    for task_id, fence in ((cancelled, 2), (late, 1), (watched, 1), (open_task, 1)):
        by["fence"] = fence
        await lifecycle.dispatch(task_id, job_id=some_id(), **by)
        await lifecycle.submitted(task_id, provider_job=f"theirs-{task_id}", cancels=True, **by)
    await generations.cancel(asker, cancelled)
    await lifecycle.close(cancelled, "stopped", worker="w")
    await lifecycle.time_out(late)
    await lifecycle.time_out(watched)
    await lifecycle.deliver_late(late, [FILE, None, FILE], worker="w")
    await lifecycle.resume(open_task, fence=2, worker="w")


async def _finance_acts(journal: Journal, payer: str, asker: str) -> None:
    """A payment half undone, and an adjustment of each kind: applied at once, waiting, agreed to, turned down."""
    order = some_id()
    ids = iter([order])
    recharges = Recharges(journal, SandboxGateway(), CATALOGUE.money, lambda: next(ids, "") or some_id())
    await recharges.recharge(payer, 1, "alipay", render=lambda _: b"{}")
    refund = RecordRefund(refund_reference=some_id(), amount_fen=50, reason="refund")
    await recharges.refund(order, refund, actor="finance-1", render=lambda _: b"")
    adjustments = Adjustments(journal, new_id, limit=10)
    wanted = []
    for amount in (10, -3, 11, 12, 13):
        reply = await adjustments.request(Wish(user_id=asker, amount=amount, reason="as agreed"), actor="finance-1")
        assert reply.outcome is not None
        wanted.append(reply.outcome.adjustment_id)
    await adjustments.approve(wanted[2], actor="finance-2")
    await adjustments.reject(wanted[3], actor="finance-2")


async def _keep_works(journal: Journal, owner: str, day: Day) -> None:
    """One is renamed twice and published, one published and withdrawn, one deleted, one renamed while it is made."""

    def works_of(task_id: str) -> Work[tuple[str, ...]]:
        return lambda transaction: transaction.state(GENERATION, task_id).works

    async def give(work_id: str, command: ChangeWork | DeleteWork) -> None:
        await journal.transact(lambda transaction: transaction.execute(WORK, work_id, command) and None, actor=owner)

    named, shown, gone = await journal.transact(works_of(day.completed), actor=owner)
    (unmade, *_) = await journal.transact(works_of(day.processing), actor=owner)
    await give(named, ChangeWork(user_id=owner, title="title-canary", is_public=True))
    await give(named, ChangeWork(user_id=owner, title=None))
    await give(shown, ChangeWork(user_id=owner, is_public=True))
    await give(shown, ChangeWork(user_id=owner, title="title-canary"))
    await give(shown, ChangeWork(user_id=owner, is_public=False))
    await give(gone, ChangeWork(user_id=owner, title="title-canary", is_public=True))
    await give(gone, DeleteWork(user_id=owner))
    await give(unmade, ChangeWork(user_id=owner, title="title-canary", is_public=True))


async def _keep_characters(characters: Characters, owners: Sequence[str]) -> None:
    """Each has one as it was made, one changed twice, and one that is gone."""
    for owner in owners:
        _, changed, gone = [
            await characters.create(
                owner, name="character-canary", avatar_url="https://canary.example", character_type="sora"
            )
            for _ in range(3)
        ]
        await characters.change(owner, changed, avatar_url=None)
        await characters.change(owner, changed, name="character-canary 2")
        await characters.delete(owner, gone)


async def _keep_webhooks(journal: Journal, owners: Sequence[str]) -> None:
    """Each has one that went through everything, one that is off, and one that is gone; and what is told of them."""

    async def give(owner: str, command: WebhookCommand) -> None:
        await journal.transact(lambda transaction: transaction.execute(WEBHOOK, owner, command) and None, actor=owner)

    def registered(owner: str, webhook_id: str) -> Work[None]:
        def work(transaction: Transaction) -> None:
            number = transaction.number("webhook")
            url = "https://webhook-canary.example"
            command = RegisterWebhook(user_id=owner, webhook_id=webhook_id, number=number, url=url)
            transaction.execute(WEBHOOK, owner, command)

        return work

    for owner in owners:
        changed, off, gone = hooks = some_id(), some_id(), some_id()
        for webhook_id in hooks:
            await journal.transact(registered(owner, webhook_id), actor=owner)
            await give(owner, PingWebhook(webhook_id=webhook_id))
        for enabled in (False, True):
            await give(owner, ChangeWebhook(user_id=owner, webhook_id=changed, enabled=enabled))
        await give(
            owner,
            ChangeWebhook(
                user_id=owner, webhook_id=changed, url="https://webhook-canary.example/2", event_types=("task.failed",)
            ),
        )
        for _ in range(2):
            await give(owner, RotateWebhook(webhook_id=changed))
        await give(owner, DisableWebhook(webhook_id=off, reason="gone"))
        await give(owner, DeleteWebhook(webhook_id=gone))

"""One process of the pipeline for tests: journal, worker, aftermath and reaper on a database, before a far provider."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from mintage.application.catalogue import Bounds, Catalogue, Model, Money, Source
from mintage.application.generations import Ask, Generations
from mintage.application.ledger import Ledger
from mintage.application.lifecycle import Lifecycle
from mintage.application.providers import Provider
from mintage.domain.catalogue import AnyEvent
from mintage.domain.credits.events import HoldCaptured, HoldReleased
from mintage.domain.recorded import Recorded
from mintage.infra.aftermath import Aftermath
from mintage.infra.attempts import Tools
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool
from mintage.infra.duties import begin, end
from mintage.infra.identifiers import new_id
from mintage.infra.journal import PostgresJournal
from mintage.infra.pace import Pace
from mintage.infra.reaper import Reaper
from mintage.infra.sources import Sources
from mintage.infra.storage import MediaFolder
from mintage.infra.wakes import Wakes
from mintage.infra.worker import Worker
from mintage.projections.tasks import Task, task_of
from tests.conftest import BASE_URL, until
from tests.infra.kit import account, grant, journal_on, register, some_id, the_log

PRICE: Final = 10
QUICK: Final = Pace(
    lease_s=30.0,
    renew_s=0.1,
    poll_s=0.3,
    ask_s=0.02,
    ask_min_s=0.02,
    ask_max_s=0.05,
    retry_s=0.02,
    retry_max_s=0.1,
    leave_s=10.0,
)


def model(provider: str, **more: Any) -> Model:
    settings: dict[str, Any] = {
        "provider": provider,
        "name": "m",
        "renderer": "far",
        "upstream": "their-model",
        "tasks": ("text2img",),
        "price": PRICE,
        "parameters": {"count": Bounds(type="integer", min=1, max=4, default=1)},
    }
    return Model(**(settings | more))


CATALOGUE: Final = Catalogue(
    money=Money(credits_per_yuan=10, signup_bonus=0, referral_bonus_referrer=0, referral_bonus_newcomer=0),
    models=(model("plain"), model("urgent", priority=5), model("brief", deadline_s=1), model("other", renderer="else")),
    providers=dict.fromkeys(("far", "else"), Source(kind="openai-videos", base_url="http://127.0.0.1:9")),
)


class Clock:
    """Real time, moved ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


class Plant:
    """Used through ``plant``. ``work`` starts what a process starts, ``stop`` ends it as a process ends it."""

    def __init__(
        self,
        conninfo: str,
        journal: PostgresJournal,
        db: Pool,
        media: MediaFolder,
        wakes: Wakes,
        providers: Mapping[str, Provider],
        *,
        clock: Clock,
        pace: Pace,
        limits: Mapping[str, int],
        slots: int,
        user_limit: int,
    ) -> None:
        self.conninfo, self.journal, self.db, self.media, self.clock = conninfo, journal, db, media, clock
        self.generations = Generations(journal, CATALOGUE, new_id, None)
        self.lifecycle = Lifecycle(journal, new_id)
        self.tools = Tools(
            lifecycle=self.lifecycle,
            db=db,
            media=media,
            sources=cast(Sources, None),
            clock=clock,
            pace=pace,
        )
        self.worker = Worker(self.tools, providers, limits, slots=slots, user_limit=user_limit)
        self.aftermath = Aftermath(self.tools, providers)
        self.reaper = Reaper(db, Ledger(journal, new_id), self.lifecycle, media, clock=clock)
        self.wakes = wakes
        self._duties: list[asyncio.Task[None]] = []
        self.user_id = ""

    def work(self) -> None:
        self.wakes.tell(self.worker.told)
        self.wakes.tell(self.aftermath.told)
        self._duties = begin([self.wakes.listen, self.worker.run, self.aftermath.run])

    async def stop(self) -> None:
        await self.worker.stop()
        await self.kill()

    async def kill(self) -> None:
        """End at once; unlike with a killed process, what waits is told so."""
        await end(self._duties)
        self._duties = []

    # -- people and tasks

    async def somebody(self, having: int = 1_000) -> str:
        user_id = some_id()
        await self.journal.transact(register(user_id, f"u{user_id[-12:]}"), actor=user_id)
        await self.journal.transact(grant(user_id, having), actor=user_id)
        return user_id

    async def request(self, user_id: str | None = None, *, count: int = 1, provider: str = "plain") -> str:
        """A task of the person, or of one who is there from the first."""
        if user_id is None:
            self.user_id = user_id = self.user_id or await self.somebody()
        ask = Ask(
            document="v1",
            task_type="text2img",
            prompt="a cat",
            parameters={"count": count},
            model_provider=provider,
        )
        reply = await self.generations.request(user_id, ask)
        assert reply.outcome is not None
        return reply.outcome.task_id

    async def task(self, task_id: str, user_id: str | None = None) -> Task:
        found = await task_of(self.db, user_id or self.user_id, task_id)
        assert found is not None
        return found

    async def over(self, task_id: str, user_id: str | None = None) -> Task:
        """The task when it is over."""

        async def is_over() -> bool:
            return (await self.task(task_id, user_id)).over

        await until(is_over)
        return await self.task(task_id, user_id)

    async def cancel(self, task_id: str) -> None:
        await self.generations.cancel(self.user_id, task_id)

    # -- what happened

    def log(self) -> list[Recorded]:
        return the_log(self.conninfo)

    def events(self, task_id: str) -> list[AnyEvent]:
        return [entry.event for entry in self.log() if entry.stream == f"generation-{task_id}"]

    def course(self, task_id: str) -> list[str]:
        """What happened to a task, without the way each event begins."""
        return [type(event).__name__.removeprefix("Generation") for event in self.events(task_id)]

    def ledger(self, user_id: str | None = None) -> tuple[int, int]:
        """Available and held, after seeing that every hold ended at most once."""
        ends = [e.event.hold_id for e in self.log() if isinstance(e.event, HoldCaptured | HoldReleased)]
        assert len(ends) == len(set(ends)), "a hold ended twice"
        return account(self.conninfo, user_id or self.user_id)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.media.folder.rglob("*") if path.is_file())


@asynccontextmanager
async def plant(
    conninfo: str,
    folder: Path,
    providers: Mapping[str, Provider],
    *,
    clock: Clock | None = None,
    pace: Pace = QUICK,
    limits: Mapping[str, int] | None = None,
    slots: int = 8,
    user_limit: int = 100,
) -> AsyncIterator[Plant]:
    """A process that does not work yet."""
    clock = clock or Clock()
    async with AsyncExitStack() as closing:
        db, wakes = Pool(conninfo), Wakes(conninfo)
        await db.open()
        closing.push_async_callback(db.close)
        journal = await closing.enter_async_context(journal_on(conninfo, clock=clock, seen=wakes.seen))
        made = Plant(
            conninfo,
            journal,
            db,
            MediaFolder(folder, lambda: BASE_URL, b"k" * 32, clock),
            wakes,
            providers,
            clock=clock,
            pace=pace,
            limits=limits or dict.fromkeys(providers, 100),
            slots=slots,
            user_limit=user_limit,
        )
        closing.push_async_callback(made.kill)
        yield made

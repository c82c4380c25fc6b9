"""The composition root: settings in, everything wired out; the commands add the documents and run it."""

import asyncio
import logging
import os
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from mintage.application.adjustments import Adjustments
from mintage.application.catalogue import BUILTIN, Catalogue
from mintage.application.characters import Characters
from mintage.application.codes import CodeMail
from mintage.application.credentials import Credentials
from mintage.application.erasure import Erasure
from mintage.application.generations import Generations
from mintage.application.google import GoogleSignIn
from mintage.application.ledger import Ledger
from mintage.application.lifecycle import Lifecycle
from mintage.application.limits import PENDING_MAX, Limits
from mintage.application.moderation import Each, WordList, words_in
from mintage.application.people import People
from mintage.application.ports.limits import Limiter
from mintage.application.ports.mail import Mailer
from mintage.application.ports.moderation import Moderation
from mintage.application.profiles import Profiles
from mintage.application.providers import Provider
from mintage.application.recharges import Recharges
from mintage.application.reports import Reports
from mintage.application.reversals import Reversals
from mintage.application.services import Services, Terms
from mintage.application.transaction import Unavailable
from mintage.application.webhooks import Webhooks
from mintage.application.works import Works
from mintage.domain.recorded import Recorded
from mintage.infra.aftermath import Aftermath
from mintage.infra.attempts import Tools
from mintage.infra.avatars import AvatarFolder
from mintage.infra.bucket import BucketRefused, MediaBucket
from mintage.infra.builtin import Builtin
from mintage.infra.clock import utc_now
from mintage.infra.codes import CodeBook
from mintage.infra.database import Pool
from mintage.infra.duties import Duty, begin, end
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.follower import Follower
from mintage.infra.freshness import Followed
from mintage.infra.gateways import GATEWAYS, SandboxGateway
from mintage.infra.google import OpenIdClient
from mintage.infra.guard import Guard
from mintage.infra.handshakes import SealedHandshakes
from mintage.infra.housekeeping import Chore, keep_tidy
from mintage.infra.identifiers import new_id
from mintage.infra.journal import JournalLimits, PostgresJournal
from mintage.infra.limits import MemoryLimits, NoLimits
from mintage.infra.mail import Composer, Delivery, Outbox, SmtpServer
from mintage.infra.migrate import migrate
from mintage.infra.moderation import OpenAiModeration
from mintage.infra.news import TaskNews
from mintage.infra.pace import Pace
from mintage.infra.passwords import Argon2Hasher
from mintage.infra.postgres_store import PostgresStore
from mintage.infra.providers import providers_of, refuse_unservable
from mintage.infra.reaper import Reaper
from mintage.infra.redis_limits import RedisLimits, redis_at
from mintage.infra.retention import Retention
from mintage.infra.s3 import bucket_of
from mintage.infra.seal.receipts import SealedReceipts
from mintage.infra.seal.sealer import Sealer
from mintage.infra.sessions import Standings
from mintage.infra.settings import Settings, SettingsRefused, s3_of, secrets_of
from mintage.infra.site import Site
from mintage.infra.sources import Fetcher, Sources
from mintage.infra.spendings import LoggedSpendings
from mintage.infra.storage import Media, MediaFolder
from mintage.infra.store import Lost
from mintage.infra.tokens import JwtTokens
from mintage.infra.wakes import Wakes
from mintage.infra.webhooks import Courier, Sender, Signing
from mintage.infra.worker import Worker
from mintage.projections import FOLLOWED, INLINE

EMBEDDED_CHECK_S: Final = 2.0
ANSWER_S: Final = 3.0
"""A database that has not answered by then is not there for requests either."""

_log = logging.getLogger(__name__)


def catalogue_of(settings: Settings) -> Catalogue:
    """The operator's catalogue, or the built-in one. Raises ``SettingsRefused`` naming what is wrong in it."""
    try:
        catalogue = msgspec.convert(tomllib.loads(_own_or_built_in(settings.catalogue, "catalogue.toml")), Catalogue)
    except (OSError, ValueError) as error:
        raise SettingsRefused(f"MINTAGE_CATALOGUE: {settings.catalogue}: {error}") from error
    refuse_unservable(catalogue)
    return catalogue


@asynccontextmanager
async def running(
    settings: Settings,
    place: Site,
    *,
    base_url: Callable[[], str],
    worker: bool = True,
    clock: Callable[[], datetime] = utc_now,
    mailer: Mailer | None = None,
    providers: Mapping[str, Provider] | None = None,
    pace: Pace | None = None,
    sender: Sender | None = None,
) -> AsyncIterator[Services]:
    """Everything the documents are served from, with its background tasks; drained at the end.

    Migrates first, so that whatever is served has its schema. ``providers`` stand in for those of the catalogue.
    """
    await asyncio.to_thread(migrate, place.conninfo, place.vault)
    secrets, catalogue = secrets_of(settings), catalogue_of(settings)
    async with AsyncExitStack() as closing:
        db = Pool(place.conninfo)
        await db.open()
        closing.push_async_callback(db.close)
        openid = _openid(settings, clock)
        if openid is not None:
            closing.push_async_callback(openid.close)
        delivery = _delivery(settings, clock)
        closing.push_async_callback(delivery.drain)
        mailer = delivery if mailer is None else mailer
        limits = Limits(_limiter(settings, secrets.signing, clock, closing))
        news, sessions = TaskNews(db), Standings(db, place.conninfo)
        media = await _media(settings, base_url, secrets.signing, clock)
        listeners: list[Callable[[Sequence[Recorded]], None]] = [news.seen, sessions.seen]
        journal = _journal(settings, place, clock, listeners)
        hasher, codes, avatars = Argon2Hasher(), CodeBook(db, secrets.signing), AvatarFolder(media, new_id)
        code_mail = CodeMail(codes, mailer, new_id, clock)
        generations = Generations(
            journal,
            catalogue,
            new_id,
            PENDING_MAX if settings.rate_limit else None,
            timedelta(seconds=settings.hold_s),
            _moderation(settings, closing),
        )
        ledger, lifecycle = Ledger(journal, new_id), Lifecycle(journal, new_id)
        works, erasure = Works(journal, db, media), Erasure(journal, db, generations, media, avatars)
        retention = Retention(journal, db, settings.retention_days, clock=clock)
        signing = Signing(secrets.master)
        webhooks = Webhooks(journal, db, new_id, clock, signing.secret)
        chores: list[Chore] = [retention.expire, works.finish, erasure.finish, media.tidy]
        chores.append(lambda: avatars.tidy(db, clock()))
        reaper = Reaper(db, ledger, lifecycle, media, clock=clock)
        duties: list[Duty] = [sessions.listen, news.run, lambda: keep_tidy(db, clock, chores), reaper.run]
        duties += [Follower(place.conninfo, place.vault, *FOLLOWED).run, sealer_of(settings, place, clock).run]
        if place.embedded is not None:
            duties.append(partial(_keep_up, place.embedded))
        crew: Worker | None = None
        if worker:
            tools = Tools(
                lifecycle=lifecycle,
                db=db,
                media=media,
                sources=Sources(media, Fetcher(Guard())),
                clock=clock,
                pace=pace or Pace(),
            )
            crew, wakes, at_work = _crew(settings, catalogue, place, tools, _makers(catalogue, providers, closing))
            listeners.append(wakes.seen)
            duties += at_work
        if base_url():
            # Who does not know where files are served from cannot tell anybody.
            duties.append(Courier(db, webhooks, media, sender or Sender(), signing, clock=clock).run)
        await journal.start()
        closing.push_async_callback(journal.drain)
        closing.push_async_callback(end, begin(duties))
        if crew is not None:
            closing.push_async_callback(crew.stop)
        people = People(
            journal,
            db,
            catalogue.money,
            hasher=hasher,
            codes=codes,
            code_mail=code_mail,
            limits=limits,
            new_id=new_id,
        )
        yield Services(
            people=people,
            google=None
            if openid is None
            else GoogleSignIn(
                journal,
                db,
                people,
                google=openid,
                handshakes=SealedHandshakes(db, secrets.signing, clock),
                mailer=mailer,
                limits=limits,
                new_id=new_id,
            ),
            profiles=Profiles(journal, db, code_mail=code_mail, mailer=mailer, avatars=avatars, limits=limits),
            credentials=Credentials(
                journal,
                db,
                hasher=hasher,
                codes=codes,
                code_mail=code_mail,
                mailer=mailer,
                sessions=sessions,
                limits=limits,
                clock=clock,
            ),
            erasure=erasure,
            works=works,
            characters=Characters(journal, new_id),
            webhooks=webhooks,
            ledger=ledger,
            adjustments=Adjustments(journal, new_id, settings.adjustment_limit),
            reversals=Reversals(journal, LoggedSpendings(db), new_id),
            reports=Reports(db, Followed(db), clock),
            recharges=Recharges(journal, SandboxGateway(), catalogue.money, new_id),
            generations=generations,
            catalogue=catalogue,
            db=db,
            tokens=JwtTokens(secrets.signing, clock, new_id),
            sessions=sessions,
            files=media,
            news=news,
            limits=limits,
            terms=Terms(
                cors_origins=settings.cors_origins,
                generation_wait_s=settings.generation_wait_s,
                password_min=settings.password_min,
                gateways=GATEWAYS if settings.sandbox_gateway else (),
                secure_cookies=settings.public_url.startswith("https://"),
            ),
            clock=clock,
            ready=partial(_is_ready, journal, db),
            receipts=SealedReceipts(db, secrets.seal),
        )


async def _is_ready(journal: PostgresJournal, db: Pool) -> bool:
    """Whether commands are taken, and the database is there to store them."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return journal.is_taking() and await db.execute("select 1") == 1
    except (Lost, TimeoutError):
        return False


def _makers(catalogue: Catalogue, given: Mapping[str, Provider] | None, closing: AsyncExitStack) -> dict[str, Provider]:
    """Whoever makes what is sold, by the name that the catalogue has for them."""
    elsewhere = providers_of(catalogue, os.environ) if given is None else given
    makers: dict[str, Provider] = {BUILTIN: Builtin(), **elsewhere}
    for maker in makers.values():
        closing.push_async_callback(maker.close)
    return makers


def _crew(
    settings: Settings, catalogue: Catalogue, place: Site, tools: Tools, makers: Mapping[str, Provider]
) -> tuple[Worker, Wakes, list[Duty]]:
    """Who works on tasks in this process, and on what is left to do after them, and what wakes both."""
    builtin = settings.builtin_concurrency or os.cpu_count() or 1
    asked = {BUILTIN: builtin, **{name: source.concurrency for name, source in catalogue.providers.items()}}
    limits = {name: asked[name] for name in makers if name in asked}
    # Fewer, and jobs that only wait at their provider keep others from being begun.
    slots = settings.worker_slots or sum(limits.values())
    worker = Worker(tools, makers, limits, slots=slots, user_limit=settings.user_concurrency)
    aftermath, wakes = Aftermath(tools, makers), Wakes(place.conninfo)
    wakes.tell(worker.told)
    wakes.tell(aftermath.told)
    return worker, wakes, [wakes.listen, worker.run, aftermath.run]


def sealer_of(settings: Settings, place: Site, clock: Callable[[], datetime] = utc_now) -> Sealer:
    """What seals the log with the key, and into the folder, of the settings."""
    folder = settings.checkpoint_dir or settings.data_dir / "checkpoints"
    return Sealer(place.conninfo, secrets_of(settings).seal, folder, clock)


def _journal(
    settings: Settings,
    place: Site,
    clock: Callable[[], datetime],
    listeners: Sequence[Callable[[Sequence[Recorded]], None]],
) -> PostgresJournal:
    def seen(entries: Sequence[Recorded]) -> None:
        for listener in listeners:
            listener(entries)

    return PostgresJournal(
        PostgresStore(place.conninfo, place.vault, INLINE),
        clock=clock,
        new_id=new_id,
        refusals={name: refusal for model in INLINE for name, refusal in model.refusals.items()},
        limits=JournalLimits(
            queue_max=settings.queue_max, deadline_s=settings.deadline_s, streams_max=settings.cached_streams
        ),
        seen=seen,
    )


def _limiter(settings: Settings, secret: bytes, clock: Callable[[], datetime], closing: AsyncExitStack) -> Limiter:
    if not settings.rate_limit:
        return NoLimits()
    alone = MemoryLimits(clock)
    if not settings.redis_url:
        return alone
    redis = redis_at(settings.redis_url)
    closing.push_async_callback(redis.aclose)
    return RedisLimits(redis, alone, secret, clock)


async def _media(
    settings: Settings, base_url: Callable[[], str], secret: bytes, clock: Callable[[], datetime]
) -> Media:
    """Where the files are; raises ``SettingsRefused`` if they cannot be kept there, not if nobody answers."""
    bucket = bucket_of(*s3_of(settings))
    if bucket is None:
        return MediaFolder(settings.data_dir / "media", base_url, secret, clock)
    media = MediaBucket(bucket, base_url, secret, clock)
    try:
        await media.check()
    except BucketRefused as refused:
        raise SettingsRefused(f"MINTAGE_S3_URL: {refused}") from refused
    except Unavailable as error:
        # Signing in and paying do not need it.
        _log.warning("starting without files: %s", error)
    return media


def _moderation(settings: Settings, closing: AsyncExitStack) -> Moderation:
    """The operator's list of words or the built-in one, and after it the service, if there is one."""
    words = WordList(words_in(_own_or_built_in(settings.moderation_words, "moderation.txt")))
    if not settings.moderation_url:
        return words
    service = OpenAiModeration(settings.moderation_url, settings.moderation_key, required=settings.moderation_required)
    closing.push_async_callback(service.close)
    return Each((words, service))


def _own_or_built_in(path: Path | None, name: str) -> str:
    return (path or resources.files("mintage") / name).read_text(encoding="utf-8")


def _openid(settings: Settings, clock: Callable[[], datetime]) -> OpenIdClient | None:
    if not settings.google_client_id:
        return None
    return OpenIdClient(
        client_id=settings.google_client_id,
        client_secret=settings.google_client_secret,
        redirect_uri=settings.google_redirect_uri,
        discovery_url=settings.google_discovery_url,
        clock=clock,
    )


def _delivery(settings: Settings, clock: Callable[[], datetime]) -> Delivery:
    carrier = SmtpServer(settings.smtp_url) if settings.smtp_url else Outbox(settings.data_dir / "outbox")
    return Delivery(Composer(settings.mail_from, settings.product_name), carrier, new_id, clock)


async def _keep_up(embedded: EmbeddedPostgres) -> None:
    """Start the embedded server again if somebody killed it; does nothing while it runs."""
    while True:
        await asyncio.sleep(EMBEDDED_CHECK_S)
        await asyncio.to_thread(embedded.start)

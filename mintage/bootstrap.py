"""The composition root: settings in, everything wired out; the commands add the documents and run it."""

import asyncio
import logging
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Final

import msgspec

from mintage.application.adjustments import Adjustments
from mintage.application.catalogue import Catalogue
from mintage.application.characters import Characters
from mintage.application.codes import CodeMail
from mintage.application.credentials import Credentials
from mintage.application.erasure import Erasure
from mintage.application.generations import Generations
from mintage.application.google import GoogleSignIn
from mintage.application.ledger import Ledger
from mintage.application.limits import PENDING_MAX, Limits
from mintage.application.people import People
from mintage.application.ports import Limiter, Mailer
from mintage.application.profiles import Profiles
from mintage.application.recharges import Recharges
from mintage.application.reports import Reports
from mintage.application.reversals import Reversals
from mintage.application.services import Services, Terms
from mintage.application.webhooks import Webhooks
from mintage.application.works import Works
from mintage.domain.recorded import Recorded
from mintage.infra.avatars import AvatarFolder
from mintage.infra.codes import CodeBook
from mintage.infra.database import Pool
from mintage.infra.duties import Duty, begin, end
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.endings import TaskEndings
from mintage.infra.expiry import Expiry
from mintage.infra.follower import Follower
from mintage.infra.freshness import Followed
from mintage.infra.gateways import SandboxGateway
from mintage.infra.google import OpenIdClient
from mintage.infra.handshakes import SealedHandshakes
from mintage.infra.housekeeping import Chore, keep_tidy
from mintage.infra.identifiers import new_id
from mintage.infra.journal import JournalLimits, PostgresJournal
from mintage.infra.limits import MemoryLimits, NoLimits
from mintage.infra.mail import Composer, Delivery, Outbox, SmtpServer
from mintage.infra.migrate import migrate
from mintage.infra.passwords import Argon2Hasher
from mintage.infra.postgres_store import PostgresStore
from mintage.infra.redis_limits import RedisLimits, redis_at
from mintage.infra.seal.receipts import SealedReceipts
from mintage.infra.seal.sealer import Sealer
from mintage.infra.sessions import Standings
from mintage.infra.settings import Settings, secrets_of
from mintage.infra.sources import Fetcher, Sources
from mintage.infra.spendings import LoggedSpendings
from mintage.infra.storage import MediaFolder
from mintage.infra.tokens import JwtTokens
from mintage.infra.vault import Vault
from mintage.infra.webhooks import Courier, Sender, Signing
from mintage.infra.worker import Worker
from mintage.projections import FOLLOWED, INLINE

GATEWAYS: Final = ("wechat", "alipay", "stripe")
EMBEDDED_CHECK_S: Final = 2.0

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Site(msgspec.Struct, frozen=True):
    """Where the log is and the key to what is sealed in it: all that an offline command needs."""

    conninfo: str
    vault: Vault
    embedded: EmbeddedPostgres | None


@contextmanager
def site(settings: Settings) -> Iterator[Site]:
    """The database of the settings, or the embedded one, running for as long as this lasts."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = Vault(secrets_of(settings).master)
    if settings.database_url:
        yield Site(settings.database_url, vault, None)
    else:
        with EmbeddedPostgres(settings.data_dir) as embedded:
            yield Site(embedded.conninfo, vault, embedded)


def catalogue_of(settings: Settings) -> Catalogue:
    """The operator's catalogue, or the built-in one; raises ``msgspec.ValidationError`` naming what is wrong in it."""
    if settings.catalogue is not None:
        text = settings.catalogue.read_text(encoding="utf-8")
    else:
        text = (resources.files("mintage") / "catalogue.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Catalogue)


@asynccontextmanager
async def running(
    settings: Settings,
    place: Site,
    *,
    base_url: Callable[[], str],
    worker: bool = True,
    clock: Callable[[], datetime] = utc_now,
    mailer: Mailer | None = None,
    sender: Sender | None = None,
) -> AsyncIterator[Services]:
    """Everything the documents are served from, with its background tasks; drained at the end.

    Migrates first, so that whatever is served has its schema.
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
        endings, sessions = TaskEndings(db), Standings(db, place.conninfo)
        media = MediaFolder(settings.data_dir / "media", base_url, secrets.signing, clock)
        listeners: list[Callable[[Sequence[Recorded]], None]] = [endings.seen, sessions.seen]
        journal = _journal(settings, place, clock, listeners)
        hasher, codes, avatars = Argon2Hasher(), CodeBook(db, secrets.signing), AvatarFolder(media, new_id)
        code_mail = CodeMail(codes, mailer, new_id, clock)
        pending_max = PENDING_MAX if settings.rate_limit else None
        generations = Generations(journal, catalogue, new_id, pending_max, timedelta(seconds=settings.hold_s))
        ledger = Ledger(journal, new_id)
        works, erasure = Works(journal, db, media), Erasure(journal, db, generations, media, avatars)
        signing = Signing(secrets.master)
        webhooks = Webhooks(journal, db, new_id, clock, signing.secret)
        chores: list[Chore] = [works.finish, erasure.finish, lambda: avatars.tidy(db, clock()), media.tidy]
        expiry = Expiry(db, ledger, generations, media, clock=clock)
        duties: list[Duty] = [sessions.listen, lambda: keep_tidy(db, clock, chores), expiry.run]
        duties += [Follower(place.conninfo, place.vault, *FOLLOWED).run, sealer_of(settings, place, clock).run]
        if place.embedded is not None:
            embedded = place.embedded
            duties.append(lambda: _keep_up(embedded))
        if worker:
            crew = Worker(generations, db, media, Sources(media, Fetcher()), clock=clock)
            listeners.append(crew.seen)
            duties.append(crew.run)
        if base_url():
            # Who does not know where files are served from cannot tell anybody.
            duties.append(Courier(db, webhooks, media, sender or Sender(), signing, clock=clock).run)
        await journal.start()
        closing.push_async_callback(journal.drain)
        closing.push_async_callback(end, begin(duties))
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
            endings=endings,
            limits=limits,
            terms=Terms(
                cors_origins=settings.cors_origins,
                generation_wait_s=settings.generation_wait_s,
                password_min=settings.password_min,
                gateways=GATEWAYS if settings.sandbox_gateway else (),
                secure_cookies=settings.public_url.startswith("https://"),
            ),
            clock=clock,
            ready=journal.is_taking,
            receipts=SealedReceipts(db, secrets.seal),
        )


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

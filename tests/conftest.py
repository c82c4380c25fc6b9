"""A real PostgreSQL for the session, a fresh database for each test that asks for one, the real app on it."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import psycopg
import pytest
from litestar import Litestar

from mintage.application.ports.mail import Mail, Notice
from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.http.app import create_app
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.migrate import migrate
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from mintage.infra.store import Lost
from mintage.infra.vault import Vault
from tests.contract import Checked
from tests.valkey import Valkey

if TYPE_CHECKING:
    from tests.s3 import Shop

BASE_URL = "http://mintage.test"
VAULT = Vault(b"the master key of all the tests.")
TEMPLATE = "mintage_template"
LONGEST = (
    "schemathesis",
    "audit_corruptions",
    "mutants",
    "audit_runs",
    "report_commands",
    "processes",
    "bad_input",
    "workers_that_die",
    "commands",
    "transform",
    "task_events",
)
"""The files of tests that take longest, by their names; of each all tests run in one process."""

IN_MEMORY = Path("/dev/shm")
IN_MEMORY_MIN = 4 << 30
"""The whole suite was never seen to need more than a quarter of it."""

Token = Callable[[], Awaitable[tuple[dict[str, object], dict[str, str]]]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the session, with a migrated template to copy; nobody cuts its power, so that it need not sync."""
    with tempfile.TemporaryDirectory(prefix="mintage-tests-") as folder, EmbeddedPostgres(Path(folder)) as server:
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            # Measured: a database made and dropped takes 0.05 s in place of 0.7 to 1.3 s.
            connection.execute("alter system set fsync = off")
            connection.execute("select pg_reload_conf()")
            connection.execute(f"create database {TEMPLATE}")
        migrate(on_database(server.conninfo, TEMPLATE), VAULT)
        yield server


def on_database(conninfo: str, name: str) -> str:
    return psycopg.conninfo.make_conninfo(conninfo, dbname=name)


@pytest.fixture
def conninfo(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
        try:
            yield on_database(postgres.conninfo, name)
        finally:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """One server for the session, empty for each test."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


@pytest.fixture(scope="session")
def s3_server() -> Iterator["Shop"]:
    # What it is made of takes a second to import, and few tests need it.
    from tests.s3 import shop

    with shop() as opened:
        yield opened


@pytest.fixture
def s3(s3_server: "Shop") -> Iterator["Shop"]:
    """One server for the session, in good health for each test."""
    yield s3_server
    s3_server.heal()


class Mailbox(list[Mail]):
    """Implements ``ports.mail.Mailer`` by keeping what is sent: codes, and notices apart from them."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[Notice] = []

    def send(self, mail: Mail | Notice) -> None:
        if isinstance(mail, Notice):
            self.notices.append(mail)
        else:
            self.append(mail)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
async def services(conninfo: str, settings: Settings, mailbox: Mailbox) -> AsyncIterator[Services]:
    """The whole system as `mintage serve` runs it, worker and followers included, without the socket."""
    place = Site(conninfo, VAULT, None)
    async with running(settings, place, base_url=lambda: BASE_URL, mailer=mailbox) as everything:
        yield everything


_apps: dict[tuple[int, str], Litestar] = {}


def app_of(services: Services) -> Litestar:
    """The app, which takes a quarter of a second to make; one that was made before goes on with these services."""
    terms = services.terms.body_max, services.terms.cors_origins
    app = _apps.get(terms)
    if app is None:
        app = _apps[terms] = create_app(services, unavailable=(Lost,))
    setattr(app.request_class, "services", services)  # noqa: B010 -- of the class that create_app makes
    return app


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """Every reply to it is held to what the OpenAPI documents promise."""
    inner = httpx.ASGITransport(app=app_of(services), raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=Checked(inner), base_url=BASE_URL, timeout=60) as http:
        yield http


@pytest.fixture
def token(client: httpx.AsyncClient) -> Token:
    """Registers somebody new on v1; gives the user as v1 shows it, and the headers to be them."""

    async def register() -> tuple[dict[str, object], dict[str, str]]:
        body = {"username": f"u{uuid4().hex[:20]}", "password": "123456"}
        reply = (await client.post("/api/v1/auth/register", json=body)).json()
        return reply["data"]["user"], {"Authorization": f"Bearer {reply['data']['token']}"}

    return register


async def until(condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 30.0) -> None:
    """Come back when it is so; fails when the time is over."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


def pytest_configure(config: pytest.Config) -> None:
    """What tests write goes into memory where there is plenty: a database is made in 0.02 s in place of 0.2 s.

    Into one directory for the whole run, which goes with it, whatever killed processes leave there.
    """
    if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= IN_MEMORY_MIN:
        folder = tempfile.mkdtemp(prefix="mintage-", dir=IN_MEMORY)
        # PostgreSQL may run as somebody else, who has to pass.
        Path(folder).chmod(0o711)
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = None
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: one that begins when the others are done keeps a core waiting."""
    place = {f"test_{name}.py": turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much was tried, by the tests that count it."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "tried":
                terminalreporter.write_line(str(value))

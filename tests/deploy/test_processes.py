"""The containers' own commands as processes: two APIs and two workers on Debian's PostgreSQL and Redis."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import psycopg
import pytest

from mintage.infra.postgres_store import LOG_LOCK
from tests.conftest import until
from tests.deploy import servers
from tests.deploy.compose import Service, health_check, service
from tests.deploy.servers import Ports, Running, make_secrets, wait_for
from tests.programs import may_skip

MISSING: Final = servers.missing()
pytestmark = pytest.mark.skipif(
    may_skip(missing=bool(MISSING)),
    reason=f"not installed: {', '.join(MISSING)} (Debian: apt-get install postgresql redis-server)",
)

SPEND: Final = {"amount": 10, "description": "生成AI图片"}
SMALL: Final = {"width": 512, "height": 512}
LARGE: Final = {"width": 1024, "height": 1024, "count": 2}


class Container(Running):
    """A process of one of our services, with this machine's paths and addresses in place of the containers'."""

    def __init__(self, site: "Site", said: Service, *, name: str) -> None:
        self.address = f"http://127.0.0.1:{(port := site.ports())}"
        here = {
            "/run/secrets/": f"{site.folder}/secrets/",
            "/tmp/": f"{site.folder}/tmp/{name}-",
            "redis:6379": f"127.0.0.1:{site.redis_port}",
        }

        def placed(text: str) -> str:
            return re.sub("|".join(here), lambda found: here[found.group()], text)

        settings = {variable: placed(value) for variable, value in said.environment.items()}
        settings |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MINTAGE_HOST": "127.0.0.1",
            "MINTAGE_PORT": str(port),
            "MINTAGE_DATA_DIR": f"{site.folder}/data",
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("MINTAGE_")}
        self._tmp = site.folder / "tmp"
        super().__init__(name, [placed(word) for word in said.command], inherited | settings, site.folder)
        self._check = [placed(word) for word in said.health_check]

    def is_healthy(self) -> bool:
        return subprocess.run(self._check, env=self.environment, capture_output=True, check=False).returncode == 0

    def start(self) -> None:
        for left in self._tmp.glob(f"{self.name}-*"):
            left.unlink()
        super().start()

    def up(self) -> None:
        """Start, and wait until Docker would call it healthy."""
        self.start()
        wait_for(self, self.is_healthy, "to be healthy")


class Site:
    """What `docker compose up` starts, in its order."""

    def __init__(self, folder: Path, stores: ExitStack) -> None:
        self.folder = folder
        self.ports = Ports()
        stores.callback(self.ports.close)
        (folder / "tmp").mkdir()
        secrets = make_secrets(folder)
        password = (secrets / "database_password").read_text(encoding="ascii").strip()
        self.postgres_port, self.redis_port = self.ports(), self.ports()
        self.postgres, address = stores.enter_context(servers.postgres(folder, self.postgres_port, password))
        self.redis = stores.enter_context(servers.redis(folder, self.redis_port))
        url = (secrets / "database_url").read_text(encoding="ascii")
        (secrets / "database_url").write_text(
            url.replace("postgres:5432", f"127.0.0.1:{self.postgres_port}"), encoding="ascii"
        )
        self.conninfo = psycopg.conninfo.make_conninfo(address, password=password)
        # As in the containers, what the secrets say is nowhere else.
        assert password not in str(os.environ)

        self.run("migrate")
        self.apis = [Container(self, service("api"), name=f"api-{turn}") for turn in (1, 2)]
        self.workers = [Container(self, service("worker"), name=f"worker-{turn}") for turn in (1, 2)]
        self.containers = [*self.apis, *self.workers]
        for container in self.containers:
            stores.callback(container.end)
            container.start()
        for container in self.containers:
            wait_for(container, container.is_healthy, "to be healthy")

    def run(self, name: str, *command: str) -> str:
        """`docker compose run NAME COMMAND`, which has to succeed; what it prints."""
        done = Container(self, service(name, *command), name="once").run()
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill_amid_a_task(self) -> Container | None:
        """A worker that has one, killed. With the log's lock in our hands it cannot be just done with it."""
        with psycopg.connect(self.conninfo) as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", (LOG_LOCK,))
            for worker in self.workers:
                if connection.execute(
                    "select from queue where worker like %s and lease_until > now()", (f"%-{worker.pid}-%",)
                ).rowcount:
                    worker.kill()
                    return worker
        return None

    def rows(self, sql: str) -> list[Any]:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    assert not MISSING
    # PostgreSQL is somebody else if we are root, and has to find its way.
    with tempfile.TemporaryDirectory(prefix="mintage-deploy-") as folder, ExitStack() as stores:
        Path(folder).chmod(0o711)
        yield Site(Path(folder), stores)


@pytest.fixture
async def apis(site: Site) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A client of each API."""
    async with (
        httpx.AsyncClient(base_url=site.apis[0].address, timeout=60) as one,
        httpx.AsyncClient(base_url=site.apis[1].address, timeout=60) as other,
    ):
        yield [one, other]


async def newcomer(api: httpx.AsyncClient, *, yuan: int = 0) -> tuple[dict[str, str], str]:
    """Somebody with 100 credits and ten for each yuan: their headers and their username."""
    body = {"username": f"u{uuid4().hex[:20]}", "password": "123456"}
    reply = await api.post("/api/v1/auth/register", json=body)
    assert reply.status_code == 200, reply.text
    me = {"Authorization": f"Bearer {reply.json()['data']['token']}"}
    if yuan:
        bought = await api.post("/api/credits/recharge", json={"amount": yuan, "payment_method": "alipay"}, headers=me)
        assert bought.status_code == 200, bought.text
    return me, body["username"]


async def balance(api: httpx.AsyncClient, me: dict[str, str]) -> int:
    return int((await api.get("/api/credits/balance", headers=me)).json()["data"]["balance"])


async def spend(api: httpx.AsyncClient, me: dict[str, str], key: str | None = None) -> httpx.Response:
    keyed = me if key is None else {**me, "Idempotency-Key": key}
    return await api.post("/api/credits/consume", json=SPEND, headers=keyed)


async def ask(api: httpx.AsyncClient, me: dict[str, str], parameters: dict[str, int]) -> str:
    """The UUID of a new task."""
    body = {"prompt": "a kitten in a garden", "parameters": parameters}
    reply = await api.post("/api/v1/generate/text-to-image", json=body, headers=me)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["data"]["uuid"])


async def completed(api: httpx.AsyncClient, me: dict[str, str], tasks: list[str]) -> None:
    """Come back when all of them are, and none ended otherwise."""

    async def over() -> bool:
        replies = [await api.get(f"/api/v1/generate/tasks/{task}", headers=me) for task in tasks]
        states = Counter(reply.json()["data"]["status"] for reply in replies)
        assert not states.keys() - {"pending", "processing", "completed"}, states
        return states["completed"] == len(tasks)

    await until(over, timeout_s=60)


def test_docker_would_call_all_of_them_healthy(site: Site) -> None:
    assert [container.name for container in site.containers if not container.is_healthy()] == []
    assert subprocess.run([*health_check("postgres"), f"--port={site.postgres_port}"], check=False).returncode == 0
    program, *words = health_check("redis")
    assert subprocess.run([program, "-p", str(site.redis_port), *words], check=False).returncode == 0


async def test_the_health_check_of_a_worker_notices_when_the_file_is_no_longer_touched(site: Site) -> None:
    worker = site.workers[0]
    (heartbeat,) = (site.folder / "tmp").glob(f"{worker.name}-*")
    os.utime(heartbeat, (0, 0))
    assert not worker.is_healthy()

    async def healthy() -> bool:
        return await asyncio.to_thread(worker.is_healthy)

    await until(healthy)


async def test_who_registered_on_one_is_known_to_the_other_at_once(apis: list[httpx.AsyncClient]) -> None:
    for one, other in (apis, apis[::-1]):
        me, _ = await newcomer(one)
        assert (await spend(other, me)).status_code == 200
        assert await balance(one, me) == 90
        replies = await asyncio.gather(spend(one, me), spend(other, me))
        assert [reply.status_code for reply in replies] == [200, 200]
        assert await balance(one, me) == await balance(other, me) == 70


async def test_no_more_is_spent_than_there_is_wherever_it_is_asked_for(apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0])
    replies = await asyncio.gather(*(spend(apis[turn % 2], me) for turn in range(40)))
    assert Counter(reply.status_code for reply in replies) == {200: 10, 402: 30}
    left = sorted(reply.json()["data"]["new_balance"] for reply in replies if reply.status_code == 200)
    assert left == list(range(0, 100, 10))
    assert await balance(apis[0], me) == await balance(apis[1], me) == 0


async def test_a_key_sent_to_both_at_once_has_one_effect_and_one_reply(apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0])
    for turn in range(10):
        one, other = await asyncio.gather(*(spend(api, me, f"order-{turn}") for api in apis))
        assert one.status_code == other.status_code == 200
        assert one.content == other.content
        assert sorted(reply.headers.get("Idempotency-Replayed", "") for reply in (one, other)) == ["", "true"]
        assert await balance(apis[turn % 2], me) == 90 - 10 * turn


async def test_both_workers_share_the_tasks_of_both_and_do_each_once(site: Site, apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0], yuan=100)
    tasks = list(await asyncio.gather(*(ask(apis[turn % 2], me, SMALL) for turn in range(30))))

    def log() -> list[Any]:
        streams = ", ".join(f"'generation-{task}'" for task in tasks)
        return site.rows(
            f"select originator_id, topic, convert_from(state, 'utf8')::json -> 'data' ->> 'worker' from stored_events"
            f" where originator_id in ({streams}) order by notification_id"
        )

    async def each_had_one() -> bool:
        # Whoever is just done with one may be the first to ask for the next, again and again.
        tasks.append(await ask(apis[0], me, SMALL))
        await completed(apis[0], me, tasks)
        had = {re.sub(r".*-(\d+)-\d+", r"\1", worker) for _, _, worker in log() if worker is not None}
        return had == {str(worker.pid) for worker in site.workers}

    await completed(apis[0], me, tasks)
    await until(each_had_one)
    assert await balance(apis[1], me) == 100 + 1_000 - len(tasks) * 10
    happened = Counter((stream, topic) for stream, topic, _ in log())
    wanted = ("generation.requested", "generation.started", "generation.completed")
    assert happened == {(f"generation-{task}", topic): 1 for task in tasks for topic in wanted}

    listed = (await apis[1].get("/api/v1/works?pageSize=100", headers=me)).json()["data"]
    assert listed["total"] == len(tasks)
    for work in listed["list"]:
        for url in (work["result_url"], work["thumbnail_url"]):
            assert url.startswith("http://localhost:3001/files/")
            one, other = [await api.get(url.removeprefix("http://localhost:3001")) for api in apis]
            assert one.status_code == other.status_code == 200
            assert one.content == other.content


async def test_a_killed_api_and_a_killed_worker_lose_nothing(site: Site, apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0], yuan=100)
    tasks = list(await asyncio.gather(*(ask(apis[turn % 2], me, LARGE) for turn in range(4))))
    api, killed = site.apis[0], list[Container]()
    answered = 0

    async def stubborn(turn: int) -> httpx.Response:
        """As a client would that has a key: again, and elsewhere, for as long as nobody answers."""
        nonlocal answered
        for tried in cycle(apis if turn % 2 else apis[::-1]):
            try:
                reply = await spend(tried, me, f"order-{turn}")
            except httpx.TransportError:
                continue
            answered += 1
            return reply
        raise AssertionError

    async def worker_is_killed() -> bool:
        if worker := site.kill_amid_a_task():
            killed.append(worker)
        else:
            # What was asked for before may be done by now.
            tasks.append(await ask(apis[1], me, LARGE))
        return bool(killed)

    async def half_are_answered() -> bool:
        return answered >= 20

    spending = [asyncio.create_task(stubborn(turn)) for turn in range(60)]
    await until(half_are_answered)
    api.kill()
    await until(worker_is_killed)
    (worker,) = killed
    replies = await asyncio.gather(*spending)
    assert {reply.status_code for reply in replies} == {200}
    assert not api.is_healthy()
    assert site.apis[1].is_healthy()
    # Half a minute later:
    site.rows(f"update queue set lease_until = now() where worker like '%-{worker.pid}-%' returning 1")
    await completed(apis[1], me, tasks)
    left = 100 + 1_000 - 60 * 10 - len(tasks) * 10
    assert await balance(apis[1], me) == left
    assert "every rule held at every event" in site.run("api", "audit", "verify")

    api.up()
    worker.up()
    assert await balance(apis[0], me) == left
    again = await asyncio.gather(*(spend(apis[0], me, f"order-{turn}") for turn in range(60)))
    assert [reply.content for reply in again] == [reply.content for reply in replies]
    assert await balance(apis[1], me) == left


async def test_limits_are_counted_for_both_together(apis: list[httpx.AsyncClient]) -> None:
    _, username = await newcomer(apis[0])
    for turn in range(10):
        wrong = {"username": username, "password": "wrong"}
        assert (await apis[turn % 2].post("/api/v1/auth/login", json=wrong)).status_code == 401
    for api in apis:
        refused = await api.post("/api/v1/auth/login", json={"username": username, "password": "123456"})
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0


async def test_a_changed_password_ends_the_tokens_of_the_other(apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0])
    for api in apis:
        assert (await api.get("/api/v1/auth/me", headers=me)).status_code == 200
    body = {"oldPassword": "123456", "newPassword": "12345678"}
    changed = await apis[0].post("/api/v1/users/change-password", json=body, headers=me)
    assert changed.status_code == 200, changed.text

    async def ended() -> bool:
        return (await apis[1].get("/api/v1/auth/me", headers=me)).status_code == 401

    await until(ended)
    fresh = {"Authorization": f"Bearer {changed.json()['data']['token']}"}
    assert (await apis[1].get("/api/v1/auth/me", headers=fresh)).status_code == 200


async def test_the_stores_may_die_and_come_back_under_all_of_them(site: Site, apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0])
    for store in (site.postgres, site.redis):
        store.kill()

    async def both_spend() -> bool:
        for store in (site.postgres, site.redis):
            if not store.is_running():
                store.start()
        replies = await asyncio.gather(*(spend(api, me, f"order-{turn}") for turn, api in enumerate(apis)))
        return [reply.status_code for reply in replies] == [200, 200]

    await until(both_spend, timeout_s=60)
    assert await balance(apis[0], me) == 80
    await completed(apis[1], me, [await ask(apis[0], me, SMALL)])
    assert [container.name for container in site.containers if not container.is_running()] == []


@pytest.mark.parametrize("name", ["migrate", "api", "worker"])
def test_without_its_database_it_says_so_in_a_line_and_leaves_it_to_docker_to_try_again(site: Site, name: str) -> None:
    lonely = Container(site, service(name), name="lonely")
    secret = site.folder / "secrets" / "elsewhere"
    url = (site.folder / "secrets" / "database_url").read_text(encoding="ascii")
    secret.write_text(re.sub(r"@.*?/", f"@127.0.0.1:{site.ports()}/", url), encoding="ascii")
    lonely.environment["MINTAGE_DATABASE_URL_FILE"] = str(secret)
    done = lonely.run()
    assert done.returncode == 2
    last = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert any(line.startswith("mintage: ") and "Connection refused" in line for line in last)
    assert (site.folder / "secrets" / "database_password").read_text(encoding="ascii").strip() not in done.stderr


async def test_told_to_stop_they_answer_finish_and_exit_0(site: Site, apis: list[httpx.AsyncClient]) -> None:
    me, _ = await newcomer(apis[0], yuan=10_000)
    user_id = (await apis[0].get("/api/credits/balance", headers=me)).json()["data"]["user_id"]
    answered = 0

    async def spend_on(api: httpx.AsyncClient) -> None:
        nonlocal answered
        try:
            while (await spend(api, me)).status_code == 200:
                answered += 1
        except httpx.TransportError:
            return

    async def well_under_way() -> bool:
        return answered > 50

    spending = [asyncio.create_task(spend_on(apis[turn % 2])) for turn in range(20)]
    await until(well_under_way)
    codes = await asyncio.gather(*(asyncio.to_thread(container.stop) for container in site.containers))
    assert codes == [0, 0, 0, 0]
    await asyncio.gather(*spending)
    # What was answered is stored, and what was stored is answered.
    left = site.rows(f"select available from credit_accounts where user_id = '{user_id}'")
    assert left == [(100 + 100_000 - 10 * answered,)]
    for container in site.containers:
        assert container.said().rstrip().endswith("drained and stopped")

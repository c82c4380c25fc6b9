"""Who watches a task is told all that becomes of it, in order and once, whoever works on it and whatever breaks."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from mintage.application.lifecycle import Lifecycle
from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.http.api_v1 import events as module
from mintage.http.app import create_app
from mintage.infra import news as news_module
from mintage.infra.clock import utc_now
from mintage.infra.identifiers import new_id
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from mintage.infra.store import Lost
from mintage.projections.claims import renew
from tests.conftest import BASE_URL, VAULT, Mailbox
from tests.contract import Event
from tests.http.listening import Listening, id_of
from tests.infra.kit import FILE, rows, some_id
from tests.served import served

Headers = dict[str, str]
TASKS = "/api/v1/generate/tasks"


class Two:
    """Two processes on one database: people ask in the one, their tasks are worked on in the other, by hand."""

    def __init__(self, here: Services, elsewhere: Services, conninfo: str) -> None:
        self.here, self.elsewhere, self.conninfo = here, elsewhere, conninfo
        self.app = cast(Any, create_app(here, unavailable=(Lost,)))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url=BASE_URL, timeout=60)
        self.late = timedelta()
        self._fences = 0

    @property
    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.elsewhere.generations._journal, new_id)

    def clock(self) -> datetime:
        return utc_now() + self.late

    async def somebody(self, name: str = "ann") -> Headers:
        reply = await self.http.post("/api/v1/auth/register", json={"username": name, "password": "123456"})
        return {"Authorization": f"Bearer {reply.json()['data']['token']}"}

    async def ask(self, me: Headers) -> str:
        """The UUID of a new task."""
        reply = await self.http.post("/api/v1/generate/text-to-image", json={"prompt": "a cat"}, headers=me)
        return str(reply.json()["data"]["uuid"])

    async def shown(self, me: Headers, task: str) -> dict[str, Any]:
        return (await self.http.get(f"{TASKS}/{task}", headers=me)).json()["data"]  # type: ignore[no-any-return]

    def listening(self, me: Headers, task: str, *, after: str | None = None) -> Listening:
        return Listening(self.app, f"{TASKS}/{task}/events", me, after=after)

    # -- what the worker in the other process does

    async def start(self, task: str) -> None:
        self._fences += 1
        rows(self.conninfo, "update queue set fence = %s where task_id = %s returning 1", (self._fences, task))
        await self.lifecycle.start(task, fence=self._fences, worker="w")

    async def reach(self, task: str, progress: int) -> None:
        assert await renew(self.elsewhere.db, task_id=task, fence=self._fences, until=utc_now(), progress=progress)

    async def succeed(self, task: str) -> None:
        await self.lifecycle.succeed(task, [FILE], kind="image", fence=self._fences, worker="w")

    async def fail(self, task: str) -> None:
        await self.lifecycle.fail(
            task, error_code="GENERATION_FAILED", error_message="no", fence=self._fences, worker="w"
        )

    async def cancel(self, me: Headers, task: str) -> None:
        assert (await self.http.post(f"{TASKS}/{task}/cancel", headers=me)).status_code == 200


@pytest.fixture
async def two(conninfo: str, tmp_path: Path) -> AsyncIterator[Two]:
    settings, place, mailbox = Settings(data_dir=tmp_path), Site(conninfo, VAULT, None), Mailbox()
    made: list[Two] = []

    def clock() -> datetime:
        return made[0].clock() if made else utc_now()

    async with (
        running(settings, place, base_url=lambda: BASE_URL, worker=False, mailer=mailbox, clock=clock) as here,
        running(settings, place, base_url=lambda: BASE_URL, worker=False, mailer=mailbox) as elsewhere,
    ):
        made.append(Two(here, elsewhere, conninfo))
        yield made[0]
        await made[0].http.aclose()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits ten seconds for a word."""
    monkeypatch.setattr(module, "QUIET_S", 0.05)


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(id_of(event), event.kind, event.data["status"]) for event in events]


async def test_what_becomes_of_a_task_elsewhere_is_told_to_its_end(two: Two) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    async with two.listening(me, task) as heard:
        assert heard.status == 200
        assert heard.headers == {
            "content-type": "text/event-stream",
            "cache-control": "no-store",
            "x-accel-buffering": "no",
        }
        first = await heard.next()
        shown = await two.shown(me, task)
        assert first == Event((1, 0), "state", {name: shown[name] for name in first.data})
        assert first.data["queue_position"] == 1
        await two.start(task)
        await heard.next()
        await two.reach(task, 40)
        assert (await heard.next()).data["progress"] == 40
        await two.succeed(task)
        events = await heard.ended()
    assert told(events) == [
        ("1-0", "state", "pending"),
        ("2-0", "state", "processing"),
        ("2-40", "state", "processing"),
        ("3-100", "end", "completed"),
    ]
    shown = await two.shown(me, task)
    assert events[-1].data.keys() == shown.keys()
    assert (events[-1].data["id"], events[-1].data["uuid"], len(events[-1].data["results"])) == (shown["id"], task, 1)
    assert (events[-1].data["billing"], events[-1].data["finished_at"]) == (shown["billing"], shown["finished_at"])


@pytest.mark.parametrize(("end", "status"), [("fail", "failed"), ("cancel", "cancelled")])
async def test_a_task_that_comes_to_nothing_ends_its_stream(two: Two, end: str, status: str) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    async with two.listening(me, task) as heard:
        await heard.next()
        await two.start(task)
        await (two.fail(task) if end == "fail" else two.cancel(me, task))
        last = (await heard.ended())[-1]
    assert (id_of(last), last.kind, last.data["status"]) == ("3-0", "end", status)
    assert last.data["billing"]["state"] == "released"


async def test_what_happens_in_the_same_process_is_told_without_waiting_for_a_look(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    monkeypatch.setattr(news_module, "LOOK_S", 3_600)
    two.elsewhere = two.here
    async with two.listening(me, task) as heard:
        await heard.next()
        # The look that was due by the old time.
        await two.start(task)
        await heard.next()
        await two.start(task)
        assert id_of(await heard.next()) == "3-0"
        await two.succeed(task)
        assert (await heard.ended())[-1].kind == "end"


async def test_what_was_over_before_is_told_at_once(two: Two) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    await two.cancel(me, task)
    async with two.listening(me, task) as heard:
        assert told(await heard.ended()) == [("2-0", "end", "cancelled")]


async def test_who_comes_back_is_told_what_was_missed_and_nothing_twice(two: Two) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    async with two.listening(me, task) as heard:
        await heard.next()
        await two.start(task)
        await two.reach(task, 10)
        await heard.says(b"id: 2-10\n")
        seen = id_of(heard.events[-1])
    # Nobody listens while the first worker dies, the second gets somewhere, and a third ends it.
    await two.start(task)
    await two.reach(task, 70)
    async with two.listening(me, task, after=seen) as heard:
        assert id_of(await heard.next()) == "3-70"
    await two.start(task)
    await two.succeed(task)
    for after, missed in (
        (seen, [("3-0", "state", "processing"), ("4-0", "state", "processing")]),
        ("3-70", [("4-0", "state", "processing")]),
        ("4-0", []),
        ("4-99", []),
        (
            "0-0",
            [
                ("1-0", "state", "pending"),
                ("2-0", "state", "processing"),
                ("3-0", "state", "processing"),
                ("4-0", "state", "processing"),
            ],
        ),
    ):
        async with two.listening(me, task, after=after) as heard:
            assert told(await heard.ended()) == [*missed, ("5-100", "end", "completed")]
    # There is nothing to come back for: who is told so does not try again.
    async with two.listening(me, task, after="5-100") as heard:
        assert (heard.status, heard.headers) == (204, {})
        await heard.ended()
        assert heard.content == b""


async def test_what_is_between_us_and_a_provider_is_told_to_nobody(two: Two) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    work = two.lifecycle
    async with two.listening(me, task) as heard:
        for _ in range(2):
            await two.start(task)
            await heard.says(b'"processing"')
            await work.dispatch(task, job_id=some_id(), fence=two._fences, worker="w")
            await work.defer(task, error_code="PROVIDER_UNAVAILABLE", retry_at=utc_now(), fence=two._fences, worker="w")
        await two.start(task)
        await work.submitted(task, provider_job="p-1", cancels=True, fence=two._fences, worker="w")
        await two.succeed(task)
        live = await heard.ended()
    async with two.listening(me, task, after="0-0") as heard:
        assert told(await heard.ended()) == [
            ("1-0", "state", "pending"),
            ("2-0", "state", "processing"),
            ("5-0", "state", "processing"),
            ("8-0", "state", "processing"),
            ("10-100", "end", "completed"),
        ]
    assert told(live) == told(heard.events)


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_older_comes_after_anything_newer(two: Two, seed: int) -> None:
    dice = random.Random(seed)
    me = await two.somebody()
    task = await two.ask(me)
    got: list[Event] = []
    done = asyncio.Event()

    async def listen() -> None:
        while not (got and got[-1].kind == "end"):
            async with two.listening(me, task, after=id_of(got[-1]) if got else "0-0") as heard:
                for _ in range(dice.randrange(1, 4)):
                    got.append(await heard.next())
                    if got[-1].kind == "end":
                        break
                else:
                    if done.is_set():
                        continue
                    await asyncio.sleep(dice.random() * 0.05)

    listening = asyncio.create_task(listen())
    for _ in range(dice.randrange(1, 4)):
        await two.start(task)
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(dice.random() * 0.3)
            await two.reach(task, dice.randrange(100))
    await (two.succeed(task) if dice.random() < 0.5 else two.fail(task))
    done.set()
    async with asyncio.timeout(60):
        await listening
    ids = [event.id for event in got]
    assert ids == sorted(set(ids))
    # No status and no attempt is left out.
    assert {version for version, _ in ids} == set(range(1, ids[-1][0] + 1))
    assert [event.kind for event in got].count("end") == 1


async def test_a_new_place_in_line_is_told_under_the_same_id(two: Two) -> None:
    first, second = await two.somebody("ann"), await two.somebody("bob")
    ahead, task = await two.ask(first), await two.ask(second)
    async with two.listening(second, task) as heard:
        assert (await heard.next()).data["queue_position"] == 2
        await two.start(ahead)
        moved = await heard.next()
        assert (moved.id, moved.data["queue_position"]) == ((1, 0), 1)
        async with two.listening(second, task, after="1-0") as again:
            await two.cancel(second, task)
            assert told(await again.ended()) == [("2-0", "end", "cancelled")]


async def test_anothers_task_does_not_exist(two: Two) -> None:
    mine, other = await two.somebody("ann"), await two.somebody("bob")
    task = await two.ask(mine)
    number = (await two.shown(mine, task))["id"]
    unknown = "00000000-0000-7000-8000-000000000000"
    for path in (task, number, unknown, 10**6, "x", 0):
        reply = await two.http.get(f"{TASKS}/{path}/events", headers=other)
        assert (reply.status_code, reply.json()["data"]["error"]) == (404, "NOT_FOUND"), path
    for headers in ({}, {"Authorization": "Bearer x"}):
        assert (await two.http.get(f"{TASKS}/{task}/events", headers=headers)).status_code == 401
    token = mine["Authorization"].removeprefix("Bearer ")
    for name in ("token", "access_token", "authorization"):
        # What is in an address is in logs.
        assert (await two.http.get(f"{TASKS}/{task}/events?{name}={token}")).status_code == 401


@pytest.mark.parametrize(
    "given", ["", "x", "1", "-1", "1-", "1-101", "-1-0", "01-0", "1-00", "1-0-0", "1-0 x", "2-0", "９-0"]
)
async def test_an_id_that_was_never_given_out_is_refused(two: Two, given: str) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    headers = [("Authorization", me["Authorization"]), ("Last-Event-ID", given.encode())]
    reply = await two.http.get(f"{TASKS}/{task}/events", headers=headers)  # type: ignore[arg-type]
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, ["Last-Event-ID"])


async def signed_out(two: Two, me: Headers, _: str) -> None:
    await two.http.post("/api/v1/auth/logout", headers=me)


async def another_password(two: Two, me: Headers, _: str) -> None:
    body = {"oldPassword": "123456", "newPassword": "1234567"}
    assert (await two.http.post("/api/v1/users/change-password", json=body, headers=me)).status_code == 200


async def a_day_later(two: Two, _: Headers, __: str) -> None:
    two.late = timedelta(hours=24, seconds=1)


async def erased(two: Two, _: Headers, user_id: str) -> None:
    await two.elsewhere.erasure.erase(user_id, actor="test")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("ends", [signed_out, another_password, a_day_later, erased])
async def test_nothing_is_told_any_more_when_the_token_ends(two: Two, ends: Callable[..., Any]) -> None:
    me = await two.somebody()
    user_id = (await two.http.get("/api/v1/auth/me", headers=me)).json()["data"]["uuid"]
    task = await two.ask(me)
    async with two.listening(me, task) as heard:
        await heard.next()
        await ends(two, me, user_id)
        assert told(await heard.ended()) == [("1-0", "state", "pending")]
    async with two.listening(me, task, after="1-0") as again:
        assert again.status == 401


@pytest.mark.usefixtures("quick")
async def test_silence_is_filled(two: Two) -> None:
    me = await two.somebody()
    async with two.listening(me, await two.ask(me)) as heard:
        await heard.next()
        await heard.says(b"}\n\n:\n\n:\n\n")
        assert heard.content.startswith(b"retry: 2000\n\n")


async def test_streams_are_counted_by_person_and_given_back(two: Two) -> None:
    me, other = await two.somebody("ann"), await two.somebody("bob")
    task = await two.ask(me)
    most = news_module.WATCHES_OF_PERSON
    streams = [two.listening(me, task) for _ in range(most)]
    for stream in streams:
        await stream.__aenter__()
    reply = await two.http.get(f"{TASKS}/{task}/events", headers=me)
    assert (reply.status_code, reply.json()["data"]["error"]) == (429, "RATE_LIMITED")
    assert reply.headers["retry-after"] == str(news_module.RETRY_S)
    async with two.listening(other, await two.ask(other)) as theirs:
        assert theirs.status == 200
    # Who goes away makes room, in the middle of it or at its end.
    await streams.pop().__aexit__(None, None, None)
    async with two.listening(me, task) as heard:
        await heard.next()
        await two.cancel(me, task)
        for stream in (heard, *streams):
            assert (await stream.ended())[-1].kind == "end"
        async with two.listening(me, task) as another:
            assert (await another.ended())[-1].kind == "end"


async def test_all_together_are_bounded_too(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "WATCHES_MAX", 1)
    me, other = await two.somebody("ann"), await two.somebody("bob")
    async with two.listening(me, await two.ask(me)):
        reply = await two.http.get(f"{TASKS}/{await two.ask(other)}/events", headers=other)
        assert (reply.status_code, reply.json()["data"]["error"]) == (503, "SERVICE_UNAVAILABLE")


async def test_a_server_that_stops_ends_its_streams(two: Two) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    async with two.listening(me, task) as heard:
        await heard.next()
        two.here.news.release()
        assert told(await heard.ended()) == [("1-0", "state", "pending")]
    async with two.listening(me, task, after="1-0") as late:
        assert await late.ended() == []


async def test_a_database_that_is_away_ends_the_stream_for_the_client_to_come_back(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = await two.somebody()
    task = await two.ask(me)

    async def lost(*_: object) -> None:
        raise Lost("gone")

    async with two.listening(me, task) as heard:
        await heard.next()
        monkeypatch.setattr(two.here.news, "steps", lost)
        await two.start(task)
        assert told(await heard.ended()) == [("1-0", "state", "pending")]


async def test_nobody_is_watched_for_who_is_gone(two: Two) -> None:
    me = await two.somebody()
    task = await two.ask(me)
    for reads_on in (True, False):
        async with two.listening(me, task) as heard:
            await heard.next()
            assert list(two.here.news._watches) == [task]  # type: ignore[attr-defined]
            if not reads_on:
                # It goes away while the next event waits to be taken in.
                heard.reading.clear()
                await two.start(task)
                await heard.says(b"id: 2-0")
        assert not two.here.news._watches  # type: ignore[attr-defined]


async def test_a_browser_may_send_the_id_from_elsewhere(two: Two) -> None:
    preflight = {
        "Origin": "http://localhost:5173",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization, last-event-id",
    }
    reply = await two.http.options(f"{TASKS}/1/events", headers=preflight)
    assert reply.status_code == 204
    assert "last-event-id" in reply.headers["access-control-allow-headers"]


def test_a_server_that_is_told_to_stop_ends_its_streams_and_itself(tmp_path: Path) -> None:
    heard: list[str] = []
    begun = threading.Event()

    def listen() -> None:
        with http.stream("GET", f"{TASKS}/{task}/events", headers=me) as stream:
            for line in stream.iter_lines():
                heard.append(line)
                begun.set()
        # The body had its end: what is broken off raises.
        heard.append("whole")

    with httpx.Client(timeout=60) as http:
        with served(tmp_path) as (address, log):
            http.base_url = httpx.URL(address)
            person = {"username": "ann", "password": "123456"}
            me = {"Authorization": f"Bearer {http.post('/api/v1/auth/register', json=person).json()['data']['token']}"}
            # A film of some length, so that it is not done before we are.
            film = {"prompt": "the sea", "parameters": {"duration": 20, "resolution": "1080p"}}
            task = http.post("/api/v1/generate/text-to-video", json=film, headers=me).json()["data"]["id"]
            listener = threading.Thread(target=listen)
            listener.start()
            assert begun.wait(30)
        listener.join(30)
    assert heard[-1] == "whole"
    assert "event: end" not in heard
    assert "drained and stopped" in "".join(log)
    assert "timeout graceful shutdown exceeded" not in "".join(log)

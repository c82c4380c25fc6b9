"""In a folder and in a bucket alike: what is shown is there, and what is gone is gone from the place where it was."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import msgspec
import psycopg
import pytest

from mintage.application.services import Services
from mintage.application.transaction import Unavailable
from mintage.bootstrap import running
from mintage.domain.work.events import WorkExpired
from mintage.http.files import FileReply
from mintage.infra import bucket as buckets
from mintage.infra.audit import verify
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool
from mintage.infra.rebuild import rebuild
from mintage.infra.retention import Retention
from mintage.infra.s3 import bucket_of
from mintage.infra.settings import Settings, SettingsRefused, s3_of
from mintage.infra.site import Site
from mintage.projections.works import WORKS
from tests.conftest import BASE_URL, VAULT, Mailbox, Token, until
from tests.http.pictures import pictures
from tests.infra.kit import journal_on, the_log

if TYPE_CHECKING:
    from tests.s3 import Shop

Held = Callable[[], set[str]]
DAYS = 30
IN_BUCKET = pytest.mark.parametrize("place", ["bucket"])
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def settings(place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if place == "folder":
        return Settings(data_dir=tmp_path)
    for name in ("READ_S", "CONNECT_S"):
        monkeypatch.setattr(buckets, name, 0.5)
    monkeypatch.setattr(buckets, "RETRIES", 0)
    shop: Shop = request.getfixturevalue("s3")
    new = shop.bucket()
    return Settings(
        data_dir=tmp_path,
        s3_url=f"s3://{new.name}/mintage",
        s3_endpoint=new.endpoint,
        s3_key_id=new.key_id,
        s3_secret=new.secret,
    )


@pytest.fixture
def held(place: str, settings: Settings, request: pytest.FixtureRequest) -> Held:
    """The keys of all files, as the place itself has them."""

    def in_folder() -> set[str]:
        media = settings.data_dir / "media"
        return {path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file()}

    def in_bucket() -> set[str]:
        bucket = bucket_of(*s3_of(settings))
        assert bucket is not None
        shop: Shop = request.getfixturevalue("s3")
        return {key.removeprefix("mintage/") for key in shop.held(bucket)}

    return in_folder if place == "folder" else in_bucket


@pytest.fixture
async def owner(token: Token) -> dict[str, str]:
    return (await token())[1]


async def shown(client: httpx.AsyncClient, me: dict[str, str], work: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/api/v1/works/{work['id']}", headers=me)).json()["data"]
    return found


def keys(work: dict[str, Any]) -> set[str]:
    urls = (work["result_url"], work["thumbnail_url"])
    return {url.partition("?")[0].removeprefix(f"{BASE_URL}/files/") for url in urls}


async def test_a_work_is_stored_and_served_whole_and_in_parts(
    client: httpx.AsyncClient, owner: dict[str, str], held: Held
) -> None:
    (work,) = await pictures(client, owner)
    assert held() == keys(work)
    whole = await client.get(work["result_url"])
    assert (whole.status_code, whole.headers["content-type"], whole.content[:8]) == (200, "image/png", PNG)
    part = await client.get(work["result_url"], headers={"Range": "bytes=-100"})
    assert (part.status_code, part.content) == (206, whole.content[-100:])
    known = await client.get(work["result_url"], headers={"If-None-Match": whole.headers["etag"]})
    assert known.status_code == 304


async def test_a_deleted_work_is_gone_from_its_place(
    client: httpx.AsyncClient, owner: dict[str, str], held: Held
) -> None:
    gone, kept = await pictures(client, owner, 2)
    await client.put(f"/api/v1/works/{gone['id']}", json={"is_public": True}, headers=owner)
    assert (await client.delete(f"/api/v1/works/{gone['id']}", headers=owner)).status_code == 200
    for url in (gone["result_url"], gone["thumbnail_url"]):
        assert [(await client.get(at)).status_code for at in (url, url.partition("?")[0])] == [404, 404]
    assert held() == keys(kept)


async def test_an_erased_person_leaves_nothing_in_its_place(
    client: httpx.AsyncClient, services: Services, token: Token, held: Held
) -> None:
    user, me = await token()
    _, other = await token()
    (work,) = await pictures(client, me)
    (others,) = await pictures(client, other)
    picture = (await client.get(work["result_url"])).content
    files = {"avatar": ("me.png", picture, "image/png")}
    avatar = (await client.post("/api/v1/users/upload-avatar", files=files, headers=me)).json()["data"]["avatar_url"]
    assert (await client.get(avatar)).headers["content-type"] == "image/webp"
    assert len(held()) == 5
    await services.erasure.erase(str(user["uuid"]), actor="operator")
    assert [(await client.get(url)).status_code for url in (work["result_url"], avatar)] == [404, 404]
    assert held() == keys(others)


@asynccontextmanager
async def in_days(conninfo: str, days: float, *, keeping: int = DAYS) -> AsyncIterator[Retention]:
    """What another process, so many days later, has expire."""
    db = Pool(conninfo)
    await db.open()
    try:
        async with journal_on(conninfo) as journal:
            yield Retention(journal, db, keeping, clock=lambda: utc_now() + timedelta(days=days))
    finally:
        await db.close()


def expiries(conninfo: str) -> list[str]:
    return sorted(entry.key for entry in the_log(conninfo) if isinstance(entry.event, WorkExpired))


async def test_a_work_expires_says_so_and_is_gone_from_its_place(
    client: httpx.AsyncClient, services: Services, owner: dict[str, str], conninfo: str, held: Held
) -> None:
    private, public = await pictures(client, owner, 2)
    await client.put(f"/api/v1/works/{public['id']}", json={"is_public": True, "title": "Cat"}, headers=owner)
    bare = public["result_url"].partition("?")[0]
    assert (await client.get(bare)).status_code == 200
    async with in_days(conninfo, DAYS + 1) as retention:
        await retention.expire()
    # From the event on, and before the files are gone.
    assert len(held()) == 4
    for url in (private["result_url"], private["thumbnail_url"], public["result_url"], bare):
        assert (await client.get(url)).status_code == 404
    await services.works.finish()
    assert held() == set()
    for work in (private, public):
        now = await shown(client, owner, work)
        assert (now["result_url"], now["thumbnail_url"], now["error_message"]) == (None, None, "作品已过期，文件已删除")
        assert (now["status"], now["computing_power_used"]) == ("completed", work["computing_power_used"])
        assert now["expired_at"] is not None
    english = {**owner, "Accept-Language": "en"}
    assert (await shown(client, english, public))["error_message"] == "The work has expired; its files were removed"
    task = (await client.get(f"/api/v1/generate/tasks/{private['task_id']}", headers=owner)).json()["data"]
    assert (task["status"], task["result_url"], [one["url"] for one in task["results"]]) == (
        "completed",
        None,
        [None, None],
    )
    source = {"prompt": "again", "source_image_url": private["result_url"]}
    refused = await client.post("/api/v1/generate/image-to-image", json=source, headers=owner)
    assert (refused.status_code, "source_image_url" in refused.json()["data"]["fields"]) == (400, True)
    assert (await client.delete(f"/api/v1/works/{private['id']}", headers=owner)).status_code == 200
    assert verify(conninfo, VAULT).differences == []
    assert rebuild(conninfo, VAULT, WORKS).differences == {"works": 0}


async def test_what_is_young_or_kept_for_ever_does_not_expire(
    client: httpx.AsyncClient, services: Services, owner: dict[str, str], conninfo: str, held: Held
) -> None:
    (work,) = await pictures(client, owner)
    for days, keeping in ((DAYS - 1, DAYS), (100_000, 0)):
        async with in_days(conninfo, days, keeping=keeping) as retention:
            await retention.expire()
    await services.works.finish()
    assert expiries(conninfo) == []
    assert held() == keys(work)
    assert (await shown(client, owner, work))["expired_at"] is None


@pytest.mark.parametrize("place", ["folder"])
async def test_a_work_expires_once_however_many_see_to_it(
    client: httpx.AsyncClient, owner: dict[str, str], conninfo: str
) -> None:
    works = await pictures(client, owner, 4)
    async with in_days(conninfo, DAYS + 1) as one, in_days(conninfo, DAYS + 1) as other:
        await asyncio.gather(one.expire(), other.expire(), one.expire())
        await other.expire()
    assert expiries(conninfo) == sorted(work["uuid"] for work in works)


@pytest.mark.parametrize("place", ["folder"])
async def test_expired_images_are_in_no_history(client: httpx.AsyncClient, token: Token, conninfo: str) -> None:
    _, me = await token()
    body = {"prompt": "a kitten", "style": "cartoon", "count": 2}
    assert (await client.post("/api/images/generate", json=body, headers=me)).status_code == 200
    async with in_days(conninfo, DAYS + 1) as retention:
        await retention.expire()
    past = (await client.get("/api/images/history", headers=me)).json()["data"]["history"][0]
    assert (past["images"], past["credits_used"]) == ([], 10)
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select count(*) from images").fetchone() == (0,)


async def test_what_the_settings_say_happens_by_itself(
    client: httpx.AsyncClient, owner: dict[str, str], conninfo: str, settings: Settings, mailbox: Mailbox, held: Held
) -> None:
    """Housekeeping begins with each start."""
    await pictures(client, owner)

    def later() -> datetime:
        return utc_now() + timedelta(days=2)

    again = msgspec.structs.replace(settings, retention_days=1)
    site = Site(conninfo, VAULT, None)
    async with running(again, site, base_url=lambda: BASE_URL, worker=False, mailer=mailbox, clock=later):

        async def gone() -> bool:
            return held() == set()

        await until(gone)
    assert len(expiries(conninfo)) == 1


@IN_BUCKET
@pytest.mark.parametrize("fault", ["down", "slow"])
async def test_a_store_that_is_down_is_503_and_nothing_else(
    client: httpx.AsyncClient, owner: dict[str, str], s3: "Shop", fault: Any
) -> None:
    (work,) = await pictures(client, owner)
    s3.fault = fault
    for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-9"})):
        reply = await client.request(method, work["result_url"], headers=headers)
        assert (reply.status_code, "retry-after" in reply.headers) == (503, True)
    # Who may not see it is told so all the same, and the store is not even asked.
    s3.requests.clear()
    assert (await client.get(work["result_url"].partition("?")[0])).status_code == 403
    assert s3.requests == []
    s3.heal()
    assert (await client.get(work["result_url"])).status_code == 200


@IN_BUCKET
async def test_one_that_breaks_after_the_file_was_found_is_503_too(
    client: httpx.AsyncClient, owner: dict[str, str], s3: "Shop"
) -> None:
    (work,) = await pictures(client, owner)
    s3.fault = "down"
    s3.failing = lambda request: request.startswith("GET")
    assert (await client.get(work["result_url"])).status_code == 503


@IN_BUCKET
async def test_what_cannot_be_removed_now_is_gone_for_everybody_and_removed_later(
    client: httpx.AsyncClient, services: Services, owner: dict[str, str], s3: "Shop", held: Held
) -> None:
    (work,) = await pictures(client, owner)
    s3.fault = "refuse"
    s3.failing = lambda request: request.startswith("POST")
    assert (await client.delete(f"/api/v1/works/{work['id']}", headers=owner)).status_code == 200
    assert (await client.get(work["result_url"])).status_code == 404
    with pytest.raises(Unavailable):
        await services.works.finish()
    assert held() == keys(work)
    s3.heal()
    await services.works.finish()
    assert held() == set()
    s3.requests.clear()
    await services.works.finish()
    assert s3.requests == []


@IN_BUCKET
async def test_an_upload_that_cannot_be_stored_is_503_and_changes_nothing(
    client: httpx.AsyncClient, owner: dict[str, str], s3: "Shop", held: Held
) -> None:
    (work,) = await pictures(client, owner)
    picture = (await client.get(work["result_url"])).content
    s3.fault = "down"
    files = {"avatar": ("me.png", picture, "image/png")}
    reply = await client.post("/api/v1/users/upload-avatar", files=files, headers=owner)
    assert reply.status_code == 503
    s3.heal()
    assert (await client.get("/api/v1/users/profile", headers=owner)).json()["data"]["avatar_url"] is None
    assert held() == keys(work)


@IN_BUCKET
async def test_a_bucket_that_refuses_is_named_at_the_start_and_one_that_is_down_is_not(
    conninfo: str, settings: Settings, s3: "Shop", mailbox: Mailbox
) -> None:
    site = Site(conninfo, VAULT, None)
    wrong = msgspec.structs.replace(settings, s3_secret="another")
    with pytest.raises(SettingsRefused, match="MINTAGE_S3_URL: the store refuses the key"):
        async with running(wrong, site, base_url=lambda: BASE_URL, mailer=mailbox):
            pass
    s3.fault = "down"
    async with running(settings, site, base_url=lambda: BASE_URL, mailer=mailbox) as services:
        assert await services.ready()


class Vanishing:
    """The part of ``Files`` that a reply needs; after ``left`` more reads the file is gone, or its place is."""

    def __init__(self, left: int, failure: Exception | None) -> None:
        self._left = left
        self._failure = failure

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        if self._left == 0:
            if self._failure is not None:
                raise self._failure
            return None
        self._left -= 1
        return b"x" * (length or 0)


@pytest.mark.parametrize("place", ["folder"])
@pytest.mark.parametrize("failure", [None, Unavailable("down")])
async def test_a_file_that_goes_away_while_it_is_sent_is_not_taken_for_whole(
    failure: Exception | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mintage.http.files.PORTION", 10)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    reply = FileReply(Vanishing(1, failure), str(uuid4()), 200, [], range(35), b"x" * 10)  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        await reply({}, None, send)  # type: ignore[arg-type]
    assert [len(message.get("body", b"")) for message in sent] == [0, 10, 10]
    assert all(message["more_body"] for message in sent[1:])

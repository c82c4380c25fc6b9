"""POST /api/v1/users/upload-avatar with a file: one picture, not too large, kept small and shown to anybody."""

import asyncio
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from mintage.application.services import Services
from mintage.application.transaction import Unavailable
from mintage.http.uploads import FILE_MAX
from mintage.infra.avatars import AvatarFolder
from mintage.infra.clock import utc_now
from mintage.infra.identifiers import new_id
from mintage.infra.settings import Settings
from mintage.infra.storage import MediaFolder
from tests.conftest import BASE_URL, Token

PATH = "/api/v1/users/upload-avatar"


def picture(colour: str = "red", kind: str = "PNG") -> bytes:
    written = BytesIO()
    Image.new("RGB", (700, 600), colour).save(written, kind)
    return written.getvalue()


def filled(size: int) -> bytes:
    """A picture of so many bytes: what follows its end is ignored by whoever reads it."""
    return picture().ljust(size, b"\0")


def stored(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir / "media").rglob("*") if path.is_file()]


@pytest.mark.parametrize("field", ["avatar", "file", "头像"])
async def test_a_picture_becomes_the_avatar_on_both_documents(
    client: httpx.AsyncClient, token: Token, field: str
) -> None:
    user, me = await token()
    form = {field: ("me.png", picture(), "image/png")}
    reply = await client.post(PATH, files=form, data={"more": "text"}, headers=me)
    assert (reply.status_code, reply.json()["code"]) == (200, 0)
    assert list(reply.json()["data"]) == ["avatar_url"]
    url = reply.json()["data"]["avatar_url"]
    assert url.startswith(f"{BASE_URL}/files/avatars/{user['uuid']}/")
    assert (await client.get("/api/v1/users/profile", headers=me)).json()["data"]["avatar_url"] == url
    assert (await client.get("/api/user/profile", headers=me)).json()["data"]["user"]["avatar"] == url
    file = await client.get(url)
    assert (file.status_code, file.headers["content-type"]) == (200, "image/webp")
    assert Image.open(BytesIO(file.content)).size == (512, 512)


async def test_a_new_avatar_takes_the_place_of_the_old_one(
    client: httpx.AsyncClient, token: Token, settings: Settings, services: Services
) -> None:
    user, me = await token()
    urls = []
    for kind in ("JPEG", "WEBP"):
        reply = await client.post(PATH, files={"avatar": ("me", picture(kind=kind))}, headers=me)
        urls.append(reply.json()["data"]["avatar_url"])
    assert [(await client.get(url)).status_code for url in urls] == [404, 200]
    # What was shown may be given back.
    again = await client.post(PATH, json={"avatar_url": urls[1]}, headers=me)
    assert (again.status_code, again.json()["data"]["avatar_url"]) == (200, urls[1])
    again = await client.put("/api/user/profile", json={"avatar": urls[1]}, headers=me)
    assert (again.status_code, again.json()["data"]["user"]["avatar"]) == (200, urls[1])
    assert (await client.get(urls[1])).status_code == 200
    await client.post(PATH, json={"avatar_url": "https://example.com/avatar.jpg"}, headers=me)
    assert stored(settings) == []
    await client.post(PATH, files={"avatar": ("me", picture())}, headers=me)
    await services.erasure.erase(str(user["uuid"]), actor="operator")
    assert stored(settings) == []


async def test_a_store_that_does_not_remove_the_old_avatar_leaves_the_new_one(
    client: httpx.AsyncClient, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, me = await token()
    await client.post(PATH, files={"avatar": ("me", picture())}, headers=me)
    remove = MediaFolder.remove
    failures = [Unavailable("the store of files does not answer")]

    async def once_away(self: MediaFolder, key: str) -> None:
        if failures:
            raise failures.pop()
        await remove(self, key)

    monkeypatch.setattr(MediaFolder, "remove", once_away)
    reply = await client.post(PATH, files={"avatar": ("me", picture("blue"))}, headers=me)
    assert (reply.status_code, failures) == (200, [])
    assert (await client.get(reply.json()["data"]["avatar_url"])).status_code == 200


async def test_where_there_is_no_room_for_a_picture_that_is_said(
    client: httpx.AsyncClient, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MediaFolder, "write", full)
    _, me = await token()
    reply = await client.post(PATH, files={"avatar": ("me", picture())}, headers=me)
    assert (reply.status_code, reply.json()["code"]) == (503, 503)


async def test_of_many_uploads_at_once_one_is_kept(client: httpx.AsyncClient, token: Token, settings: Settings) -> None:
    _, me = await token()
    sent = (client.post(PATH, files={"avatar": ("me", picture())}, headers=me) for _ in range(12))
    assert [reply.status_code for reply in await asyncio.gather(*sent)] == [200] * 12
    (kept,) = stored(settings)
    url = (await client.get("/api/v1/auth/me", headers=me)).json()["data"]["avatar_url"]
    assert url.endswith(kept.name)
    assert (await client.get(url)).status_code == 200


async def test_who_is_erased_while_uploading_leaves_nothing(
    client: httpx.AsyncClient, token: Token, settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, me = await token()
    store = AvatarFolder.store

    async def late(self: AvatarFolder, user_id: str, content: bytes) -> str:
        await services.erasure.erase(user_id, actor="operator")
        return await store(self, user_id, content)

    monkeypatch.setattr(AvatarFolder, "store", late)
    reply = await client.post(PATH, files={"avatar": ("me", picture())}, headers=me)
    assert reply.status_code == 401
    assert stored(settings) == []


async def test_the_thirty_first_upload_of_an_hour_waits(
    client: httpx.AsyncClient, token: Token, settings: Settings
) -> None:
    _, me = await token()
    for number in range(30):
        content = picture() if number % 2 else b"no picture, and no less work"
        reply = await client.post(PATH, files={"avatar": ("me", content)}, headers=me)
        assert reply.status_code == (200 if number % 2 else 400)
    refused = await client.post(PATH, files={"avatar": ("me", picture())}, headers=me)
    assert (refused.status_code, refused.json()["data"]) == (429, {"error": "RATE_LIMITED"})
    assert 3_500 <= int(refused.headers["retry-after"]) <= 3_600
    assert len(stored(settings)) == 1
    elsewhere = {"avatar_url": "https://example.com/avatar.jpg"}
    assert (await client.post(PATH, json=elsewhere, headers=me)).status_code == 200
    _, other = await token()
    assert (await client.post(PATH, files={"avatar": ("me", picture())}, headers=other)).status_code == 200


async def test_what_is_nobodys_picture_goes_after_an_hour(
    client: httpx.AsyncClient, token: Token, settings: Settings, services: Services
) -> None:
    """As a killed process, or an upload in another one at the same time, leaves it behind."""
    people = [await token() for _ in range(3)]
    for _, me in people:
        await client.post(PATH, files={"avatar": ("me", picture())}, headers=me)
    (first, _), (_, elsewhere), (erased, _) = people
    used = set(stored(settings))
    await client.post(PATH, json={"avatar_url": "https://example.com/a.png"}, headers=elsewhere)
    await services.erasure.erase(str(erased["uuid"]), actor="operator")
    (mine,) = stored(settings)
    strays = used - {mine} | {mine.with_name(f"{new_id()}.webp")}
    for path in strays:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    media = MediaFolder(settings.data_dir / "media", lambda: BASE_URL, b"k" * 32, utc_now)
    avatars, now = AvatarFolder(media, new_id), datetime.now(UTC)
    await avatars.tidy(services.db, now)
    assert set(stored(settings)) == {mine, *strays}
    await avatars.tidy(services.db, now + timedelta(hours=1, minutes=1))
    assert stored(settings) == [mine]
    assert mine.parent.name == first["uuid"]


async def test_two_mebibytes_are_not_too_much_and_one_byte_more_is(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    most = await client.post(PATH, files={"avatar": ("me.png", filled(FILE_MAX))}, headers=me)
    assert most.status_code == 200
    for size in (FILE_MAX + 1, 2 * FILE_MAX):
        more = await client.post(PATH, files={"avatar": ("me.png", filled(size))}, headers=me)
        assert (more.status_code, more.json()["code"]) == (413, 413)
        assert more.json()["data"] == {"error": "PAYLOAD_TOO_LARGE"}
    # A form is no way around the limit of everything else.
    long = await client.post(PATH, content=b" " * 1_100_000 + b"{}", headers=me)
    assert long.status_code == 413


TYPE = {"Content-Type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="avatar"; filename="me.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (TYPE, b""),
        (TYPE, b"no form at all"),
        (TYPE, b"--x--\r\n"),
        (TYPE, b'--x\r\nContent-Disposition: form-data; name="avatar"\r\n\r\ntext\r\n--x--\r\n'),
        (TYPE, PART + picture()),
        (TYPE, PART + b"not a picture\r\n--x--\r\n"),
        (TYPE, PART + b"\r\n--x--\r\n"),
        (TYPE, PART + picture() + b"\r\n" + PART + picture() + b"\r\n--x--\r\n"),
        (TYPE, b"--x\r\nno header\r\n\r\n\r\n--x--\r\n"),
        (TYPE, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 40 + b"--x--\r\n"),
        ({"Content-Type": "multipart/form-data"}, PART + picture() + b"\r\n--x--\r\n"),
        ({"Content-Type": 'multipart/form-data; boundary="\r"'}, PART + picture() + b"\r\n--x--\r\n"),
    ],
)
async def test_what_is_no_form_with_one_picture_is_refused(
    client: httpx.AsyncClient, token: Token, settings: Settings, headers: dict[str, str], body: bytes
) -> None:
    _, me = await token()
    reply = await client.post(PATH, content=body, headers={**me, **headers})
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, ["avatar"])
    assert stored(settings) == []
    assert (await client.get("/api/v1/auth/me", headers=me)).json()["data"]["avatar_url"] is None


async def test_nobody_uploads_for_nobody(client: httpx.AsyncClient, settings: Settings) -> None:
    reply = await client.post(PATH, files={"avatar": ("me.png", picture())})
    assert reply.status_code == 401
    assert stored(settings) == []

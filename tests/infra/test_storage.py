"""Files lie under keys we made and nowhere else, in a folder and a bucket alike; urls say for whom and how long."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mintage.infra.bucket import MediaBucket
from mintage.infra.storage import Media, MediaFolder
from tests.conftest import BASE_URL

WORK = "0199b1c0-0000-7000-8000-0000000000b1"
KEY = f"b1/{WORK}-1.png"
AVATAR = f"avatars/{WORK}/{WORK}.webp"
NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> MediaFolder:
    return MediaFolder(tmp_path / "media", lambda: BASE_URL, b"k" * 32, clock)


@pytest.fixture(params=["folder", "bucket", "bucket with a prefix"])
def media(request: pytest.FixtureRequest, clock: Clock) -> Media:
    """Wherever the files are, the same holds."""
    if request.param == "folder":
        found: Media = request.getfixturevalue("folder")
        return found
    prefix = "mintage/files" if "prefix" in request.param else ""
    return MediaBucket(request.getfixturevalue("s3").bucket(prefix=prefix), lambda: BASE_URL, b"k" * 32, clock)


def parts(url: str) -> tuple[str, str, str]:
    path, _, query = url.partition("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    return path.removeprefix(f"{BASE_URL}/files/"), expires, signature


def test_a_url_works_for_a_day(folder: MediaFolder, clock: Clock) -> None:
    key, expires, signature = parts(folder.url(KEY))
    assert key == KEY
    assert folder.genuine(key, expires, signature)
    clock.now = NOW + timedelta(hours=24, seconds=-1)
    assert folder.genuine(key, expires, signature)
    clock.now = NOW + timedelta(hours=24)
    assert not folder.genuine(key, expires, signature)


def test_nothing_of_a_url_can_be_changed(folder: MediaFolder, tmp_path: Path, clock: Clock) -> None:
    key, expires, signature = parts(folder.url(KEY))
    assert not folder.genuine(key.replace("png", "webp"), expires, signature)
    assert not folder.genuine(key, str(int(expires) + 1), signature)
    assert not folder.genuine(key, expires, signature[:-1])
    assert not folder.genuine(key, "", "")
    assert not folder.genuine(key, "٣", signature)
    assert not MediaFolder(tmp_path, lambda: BASE_URL, b"x" * 32, clock).genuine(key, expires, signature)


def test_a_public_url_is_the_bare_path(folder: MediaFolder) -> None:
    assert folder.url(KEY, public=True) == f"{BASE_URL}/files/{KEY}"


@pytest.mark.parametrize("key", [KEY, f"b1/{WORK}-12-thumbnail.webp", f"b1/{WORK}-1.mp4", f"b1/{WORK}-1.jpg", AVATAR])
def test_our_own_urls_are_known_by_their_key_however_they_are_spelled(folder: MediaFolder, key: str) -> None:
    for url in (
        folder.url(key),
        folder.url(key, public=True),
        f"{BASE_URL}/files/{key}?expires=1&signature=x#there",
        f"HTTP://MINTAGE.test:80/files/{key}",
        f"http://mintage.test./files/{key}",
        f"{BASE_URL}/other/../files/./{key}",
        f"{BASE_URL}/%66iles/{key.replace('/', '%2F')}",
    ):
        assert folder.key_of_url(url) == key, url


@pytest.mark.parametrize(
    "rest",
    [
        f"b1/{WORK}.png",
        "b1/x.png",
        "",
        "avatars",
        f"{KEY}/",
        f"/{KEY}",
        f"..%2Ffiles/{KEY}",
        f"{KEY}%00",
        f"x/%252e%252e/{KEY}",
        f"{KEY};x",
        f"{KEY}x",
    ],
)
async def test_what_is_below_our_own_address_and_no_file_is_ours_and_the_key_of_none(media: Media, rest: str) -> None:
    key = media.key_of_url(f"{BASE_URL}/files/{rest}")
    assert key is not None
    assert await media.stat(key) is None


@pytest.mark.parametrize(
    "url",
    [
        f"https://example.com/files/{KEY}",
        f"{BASE_URL}.example/files/{KEY}",
        f"https://mintage.test/files/{KEY}",
        f"{BASE_URL}:8080/files/{KEY}",
        f"http://example.com@example.com/files/{KEY}",
        f"{BASE_URL}/other/{KEY}",
        f"{BASE_URL}/files/../{KEY}",
        f"{BASE_URL}/filesystem/{KEY}",
        f" {BASE_URL}/files/{KEY}",
        "http://[mintage",
        KEY,
        "",
    ],
)
def test_other_urls_are_not_ours(folder: MediaFolder, url: str) -> None:
    assert folder.key_of_url(url) is None


def test_an_address_below_a_path_is_ours_below_that_path_only(tmp_path: Path, clock: Clock) -> None:
    media = MediaFolder(tmp_path, lambda: "https://Example.com:443/mintage", b"k" * 32, clock)
    assert media.key_of_url(f"https://example.com/mintage/files/{KEY}") == KEY
    assert media.key_of_url(f"https://example.com/files/{KEY}") is None


async def test_a_file_is_written_read_in_parts_and_removed(media: Media) -> None:
    assert await media.stat(KEY) is None
    assert await media.read(KEY) is None
    media.write(KEY, b"0123456789")
    found = await media.stat(KEY)
    assert found is not None
    assert found.size == 10
    assert await media.read(KEY) == b"0123456789"
    assert await media.read(KEY, 7) == b"789"
    assert await media.read(KEY, 2, 3) == b"234"
    media.write(KEY, b"9876543210!")
    written = await media.stat(KEY)
    assert written is not None
    assert written.version != found.version
    await media.remove(KEY)
    await media.remove(KEY)
    assert await media.read(KEY) is None


async def test_everything_of_a_work_is_removed_or_what_one_attempt_left(media: Media) -> None:
    other = KEY.replace("7000", "7001")
    keys = [Media.key_of(WORK, fence, end) for fence in (1, 2, 12) for end in (".png", "-thumbnail.webp")]
    for key in (*keys, other):
        media.write(key, b"x")

    async def left() -> list[str]:
        return [key for key in keys if await media.stat(key) is not None]

    await media.remove_attempt(WORK, 1)
    assert await left() == keys[2:]
    media.write(keys[0], b"x")
    await media.keep_attempt(WORK, 2)
    assert await left() == keys[2:4]
    await media.remove_all_of(WORK)
    assert await left() == []
    assert await media.stat(other) is not None


async def test_of_very_many_files_none_is_left(media: Media) -> None:
    """A store lists what it has in portions."""
    neighbours = [f"avatars/{WORK[:-1]}{digit}/{WORK}.webp" for digit in "02"]
    uploads = [f"avatars/{WORK}/{WORK[:-2]}{number:02}.webp" for number in range(60)]
    for key in (*neighbours, *uploads):
        media.write(key, b"x")
    assert sorted(await media.kept(f"avatars/{WORK}/")) == uploads
    assert sorted(await media.kept("avatars/")) == sorted((*neighbours, *uploads))
    assert await media.kept(f"avatars/{WORK[:8]}-none/") == []


async def test_what_is_young_is_not_among_the_old(media: Media) -> None:
    media.write(KEY, b"x")
    now = datetime.now(UTC)
    assert await media.kept(f"b1/{WORK}", before=now - timedelta(minutes=1)) == []
    assert await media.kept(f"b1/{WORK}", before=now + timedelta(minutes=1)) == [KEY]


async def test_a_draft_that_was_never_finished_is_removed_after_an_hour(folder: MediaFolder, clock: Clock) -> None:
    clock.now = datetime.now(UTC)
    await folder.tidy()
    folder.write(KEY, b"x")
    assert [path.name for path in folder.folder.rglob("*") if path.is_file()] == [KEY.partition("/")[2]]
    draft = folder.folder / "drafts" / "0123"
    draft.write_bytes(b"x")
    await folder.tidy()
    assert draft.exists()
    clock.now += timedelta(hours=1, minutes=1)
    await folder.tidy()
    assert not draft.exists()
    assert await folder.read(KEY) == b"x"


@pytest.mark.parametrize(
    "key", ["../secrets/master.key", f"b1/../b1/{WORK}-1.png", "/etc/passwd", "", f"b1/{WORK}-1.svg"]
)
async def test_what_is_no_key_is_no_file(media: Media, tmp_path: Path, key: str) -> None:
    secret = tmp_path / "secrets" / "master.key"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    media.write(KEY, b"x")
    assert await media.stat(key) is None
    assert await media.read(key) is None
    await media.remove(key)
    assert secret.exists()

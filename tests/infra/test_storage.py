"""Files lie under keys we made and nowhere else; urls say who made them and for how long."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mintage.infra.storage import MediaFolder
from tests.conftest import BASE_URL

WORK = "0199b1c0-0000-7000-8000-0000000000b1"
KEY = f"b1/{WORK}.png"
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
def media(tmp_path: Path, clock: Clock) -> MediaFolder:
    return MediaFolder(tmp_path / "media", lambda: BASE_URL, b"k" * 32, clock)


def parts(url: str) -> tuple[str, str, str]:
    path, _, query = url.partition("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    return path.removeprefix(f"{BASE_URL}/files/"), expires, signature


def test_a_url_works_for_a_day(media: MediaFolder, clock: Clock) -> None:
    key, expires, signature = parts(media.url(KEY))
    assert key == KEY
    assert media.genuine(key, expires, signature)
    clock.now = NOW + timedelta(hours=24, seconds=-1)
    assert media.genuine(key, expires, signature)
    clock.now = NOW + timedelta(hours=24)
    assert not media.genuine(key, expires, signature)


def test_nothing_of_a_url_can_be_changed(media: MediaFolder, tmp_path: Path, clock: Clock) -> None:
    key, expires, signature = parts(media.url(KEY))
    assert not media.genuine(key.replace("png", "webp"), expires, signature)
    assert not media.genuine(key, str(int(expires) + 1), signature)
    assert not media.genuine(key, expires, signature[:-1])
    assert not media.genuine(key, "", "")
    assert not media.genuine(key, "٣", signature)
    assert not MediaFolder(tmp_path, lambda: BASE_URL, b"x" * 32, clock).genuine(key, expires, signature)


def test_a_public_url_is_the_bare_path(media: MediaFolder) -> None:
    assert media.url(KEY, public=True) == f"{BASE_URL}/files/{KEY}"


def test_our_own_urls_are_known_by_their_key(media: MediaFolder) -> None:
    avatar = f"avatars/{WORK}/{WORK}.webp"
    for key in (KEY, f"b1/{WORK}-thumbnail.webp", f"b1/{WORK}.mp4", f"b1/{WORK}.jpg", avatar):
        assert media.key_of_url(media.url(key)) == key
        assert media.key_of_url(media.url(key, public=True)) == key
        assert media.key_of_url(f"{BASE_URL}/files/{key}?expires=1&signature=x#there") == key


@pytest.mark.parametrize(
    "url",
    [
        f"https://example.com/files/{KEY}",
        f"{BASE_URL}.example/files/{KEY}",
        f"{BASE_URL}/other/{KEY}",
        f"{BASE_URL}/files/../files/{KEY}",
        f"{BASE_URL}/files/{KEY}/",
        f"{BASE_URL}/files/",
        f" {BASE_URL}/files/{KEY}",
        KEY,
        "",
    ],
)
def test_other_urls_are_not_ours(media: MediaFolder, url: str) -> None:
    assert media.key_of_url(url) is None


async def test_a_file_is_written_read_in_parts_and_removed(media: MediaFolder) -> None:
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


async def test_everything_of_a_work_is_removed_and_nothing_else(media: MediaFolder) -> None:
    other = KEY.replace("7000", "7001")
    for key in (KEY, f"b1/{WORK}-thumbnail.webp", f"b1/{WORK}.png.1234.part", other):
        media.write(key, b"x")
    await media.remove_all_of(WORK)
    assert [path.name for path in (media.folder / "b1").iterdir()] == [other.partition("/")[2]]


@pytest.mark.parametrize("key", ["../secrets/master.key", f"b1/../b1/{WORK}.png", "/etc/passwd", "", f"b1/{WORK}.svg"])
async def test_what_is_no_key_is_no_file(media: MediaFolder, tmp_path: Path, key: str) -> None:
    secret = tmp_path / "secrets" / "master.key"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    media.write(KEY, b"x")
    assert await media.stat(key) is None
    assert await media.read(key) is None
    await media.remove(key)
    assert secret.exists()

"""Whatever picture of a person comes in, a small upright square of pixels is kept, and nothing that is none."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mintage.domain.fields import InvalidFields, Reason
from mintage.infra.avatars import PIXELS_MAX, SIDE_MAX, AvatarFolder, squared
from mintage.infra.clock import utc_now
from mintage.infra.identifiers import new_id
from mintage.infra.storage import MediaFolder
from tests.conftest import BASE_URL

ANN, BOB = "0199b1c0-0000-7000-8000-00000000000a", "0199b1c0-0000-7000-8000-00000000000b"
RED, BLUE = (255, 0, 0), (0, 0, 255)
ORIENTATION, DESCRIPTION = 0x112, 0x10E


def flag(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Red above blue."""
    picture = Image.new("RGB", (width, height), BLUE)
    picture.paste(RED, (0, 0, width, height // 2))
    return picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    written = BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def opened(content: bytes) -> Image.Image:
    picture = Image.open(BytesIO(content))
    assert picture.format == "WEBP"
    return picture


def like(pixel: Any, colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(pixel[:3], colour, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("width", "height", "side"), [(300, 200, 200), (200, 300, 200), (2000, 1500, SIDE_MAX), (1, 9, 1)]
)
def test_the_middle_is_kept_as_a_small_square(kind: str, width: int, height: int, side: int) -> None:
    kept = opened(squared(encoded(flag(width, height), kind)))
    assert kept.size == (side, side)
    if side > 1:
        pixels = kept.convert("RGB")
        assert like(pixels.getpixel((side // 2, 3)), RED)
        assert like(pixels.getpixel((side // 2, side - 4)), BLUE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_it_is_turned_upright_and_says_nothing_of_where_it_was_taken(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[DESCRIPTION] = 6, "secret place"
    content = encoded(flag(400, 300), kind, exif=exif)
    assert b"secret place" in content
    kept = squared(content)
    assert b"secret place" not in kept
    assert not opened(kept).getexif()
    pixels = opened(kept).convert("RGB")
    assert like(pixels.getpixel((290, 150)), RED)
    assert like(pixels.getpixel((10, 150)), BLUE)


def test_what_is_transparent_stays_transparent() -> None:
    picture = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    kept = opened(squared(encoded(picture, "PNG")))
    assert kept.mode == "RGBA"
    assert kept.getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_every_kind_of_png_will_do(mode: str) -> None:
    assert opened(squared(encoded(flag(100, 80, mode), "PNG"))).size == (80, 80)


WHOLE = encoded(flag(300, 300), "PNG")
BAD = {
    "nothing": b"",
    "text": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "another format": encoded(flag(10, 10), "GIF"),
    "cut off": WHOLE[: len(WHOLE) // 2],
    "a name only": b"\x89PNG\r\n\x1a\n",
    "cut off jpeg": encoded(flag(3000, 3000), "JPEG")[:20_000],
    "too many pixels": encoded(Image.new("1", (6_000, PIXELS_MAX // 6_000 + 1)), "PNG"),
    "a bomb": encoded(Image.new("1", (30_000, 30_000)), "PNG"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused(name: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        squared(BAD[name])
    assert refused.value.fields == {"avatar": Reason("pattern")}


@pytest.fixture
def avatars(tmp_path: Path) -> tuple[AvatarFolder, MediaFolder]:
    media = MediaFolder(tmp_path, lambda: BASE_URL, b"k" * 32, utc_now)
    return AvatarFolder(media, new_id), media


async def test_an_upload_is_removed_alone_or_with_all_of_the_person(
    avatars: tuple[AvatarFolder, MediaFolder],
) -> None:
    folder, media = avatars
    content = encoded(flag(60, 60), "PNG")
    keys = await asyncio.gather(*(folder.store(person, content) for person in (ANN, ANN, ANN, BOB)))
    kept = await media.read(keys[0])
    assert kept is not None
    assert opened(kept).size == (60, 60)

    async def left() -> list[int]:
        return [place for place, key in enumerate(keys) if await media.stat(key) is not None]

    assert await left() == [0, 1, 2, 3]
    for nothing in (None, "https://example.com/a.png", "avatars/../../x", media.url(keys[0], public=True)):
        await folder.remove(nothing)
    assert await left() == [0, 1, 2, 3]
    await folder.remove(keys[1])
    await folder.remove(keys[1])
    assert await left() == [0, 2, 3]
    await folder.remove_all_of(ANN)
    await folder.remove_all_of(ANN)
    assert await left() == [3]


async def test_an_upload_is_known_by_its_url_and_only_to_who_made_it(
    avatars: tuple[AvatarFolder, MediaFolder],
) -> None:
    folder, media = avatars
    key = await folder.store(ANN, encoded(flag(60, 60), "PNG"))
    url = media.url(key, public=True)
    assert folder.own(ANN, url) == key
    assert folder.own(BOB, url) == url
    for none in ("https://example.com/a.png", f"{BASE_URL}/files/avatars/{ANN}/%2e%2e/x", f"{url}x"):
        assert folder.own(ANN, none) == none


async def test_what_is_refused_leaves_nothing(avatars: tuple[AvatarFolder, MediaFolder], tmp_path: Path) -> None:
    with pytest.raises(InvalidFields):
        await avatars[0].store(ANN, b"nothing")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

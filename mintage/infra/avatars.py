"""Uploaded pictures of people: whatever comes in, only a small square of pixels is kept."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from shutil import rmtree
from typing import Final

from PIL import Image, ImageOps

from mintage.domain.fields import InvalidFields, Reason
from mintage.infra.storage import MediaFolder

SIDE_MAX: Final = 512
PIXELS_MAX: Final = 24_000_000
"""The largest picture that is looked at: 96 MB when it is unpacked."""
FORMATS: Final = ("PNG", "JPEG", "WEBP")


class AvatarFolder:
    """Implements ``application.ports.Avatars``; each person has a folder, so that their pictures are found by it."""

    def __init__(self, media: MediaFolder, new_id: Callable[[], str]) -> None:
        self._media = media
        self._new_id = new_id
        # Unpacking is what costs memory.
        self._turn = asyncio.Semaphore(1)

    async def store(self, user_id: str, content: bytes) -> str:
        key = f"avatars/{user_id}/{self._new_id()}.webp"
        async with self._turn:
            square = await asyncio.to_thread(squared, content)
        await asyncio.to_thread(self._media.write, key, square)
        return key

    def own(self, user_id: str, url: str) -> str:
        key = self._media.key_of_url(url)
        return key if key is not None and key.startswith(f"avatars/{user_id}/") else url

    async def remove(self, avatar: str | None) -> None:
        # Not all but the newest: of two uploads at once one would remove the other before it is anybody's avatar.
        if avatar is not None and avatar.startswith("avatars/"):
            await self._media.remove(avatar)

    async def remove_all_of(self, user_id: str) -> None:
        with suppress(FileNotFoundError):
            await asyncio.to_thread(rmtree, self._media.folder / "avatars" / user_id)


def squared(content: bytes) -> bytes:
    """The middle of a picture as a WebP of at most 512 by 512, upright, without metadata. Raises ``InvalidFields``."""
    written = BytesIO()
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > PIXELS_MAX:
                raise ValueError("more pixels than anybody needs")
            # A JPEG is unpacked no larger than it is needed.
            picture.draft("RGB", (2 * SIDE_MAX, 2 * SIDE_MAX))
            side = min(SIDE_MAX, *picture.size)
            colours = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        upright = ImageOps.exif_transpose(ImageOps.fit(colours, (side, side)))
        upright.info.clear()
        upright.save(written, "WEBP", quality=85)
    except Exception:  # noqa: BLE001 -- decoders raise anything for a file that is broken or pretends
        raise InvalidFields({"avatar": Reason("pattern")}) from None
    return written.getvalue()

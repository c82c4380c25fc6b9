"""Uploaded pictures of people: whatever comes in, only a small square of pixels is kept."""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from io import BytesIO
from typing import Final

import msgspec
from PIL import ImageOps

from mintage.application.transaction import Unavailable
from mintage.domain.fields import InvalidFields, Reason
from mintage.infra.pictures import NotTaken, unpacked, upright
from mintage.infra.storage import Media, in_filing
from mintage.projections.sql import Database

SIDE_MAX: Final = 512
PIXELS_MAX: Final = 30_000_000
"""The largest picture that is looked at: 120 MB when it is unpacked."""
FORMATS: Final = ("PNG", "JPEG", "WEBP")
UNSETTLED: Final = timedelta(hours=1)
"""How long an upload may be on its way to being somebody's picture."""

_KEY: Final = re.compile(r"avatars/(?P<user_id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})/[0-9a-f-]{36}\.webp")
_IN_USE: Final = "select avatar from people where user_id = any(%s::uuid[]) and avatar is not null"
_PORTION: Final = 1_000


class AvatarFolder:
    """Implements ``ports.files.Avatars``; each person has a folder, so that their pictures are found by it."""

    def __init__(self, media: Media, new_id: Callable[[], str]) -> None:
        self._media = media
        self._new_id = new_id
        # Unpacking is what costs memory.
        self._turn = asyncio.Semaphore(1)

    async def store(self, user_id: str, content: bytes) -> str:
        key = f"avatars/{user_id}/{self._new_id()}.webp"
        async with self._turn:
            square = await asyncio.to_thread(squared, content)
        try:
            await in_filing(self._media.write, key, square)
        except OSError as error:
            raise Unavailable("the picture could not be stored") from error
        return key

    def own(self, user_id: str, url: str) -> str:
        key = self._media.key_of_url(url) or ""
        own = _KEY.fullmatch(key)
        return key if own and own["user_id"] == user_id else url

    async def remove(self, avatar: str | None) -> None:
        # Not all but the newest: of two uploads at once one would remove the other before it is anybody's avatar.
        if avatar is not None and avatar.startswith("avatars/"):
            await self._media.remove(avatar)

    async def remove_all_of(self, user_id: str) -> None:
        for key in await self._media.kept(f"avatars/{user_id}/"):
            await self._media.remove(key)

    async def tidy(self, db: Database, now: datetime) -> None:
        """Remove the uploads of more than an hour ago that never became anybody's picture, or are no longer."""
        uploads = map(_KEY.fullmatch, await self._media.kept("avatars/", before=now - UNSETTLED))
        old = [(own["user_id"], own[0]) for own in uploads if own]
        for start in range(0, len(old), _PORTION):
            portion = old[start : start + _PORTION]
            rows = await db.fetch(_InUse, _IN_USE, ([user_id for user_id, _ in portion],))
            in_use = {row.avatar for row in rows}
            for _, key in portion:
                if key not in in_use:
                    await self._media.remove(key)


class _InUse(msgspec.Struct):
    avatar: str


def squared(content: bytes) -> bytes:
    """The middle of a picture as a WebP of at most 512 by 512, upright, without metadata. Raises ``InvalidFields``."""
    try:
        picture = unpacked(content, formats=FORMATS, pixels_max=PIXELS_MAX, side=2 * SIDE_MAX)
        side = min(SIDE_MAX, *picture.size)
        square = upright(ImageOps.fit(picture, (side, side)))
    except NotTaken:
        raise InvalidFields({"avatar": Reason("pattern")}) from None
    square.info.clear()
    written = BytesIO()
    square.save(written, "WEBP", quality=85)
    return written.getvalue()

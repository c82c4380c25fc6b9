"""Files in a directory: written whole or not at all, found only under keys we made."""

import asyncio
import hmac
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx

from mintage.application.ports import StoredFile

URL_LIFE_S: Final = 86_400
PATH: Final = "/files/"
_ID: Final = "[0-9a-f-]{36}"
_KEY: Final = re.compile(rf"([0-9a-f]{{2}}/{_ID}-[0-9]+(-thumbnail)?|avatars/{_ID}/{_ID})\.(png|webp|jpg|mp4)")
_DRAFTS: Final = "drafts"
_DRAFT_LIFE: Final = timedelta(hours=1)
"""Nothing takes so long to write: an older draft is that of a process that died."""


class MediaFolder:
    """Implements ``application.ports.Files``; urls are signed with a key of their own and good for 24 hours."""

    def __init__(self, folder: Path, base_url: Callable[[], str], key: bytes, clock: Callable[[], datetime]) -> None:
        self.folder = folder
        self._base_url = base_url
        self._key = hmac.digest(key, b"file urls", "sha256")
        self._clock = clock

    @staticmethod
    def key_of(work_id: str, fence: int, suffix: str) -> str:
        """Where a work's file goes; spread over folders by the end of the id, which is random.

        The ``fence`` of the claim is in it: who lost a claim cannot write what its successor wrote, or is to write.
        """
        return f"{work_id[-2:]}/{work_id}-{fence}{suffix}"

    def url(self, key: str, *, public: bool = False) -> str:
        url = f"{self._base_url()}{PATH}{key}"
        if public:
            return url
        expires = str(int(self._clock().timestamp()) + URL_LIFE_S)
        return f"{url}?expires={expires}&signature={self._signature(key, expires)}"

    def key_of_url(self, url: str) -> str | None:
        try:
            ours, asked = httpx.URL(f"{self._base_url()}{PATH}"), httpx.URL(url)
        except httpx.InvalidURL:
            return None
        if _origin(asked) != _origin(ours) or not asked.path.startswith(ours.path):
            return None
        return asked.path.removeprefix(ours.path)

    def genuine(self, key: str, expires: str, signature: str) -> bool:
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        if not hmac.compare_digest(signature.encode(), self._signature(key, expires).encode()):
            return False
        return int(expires) > self._clock().timestamp()

    async def stat(self, key: str) -> StoredFile | None:
        if not _KEY.fullmatch(key):
            return None
        try:
            found = await asyncio.to_thread((self.folder / key).stat)
        except FileNotFoundError:
            return None
        return StoredFile(found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}")

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        if not _KEY.fullmatch(key):
            return None

        def read() -> bytes:
            with (self.folder / key).open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)

        try:
            return await asyncio.to_thread(read)
        except FileNotFoundError:
            return None

    def write(self, key: str, content: bytes) -> None:
        """Store a file; a crash leaves it whole or absent. Blocks, so never on the event loop."""
        path, draft = self.folder / key, self.folder / _DRAFTS / secrets.token_hex(8)
        for place in (path, draft):
            place.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    async def remove(self, key: str) -> None:
        if _KEY.fullmatch(key):
            await asyncio.to_thread((self.folder / key).unlink, missing_ok=True)

    async def remove_all_of(self, work_id: str) -> None:
        await asyncio.to_thread(self._remove, work_id, lambda _: True)

    async def remove_attempt(self, work_id: str, fence: int) -> None:
        """Remove what the claim with this fence stored for a work, and nothing of any other."""
        await asyncio.to_thread(self._remove, work_id, _of_attempt(work_id, fence))

    async def keep_attempt(self, work_id: str, fence: int) -> None:
        """Remove what any other claim stored for a work."""
        kept = _of_attempt(work_id, fence)
        await asyncio.to_thread(self._remove, work_id, lambda name: not kept(name))

    async def tidy(self) -> None:
        """Remove the drafts of processes that died while they wrote."""
        before = (self._clock() - _DRAFT_LIFE).timestamp()

        def remove() -> None:
            for path in (self.folder / _DRAFTS).glob("*"):
                # Several processes tidy one folder.
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()

        await asyncio.to_thread(remove)

    def _remove(self, work_id: str, going: Callable[[str], bool]) -> None:
        for path in (self.folder / work_id[-2:]).glob(f"{work_id}-*"):
            if going(path.name):
                path.unlink(missing_ok=True)

    def _signature(self, key: str, expires: str) -> str:
        return hmac.new(self._key, f"{key}\n{expires}".encode(), "sha256").hexdigest()


def _of_attempt(work_id: str, fence: int) -> Callable[[str], bool]:
    """Whether a file, by its name, is one that the claim with this fence stored."""
    stem = f"{work_id}-{fence}"
    return lambda name: name.startswith((f"{stem}.", f"{stem}-"))


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    """Whom a url asks, in the one spelling of it."""
    return url.scheme, url.raw_host.rstrip(b"."), url.port or {"http": 80, "https": 443}.get(url.scheme)

"""Files in a directory: written whole or not at all, found only under keys we made."""

import asyncio
import hmac
import os
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from mintage.application.ports import StoredFile

URL_LIFE_S: Final = 86_400
PATH: Final = "/files/"
_ID: Final = "[0-9a-f-]{36}"
_KEY: Final = re.compile(rf"([0-9a-f]{{2}}/{_ID}(-thumbnail)?|avatars/{_ID}/{_ID})\.(png|webp|jpg|mp4)")


class MediaFolder:
    """Implements ``application.ports.Files``; urls are signed with a key of their own and good for 24 hours."""

    def __init__(self, folder: Path, base_url: Callable[[], str], key: bytes, clock: Callable[[], datetime]) -> None:
        self.folder = folder
        self._base_url = base_url
        self._key = hmac.digest(key, b"file urls", "sha256")
        self._clock = clock

    @staticmethod
    def key_of(work_id: str, suffix: str) -> str:
        """Where a work's file goes; spread over folders by the end of the id, which is random."""
        return f"{work_id[-2:]}/{work_id}{suffix}"

    def url(self, key: str, *, public: bool = False) -> str:
        url = f"{self._base_url()}{PATH}{key}"
        if public:
            return url
        expires = str(int(self._clock().timestamp()) + URL_LIFE_S)
        return f"{url}?expires={expires}&signature={self._signature(key, expires)}"

    def key_of_url(self, url: str) -> str | None:
        ours = f"{self._base_url()}{PATH}"
        key = re.split("[?#]", url.removeprefix(ours), maxsplit=1)[0]
        return key if url.startswith(ours) and _KEY.fullmatch(key) else None

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
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two workers may write one work: one that lost its lease and has not noticed yet, and its successor.
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    async def remove(self, key: str) -> None:
        if _KEY.fullmatch(key):
            await asyncio.to_thread((self.folder / key).unlink, missing_ok=True)

    async def remove_all_of(self, work_id: str) -> None:
        def remove() -> None:
            for path in (self.folder / work_id[-2:]).glob(f"{work_id}*"):
                path.unlink(missing_ok=True)

        await asyncio.to_thread(remove)

    def _signature(self, key: str, expires: str) -> str:
        return hmac.new(self._key, f"{key}\n{expires}".encode(), "sha256").hexdigest()

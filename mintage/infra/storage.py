"""Files of works and people, written whole or not at all, found only under keys we made; in a directory by default."""

import asyncio
import hmac
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from mintage.application.ports.files import StoredFile

URL_LIFE_S: Final = 86_400
PATH: Final = "/files/"
_ID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY: Final = re.compile(
    rf"([0-9a-f]{{2}}/(?P<work_id>{_ID})-[0-9]+(-thumbnail)?|avatars/{_ID}/{_ID})\.(png|webp|jpg|mp4|webm)"
)
_DRAFTS: Final = "drafts"
_DRAFT_LIFE: Final = timedelta(hours=1)
"""Nothing takes so long to write: an older draft is that of a process that died."""


# Threads of their own: a disk or a store that hangs must hold up nobody who needs no files.
_FILING: Final = ThreadPoolExecutor(8, thread_name_prefix="files")
ResultT = TypeVar("ResultT")


async def in_filing(function: Callable[..., ResultT], *args: Any) -> ResultT:
    """What a function that reads or writes files returns, called in a thread that does nothing else."""
    return await asyncio.get_running_loop().run_in_executor(_FILING, function, *args)


class Media(ABC):
    """Implements ``ports.files.Files`` for wherever the bytes are; urls are signed and good for 24 hours.

    Whatever asks the place where they are raises ``Unavailable`` or ``OSError`` when it does not answer as it should.
    """

    def __init__(self, base_url: Callable[[], str], key: bytes, clock: Callable[[], datetime]) -> None:
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

    def work_of(self, key: str) -> str | None:
        found = _KEY.fullmatch(key)
        return None if found is None else found["work_id"]

    def genuine(self, key: str, expires: str, signature: str) -> bool:
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        if not hmac.compare_digest(signature.encode(), self._signature(key, expires).encode()):
            return False
        return int(expires) > self._clock().timestamp()

    @abstractmethod
    async def stat(self, key: str) -> StoredFile | None: ...

    @abstractmethod
    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None: ...

    @abstractmethod
    def write(self, key: str, content: bytes) -> None:
        """Store a file; a crash leaves it whole or absent. Blocks, so never on the event loop."""

    @abstractmethod
    async def remove(self, key: str) -> None: ...

    @abstractmethod
    async def kept(self, start: str, before: datetime | None = None) -> list[str]:
        """The keys that begin with ``start``, a folder and part of a name; ``before`` leaves out what is younger."""

    @abstractmethod
    async def tidy(self) -> None:
        """Remove what processes left that died while they wrote."""

    async def remove_all_of(self, work_id: str) -> None:
        for key in await self._of_work(work_id):
            await self.remove(key)

    async def remove_attempt(self, work_id: str, fence: int) -> None:
        """Remove what the claim with this fence stored for a work, and nothing of any other."""
        for key in await self._of_work(work_id):
            if _is_of_attempt(key, work_id, fence):
                await self.remove(key)

    async def keep_attempt(self, work_id: str, fence: int) -> None:
        """Remove what any other claim stored for a work."""
        for key in await self._of_work(work_id):
            if not _is_of_attempt(key, work_id, fence):
                await self.remove(key)

    async def _of_work(self, work_id: str) -> list[str]:
        return await self.kept(f"{work_id[-2:]}/{work_id}-")

    def _signature(self, key: str, expires: str) -> str:
        return hmac.new(self._key, f"{key}\n{expires}".encode(), "sha256").hexdigest()


class MediaFolder(Media):
    """In a directory."""

    def __init__(self, folder: Path, base_url: Callable[[], str], key: bytes, clock: Callable[[], datetime]) -> None:
        super().__init__(base_url, key, clock)
        self.folder = folder

    async def stat(self, key: str) -> StoredFile | None:
        if not is_key(key):
            return None
        try:
            found = await in_filing((self.folder / key).stat)
        except FileNotFoundError:
            return None
        return StoredFile(found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}")

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        if not is_key(key):
            return None

        def read() -> bytes:
            with (self.folder / key).open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)

        try:
            return await in_filing(read)
        except FileNotFoundError:
            return None

    def write(self, key: str, content: bytes) -> None:
        path, draft = self.folder / key, self.folder / _DRAFTS / secrets.token_hex(8)
        for place in (path, draft):
            place.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        # Its name has to outlast a power cut as well: an event is about to say that the file is there.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def remove(self, key: str) -> None:
        if is_key(key):
            await in_filing(partial((self.folder / key).unlink, missing_ok=True))

    async def kept(self, start: str, before: datetime | None = None) -> list[str]:
        def found() -> list[str]:
            parent, _, name = start.rpartition("/")
            keys = []
            # What is removed meanwhile need not be found.
            for path in (self.folder / parent).glob(f"{name}*"):
                for file in (path, *path.rglob("*")):
                    with suppress(FileNotFoundError):
                        if file.is_file() and (before is None or file.stat().st_mtime < before.timestamp()):
                            keys.append(file.relative_to(self.folder).as_posix())
            return keys

        return await in_filing(found)

    async def tidy(self) -> None:
        before = (self._clock() - _DRAFT_LIFE).timestamp()

        def remove() -> None:
            for path in (self.folder / _DRAFTS).glob("*"):
                # Several processes tidy one folder.
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()

        await in_filing(remove)


def is_key(key: str) -> bool:
    """Whether it is one that we make, so that nothing else is ever looked for."""
    return _KEY.fullmatch(key) is not None


def _is_of_attempt(key: str, work_id: str, fence: int) -> bool:
    """Whether a file, by its key, is one that the claim with this fence stored."""
    return key.startswith(tuple(f"{work_id[-2:]}/{work_id}-{fence}{end}" for end in ".-"))


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    """Whom a url asks, in the one spelling of it."""
    return url.scheme, url.raw_host.rstrip(b"."), url.port or {"http": 80, "https": 443}.get(url.scheme)

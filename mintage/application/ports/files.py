"""What is stored as files: works, and the pictures that people upload of themselves."""

from typing import Protocol

import msgspec


class StoredFile(msgspec.Struct, frozen=True):
    """``size`` is in bytes; ``version`` changes with the content."""

    size: int
    version: str


class Files(Protocol):
    """What is stored as a file, under keys: works, which are private unless published, and avatars, which never are.

    Whatever looks at the files raises ``Unavailable`` when the place where they are does not answer.
    """

    def url(self, key: str, *, public: bool = False) -> str:
        """An absolute url that works for 24 hours without a token, or for as long as the file is ``public``."""
        ...

    def key_of_url(self, url: str) -> str | None:
        """What file a url of ours is the url of, whoever may open it and whether or not it has expired.

        None for a url of elsewhere. Of ours that names no file the rest of the path, which is the key of none.
        """
        ...

    def work_of(self, key: str) -> str | None:
        """The id of the work whose file this is the key of, whether or not it is there; None for any other key."""
        ...

    def genuine(self, key: str, expires: str, signature: str) -> bool:
        """Whether these are the key, expiry and signature of a url of ours that has not expired."""
        ...

    async def stat(self, key: str) -> StoredFile | None:
        """How large the file is, None if it was removed."""
        ...

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """The file, or ``length`` bytes of it from ``start`` on; None if it was removed."""
        ...

    async def remove(self, key: str) -> None:
        """Remove a file for good, if it is there."""
        ...

    async def remove_all_of(self, work_id: str) -> None:
        """Remove every file that is stored for a work, for good."""
        ...


class Avatars(Protocol):
    """The pictures that people upload of themselves, stored as files that need no signature."""

    async def store(self, user_id: str, content: bytes) -> str:
        """Keep a picture as a square without anything but its pixels; returns its storage key, ``avatars/…``.

        Raises ``InvalidFields`` unless it is a PNG, JPEG or WebP, ``Unavailable`` if there is no room for it.
        """
        ...

    def own(self, user_id: str, url: str) -> str:
        """The storage key for a url of the person's own upload, so that it outlives our address; else the url."""
        ...

    async def remove(self, avatar: str | None) -> None:
        """Remove an upload that was replaced, for good; a url of elsewhere is nothing to remove."""
        ...

    async def remove_all_of(self, user_id: str) -> None:
        """Remove everything the person ever uploaded, for good."""
        ...

"""Files in a bucket of any S3-compatible store: where it does not answer, none of them seems to be missing."""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from mintage.application.ports.files import StoredFile
from mintage.application.transaction import Unavailable
from mintage.infra.s3 import Bucket
from mintage.infra.storage import Media, is_key

if TYPE_CHECKING:
    from obstore.store import S3Credential

_log = logging.getLogger(__name__)

READ_S: Final = 5
WRITE_S: Final = 60
"""The longest a file is written in one go: 256 MiB at 4.3 MiB/s."""
CONNECT_S: Final = 3
RETRIES: Final = 2
RETRY_S: Final = 15


class BucketRefused(Exception):
    """The store answers, and does not let us keep files there as we have to; the message says what is wrong."""


class MediaBucket(Media):
    """In a bucket."""

    def __init__(self, bucket: Bucket, base_url: Callable[[], str], key: bytes, clock: Callable[[], datetime]) -> None:
        super().__init__(base_url, key, clock)
        self._reading = _store(bucket, READ_S)
        self._writing = _store(bucket, WRITE_S)

    async def stat(self, key: str) -> StoredFile | None:
        if not is_key(key):
            return None
        try:
            with _answered("look for"):
                found = await self._reading.head_async(key)
        except FileNotFoundError:
            return None
        version = found["e_tag"] or found["last_modified"].isoformat()
        return StoredFile(found["size"], re.sub(r"[^0-9A-Za-z-]", "", version))

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        if not is_key(key):
            return None
        try:
            with _answered("read"):
                if length is not None:
                    return bytes(await self._reading.get_range_async(key, start=start, length=length))
                rest = await self._reading.get_async(key, options={"range": {"offset": start}} if start else None)
                return bytes(await rest.bytes_async())
        except FileNotFoundError:
            return None

    def write(self, key: str, content: bytes) -> None:
        try:
            with _answered("write"):
                # In one request, which the store carries out as a whole: the parts of a larger one would be left lying.
                self._writing.put(key, content, use_multipart=False)
        except FileNotFoundError as error:
            raise Unavailable("the store has no such bucket") from error

    async def remove(self, key: str) -> None:
        if is_key(key):
            with _answered("remove"), suppress(FileNotFoundError):
                await self._reading.delete_async(key)

    async def kept(self, start: str, before: datetime | None = None) -> list[str]:
        folder = start.rpartition("/")[0]
        keys: list[str] = []
        with _answered("list"):
            # In the order of their names, from the first that can begin so.
            async for portion in self._reading.list(folder, offset=start):
                for found in portion:
                    key = str(found["path"])
                    if not key.startswith(start):
                        return keys
                    if before is None or found["last_modified"] < before:
                        keys.append(key)
        return keys

    async def tidy(self) -> None:
        """Nothing is left by who dies while writing."""

    async def check(self) -> None:
        """Write a file, read it and remove it. Raises ``BucketRefused``, and ``Unavailable`` if nobody answers."""
        key, content = f"checks/{secrets.token_hex(8)}", secrets.token_bytes(16)
        with _answered("check"):
            try:
                written = await self._reading.put_async(key, content, use_multipart=False)
                read = bytes(await self._reading.get_range_async(key, start=0, length=len(content)))
                await self._reading.delete_async(key)
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise BucketRefused(f"the store refuses the key: {_first_line(error)}") from error
            except FileNotFoundError as error:
                raise BucketRefused("the store has no such bucket") from error
        if read != content:
            raise BucketRefused("what was read is not what was written")
        if written["version"] not in {None, "null"}:
            raise BucketRefused("the bucket keeps versions: what is removed from it would still be there")


@contextmanager
def _answered(doing: str) -> Iterator[None]:
    """Around what asks the store; that a file is not there is an answer."""
    try:
        yield
    except BaseError as error:
        _log.warning("the store would not %s: %s", doing, _first_line(error))
        raise Unavailable("the store of files does not answer") from error


def _first_line(error: BaseError) -> str:
    """The rest of what it says is for its own developers."""
    return str(error).partition("\n")[0]


def _store(bucket: Bucket, timeout_s: float) -> S3Store:
    def credential() -> "S3Credential":
        return {"access_key_id": bucket.key_id, "secret_access_key": bucket.secret, "expires_at": None}

    # All that it would otherwise look for in the environment is said.
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        endpoint=bucket.endpoint,
        region=bucket.region,
        virtual_hosted_style_request=(urlsplit(bucket.endpoint).hostname or "").startswith(f"{bucket.name}."),
        credential_provider=credential,
        skip_signature=False,
        client_options={
            "allow_http": bucket.endpoint.startswith("http://"),
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=CONNECT_S),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
    )

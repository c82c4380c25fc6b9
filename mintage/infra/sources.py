"""Source images: our own are read from storage, all others come from public addresses, and none is taken unseen."""

import asyncio
from typing import Final

import httpcore
import httpx
from PIL import Image

from mintage.application.ports.files import Files
from mintage.domain.urls import url_of
from mintage.infra.guard import Guard, NotPublic
from mintage.infra.pictures import NotTaken, unpacked, upright

BYTES_MAX: Final = 10 * 1_048_576
PIXELS_MAX: Final = 50_000_000
SIDE_MAX: Final = 2048
"""What is larger is made smaller: nothing is painted beyond it."""
TOTAL_S: Final = 30.0
CONNECT_S: Final = 5.0
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")

_HEADERS: Final = (
    (b"Accept", b"image/png, image/jpeg, image/webp, image/gif"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"mintage"),
)
_TIMEOUTS: Final = {"connect": CONNECT_S, "read": 10.0, "write": 10.0, "pool": CONNECT_S}


class SourceUnavailable(Exception):
    """The image is not there, or not to be had in time."""


class SourceRefused(Exception):
    """Where the image is said to be nobody is sent, or what was found there is no image we take."""


class Sources:
    def __init__(self, files: Files, fetcher: "Fetcher") -> None:
        self._files = files
        self._fetcher = fetcher

    async def picture(self, url: str, file: str | None) -> Image.Image:
        """The image behind a url, upright, RGB, at most 2,048 pixels a side; ``file`` is its storage key if it is ours.

        Raises ``SourceUnavailable``, ``SourceRefused``.
        """
        content = await (self._fetcher.fetch(url) if file is None else self._files.read(file))
        if content is None:
            raise SourceUnavailable("the file was removed")
        return await asyncio.to_thread(picture_of, content)


class Fetcher:
    """Fetches from where its guard lets it go."""

    def __init__(self, guard: Guard, *, total_s: float = TOTAL_S) -> None:
        self._guard = guard
        self._total_s = total_s

    async def fetch(self, url: str) -> bytes:
        """At most 10 MiB, as they are; no redirect is followed. Raises ``SourceUnavailable``, ``SourceRefused``."""
        target, host = _target(url)
        try:
            async with asyncio.timeout(self._total_s):
                return await self._fetched(target, host)
        except TimeoutError:
            raise SourceUnavailable(f"not there within {self._total_s} s") from None
        except NotPublic as error:
            raise SourceRefused(str(error)) from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise SourceUnavailable(str(error) or type(error).__name__) from error

    async def _fetched(self, target: httpcore.URL, host: bytes) -> bytes:
        headers = [(b"Host", host), *_HEADERS]
        async with (
            httpcore.AsyncConnectionPool(network_backend=self._guard) as pool,
            pool.stream("GET", target, headers=headers, extensions={"timeout": _TIMEOUTS}) as response,
        ):
            _look_at(response)
            content = bytearray()
            async for portion in response.aiter_stream():
                content += portion
                if len(content) > BYTES_MAX:
                    raise SourceRefused("more than 10 MiB")
            return bytes(content)


def picture_of(content: bytes) -> Image.Image:
    """The picture, or the first of a moving one; bare ground becomes white. Raises ``SourceRefused``."""
    try:
        picture = unpacked(content, formats=FORMATS, pixels_max=PIXELS_MAX, side=SIDE_MAX)
        picture.thumbnail((SIDE_MAX, SIDE_MAX), Image.Resampling.LANCZOS)
        picture = upright(picture)
    except NotTaken as error:
        raise SourceRefused(str(error)) from error
    if picture.mode == "RGB":
        return picture
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


def _target(url: str) -> tuple[httpcore.URL, bytes]:
    """Where to go and which host to ask for there."""
    try:
        parsed = httpx.URL(url_of(url) or "")
    except httpx.InvalidURL:
        raise SourceRefused("not a url") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise SourceRefused("not a plain http or https url")
    target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return target, parsed.netloc


def _look_at(response: httpcore.Response) -> None:
    """Raises unless a file of a size we take is coming."""
    headers = {name.lower(): value for name, value in response.headers}
    if 300 <= response.status < 400:
        raise SourceRefused("a redirect")
    if response.status != 200:
        raise SourceUnavailable(f"status {response.status}")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        # It was asked not to be packed; what it would unpack to nobody knows.
        raise SourceRefused("a packed file")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > BYTES_MAX:
        raise SourceRefused("more than 10 MiB")

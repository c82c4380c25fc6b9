"""Source images: our own are read from storage, all others come from public addresses, and none is taken unseen."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias

import httpcore
import httpx
from PIL import Image

from mintage.application.ports import Files
from mintage.domain.urls import url_of
from mintage.infra.pictures import NotTaken, unpacked, upright

BYTES_MAX: Final = 10 * 1_048_576
PIXELS_MAX: Final = 50_000_000
SIDE_MAX: Final = 2048
"""What is larger is made smaller: nothing is painted beyond it."""
TOTAL_S: Final = 30.0
CONNECT_S: Final = 5.0
PORTS: Final = frozenset({80, 443})
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")

Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

# What Python calls global although it leads, or may lead, to somebody's inside: protocol assignments, relays and
# translations that carry an IPv4 address within, and the one public address that is a cloud's own (Azure).
_INSIDE: Final = tuple(
    map(
        ip_network,
        (
            *("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"),
            *("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16", "fec0::/10", "5f00::/16"),
        ),
    )
)
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
    """Fetches from public addresses; ``allowed`` networks and other ``ports`` are for tests, which have no others."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        allowed: Collection[Network] = (),
        ports: Collection[int] = PORTS,
        total_s: float = TOTAL_S,
    ) -> None:
        self._guard = Guard(resolve or addresses_of, allowed, ports)
        self._total_s = total_s

    async def fetch(self, url: str) -> bytes:
        """At most 10 MiB, as they are; no redirect is followed. Raises ``SourceUnavailable``, ``SourceRefused``."""
        target, host = _target(url)
        try:
            async with asyncio.timeout(self._total_s):
                return await self._fetched(target, host)
        except TimeoutError:
            raise SourceUnavailable(f"not there within {self._total_s} s") from None
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


class Guard(httpcore.AsyncNetworkBackend):
    """Resolves a name once and connects to the very addresses it has checked; all else keeps to the name.

    A name with one address inside is refused whatever its others are.
    """

    def __init__(self, resolve: Resolve, allowed: Collection[Network], ports: Collection[int]) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._ports = ports
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if port not in self._ports:
            raise SourceRefused(f"port {port}")
        addresses = await self._resolve(host, port)
        if not all(map(self._is_public, addresses)):
            raise SourceRefused("an address that is not public")
        failure: Exception = SourceUnavailable("no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _is_public(self, address: str) -> bool:
        ip = ip_address(address)
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if any(ip in network for network in self._allowed):
            return True
        inside = ip.is_multicast or ip.is_reserved or any(ip in network for network in _INSIDE)
        return ip.is_global and not inside


async def addresses_of(host: str, port: int) -> Sequence[str]:
    """What the system's resolver makes of a name, which may be a number in any notation."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceUnavailable("the name has no address") from error
    return [str(address[0]) for *_, address in found]


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

"""Connections to where strangers say: a name is looked up once, and only addresses that were checked are gone to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final, TypeAlias

import httpcore

from mintage.domain.addresses import is_public, plain

PORTS: Final = frozenset({80, 443})

Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

# Threads of their own: a stranger's name server that sleeps must not hold up whatever else runs in threads. And more of
# them than can be asleep at a time: a courier has 32 places and gives up on a name after 10 s, the system's resolver
# after some 30 s.
_RESOLVERS: Final = ThreadPoolExecutor(128, thread_name_prefix="resolver")


class NoAddress(httpcore.ConnectError):
    """The name leads nowhere."""


class NotPublic(Exception):
    """It leads to an address, or a port, that nobody from outside is to be led to."""


class Guard(httpcore.AsyncNetworkBackend):
    """Resolves a name once and connects to the very addresses it has checked; all else keeps to the name.

    A name with one address inside is refused whatever its others are. ``allowed`` networks and other ``ports`` are
    for tests, which have no others. What connects raises ``NotPublic``, beside what ``httpcore`` says it may.
    """

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        allowed: Collection[Network] = (),
        ports: Collection[int] = PORTS,
    ) -> None:
        self._resolve = resolve or addresses_of
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
            raise NotPublic(f"port {port}")
        addresses = await self._resolve(host, port)
        if not all(map(self._may_go, addresses)):
            raise NotPublic("an address that is not public")
        failure: Exception = NoAddress("the name has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _may_go(self, address: str) -> bool:
        ip = ip_address(plain(address))
        return any(ip in network for network in self._allowed) or is_public(address)


async def addresses_of(host: str, port: int) -> Sequence[str]:
    """What the system's resolver makes of a name, which may be a number in any notation."""

    def found() -> Sequence[str]:
        return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    try:
        return await asyncio.get_running_loop().run_in_executor(_RESOLVERS, found)
    except (OSError, UnicodeError) as error:
        raise NoAddress("the name has no address") from error

"""Connections to where strangers say: a name is looked up once, and only addresses that were checked are gone to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias

import httpcore

PORTS: Final = frozenset({80, 443})

Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_UNICAST: Final = ip_network("2000::/3")
"""All that IPv6 has of public addresses; translated and compatible IPv4 lies outside."""
# What Python calls global although it leads, or may lead, to somebody's inside: protocol assignments, relays and
# tunnels that carry an IPv4 address within, and the one public address that is a cloud's own (Azure). Documentation
# has a second IPv6 network that Pythons before 3.13 do not know.
_INSIDE: Final = tuple(
    map(
        ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2001::/23", "2002::/16", "3fff::/20"),
    )
)
# Threads of their own: a stranger's name server that sleeps must not hold up whatever else runs in threads.
_RESOLVERS: Final = ThreadPoolExecutor(8, thread_name_prefix="resolver")


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
        if not all(map(self._is_public, addresses)):
            raise NotPublic("an address that is not public")
        failure: Exception = httpcore.ConnectError("the name has no address")
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
        if isinstance(ip, IPv6Address) and ip not in _UNICAST:
            return False
        inside = ip.is_multicast or ip.is_reserved or any(ip in network for network in _INSIDE)
        return ip.is_global and not inside


async def addresses_of(host: str, port: int) -> Sequence[str]:
    """What the system's resolver makes of a name, which may be a number in any notation."""

    def found() -> Sequence[str]:
        return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    try:
        return await asyncio.get_running_loop().run_in_executor(_RESOLVERS, found)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the name has no address") from error

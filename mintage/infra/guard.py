"""Connections on somebody's word: a name is resolved once, and only the very addresses that were checked are used."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, TypeAlias

import httpcore

from mintage.domain.addresses import is_public, plain

Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]


class AddressRefused(Exception):
    """Nobody is sent there."""


class NoAddress(Exception):
    """The name leads nowhere."""


class Guard(httpcore.AsyncNetworkBackend):
    """Resolves a name once and connects to the very addresses it has checked; all else keeps to the name.

    A name with one address inside is refused whatever its others are. ``allowed`` networks are for tests, which have
    no public ones.
    """

    def __init__(self, resolve: Resolve | None, allowed: Collection[Network], ports: Collection[int]) -> None:
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
            raise AddressRefused(f"port {port}")
        addresses = await self._resolve(host, port)
        if not all(map(self._may_go, addresses)):
            raise AddressRefused("an address that is not public")
        failure: Exception = NoAddress("no address")
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
    """What the system's resolver makes of a name, which may be a number in any notation. Raises ``NoAddress``."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoAddress("the name has no address") from error
    return [str(address[0]) for *_, address in found]

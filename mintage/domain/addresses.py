"""Which IP addresses are public: nobody is sent to any other on somebody's word."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

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


def plain(address: str) -> str:
    """An address as it is meant: IPv4 written as IPv6 is IPv4. Raises ``ValueError`` for what is no address."""
    ip = ip_address(address)
    return str(ip.ipv4_mapped) if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None else str(ip)


def is_public(address: str) -> bool:
    """Raises ``ValueError`` for what is no address."""
    ip = ip_address(plain(address))
    if isinstance(ip, IPv6Address) and ip not in _UNICAST:
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _INSIDE))

"""The guard of connections goes to public addresses only, to those it checked, and keeps nobody waiting."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

import httpcore
import pytest

from mintage.infra.guard import Guard, NotPublic, addresses_of


def leading_to(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        *("::1", "::", "::7f00:1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1"),
        *("100::1", "2001::7f00:1", "2001:2::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "4000::1"),
        *("5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1"),
        *("0.0.0.0", "10.1.2.3", "100.100.100.200", "127.0.0.2", "168.63.129.16", "169.254.169.254", "172.31.0.1"),
        *("192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
    ],
)
async def test_no_inner_address_is_connected_to(address: str) -> None:
    with pytest.raises(NotPublic, match="not public"):
        await Guard(resolve=leading_to("1.1.1.1", address)).connect_tcp("name.example", 443, 0.01)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
async def test_a_public_address_is_connected_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    async def connect(_: object, host: str, *rest: object) -> None:
        tried.append(host)
        raise httpcore.ConnectError("no test goes out")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(httpcore.ConnectError):
        await Guard(resolve=leading_to(address)).connect_tcp("name.example", 443)
    assert tried == [address]


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 8080, 65_535])
async def test_other_ports_are_not_even_resolved_for(port: int) -> None:
    async def resolve(host: str, at: int) -> Sequence[str]:
        raise AssertionError("it was looked up")

    with pytest.raises(NotPublic, match=f"port {port}"):
        await Guard(resolve=resolve).connect_tcp("name.example", port)


async def test_no_socket_of_this_machine_is_connected_to() -> None:
    with pytest.raises(NotImplementedError):
        await Guard().connect_unix_socket("/run/docker.sock")


async def test_a_name_server_that_sleeps_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many names as couriers can leave asleep wait; other work in threads goes on, and so do other names."""
    awake = threading.Event()

    def sleep(*_: object, **__: object) -> list[object]:
        awake.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", sleep)
    waiting = [asyncio.create_task(addresses_of(f"{number}.example", 80)) for number in range(96)]
    await asyncio.sleep(0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("192.0.2.1", 80))])
    try:
        assert await asyncio.wait_for(addresses_of("awake.example", 80), 20) == ["192.0.2.1"]
        assert await asyncio.wait_for(asyncio.to_thread(lambda: not awake.is_set()), 20)
    finally:
        awake.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, httpcore.ConnectError) for outcome in outcomes)

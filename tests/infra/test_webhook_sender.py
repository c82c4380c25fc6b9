"""Messages leave for public https addresses only, in time, and follow nobody; whatever comes of it is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from mintage.infra.webhooks.sender import Answer, Sender
from tests.infra.receiver import HOST, LOOPBACK, leading_to, receiver, reply, sender, trust

REFUSED = Answer(error="address_refused")


async def test_the_very_bytes_arrive_at_the_name_and_path_with_the_headers() -> None:
    async with receiver() as there:
        answer = await sender().post(there.url("/a%20b?c=1"), b'{"a": 1}', {"webhook-id": "m"})
        assert answer == Answer(status=204)
    (got,) = there.got
    assert (got.path, got.body) == ("/a%20b?c=1", b'{"a": 1}')
    assert got.headers["host"] == f"{HOST}:{there.port}"
    assert (got.headers["content-type"], got.headers["webhook-id"]) == ("application/json", "m")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255"),
        *("::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::"),
    ],
)
async def test_a_name_that_leads_inside_is_not_gone_to(address: str) -> None:
    for found in ((address,), ("1.1.1.1", address)):
        assert await Sender(resolve=leading_to(*found)).post(f"https://{HOST}/", b"", {}) == REFUSED


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::1]"])
async def test_loopback_in_any_notation_is_not_gone_to(host: str) -> None:
    async with receiver() as there:
        assert await Sender(trust=trust()).post(f"https://{host}:{there.port}/", b"", {}) == REFUSED
    assert there.got == []


async def test_a_name_that_leads_elsewhere_the_second_time_is_gone_to_where_it_was_checked() -> None:
    """DNS rebinding: what was looked at is what is connected to, and nobody asks again in between."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ("127.0.0.1",) if len(asked) == 1 else ("169.254.169.254",)

    async with receiver() as there:
        one = sender(resolve=rebinding)
        assert await one.post(there.url(), b"", {}) == Answer(status=204)
        assert asked == [HOST]
        assert await one.post(there.url(), b"", {}) == REFUSED
    assert len(there.got) == 1


async def test_plain_http_is_not_spoken() -> None:
    async with receiver() as there:
        assert await sender().post(f"http://{HOST}:{there.port}/", b"", {}) == REFUSED
        assert there.got == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async with receiver() as there:
        there.answer = lambda _: reply(status, Location=there.url("/inside"))
        assert await sender().post(there.url(), b"", {}) == Answer(status=status)
    assert [got.path for got in there.got] == ["/hook"]


async def test_a_certificate_of_another_name_or_of_nobody_we_know_is_no_connection() -> None:
    async with receiver() as there:
        other = f"https://other.example:{there.port}/"
        assert await sender().post(other, b"", {}) == Answer(error="tls")
        known_to_nobody = Sender(resolve=leading_to("127.0.0.1"), allowed=LOOPBACK)
        assert await known_to_nobody.post(there.url(), b"", {}) == Answer(error="tls")
    assert there.got == []


async def test_who_does_not_answer_is_left_in_time() -> None:
    hung = asyncio.Event()

    async def hang() -> AsyncIterator[bytes]:
        await hung.wait()
        yield reply()

    async with receiver() as there:
        there.answer = lambda _: hang()
        assert await sender(total_s=0.2).post(there.url(), b"", {}) == Answer(error="timeout")
        hung.set()


async def test_who_drips_an_answer_is_left_in_time() -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"A: b\r\n"
            await asyncio.sleep(0.02)

    async with receiver() as there:
        there.answer = lambda _: drip()
        assert await sender(total_s=0.3).post(there.url(), b"", {}) == Answer(error="timeout")


async def test_of_an_answer_nothing_is_read_but_its_head() -> None:
    async with receiver() as there:
        there.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nsome"
        assert await sender().post(there.url(), b"", {}) == Answer(status=200)


async def test_a_head_without_end_is_no_answer() -> None:
    async with receiver() as there:
        there.answer = lambda _: b"HTTP/1.1 200 OK\r\nA: " + b"a" * 1_000_000
        assert await sender().post(there.url(), b"", {}) == Answer(error="connection")


async def test_who_is_not_there_is_told_apart() -> None:
    async with receiver() as there:
        url = there.url()
    assert await sender().post(url, b"", {}) == Answer(error="connection")
    assert await Sender().post("https://hooks.invalid/", b"", {}) == Answer(error="no_address")
    assert await sender(resolve=leading_to()).post(url, b"", {}) == Answer(error="no_address")


async def test_what_the_receiver_says_of_later_is_told() -> None:
    async with receiver() as there:
        there.answer = lambda _: reply(429, Retry_After="7")
        assert await sender().post(there.url(), b"", {}) == Answer(status=429, retry_after="7")

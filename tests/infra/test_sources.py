"""Source images come from public addresses only, in time, in bounds, and are images; every known way around is shut."""

import asyncio
import gzip
import io
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network

import pytest
from PIL import Image

from mintage.infra.guard import Guard, addresses_of
from mintage.infra.sources import (
    BYTES_MAX,
    SIDE_MAX,
    Fetcher,
    SourceRefused,
    Sources,
    SourceUnavailable,
    picture_of,
)

LOOPBACK = (ip_network("127.0.0.0/8"),)
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), mode: str = "RGB", **how: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "teal").save(file, kind, **how)
    return file.getvalue()


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@asynccontextmanager
async def server(answer: bytes | Answer) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback that gives everybody the same answer; its port, and the requests it got."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(requests[-1], writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], requests
    finally:
        listening.close()
        await listening.wait_closed()


def local(port: int, **how: float) -> Fetcher:
    """Like the real one, but it may go to this machine's own port."""
    return Fetcher(Guard(allowed=LOOPBACK, ports={port}), **how)


def leading_to(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def test_a_public_file_is_fetched_as_it_is() -> None:
    async with server(reply(picture())) as (port, requests):
        assert await local(port).fetch(f"http://127.0.0.1:{port}/a%20b.png?size=1") == picture()
    head = requests[0].decode()
    assert head.startswith("GET /a%20b.png?size=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head


async def test_the_connection_goes_to_the_address_checked_and_the_request_keeps_the_name() -> None:
    async with server(reply(picture())) as (port, requests):
        fetcher = Fetcher(Guard(resolve=leading_to("127.0.0.1"), allowed=LOOPBACK, ports={port}))
        assert await fetcher.fetch(f"http://pictures.example:{port}/x") == picture()
    assert f"Host: pictures.example:{port}\r\n".encode() in requests[0]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "localhost"),
        *("①②⑦.⓪.⓪.①", "127。0。0。1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
        *("10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[ff02::1]"),
        *("100.64.0.1", "100.100.100.200", "192.0.0.192", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1"),
        *("localhost.", "127.0.0.1.", "LOCALHOST", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "0x7f.1", "0:0", "[::ffff:169.254.169.254]"),
        *("[::ffff:0:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "[fe80::1%25lo]", "[fd20:ce::254]", "2852039166"),
        *("[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "168.63.129.16"),
    ],
)
async def test_no_way_leads_inside(host: str) -> None:
    with pytest.raises((SourceRefused, SourceUnavailable)) as refused:
        await Fetcher(Guard(), total_s=5.0).fetch(f"http://{host}/latest/meta-data/")
    # A notation that the system cannot read has no address; all others were refused for what they lead to.
    assert isinstance(refused.value, SourceRefused) or "no address" in str(refused.value)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "localhost"])
async def test_a_name_is_judged_by_what_it_resolves_to(host: str) -> None:
    assert set(await addresses_of(host, 80)) & {"127.0.0.1", "::1"}
    with pytest.raises(SourceRefused, match="not public"):
        await Fetcher(Guard()).fetch(f"http://{host}/")


@pytest.mark.parametrize("answers", [("1.1.1.1", "127.0.0.1"), ("10.0.0.1", "1.1.1.1"), ("2606:4700::1111", "::1")])
async def test_one_address_inside_is_enough(answers: tuple[str, ...]) -> None:
    with pytest.raises(SourceRefused, match="not public"):
        await Fetcher(Guard(resolve=leading_to(*answers))).fetch("https://rebinding.example/")


async def test_a_name_is_resolved_once() -> None:
    """Who answers the second question differently gets no second question."""
    questions = []
    async with server(reply(picture())) as (port, _):

        async def resolve(host: str, at: int) -> Sequence[str]:
            questions.append(host)
            return ("127.0.0.1",)

        await Fetcher(Guard(resolve=resolve, allowed=LOOPBACK, ports={port})).fetch(f"http://pictures.example:{port}/")
    assert questions == ["pictures.example"]


async def test_of_several_addresses_the_next_is_tried() -> None:
    async with server(reply(picture())) as (port, _):
        fetcher = Fetcher(Guard(resolve=leading_to("127.0.0.2", "127.0.0.1"), allowed=LOOPBACK, ports={port}))
        assert await fetcher.fetch(f"http://pictures.example:{port}/") == picture()


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "gopher://127.0.0.1:6379/_", "ftp://example.com/x", "data:image/png;base64,AAAA"),
        *("http://user@example.com/", "http://user:word@example.com/", "http://example.com\\@127.0.0.1/", "http:///x"),
        *("//example.com/x", "example.com", "", "http://exa mple.com/", "http://[::1/", "http://example.com:99999/"),
        *("https://example.com:22/", "http://example.com:6379/", "http://example.com:8080/"),
    ],
)
async def test_what_is_no_plain_web_address_goes_nowhere(url: str) -> None:
    with pytest.raises(SourceRefused):
        await Fetcher(Guard(resolve=leading_to("1.1.1.1"))).fetch(url)


async def test_a_host_behind_a_hash_is_not_visited() -> None:
    """http://public#@inside/ asks the public host, as every browser would."""
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ("127.0.0.1",)

    with pytest.raises(SourceRefused):
        await Fetcher(Guard(resolve=resolve)).fetch("http://public.example#@inside.example/")
    assert asked == ["public.example"]


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "304 Not Modified"])
async def test_no_redirect_is_followed(status: str) -> None:
    async with server(reply(status=status, Location="http://169.254.169.254/latest/meta-data/")) as (port, requests):
        with pytest.raises(SourceRefused, match="redirect"):
            await local(port).fetch(f"http://127.0.0.1:{port}/")
    assert len(requests) == 1


@pytest.mark.parametrize("status", ["404 Not Found", "500 Server Error", "204 No Content", "206 Partial Content"])
async def test_what_is_not_there_is_unavailable(status: str) -> None:
    async with server(reply(picture(), status=status)) as (port, _):
        with pytest.raises(SourceUnavailable, match="status"):
            await local(port).fetch(f"http://127.0.0.1:{port}/")


async def test_nobody_listens_or_knows_the_name() -> None:
    async with server(reply()) as (port, _):
        pass
    with pytest.raises(SourceUnavailable):
        await local(port).fetch(f"http://127.0.0.1:{port}/")
    with pytest.raises(SourceUnavailable, match="no address"):
        await Fetcher(Guard()).fetch("http://pictures.invalid/")
    with pytest.raises(SourceUnavailable):
        await Fetcher(Guard(resolve=leading_to())).fetch("http://pictures.example/")


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
async def test_a_broken_server_is_unavailable(answer: bytes) -> None:
    async with server(answer) as (port, _):
        with pytest.raises(SourceUnavailable):
            await local(port).fetch(f"http://127.0.0.1:{port}/")


async def test_a_server_without_a_certificate_for_its_name_is_unavailable() -> None:
    async with server(reply(picture())) as (port, _):
        with pytest.raises(SourceUnavailable):
            await local(port).fetch(f"https://127.0.0.1:{port}/")


async def test_a_slow_drip_ends_with_the_total_time() -> None:
    async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(drip) as (port, _):
        with pytest.raises(SourceUnavailable, match=r"within 0\.3 s"):
            await local(port, total_s=0.3).fetch(f"http://127.0.0.1:{port}/")


Lines = Sequence[bytes]


async def dripping(lines: Lines, writer: asyncio.StreamWriter) -> None:
    """Some lines, and the last one for ever."""
    for line in lines[:-1]:
        writer.write(line)
    while True:
        writer.write(lines[-1])
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "lines",
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: and so on\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5", b";extension"),
    ],
    ids=["headers", "hints", "chunks", "a chunk's head"],
)
async def test_whatever_drips_ends_with_the_total_time(lines: Lines) -> None:
    async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
        await dripping(lines, writer)

    async with server(drip) as (port, _):
        with pytest.raises(SourceUnavailable):
            await local(port, total_s=0.3).fetch(f"http://127.0.0.1:{port}/")


async def test_a_name_server_that_never_answers_ends_with_the_total_time() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(SourceUnavailable, match="within"):
        await Fetcher(Guard(resolve=resolve), total_s=0.2).fetch("http://slow.example/")


async def test_headers_without_end_are_cut_off() -> None:
    sent = 0

    async def pour(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while sent < BYTES_MAX:
            writer.write(b"X: " + b"x" * 65_000 + b"\r\n")
            await writer.drain()
            sent += 65_000

    async with server(pour) as (port, _):
        with pytest.raises(SourceUnavailable):
            await local(port).fetch(f"http://127.0.0.1:{port}/")
    assert sent < BYTES_MAX


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n: a\r\n\r\nabc",
        b"ICY 200 OK\r\n\r\nabc",
    ],
)
async def test_a_reply_that_can_be_read_in_two_ways_is_not_read(answer: bytes) -> None:
    async with server(answer) as (port, _):
        with pytest.raises(SourceUnavailable):
            await local(port).fetch(f"http://127.0.0.1:{port}/")


async def test_a_reply_ends_where_it_says() -> None:
    """What follows is no second reply: each fetch has a connection of its own."""
    smuggled = reply(b"abc") + reply(b"another")
    async with server(smuggled) as (port, requests):
        fetcher = local(port)
        assert [await fetcher.fetch(f"http://127.0.0.1:{port}/") for _ in range(2)] == [b"abc", b"abc"]
    assert len(requests) == 2


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(reply(picture())) as (port, _):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert await local(port).fetch(f"http://127.0.0.1:{port}/") == picture()


async def test_too_much_is_refused_before_it_is_read() -> None:
    async with server(reply(Content_Length=str(BYTES_MAX + 1))) as (port, _):
        with pytest.raises(SourceRefused, match="10 MiB"):
            await local(port).fetch(f"http://127.0.0.1:{port}/")


async def test_too_much_without_saying_so_is_cut_off() -> None:
    sent = 0

    async def pour(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        while sent < 10 * BYTES_MAX:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with server(pour) as (port, _):
        with pytest.raises(SourceRefused, match="10 MiB"):
            await local(port).fetch(f"http://127.0.0.1:{port}/")
    assert sent < 3 * BYTES_MAX


async def test_a_packed_file_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * (2 * BYTES_MAX))
    async with server(reply(bomb, Content_Encoding="gzip")) as (port, _):
        with pytest.raises(SourceRefused, match="packed"):
            await local(port).fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_four_kinds_of_picture_are_read(kind: str) -> None:
    found = picture_of(picture(kind))
    assert (found.mode, found.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, "JPEG" if mode == "CMYK" else "PNG")
    assert picture_of(file.getvalue()).mode == "RGB"


def test_bare_ground_is_white() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(file, "PNG")
    assert picture_of(file.getvalue()).getpixel((4, 4)) == (255, 255, 255)


def test_a_photo_taken_sideways_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert picture_of(picture("JPEG", (40, 30), exif=exif)).size == (30, 40)


def test_of_a_moving_picture_the_first_is_taken() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert picture_of(file.getvalue()).getpixel((4, 4)) == (255, 0, 0)


def test_what_is_larger_than_anything_painted_is_made_smaller() -> None:
    assert picture_of(picture("JPEG", (5000, 2500))).size == (SIDE_MAX, SIDE_MAX // 2)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it is as large as that."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8000, 8000), (10_000, 10_000), (50_000, 50_000)])
def test_an_image_bomb_is_not_unpacked(size: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        # In production Pillow's warning is only that.
        warnings.simplefilter("ignore")
        with pytest.raises(SourceRefused):
            picture_of(bomb(*size))


def test_of_a_picture_that_is_something_else_too_only_the_pixels_go_on() -> None:
    page = b"<script>alert(1)</script>"
    commented = picture("GIF", comment=page) + page
    found = picture_of(commented)
    assert page in commented
    written = io.BytesIO()
    found.save(written, "PNG")
    assert page not in written.getvalue()


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_what_a_picture_says_of_itself_is_not_unpacked_without_end(kind: bytes) -> None:
    whole = picture()
    packed = zlib.compress(b"\0" * 200_000_000, 9)
    found = whole[:33] + chunk(kind, b"x\0\0" + packed) + whole[33:]
    assert len(found) < BYTES_MAX
    tracemalloc.start()
    try:
        with suppress(SourceRefused):
            picture_of(found)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x89PNG\r\n\x1a\n", b"<html><script>alert(1)</script></html>", b"%PDF-1.7\n", b"\0" * 1000),
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
        picture("BMP"),
        picture("TIFF"),
        picture()[:-30],
    ],
)
def test_what_only_says_it_is_a_picture_is_refused(content: bytes) -> None:
    with pytest.raises(SourceRefused):
        picture_of(content)


class Shelf:
    """The part of ``Files`` that sources need."""

    def __init__(self, **files: bytes) -> None:
        self._files = files

    async def read(self, key: str) -> bytes | None:
        return self._files.get(key)


async def test_our_own_files_are_read_and_never_fetched() -> None:
    sources = Sources(Shelf(cat=picture()), Fetcher(Guard(resolve=leading_to("127.0.0.1"))))  # type: ignore[arg-type]
    assert (await sources.picture("https://mintage.test/files/cat", "cat")).size == (40, 30)
    with pytest.raises(SourceUnavailable, match="removed"):
        await sources.picture("https://mintage.test/files/dog", "dog")
    with pytest.raises(SourceRefused, match="not public"):
        await sources.picture("https://mintage.test/health", None)


async def test_others_are_fetched_and_looked_at() -> None:
    async with server(reply(b"<html></html>", Content_Type="image/png")) as (port, _):
        with pytest.raises(SourceRefused, match="not an image"):
            await Sources(Shelf(), local(port)).picture(f"http://127.0.0.1:{port}/x.png", None)  # type: ignore[arg-type]
    async with server(reply(picture("WEBP"), Content_Type="text/html")) as (port, _):
        found = await Sources(Shelf(), local(port)).picture(f"http://127.0.0.1:{port}/x", None)  # type: ignore[arg-type]
        assert found.size == (40, 30)

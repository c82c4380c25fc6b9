"""Files are served to who may see them, whole or in part, and to nobody from the moment they may not."""

import re
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from mintage.http import files
from mintage.http.files import span_of
from tests.conftest import Token
from tests.http.pictures import pictures


@pytest.fixture
async def owner(token: Token) -> dict[str, str]:
    return (await token())[1]


@pytest.fixture
async def work(client: httpx.AsyncClient, owner: dict[str, str]) -> dict[str, Any]:
    (made,) = await pictures(client, owner)
    return made


async def show(client: httpx.AsyncClient, owner: dict[str, str], work: dict[str, Any], is_public: bool) -> None:
    reply = await client.put(f"/api/v1/works/{work['id']}", json={"is_public": is_public}, headers=owner)
    assert reply.status_code == 200


async def test_a_private_file_takes_its_signature(client: httpx.AsyncClient, work: dict[str, Any]) -> None:
    url = work["result_url"]
    reply = await client.get(url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    kept = re.fullmatch(r"private, max-age=(\d+)", reply.headers["cache-control"])
    assert kept is not None
    # As long as the url is good, and no longer.
    assert 86_400 - 120 < int(kept[1]) <= 86_400
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"
    name = url.partition("?")[0].rpartition("/")[2]
    assert reply.headers["content-disposition"] == f'inline; filename="{name}"'
    assert len(reply.content) == int(reply.headers["content-length"]) == work["file_size"]
    bare = url.partition("?")[0]
    assert work["thumbnail_url"].partition("?")[0] != bare
    for wrong in (bare, url[:-1], f"{bare}?{work['thumbnail_url'].partition('?')[2]}", f"{url}&expires=9"):
        refused = await client.get(wrong)
        assert refused.status_code in {400, 403}, wrong
        assert refused.json()["error"] in {"FORBIDDEN", "VALIDATION_ERROR"}


async def test_a_published_file_takes_none_until_it_is_withdrawn(
    client: httpx.AsyncClient, owner: dict[str, str], work: dict[str, Any]
) -> None:
    await show(client, owner, work, is_public=True)
    shown = (await client.get(f"/api/v1/works/{work['id']}", headers=owner)).json()["data"]
    for url in (shown["result_url"], shown["thumbnail_url"]):
        assert "?" not in url
        reply = await client.get(url)
        assert (reply.status_code, reply.headers["cache-control"]) == (200, "public, max-age=300, must-revalidate")
        known = {"If-None-Match": reply.headers["etag"]}
        again = await client.get(url, headers=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", reply.headers["etag"])
        await show(client, owner, work, is_public=False)
        for headers in ({}, known):
            refused = await client.get(url, headers=headers)
            assert (refused.status_code, refused.json()["error"]) == (403, "FORBIDDEN")
        await show(client, owner, work, is_public=True)
    assert (await client.get(work["result_url"])).status_code == 200


async def test_what_is_not_there(client: httpx.AsyncClient, work: dict[str, Any]) -> None:
    other = work["result_url"].replace(work["uuid"], work["uuid"][::-1])
    paths = ("/files/x", "/files/", "/files/..%2Fsecrets%2Fmaster.key", "/files/avatars/x", "/files/%00", other)
    for path in paths:
        reply = await client.get(path)
        assert (reply.status_code, reply.json()["error"]) == (404, "NOT_FOUND"), path


async def test_head_is_get_without_the_file(client: httpx.AsyncClient, work: dict[str, Any]) -> None:
    whole, head = await client.get(work["result_url"]), await client.head(work["result_url"])
    assert (head.status_code, head.content, dict(head.headers)) == (200, b"", dict(whole.headers))
    # RFC 9110, 14.2: of a HEAD the range is ignored.
    for asked in ("bytes=0-9", "bytes=99999999-"):
        part = await client.head(work["result_url"], headers={"Range": asked})
        assert (part.status_code, part.content, dict(part.headers)) == (200, b"", dict(whole.headers))
    assert (await client.head(work["result_url"].partition("?")[0])).status_code == 403


async def test_a_part_of_a_file(
    client: httpx.AsyncClient, work: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several portions make even a small file.
    monkeypatch.setattr(files, "PORTION", 100)
    whole = await client.get(work["result_url"])
    size = work["file_size"]
    assert size > 300
    assert (len(whole.content), whole.headers["accept-ranges"]) == (size, "bytes")
    assert Image.open(BytesIO(whole.content)).size == (64, 64)
    for header, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=10-249", 10, 250),
        ("bytes=150-", 150, size),
        ("bytes=-20", size - 20, size),
        ("Bytes=3-5", 3, 6),
        (f"bytes=0-{size}", 0, size),
        (f"bytes=-{size + 1}", 0, size),
    ):
        part = await client.get(work["result_url"], headers={"Range": header})
        assert (part.status_code, part.content) == (206, whole.content[start:stop]), header
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
        assert part.headers["content-length"] == str(stop - start)
    for header in (f"bytes={size}-", "bytes=-0", f"bytes={size + 5}-{size + 9}"):
        none = await client.get(work["result_url"], headers={"Range": header})
        assert (none.status_code, none.content) == (416, b""), header
        assert none.headers["content-range"] == f"bytes */{size}"


async def test_who_has_a_part_of_another_version_gets_the_whole(
    client: httpx.AsyncClient, work: dict[str, Any]
) -> None:
    url, etag = work["result_url"], (await client.head(work["result_url"])).headers["etag"]
    for version, status, length in (
        (etag, 206, 10),
        ('"another"', 200, work["file_size"]),
        (f"W/{etag}", 200, work["file_size"]),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200, work["file_size"]),
        ("", 200, work["file_size"]),
    ):
        reply = await client.get(url, headers={"Range": "bytes=0-9", "If-Range": version})
        assert (reply.status_code, len(reply.content)) == (status, length), version
        assert ("content-range" in reply.headers) == (status == 206)


async def test_who_has_any_version_gets_none(client: httpx.AsyncClient, work: dict[str, Any]) -> None:
    etag = (await client.head(work["result_url"])).headers["etag"]
    for known, status in (("*", 304), (f'"another", W/{etag}', 304), ('"another"', 200), ('"*"', 200)):
        reply = await client.get(work["result_url"], headers={"If-None-Match": known})
        assert reply.status_code == status, known


async def test_who_insists_on_a_version_gets_that_or_none(client: httpx.AsyncClient, work: dict[str, Any]) -> None:
    etag = (await client.head(work["result_url"])).headers["etag"]
    for wanted, status in (
        ("*", 200),
        (etag, 200),
        (f'"another", {etag}', 200),
        ('"another"', 412),
        (f"W/{etag}", 412),
    ):
        reply = await client.get(work["result_url"], headers={"If-Match": wanted})
        assert reply.status_code == status, wanted
        assert bool(reply.content) == (status == 200)
    both = {"If-Match": '"another"', "If-None-Match": etag}
    assert (await client.get(work["result_url"], headers=both)).status_code == 412


async def test_who_has_it_is_not_told_of_its_parts(client: httpx.AsyncClient, work: dict[str, Any]) -> None:
    etag = (await client.head(work["result_url"])).headers["etag"]
    reply = await client.get(work["result_url"], headers={"If-None-Match": etag, "Range": "bytes=0-9"})
    assert (reply.status_code, reply.content) == (304, b"")
    assert {"content-length", "content-range"}.isdisjoint(reply.headers)


@pytest.mark.parametrize(
    "header", [None, b"", b"bytes=-", b"bytes=5-4", b"bytes=0-1,3-4", b"bytes=a-b", b"items=0-1", b"bytes=0-1 "]
)
def test_what_cannot_be_read_as_one_range_is_the_whole_file(header: bytes | None) -> None:
    assert span_of(header, 10) is None

"""A bucket that is down, slow, cut off or shut is not taken for an empty one, and nothing half-written is in it."""

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest

from mintage.application.transaction import Unavailable
from mintage.infra import bucket as buckets
from mintage.infra.bucket import BucketRefused, MediaBucket
from mintage.infra.s3 import Bucket
from mintage.infra.storage import in_filing
from tests.conftest import BASE_URL
from tests.s3 import Fault, Shop

WORK = "0199b1c0-0000-7000-8000-0000000000b1"
KEY = f"b1/{WORK}-1.png"
OTHER = f"b1/{WORK}-2.png"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("READ_S", "WRITE_S", "CONNECT_S"):
        monkeypatch.setattr(buckets, name, 0.5)
    monkeypatch.setattr(buckets, "RETRIES", 1)


@pytest.fixture
def bucket(s3: Shop) -> Bucket:
    return s3.bucket()


def opened(bucket: Bucket) -> MediaBucket:
    return MediaBucket(bucket, lambda: BASE_URL, b"k" * 32, lambda: datetime.now(UTC))


@pytest.mark.parametrize("fault", ["down", "slow"])
async def test_what_the_store_does_not_say_is_unavailable_and_not_missing(
    s3: Shop, bucket: Bucket, fault: Fault
) -> None:
    media = opened(bucket)
    media.write(KEY, b"0123456789")
    s3.fault = fault
    for asked in (
        media.stat(KEY),
        media.read(KEY),
        media.read(KEY, 2, 3),
        media.remove(KEY),
        media.remove_all_of(WORK),
    ):
        with pytest.raises(Unavailable):
            await asked
    with pytest.raises(Unavailable):
        await asyncio.to_thread(media.write, OTHER, b"x")
    s3.heal()
    assert await media.read(KEY) == b"0123456789"


async def test_half_a_reply_is_not_a_file(s3: Shop, bucket: Bucket) -> None:
    media = opened(bucket)
    media.write(KEY, b"0123456789")
    s3.fault = "cut"
    for asked in (media.read(KEY), media.read(KEY, 2, 6)):
        with pytest.raises(Unavailable):
            await asked


async def test_nobody_listens(s3: Shop, bucket: Bucket) -> None:
    media = opened(msgspec.structs.replace(bucket, endpoint="http://127.0.0.1:1"))
    with pytest.raises(Unavailable):
        await media.stat(KEY)
    with pytest.raises(Unavailable):
        await asyncio.to_thread(media.write, KEY, b"x")
    with pytest.raises(Unavailable):
        await media.check()


async def test_a_hiccup_is_gone_over_again(s3: Shop, bucket: Bucket) -> None:
    media = opened(bucket)
    first = threading.Lock()
    s3.fault = "down"
    s3.failing = lambda _: first.acquire(blocking=False)
    media.write(KEY, b"x")
    assert s3.held(bucket) == {KEY: b"x"}


@pytest.mark.parametrize("fault", ["down", "slow"])
async def test_a_write_that_failed_left_nothing(s3: Shop, bucket: Bucket, fault: Fault) -> None:
    """It goes over in one request, so there are no parts of a file that would lie about and be paid for."""
    media = opened(bucket)
    s3.requests.clear()
    s3.fault = fault
    with pytest.raises(Unavailable):
        await asyncio.to_thread(media.write, KEY, b"x" * 20_000_000)
    assert s3.held(bucket) == {}
    s3.heal()
    assert await media.stat(KEY) is None
    await asyncio.to_thread(media.write, KEY, b"y" * 20_000_000)
    assert {name: len(content) for name, content in s3.held(bucket).items()} == {KEY: 20_000_000}
    assert set(s3.requests) == {f"PUT /{bucket.name}/{KEY}", f"HEAD /{bucket.name}/{KEY}"}


@pytest.mark.parametrize("wrong", ["secret", "key_id"])
async def test_a_wrong_key_opens_nothing(s3: Shop, bucket: Bucket, wrong: str) -> None:
    right = opened(bucket)
    right.write(KEY, b"x")
    media = opened(msgspec.structs.replace(bucket, **{wrong: "not-the-right-one"}))
    with pytest.raises(BucketRefused, match="refuses the key"):
        await media.check()
    for asked in (media.stat(KEY), media.read(KEY), media.remove(KEY)):
        with pytest.raises(Unavailable):
            await asked
    assert s3.held(bucket) == {KEY: b"x"}


async def test_the_check_leaves_nothing_behind(s3: Shop, bucket: Bucket) -> None:
    await opened(bucket).check()
    assert s3.held(bucket) == {}


async def test_a_bucket_that_is_not_there_is_found_out(s3: Shop, bucket: Bucket) -> None:
    media = opened(msgspec.structs.replace(bucket, name="no-such-bucket"))
    with pytest.raises(BucketRefused, match="no such bucket"):
        await media.check()
    with pytest.raises(Unavailable):
        await asyncio.to_thread(media.write, KEY, b"x")


async def test_a_bucket_that_keeps_what_is_removed_is_refused(s3: Shop, bucket: Bucket) -> None:
    s3.keep_versions(bucket)
    with pytest.raises(BucketRefused, match="keeps versions"):
        await opened(bucket).check()


async def test_what_is_removed_is_no_longer_in_the_bucket(s3: Shop, bucket: Bucket) -> None:
    media = opened(bucket)
    media.write(KEY, b"x")
    media.write(OTHER, b"x")
    await media.remove(KEY)
    assert s3.held(bucket) == {OTHER: b"x"}
    await media.remove_all_of(WORK)
    assert s3.held(bucket) == {}


async def test_a_removal_that_is_refused_is_no_removal(s3: Shop, bucket: Bucket) -> None:
    """The store says 200 to several removals at once, and within that what became of each."""
    media = opened(bucket)
    media.write(KEY, b"x")
    s3.fault = "refuse"
    with pytest.raises(Unavailable):
        await media.remove(KEY)
    assert s3.held(bucket) == {KEY: b"x"}


async def test_everything_lies_below_the_prefix(s3: Shop, bucket: Bucket) -> None:
    """Several installations may share a bucket, and none sees or removes what is another's."""
    ours, theirs = (opened(msgspec.structs.replace(bucket, prefix=prefix)) for prefix in ("a/ours", "b"))
    for media in (ours, theirs):
        media.write(KEY, b"x")
    assert set(s3.held(bucket)) == {f"a/ours/{KEY}", f"b/{KEY}"}
    await ours.remove_all_of(WORK)
    assert set(s3.held(bucket)) == {f"b/{KEY}"}


async def test_nothing_but_the_settings_says_where_and_who(
    s3: Shop, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ENDPOINT", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "somebody-else"),
        ("AWS_SECRET_ACCESS_KEY", "another"),
        ("AWS_SESSION_TOKEN", "left-over"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_REGION", "elsewhere"),
        ("AWS_BUCKET", "another"),
    ):
        monkeypatch.setenv(name, value)
    await opened(bucket).check()


async def test_an_endpoint_of_the_buckets_own_is_asked_without_its_name(s3: Shop) -> None:
    """127.0.0.1 begins with the name of the bucket 127, which is all that this takes."""
    media = opened(s3.bucket(name="127"))
    s3.requests.clear()
    with suppress(Unavailable):
        await media.kept("b1/")
    assert s3.requests == ["GET /"]


async def test_a_store_that_hangs_holds_up_nobody_who_needs_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several workers have products to store: more than the system has threads for anything."""
    over = threading.Event()
    waiting = [asyncio.create_task(in_filing(over.wait, 30)) for _ in range(64)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: not over.is_set()), 20)
    finally:
        over.set()
        await asyncio.gather(*waiting)

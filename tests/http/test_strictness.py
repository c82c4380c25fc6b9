"""The small pure parts: languages, moments, bodies, query strings."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, Literal

import msgspec
import pytest

from mintage.domain.fields import InvalidFields, Reason
from mintage.http.bodies import Body
from mintage.http.languages import language_of
from mintage.http.queries import Query, id_of
from mintage.http.refusals import NoSuchPath
from mintage.http.times import whole


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh"),
        ("en", "en"),
        ("EN-gb", "en"),
        ("fr, en;q=0.5", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en;q=0.8, zh;q=0.9", "zh"),
        ("en, zh", "en"),
        ("zh;q=0, en;q=0.1", "en"),
        ("en;q=0", "zh"),
        ("en;q=nonsense", "zh"),
        ("*", "zh"),
        ("english", "zh"),
        (";;,=,", "zh"),
    ],
)
def test_language(header: str, language: str) -> None:
    assert language_of(header.encode()) == language


def test_moments_lose_their_fraction_and_their_zone() -> None:
    at = datetime(2024, 1, 1, 8, 0, 0, 999_999, timezone(timedelta(hours=8)))
    assert msgspec.json.encode(whole(at)) == b'"2024-01-01T00:00:00Z"'
    assert whole(at).tzinfo is UTC


class Sample(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=1, le=4)]
    text: Annotated[str, msgspec.Meta(max_length=3)] | None = None
    style: Literal["a", "b"] = "a"
    flag: bool = False
    free: dict[str, Any] = {}
    password: str = ""


SAMPLE = Body(Sample)


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (b"{}", {"count": Reason("required")}),
        (b'{"count":"1"}', {"count": Reason("type", expected="integer")}),
        (b'{"count":1.0}', {"count": Reason("type", expected="integer")}),
        (b'{"count":5}', {"count": Reason("between", low=1, high=4)}),
        (b'{"count":1,"text":"abcd"}', {"text": Reason("length", high=3)}),
        (b'{"count":1,"text":1}', {"text": Reason("type", expected="string")}),
        (b'{"count":1,"style":"c"}', {"style": Reason("one_of", choices=("a", "b"))}),
        (b'{"count":1,"flag":0}', {"flag": Reason("type", expected="boolean")}),
        (b'{"count":1,"free":[]}', {"free": Reason("type", expected="object")}),
        (b'{"count":1,"free":{"a":[{"b":"\\u0000"}]}}', {"free": Reason("control_characters")}),
        (b'{"count":1,"free":{"\\u0000":1}}', {"free": Reason("control_characters")}),
        (
            b'{"count":0,"style":1,"flag":null}',
            {
                "count": Reason("between", low=1, high=4),
                "style": Reason("one_of", choices=("a", "b")),
                "flag": Reason("type", expected="boolean"),
            },
        ),
        (b"[1]", {"body": Reason("type", expected="object")}),
        (b'{"count":1,}', {"body": Reason("type", expected="JSON")}),
    ],
)
def test_bodies_say_everything_that_is_wrong(raw: bytes, wrong: dict[str, Reason]) -> None:
    with pytest.raises(InvalidFields) as refused:
        SAMPLE.read(raw)
    assert refused.value.fields == wrong


@pytest.mark.parametrize(
    "raw",
    [
        b'{"count":1,"text":null,"unknown":[1.5,"\\u0000"]}',
        b'{"count":1,"text":"\\t\\n\\u000a"}',
        b'{"count":1,"password":"\\u0000"}',
        b'{"count":2,"count":1}',
    ],
)
def test_bodies_that_are_fine(raw: bytes) -> None:
    assert SAMPLE.read(raw).count == 1


@pytest.mark.parametrize("depth", [10, 100, 500, 900, 5_000, 200_000])
def test_depth_never_breaks_anything(depth: int) -> None:
    raw = b'{"count":1,"free":{"a":' + b"[" * depth + b'"\\u0000"' + b"]" * depth + b"}}"
    with pytest.raises(InvalidFields):
        SAMPLE.read(raw)


@pytest.mark.parametrize("text", ["1", "20", "1000000"])
def test_query_integers(text: str) -> None:
    assert Query(f"page={text}&other=1e3".encode()).integer("page", 1, 1, 1_000_000) == int(text)


def test_ids() -> None:
    assert id_of("42") == 42
    assert id_of("0190F0A0-0000-7000-8000-000000000000") == "0190f0a0-0000-7000-8000-000000000000"
    for text in ("", "0", "007", "-1", "+1", "１", "1" * 19, "0190f0a0000070008000000000000000", "{0190f0a0}"):
        with pytest.raises(NoSuchPath):
            id_of(text)

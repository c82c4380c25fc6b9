"""A service that judges prompts is asked as it is documented; while it does not answer, nothing is made unless told."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mintage.application.transaction import Unavailable
from mintage.infra import moderation as module
from mintage.infra.moderation import OpenAiModeration

PROMPT = "a canary 小猫"


class Judge:
    """A local server that answers ``/v1/moderations`` as OpenAI documents it, or as it is told to."""

    def __init__(self) -> None:
        self.flagged = False
        self.answer: bytes | None = None
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        lines = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        self.asked.append((head[0], headers, json.loads(body)))
        writer.write(_reply(200, _judged(self.flagged)) if self.answer is None else self.answer)
        await writer.drain()
        writer.close()


def _judged(*flagged: bool) -> bytes:
    results = [
        {"flagged": one, "categories": {"violence": one}, "category_scores": {"violence": 0.9}} for one in flagged
    ]
    return json.dumps({"id": "modr-1", "model": "omni-moderation-latest", "results": results}).encode()


def _reply(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def _packed(body: bytes) -> bytes:
    return _reply(200, gzip.compress(body)).replace(b"connection", b"content-encoding: gzip\r\nconnection", 1)


@asynccontextmanager
async def asking(judge: Judge, *, required: bool = True, key: str = "sk-canary") -> AsyncIterator[OpenAiModeration]:
    server = await asyncio.start_server(judge.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    service = OpenAiModeration(f"http://127.0.0.1:{port}/", key, required=required)
    try:
        yield service
    finally:
        await service.close()
        server.close()
        await server.wait_closed()


async def refuses(service: OpenAiModeration, prompt: str = PROMPT) -> bool:
    return await service.refuses(prompt, "a dog", task_type="text2img", user_id="ann")


@pytest.mark.parametrize("flagged", [True, False])
async def test_it_is_asked_as_documented_and_believed(flagged: bool) -> None:
    judge = Judge()
    judge.flagged = flagged
    async with asking(judge) as service:
        assert await refuses(service) is flagged
    ((line, headers, body),) = judge.asked
    assert line == "POST /v1/moderations HTTP/1.1"
    assert headers["authorization"] == "Bearer sk-canary"
    # Nothing of the person, and nothing else that they sent.
    assert body == {"model": "omni-moderation-latest", "input": PROMPT}


async def test_without_a_prompt_or_a_key_there_is_nothing_to_send() -> None:
    judge = Judge()
    async with asking(judge, key="") as service:
        assert not await refuses(service, "")
        assert judge.asked == []
        assert not await refuses(service)
    assert "authorization" not in judge.asked[0][1]


@pytest.mark.parametrize(
    "answer",
    [
        _reply(500, b"{}"),
        _reply(429, b"{}"),
        _reply(401, _judged(False)),
        _reply(302, b""),
        _reply(200, b""),
        _reply(200, b"not JSON"),
        _reply(200, b"\xff"),
        _reply(200, b"{}"),
        _reply(200, _judged()),
        _reply(200, b'{"results": [{"flagged": "no"}]}'),
        _reply(200, _judged(False) + b" " * module.REPLY_MAX),
        _packed(_judged(False)),
        b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{",
        b"",
    ],
)
async def test_no_answer_is_no_permission(answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mintage")
    judge = Judge()
    judge.answer = answer
    async with asking(judge) as service:
        with pytest.raises(Unavailable) as unavailable:
            await refuses(service)
    async with asking(judge, required=False) as service:
        assert not await refuses(service)
    assert len([record for record in caplog.records if record.name == module.__name__]) == 2
    for secret in ("canary", "小猫"):
        assert secret not in caplog.text + str(unavailable.value)


async def test_it_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    silent = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await silent.wait()
        writer.close()

    judge = Judge()
    judge.serve = say_nothing  # type: ignore[method-assign]
    async with asking(judge) as service:
        with pytest.raises(Unavailable):
            await refuses(service)
        silent.set()


async def test_who_answers_byte_by_byte_is_not_waited_for_either(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_reply(200, b" " * 100_000)[:-100_000])
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            gone.set()

    judge = Judge()
    judge.serve = trickle  # type: ignore[method-assign]
    # httpx goes on waiting for five seconds after each byte.
    async with asking(judge) as service:
        monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable):
                await refuses(service)
            await gone.wait()

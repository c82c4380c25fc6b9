"""Every refusal has an answer, in both documents and both languages; what is not foreseen tells nothing."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import get_args

import httpx
import pytest

import mintage
from mintage.application.services import Services
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.credits.decider import HoldExists
from mintage.domain.decider import Refusal
from mintage.domain.fields import Reason, Rule
from mintage.http import messages
from mintage.http.app import create_app
from mintage.http.failures import ANSWERS, problem_of
from mintage.http.languages import LANGUAGES, Text
from tests.conftest import BASE_URL, Token

USE = {"amount": 1, "description": "x"}

SERVER_STATUSES = {
    "INVALID_CREDENTIALS": 401,
    "UNAUTHORIZED": 401,
    "EMAIL_NOT_VERIFIED": 403,
    "FORBIDDEN": 403,
    "USER_NOT_FOUND": 404,
    "CONTENT_REFUSED": 400,
    "INVALID_VERIFICATION_CODE": 400,
    "VALIDATION_ERROR": 400,
    "INSUFFICIENT_CREDITS": 402,
    "NOT_FOUND": 404,
    "EMAIL_ALREADY_EXISTS": 409,
    "CONFLICT": 409,
    "IDEMPOTENCY_KEY_REUSED": 409,
    "RATE_LIMITED": 429,
    "GENERATION_FAILED": 502,
    "INTERNAL_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}


def refusals(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for one in kind.__subclasses__():
        yield one
        yield from refusals(one)


def test_every_refusal_of_the_program_has_an_answer() -> None:
    for module in pkgutil.walk_packages(mintage.__path__, "mintage."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {one for one in refusals() if one.__module__.startswith("mintage.")}
    assert ours - set(ANSWERS) == set()


def test_a_hold_id_that_was_used_is_a_conflict_and_no_mistake_of_ours() -> None:
    assert problem_of(HoldExists(), "en", ()).answer.error == "CONFLICT"


def test_the_statuses_are_those_of_the_documents() -> None:
    for answer in ANSWERS.values():
        assert answer.status == SERVER_STATUSES[answer.error]
        assert answer.v1 in {400, 401, 403, 404, 429, 500, 503}


def test_every_message_is_there_in_both_languages() -> None:
    for name, text in vars(messages).items():
        if isinstance(text, Text):
            assert text.zh, name
            assert text.en.isascii(), name
    for rule in get_args(Rule):
        for language in LANGUAGES:
            assert "{" not in messages.sentence(Reason(rule, low=1, high=2, choices=("a",)), language)


class Broken(Exception):
    pass


class Away(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Unavailable("full", 3), 503, "3"),
        (OutcomeUnknown("?"), 503, "1"),
        (Away("gone"), 503, "1"),
        (Broken("secret"), 500, None),
    ],
)
async def test_when_we_fail(
    services: Services,
    token: Token,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    retry_after: str | None,
) -> None:
    _, me = await token()

    async def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(services.ledger, "consume", fails)
    monkeypatch.setattr(services.people, "known", fails)
    transport = httpx.ASGITransport(app=create_app(services, unavailable=(Away,)), raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        server = await client.post("/api/credits/consume", json=USE, headers=me)
        v1 = await client.get("/api/v1/auth/me", headers=me)
    assert server.status_code == v1.status_code == v1.json()["code"] == status
    assert server.headers.get("Retry-After") == v1.headers.get("Retry-After") == retry_after
    if status == 500:
        details = server.json()["details"]
        assert list(details) == ["request_id"]
        assert re.fullmatch("[0-9a-f]{16}", details["request_id"])
        assert details["request_id"] in caplog.text
        assert "secret" not in server.text + v1.text
        assert "secret" in caplog.text
        assert (server.json()["message"], v1.json()["message"]) == ("服务器内部错误", "服务器错误")

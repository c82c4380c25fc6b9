"""What every adapter promises the pipeline, whichever protocol it speaks."""

import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mintage.application.providers import FateUnknown, JobMissing, JobRefused, NotSent, Provider, Running, Unreachable
from mintage.infra.providers import wire
from tests.conftest import until
from tests.providers.cases import CASES, Case, finished, job_of, nobody_told, provider
from tests.providers.comfyui import ComfyUiServer
from tests.providers.server import KEY, Answer, ProviderServer, told
from tests.providers.stability import StabilityServer

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
RUNNING_ON = pytest.mark.parametrize("case", [case for case in CASES if case.runs_on], ids=lambda case: case.kind)


class NobodyWaits(Exception):
    pass


def closed(server: ProviderServer) -> Callable[[], Awaitable[bool]]:
    async def all_are() -> bool:
        return server.talks == 0

    return all_are


@EVERY
class TestCreate:
    async def test_a_job_comes_out_whole(self, case: Case, server: ProviderServer, adapter: Provider) -> None:
        job = job_of(case)
        products = (await finished(adapter, job)).products
        assert len(products) == job.count
        assert all(products)
        assert len(set(products)) == job.count
        assert server.created == 1

    async def test_what_follows_goes_over_the_same_connection(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        await finished(adapter, job_of(case))
        await finished(adapter, job_of(case, job_id="0199a1b2-0000-7000-8000-00000000002b"))
        assert len(server.requests) > 1
        assert server.connections == 1

    async def test_a_connection_that_was_closed_meanwhile_is_not_used_for_a_create(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        server.curt = True
        for _ in range(3):
            await adapter.create(job_of(case), nobody_told)
            await until(closed(server))
        assert server.created == 3

    async def test_progress_is_told_from_0_to_1_and_never_falls(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        steps: list[float] = []
        outcome = await adapter.create(job_of(case), steps.append)
        while isinstance(outcome, Running):
            if outcome.progress is not None:
                steps.append(outcome.progress)
            outcome = await adapter.poll(job_of(case), outcome.provider_job)
        assert steps[0] == 0.0
        assert steps == sorted(steps)
        assert max(steps) <= 1.0

    async def test_nothing_is_sent_for_whom_nobody_waits(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        def gone(_: float) -> None:
            raise NobodyWaits

        with pytest.raises(NobodyWaits):
            await adapter.create(job_of(case), gone)
        assert not server.requests

    async def test_where_nobody_listens_nothing_was_sent(self, case: Case, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with provider(case, f"http://127.0.0.1:{port}", tmp_path) as adapter:
            with pytest.raises(NotSent) as refused:
                await adapter.create(job_of(case), nobody_told)
        assert refused.value.retry_in_s is None

    @pytest.mark.parametrize("mishap", ["reset", "hangup", "cut"])
    async def test_what_was_accepted_before_the_connection_broke_is_not_known_and_not_sent_again(
        self, case: Case, server: ProviderServer, adapter: Provider, mishap: Any
    ) -> None:
        server.fail("POST", case.create, mishap, handled=True)
        with pytest.raises(FateUnknown):
            await adapter.create(job_of(case), nobody_told)
        assert server.created == 1
        assert len(server.asked("POST", case.create)) == 1

    @pytest.mark.parametrize("mishap", ["reset", "hangup"])
    async def test_a_connection_that_breaks_before_anything_is_accepted_looks_the_same(
        self, case: Case, server: ProviderServer, adapter: Provider, mishap: Any
    ) -> None:
        server.fail("POST", case.create, mishap)
        with pytest.raises(FateUnknown):
            await adapter.create(job_of(case), nobody_told)
        assert server.created == 0

    async def test_an_answer_that_does_not_come_in_time_leaves_the_fate_unknown(
        self, case: Case, server: ProviderServer, tmp_path: Path
    ) -> None:
        server.fail("POST", case.create, "silence", handled=True)
        async with provider(case, server.url, tmp_path, timeout_s=0.3) as adapter:
            with pytest.raises(FateUnknown):
                await adapter.create(job_of(case), nobody_told)
        assert server.created == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520])
    async def test_a_gateway_in_error_leaves_the_fate_unknown(
        self, case: Case, server: ProviderServer, adapter: Provider, status: int
    ) -> None:
        page = Answer(status, b"<html>a kitten in a garden</html>", {"content-type": "text/html"})
        server.fail("POST", case.create, page, handled=True)
        with pytest.raises(FateUnknown):
            await adapter.create(job_of(case), nobody_told)
        assert len(server.asked("POST", case.create)) == 1

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(200, b"<html>done</html>", {"content-type": "text/html"}),
            Answer(200, b"", {"content-type": "application/json"}),
            Answer(200, b"[" * 100_000, {"content-type": "application/json"}),
            Answer(200, b'{"id": "\xff"}', {"content-type": "application/json"}),
            Answer(200, b"\x1f\x8b", {"content-type": "application/json", "content-encoding": "gzip"}),
        ],
        ids=["page", "empty", "nested without end", "no UTF-8", "packed"],
    )
    async def test_an_answer_that_cannot_be_read_leaves_the_fate_unknown(
        self, case: Case, server: ProviderServer, adapter: Provider, answer: Answer
    ) -> None:
        server.fail("POST", case.create, answer, handled=True)
        with pytest.raises(FateUnknown):
            await adapter.create(job_of(case), nobody_told)

    async def test_an_answer_without_end_is_not_read_to_its_end(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        server.fail("POST", case.create, "endless", handled=True)
        with pytest.raises(FateUnknown, match="more than"):
            await adapter.create(job_of(case), nobody_told)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "7"}, 7.0),
            ({"retry-after-ms": "2500", "retry-after": "9"}, 2.5),
            ({"retry-after": "999999"}, wire.RETRY_MAX_S),
            ({"retry-after": "-3"}, 0.0),
            ({"retry-after": "Thu, 01 Jan 2026 00:00:20 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 20.0),
        ],
        ids=["seconds", "milliseconds first", "too long", "below zero", "a date, by its own clock"],
    )
    async def test_too_many_requests_is_not_sent_and_says_when_to_come_back(
        self, case: Case, server: ProviderServer, adapter: Provider, headers: dict[str, str], seconds: float
    ) -> None:
        server.fail("POST", case.create, Answer(429, b"{}", headers))
        with pytest.raises(NotSent) as refused:
            await adapter.create(job_of(case), nobody_told)
        assert refused.value.retry_in_s == seconds
        assert (await finished(adapter, job_of(case))).products, "and the same job may be sent again"
        assert server.created == 1

    async def test_a_date_to_come_back_is_reckoned_by_our_clock_where_the_provider_shows_none(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        later = format_datetime(datetime.now(UTC) + timedelta(hours=5), usegmt=True)
        server.fail("POST", case.create, Answer(429, b"{}", {"retry-after": later, "date": "yesterday"}))
        with pytest.raises(NotSent):
            await adapter.create(job_of(case), nobody_told)

    @pytest.mark.parametrize("value", ["soon", "nan", "inf", ""])
    async def test_a_pause_that_cannot_be_read_is_none(
        self, case: Case, server: ProviderServer, adapter: Provider, value: str
    ) -> None:
        server.fail("POST", case.create, Answer(429, b"not even JSON", {"retry-after": value}))
        with pytest.raises(NotSent) as refused:
            await adapter.create(job_of(case), nobody_told)
        # Stability's pause is known although it does not say it.
        assert refused.value.retry_in_s == (60.0 if case.server is StabilityServer else None)

    @pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 301, 307])
    async def test_our_account_and_our_address_are_the_providers_matter(
        self, case: Case, server: ProviderServer, adapter: Provider, status: int
    ) -> None:
        elsewhere = {"location": f"{server.url}/elsewhere"}
        server.fail("POST", case.create, Answer(status, b"{}", elsewhere))
        with pytest.raises(JobRefused) as refused:
            await adapter.create(job_of(case), nobody_told)
        assert (refused.value.blame, refused.value.code) == ("provider", f"http_{status}")
        assert len(server.requests) == 1, "no redirect is followed"

    @pytest.mark.parametrize("status", [400, 413, 422])
    async def test_what_is_wrong_with_the_request_is_not_tried_again(
        self, case: Case, server: ProviderServer, adapter: Provider, status: int
    ) -> None:
        server.fail("POST", case.create, Answer(status, b'{"error": "a kitten in a garden"}'))
        with pytest.raises(JobRefused) as refused:
            await adapter.create(job_of(case), nobody_told)
        # A workflow of ComfyUI is the operator's own.
        assert refused.value.blame == ("provider" if case.server is ComfyUiServer else "user")

    async def test_a_refusal_counts_although_its_body_breaks_off_or_is_long(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        server.fail("POST", case.create, Answer(429, b"{", {"content-length": "9", "retry-after": "3"}))
        server.fail("POST", case.create, Answer(400, b"x" * 8_000_000))
        with pytest.raises(NotSent) as later:
            await adapter.create(job_of(case), nobody_told)
        assert later.value.retry_in_s == 3.0
        with pytest.raises(JobRefused):
            await adapter.create(job_of(case), nobody_told)

    async def test_what_the_provider_writes_reaches_no_message_and_the_key_no_log(
        self, case: Case, server: ProviderServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        said: list[str] = []
        async with provider(case, server.url, tmp_path, key=f"{KEY}-but-wrong") as adapter:
            body = told({"error": {"message": f"{KEY} a kitten", "code": f"{KEY} a kitten"}, "name": "a kitten"}, 400)
            answers: list[Any] = [
                body,
                told({"detail": f"a kitten {KEY}"}, 503),
                Answer(429, b"a kitten"),
                "reset",
                "cut",
            ]
            for answer in answers:
                server.fail("POST", case.create, answer)
                with pytest.raises((NotSent, FateUnknown, JobRefused)) as refused:
                    await adapter.create(job_of(case), nobody_told)
                said.append(f"{refused.value!r} {refused.value.__cause__!r} {refused.value.__dict__}")
        assert said
        assert not [text for text in said if KEY in text or "kitten" in text]
        assert KEY not in caplog.text

    async def test_of_the_customer_nothing_is_sent_but_what_tells_them_apart(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        await finished(adapter, job_of(case))
        sent = server.asked("POST", case.create)[0]
        named = case.job.customer.encode() in sent.body or case.job.customer in sent.headers.values()
        assert named == (case.kind in {"openai-images", "stability"}), "only where there is a field for it"
        assert sent.headers["user-agent"] == "mintage"

    async def test_no_proxy_of_the_environment_comes_between(
        self, case: Case, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with provider(case, server.url, tmp_path) as adapter:
            assert (await finished(adapter, job_of(case))).products

    async def test_what_it_does_not_do_it_says_it_does_not(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        assert (adapter.cancels, adapter.finds) == (
            case.kind in {"comfyui", "replicate"},
            case.kind == "comfyui",
        )
        assert not adapter.repeats
        if not adapter.cancels:
            with pytest.raises(NotImplementedError):
                await adapter.cancel("any")
        if not adapter.finds:
            with pytest.raises(NotImplementedError):
                await adapter.find(job_of(case))
        assert not server.requests


@RUNNING_ON
class TestPoll:
    @pytest.fixture
    async def running(self, case: Case, server: ProviderServer, adapter: Provider) -> str:
        outcome = await adapter.create(job_of(case), nobody_told)
        assert isinstance(outcome, Running)
        return outcome.provider_job

    @pytest.mark.parametrize(
        "what",
        [
            "reset",
            "hangup",
            "cut",
            "endless",
            *(Answer(status, b"{}") for status in (301, 400, 401, 403, 408, 409, 425, 429, 500, 502, 503)),
            Answer(200, b"<html>a moment</html>"),
            Answer(200, b"[]"),
            Answer(200, b""),
        ],
        ids=lambda what: what if isinstance(what, str) else f"{what.status} {what.body[:6]!r}",
    )
    async def test_what_says_nothing_of_the_job_is_asked_again(
        self, case: Case, server: ProviderServer, adapter: Provider, running: str, what: Any
    ) -> None:
        server.fail("GET", case.poll or "", what)
        with pytest.raises(Unreachable):
            await adapter.poll(job_of(case), running)
        assert isinstance(await adapter.poll(job_of(case), running), Running)
        assert server.created == 1

    async def test_silence_says_nothing_of_the_job_either(
        self, case: Case, server: ProviderServer, running: str, tmp_path: Path
    ) -> None:
        server.fail("GET", case.poll or "", "silence")
        async with provider(case, server.url, tmp_path, timeout_s=0.3) as adapter:
            with pytest.raises(Unreachable):
                await adapter.poll(job_of(case), running)

    async def test_a_server_that_is_away_says_nothing_of_the_job_either(
        self, case: Case, running: str, tmp_path: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with provider(case, f"http://127.0.0.1:{port}", tmp_path) as adapter:
            with pytest.raises(Unreachable):
                await adapter.poll(job_of(case), running)

    async def test_a_pause_that_is_asked_for_is_passed_on(
        self, case: Case, server: ProviderServer, adapter: Provider, running: str
    ) -> None:
        server.fail("GET", case.poll or "", Answer(429, b"{}", {"retry-after": "11"}))
        with pytest.raises(Unreachable) as away:
            await adapter.poll(job_of(case), running)
        assert away.value.retry_in_s == 11.0

    async def test_a_job_that_is_not_known_is_missing(
        self, case: Case, server: ProviderServer, adapter: Provider
    ) -> None:
        with pytest.raises(JobMissing):
            await adapter.poll(job_of(case), "0199a1b2-0000-7000-8000-0000000000ff")

    async def test_a_job_is_followed_by_a_process_that_did_not_create_it(
        self, case: Case, server: ProviderServer, running: str, tmp_path: Path
    ) -> None:
        async with provider(case, server.url, tmp_path) as other:
            outcome = await other.poll(job_of(case), running)
            while isinstance(outcome, Running):
                assert outcome.provider_job == running
                outcome = await other.poll(job_of(case), running)
        assert all(outcome.products)
        assert server.created == 1

    async def test_an_id_cannot_lead_elsewhere(self, case: Case, server: ProviderServer, adapter: Provider) -> None:
        with pytest.raises((JobMissing, Unreachable)):
            await adapter.poll(job_of(case), "a/../../files?x=1#y")
        assert server.requests
        for request in server.requests:
            assert ".." not in request.target.split("/")
            assert "?" not in request.target


def test_the_cases_cover_every_protocol_of_the_catalogue() -> None:
    from mintage.application.catalogue import Source

    kinds = msgspec.inspect.type_info(Source)
    assert isinstance(kinds, msgspec.inspect.StructType)
    literal = next(field.type for field in kinds.fields if field.name == "kind")
    assert isinstance(literal, msgspec.inspect.LiteralType)
    assert {case.kind for case in CASES} == set(literal.values)

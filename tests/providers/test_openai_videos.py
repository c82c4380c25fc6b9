"""Films by the protocol of ``/v1/videos``: what gateways make of it is understood, and no unknown word is an end."""

from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from mintage.application.providers import Finished, JobMissing, JobRefused, Provider, Running, Unreachable
from tests.providers.cases import FILMS, finished, job_of, nobody_told, provider
from tests.providers.openai import OpenAiVideosServer, moderated
from tests.providers.server import KEY, Answer, filmed, painted, told

pytestmark = pytest.mark.parametrize("case", [FILMS], ids=["openai-videos"])


async def running(adapter: Provider) -> str:
    outcome = await adapter.create(job_of(FILMS), nobody_told)
    assert isinstance(outcome, Running)
    return outcome.provider_job


async def test_a_film_is_asked_for_with_its_length_as_a_text(server: OpenAiVideosServer, adapter: Provider) -> None:
    await finished(adapter, job_of(FILMS, negative_prompt="dogs"))
    assert server.requests[0].json() == {
        "model": "sora-2",
        "prompt": "a kitten in a garden\nAvoid: dogs",
        "size": "1280x720",
        "seconds": "8",
    }


@pytest.mark.parametrize(
    ("duration", "seconds"), [(None, "4"), (1, "4"), (4, "4"), (5, "8"), (8, "8"), (9, "12"), (12, "12"), (20, "12")]
)
async def test_nobody_gets_less_film_than_was_asked_for_if_there_is_as_much(
    server: OpenAiVideosServer, adapter: Provider, duration: int | None, seconds: str
) -> None:
    await adapter.create(job_of(FILMS, parameters={} if duration is None else {"duration": duration}), nobody_told)
    assert server.requests[0].json()["seconds"] == seconds


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({}, "1280x720"),
        ({"aspect_ratio": "9:16"}, "720x1280"),
        ({"resolution": "1080p", "aspect_ratio": "16:9"}, "1920x1080"),
        ({"resolution": "480p", "aspect_ratio": "16:9"}, "1280x720"),
        ({"resolution": "1080p", "aspect_ratio": "9:16"}, "720x1280"),
        ({"resolution": "wide"}, "1280x720"),
    ],
)
async def test_the_size_is_the_nearest_in_shape_then_in_resolution(
    server: OpenAiVideosServer, tmp_path: Path, parameters: Any, size: str
) -> None:
    sizes = ["1280x720", "720x1280", "1920x1080"]
    # The server takes two of them; here only what it is asked counts.
    server.fail("POST", FILMS.create, told({"id": "video_1", "status": "queued"}))
    async with provider(FILMS, server.url, tmp_path, sizes=sizes) as adapter:
        await adapter.create(job_of(FILMS, parameters=parameters), nobody_told)
    assert server.requests[0].json()["size"] == size


async def test_a_source_is_cut_to_the_size_of_the_film_and_says_which_way_up_it_is(
    server: OpenAiVideosServer, adapter: Provider
) -> None:
    job = job_of(FILMS, task_type="img2video", source=painted(2, (300, 500)), parameters={"duration": 4})
    assert (await finished(adapter, job)).products == (filmed(),)
    parts = server.requests[0].form()
    assert (parts["size"].value, parts["seconds"].value) == (b"720x1280", b"4")
    assert Image.open(BytesIO(parts["input_reference"].value)).size == (720, 1280)


async def test_it_says_how_far_it_is_and_when_to_ask_again(server: OpenAiVideosServer, adapter: Provider) -> None:
    name = await running(adapter)
    outcome = await adapter.poll(job_of(FILMS), name)
    assert outcome == Running(name, 0.33, 1.5)


@pytest.mark.parametrize("wait", [None, "soon", "nan"])
async def test_without_a_word_about_it_the_pause_is_ours(
    server: OpenAiVideosServer, adapter: Provider, wait: str | None
) -> None:
    server.wait_ms = wait
    outcome = await adapter.create(job_of(FILMS), nobody_told)
    assert isinstance(outcome, Running)
    assert outcome.again_in_s is None


@pytest.mark.parametrize(
    ("progress", "understood"),
    [("30%", 0.3), (30, 0.3), (30.5, 0.305), (250, 1.0), (-1, 0.0), (None, None), ("", None)],
)
async def test_progress_comes_in_many_forms(
    server: OpenAiVideosServer, adapter: Provider, progress: Any, understood: float | None
) -> None:
    server.fail("GET", "/v1/videos/", told({"id": "video_1", "status": "in_progress", "progress": progress}))
    outcome = await adapter.poll(job_of(FILMS), "video_1")
    assert isinstance(outcome, Running)
    assert outcome.progress == understood


@pytest.mark.parametrize("status", ["pending", "not_start", "unknown", "dreaming", "RUNNING", "", None, 7])
async def test_a_word_that_nobody_knows_is_no_end(server: OpenAiVideosServer, adapter: Provider, status: Any) -> None:
    name = await running(adapter)
    server.fail("GET", "/v1/videos/", told({"id": name, "status": status}))
    assert isinstance(await adapter.poll(job_of(FILMS), name), Running)


@pytest.mark.parametrize("status", ["completed", "complete", "SUCCESS", "succeeded", "finished"])
async def test_an_end_has_many_names(server: OpenAiVideosServer, adapter: Provider, status: str) -> None:
    server.done = status
    assert (await finished(adapter, job_of(FILMS))).products == (filmed(),)


async def test_a_gateway_may_call_its_id_otherwise_or_give_a_number(
    server: OpenAiVideosServer, adapter: Provider
) -> None:
    server.id_field = "task_id"
    assert await running(adapter) == "video_1"
    server.fail("POST", FILMS.create, told({"id": 42, "status": "submitted"}))
    assert await running(adapter) == "42"


@pytest.mark.parametrize("status", ["failed", "failure", "error", "cancelled", "canceled"])
async def test_a_film_that_failed_is_refused(server: OpenAiVideosServer, adapter: Provider, status: str) -> None:
    error = {"code": "video_generation_failed", "message": "a kitten in a garden"}
    server.fail("GET", "/v1/videos/", told({"id": "video_1", "status": status, "error": error}))
    with pytest.raises(JobRefused) as refusal:
        await adapter.poll(job_of(FILMS), await running(adapter))
    assert (refusal.value.blame, refusal.value.code) == ("provider", "video_generation_failed")
    assert "kitten" not in str(refusal.value)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "moderation_blocked", "message": "no"},
        {"code": None, "message": "Rejected by our content policy."},
        "sensitive content",
    ],
)
async def test_a_film_that_may_not_be_shown_is_a_matter_of_policy(
    server: OpenAiVideosServer, adapter: Provider, error: Any
) -> None:
    server.failure = error
    with pytest.raises(JobRefused) as refusal:
        await finished(adapter, job_of(FILMS))
    assert refusal.value.blame == "policy"


async def test_what_is_refused_at_once_is_refused(server: OpenAiVideosServer, adapter: Provider) -> None:
    server.fail("POST", FILMS.create, moderated("input"))
    with pytest.raises(JobRefused) as refusal:
        await adapter.create(job_of(FILMS), nobody_told)
    assert refusal.value.blame == "policy"
    server.fail("POST", FILMS.create, told({"id": "video_1", "status": "failed", "error": None}))
    with pytest.raises(JobRefused):
        await adapter.create(job_of(FILMS), nobody_told)


async def test_a_film_that_never_ends_goes_on_for_as_long_as_it_is_asked_after(
    server: OpenAiVideosServer, adapter: Provider
) -> None:
    server.never_ends = True
    name = await running(adapter)
    for _ in range(20):
        assert isinstance(await adapter.poll(job_of(FILMS), name), Running)


class TestContent:
    @pytest.fixture
    async def done(self, server: OpenAiVideosServer, adapter: Provider) -> str:
        server.statuses = []
        return await running(adapter)

    @pytest.mark.parametrize(
        "mishap",
        [
            "reset",
            "cut",
            Answer(502, b"<html>"),
            Answer(401, b"{}"),
            Answer(403, b"{}"),
            Answer(429, b"{}"),
            Answer(200, b"packed", {"content-type": "video/mp4", "content-encoding": "gzip"}),
        ],
        ids=lambda what: what if isinstance(what, str) else str(what.status),
    )
    async def test_a_film_that_is_not_got_whole_is_asked_for_again(
        self, server: OpenAiVideosServer, adapter: Provider, done: str, mishap: Any
    ) -> None:
        server.fail("GET", f"/v1/videos/{done}/content", mishap, handled=True)
        # The status is asked for first, and its path begins alike.
        with pytest.raises(Unreachable):
            await adapter.poll(job_of(FILMS), done)
        assert await adapter.poll(job_of(FILMS), done) == Finished((filmed(),))

    @pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8"])
    async def test_something_else_in_its_place_is_no_film(
        self, server: OpenAiVideosServer, adapter: Provider, done: str, kind: str
    ) -> None:
        server.film_type = kind
        with pytest.raises(Unreachable):
            await adapter.poll(job_of(FILMS), done)

    async def test_a_film_that_has_expired_is_missing(
        self, server: OpenAiVideosServer, adapter: Provider, done: str
    ) -> None:
        server.expired = True
        with pytest.raises(JobMissing):
            await adapter.poll(job_of(FILMS), done)

    async def test_a_film_that_is_larger_than_any_is_refused(
        self,
        server: OpenAiVideosServer,
        adapter: Provider,
        done: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("mintage.infra.providers.wire.FILE_MAX", 1_000)
        with pytest.raises(JobRefused) as refusal:
            await adapter.poll(job_of(FILMS), done)
        assert refusal.value.code == "file_too_large"


@pytest.mark.parametrize("mistake", [{"seconds": 4}, {"duration": 4}, {"size": "1920x1080"}, {"model": "sora"}])
async def test_the_server_is_as_strict_as_documented(server: OpenAiVideosServer, mistake: Any) -> None:
    """Or the tests above would prove nothing."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http:
        body = {"model": "sora-2", "prompt": "a kitten", **mistake}
        assert (await http.post(server.url + FILMS.create, json=body)).status_code in {400, 404}
    assert server.created == 0

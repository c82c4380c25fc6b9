"""Replicate: the input is as the operator wrote it, files come from known hosts alone, and a job can be stopped."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from mintage.application.providers import Finished, JobMissing, JobRefused, NotSent, Provider, Running, Unreachable
from tests.providers.cases import INPUT, REPLICATE, finished, job_of, nobody_told, provider
from tests.providers.replicate import ReplicateServer, refused
from tests.providers.server import KEY, Answer, filmed, painted, told

pytestmark = pytest.mark.parametrize("case", [REPLICATE], ids=["replicate"])
JOB = job_of(REPLICATE)
REPAINTS = msgspec.structs.replace(
    REPLICATE,
    task="img2img",
    options=lambda _: {"inputs": {"someone/painter": {**INPUT, "image": "{source}", "prompt_strength": "{strength}"}}},
)


async def running(adapter: Provider) -> str:
    outcome = await adapter.create(JOB, nobody_told)
    assert isinstance(outcome, Running)
    return outcome.provider_job


async def test_the_input_is_as_the_operator_wrote_it_without_what_was_not_asked_for(
    server: ReplicateServer, adapter: Provider
) -> None:
    await finished(adapter, JOB)
    assert server.asked("POST", "/v1/predictions")[0].json() == {
        "version": "someone/painter",
        "input": {
            "prompt": "a kitten in a garden, cyberpunk",
            "negative_prompt": "dogs",
            "width": 1280,
            "height": 1024,
            "num_outputs": 2,
        },
    }


async def test_a_source_is_uploaded_first(server: ReplicateServer, tmp_path: Path) -> None:
    async with provider(REPAINTS, server.url, tmp_path) as adapter:
        job = job_of(REPAINTS, source=painted(5), parameters={"strength": 0.25})
        assert len((await finished(adapter, job)).products) == 2
    given = server.asked("POST", "/v1/predictions")[0].json()["input"]
    assert server.uploads == {given["image"]: painted(5)}
    assert given["prompt_strength"] == 0.25


@pytest.mark.parametrize("what", ["reset", "cut", Answer(500, b""), Answer(429, b"")])
async def test_where_the_upload_fails_nothing_was_sent(server: ReplicateServer, tmp_path: Path, what: Any) -> None:
    server.fail("POST", "/v1/files", what, handled=True)
    async with provider(REPAINTS, server.url, tmp_path) as adapter:
        with pytest.raises(NotSent):
            await adapter.create(job_of(REPAINTS, source=painted()), nobody_told)
    assert server.created == 0


async def test_who_gives_up_during_the_upload_is_not_sent_a_bill(server: ReplicateServer, tmp_path: Path) -> None:
    class NobodyWaits(Exception):
        pass

    def told(_: float) -> None:
        if server.uploads:
            raise NobodyWaits

    async with provider(REPAINTS, server.url, tmp_path) as adapter:
        with pytest.raises(NobodyWaits):
            await adapter.create(job_of(REPAINTS, source=painted()), told)
    assert server.created == 0


async def test_an_upload_without_a_url_ends_it(server: ReplicateServer, tmp_path: Path) -> None:
    server.fail("POST", "/v1/files", told({"id": "file1"}, 201))
    async with provider(REPAINTS, server.url, tmp_path) as adapter:
        with pytest.raises(JobRefused):
            await adapter.create(job_of(REPAINTS, source=painted()), nobody_told)


async def test_the_log_says_how_far_it_is(server: ReplicateServer, adapter: Provider) -> None:
    name = await running(adapter)
    seen = [await adapter.poll(JOB, name) for _ in range(3)]
    assert seen == [Running(name, 0.1), Running(name, 0.55), Running(name, 0.55)]


@pytest.mark.parametrize("status", ["dreaming", "queued", ""])
async def test_a_word_that_nobody_knows_is_no_end(server: ReplicateServer, adapter: Provider, status: str) -> None:
    name = await running(adapter)
    server.fail("GET", "/v1/predictions/", told({"id": name, "status": status}))
    assert await adapter.poll(JOB, name) == Running(name)


class TestOutput:
    @pytest.mark.parametrize("shape", ["list", "object", "text"])
    async def test_files_are_found_in_whatever_form_they_come(
        self, server: ReplicateServer, adapter: Provider, shape: str
    ) -> None:
        server.shape = shape
        count = 1 if shape == "text" else 2
        assert (await finished(adapter, job_of(REPLICATE, count=count))).products == (painted(0), painted(1))[:count]

    async def test_a_film_comes_as_a_film(self, server: ReplicateServer, adapter: Provider) -> None:
        server.film = True
        job = job_of(REPLICATE, task_type="text2video", count=1)
        assert (await finished(adapter, job)).products == (filmed(0),)

    async def test_fewer_than_asked_for_leaves_none_in_their_place(
        self, server: ReplicateServer, adapter: Provider
    ) -> None:
        server.withheld = 1
        server.gone = {"0.png"}
        assert (await finished(adapter, job_of(REPLICATE, count=3))).products == (None, painted(1), None)

    async def test_if_all_files_are_gone_the_job_is_missing(self, server: ReplicateServer, adapter: Provider) -> None:
        server.gone = {"0.png", "1.png"}
        with pytest.raises(JobMissing):
            await finished(adapter, JOB)

    async def test_what_was_removed_does_not_come_back(self, server: ReplicateServer, adapter: Provider) -> None:
        server.data_removed = True
        with pytest.raises(JobRefused) as refusal:
            await finished(adapter, JOB)
        assert (refusal.value.blame, refusal.value.code) == ("provider", "data_removed")

    @pytest.mark.parametrize("output", [[], {}, "words", None, [1, 2], {"a": {"b": "c"}}])
    async def test_an_output_without_a_file_is_a_refusal(
        self, server: ReplicateServer, adapter: Provider, output: Any
    ) -> None:
        name = await running(adapter)
        server.fail("GET", "/v1/predictions/", told({"id": name, "status": "succeeded", "output": output}))
        with pytest.raises(JobRefused) as refusal:
            await adapter.poll(JOB, name)
        assert refusal.value.code == "no_output"

    @pytest.mark.parametrize(
        "url",
        [
            "http://replicate.delivery/a.png",
            "https://replicate.delivery.evil.example/a.png",
            "https://evilreplicate.delivery/a.png",
            "https://replicate.delivery:8443/a.png",
            "https://someone@replicate.delivery/a.png",
            "http://169.254.169.254/latest/meta-data",
            "http://localhost/a.png",
            "https://[::1]/a.png",
            "https://[::1",
            "https://replicate.delivery:port/a.png",
            "https://replicate.delivery/\x00",
        ],
    )
    async def test_nobody_is_sent_where_no_files_are_kept(
        self, server: ReplicateServer, adapter: Provider, url: str
    ) -> None:
        name = await running(adapter)
        server.fail("GET", "/v1/predictions/", told({"id": name, "status": "succeeded", "output": [url]}))
        with pytest.raises(JobRefused) as refusal:
            await adapter.poll(JOB, name)
        assert (refusal.value.blame, refusal.value.code) == ("provider", "foreign_file")
        assert url not in str(refusal.value)

    @pytest.mark.parametrize("what", ["reset", "cut", Answer(302, b"", {"location": "/"}), Answer(503, b"")])
    async def test_a_file_that_is_not_got_whole_is_fetched_again(
        self, server: ReplicateServer, adapter: Provider, what: Any
    ) -> None:
        server.running = ["starting"]
        name = await running(adapter)
        await adapter.poll(JOB, name)
        server.fail("GET", "/delivery/1.png", what, handled=True)
        with pytest.raises(Unreachable):
            await adapter.poll(JOB, name)
        assert await adapter.poll(JOB, name) == Finished((painted(0), painted(1)))


class TestEnds:
    @pytest.mark.parametrize("status", ["canceled", "aborted"])
    async def test_a_job_that_was_stopped_is_refused(
        self, server: ReplicateServer, adapter: Provider, status: str
    ) -> None:
        server.ends = status
        with pytest.raises(JobRefused) as refusal:
            await finished(adapter, JOB)
        assert (refusal.value.blame, refusal.value.code) == ("provider", status)

    @pytest.mark.parametrize(
        ("error", "blame"),
        [
            ("CUDA out of memory", "provider"),
            (None, "provider"),
            ("NSFW content detected. Try another prompt: a kitten in a garden", "policy"),
            ("The input was flagged. (E005)", "policy"),
        ],
    )
    async def test_a_job_that_failed_says_whose_matter_it_is(
        self, server: ReplicateServer, adapter: Provider, error: Any, blame: str
    ) -> None:
        server.ends, server.error = "failed", error
        with pytest.raises(JobRefused) as refusal:
            await finished(adapter, JOB)
        assert refusal.value.blame == blame
        assert "kitten" not in str(refusal.value)

    async def test_a_job_that_never_ends_goes_on(self, server: ReplicateServer, adapter: Provider) -> None:
        server.never_ends = True
        name = await running(adapter)
        for _ in range(20):
            assert isinstance(await adapter.poll(JOB, name), Running)

    @pytest.mark.parametrize(
        ("answer", "blame"),
        [
            (refused(402, "Insufficient credit"), "provider"),
            (refused(401, "Unauthenticated"), "provider"),
            (refused(422, "Input validation failed"), "user"),
        ],
    )
    async def test_a_create_that_is_refused_says_whose_matter_it_is(
        self, server: ReplicateServer, adapter: Provider, answer: Answer, blame: str
    ) -> None:
        server.fail("POST", REPLICATE.create, answer)
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(JOB, nobody_told)
        assert refusal.value.blame == blame


class TestCancel:
    @pytest.mark.parametrize("polls", [0, 2])
    async def test_a_job_that_waits_or_runs_is_stopped(
        self, server: ReplicateServer, adapter: Provider, polls: int
    ) -> None:
        name = await running(adapter)
        for _ in range(polls):
            await adapter.poll(JOB, name)
        assert await adapter.cancel(name)
        assert await adapter.cancel(name), "and again"
        assert server.made[name].status == "canceled"

    async def test_a_job_that_is_over_or_not_known_is_not_stopped(
        self, server: ReplicateServer, adapter: Provider
    ) -> None:
        name = await running(adapter)
        server.made[name].status = "succeeded"
        assert not await adapter.cancel(name)
        assert not await adapter.cancel("pred99")

    async def test_a_cancel_that_is_ignored_leaves_a_job_that_ends_as_any(
        self, server: ReplicateServer, adapter: Provider
    ) -> None:
        server.cancel_ignored = True
        name = await running(adapter)
        assert await adapter.cancel(name)
        outcome = await adapter.poll(JOB, name)
        while isinstance(outcome, Running):
            outcome = await adapter.poll(JOB, name)
        assert all(outcome.products)

    @pytest.mark.parametrize("what", ["reset", Answer(500, b""), Answer(401, b""), Answer(429, b""), told([])])
    async def test_a_cancel_that_was_not_heard_is_to_be_said_again(
        self, server: ReplicateServer, adapter: Provider, what: Any
    ) -> None:
        name = await running(adapter)
        server.fail("POST", "/v1/predictions/", what)
        with pytest.raises(Unreachable):
            await adapter.cancel(name)
        assert await adapter.cancel(name)


@pytest.mark.parametrize(
    "body",
    [
        {"version": "someone/painter", "input": {"prompt": "a kitten"}, "model": "x"},
        {"input": {"prompt": "a kitten"}},
        {"version": "someone/painter", "input": {"prompt": "a kitten", "width": "64"}},
        {"version": "someone/painter", "input": {"prompt": "a kitten", "seed": None}},
    ],
)
async def test_the_server_is_as_strict_as_documented(server: ReplicateServer, body: Any) -> None:
    """Or the tests above would prove nothing."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http:
        assert (await http.post(server.url + REPLICATE.create, json=body)).status_code == 422
    assert server.created == 0

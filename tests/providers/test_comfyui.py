"""ComfyUI: a job is found by the id we chose, lost when the server forgets it, and stopped without touching another."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mintage.application.providers import (
    FateUnknown,
    Finished,
    JobMissing,
    JobRefused,
    NotSent,
    Provider,
    Running,
    Unreachable,
)
from tests.providers.cases import COMFY, REPAINT, finished, job_of, nobody_told, provider, workflow
from tests.providers.comfyui import ComfyUiServer
from tests.providers.server import Answer, filmed, painted, told

pytestmark = pytest.mark.parametrize("case", [COMFY], ids=["comfyui"])
AGES = pytest.mark.parametrize("modern", [True, False], ids=["as it is now", "as it was"])
JOB = job_of(COMFY)
ID = JOB.job_id


async def running(adapter: Provider) -> str:
    outcome = await adapter.create(JOB, nobody_told)
    assert isinstance(outcome, Running)
    return outcome.provider_job


async def test_what_is_asked_for_stands_where_the_workflow_says(server: ComfyUiServer, adapter: Provider) -> None:
    await finished(adapter, JOB)
    (sent,) = server.asked("POST", "/prompt")
    body = sent.json()
    assert body["prompt_id"] == ID
    graph = body["prompt"]
    assert graph["2"]["inputs"] == {"text": "a kitten in a garden, cyberpunk", "clip": ["1", 1]}
    assert graph["4"]["inputs"]["text"] == "dogs"
    assert graph["5"]["inputs"] == {"width": 1280, "height": 1024, "batch_size": 2}
    assert graph["3"]["inputs"]["seed"] == 0x2A, "one of its own, or ComfyUI would paint nothing anew"


async def test_a_seed_that_was_asked_for_is_that_seed(server: ComfyUiServer, adapter: Provider) -> None:
    await finished(adapter, job_of(COMFY, parameters={"seed": 7, "width": 64, "height": 64}, negative_prompt=None))
    graph = server.asked("POST", "/prompt")[0].json()["prompt"]
    assert (graph["3"]["inputs"]["seed"], graph["4"]["inputs"]["text"]) == (7, "")


async def test_a_prompt_is_never_looked_at_for_places(server: ComfyUiServer, adapter: Provider) -> None:
    words = '{seed} {width} \\ " {nothing}'
    await adapter.create(job_of(COMFY, prompt=words), nobody_told)
    assert server.requests[0].json()["prompt"]["2"]["inputs"]["text"] == f"{words}, cyberpunk"


async def test_a_source_is_uploaded_and_called_what_the_server_calls_it(server: ComfyUiServer, tmp_path: Path) -> None:
    workflows = {"paint": workflow(tmp_path, "repaint.json", REPAINT)}
    case = msgspec.structs.replace(COMFY, task="img2img", options=lambda _: {"workflows": workflows})
    async with provider(case, server.url, tmp_path) as adapter:
        job = job_of(case, source=painted(4), count=1)
        assert (await finished(adapter, job)).products == (painted(0),)
    assert server.uploads == {f"renamed mintage-{ID}.png": painted(4)}


@pytest.mark.parametrize("what", ["reset", "cut", Answer(500, b""), Answer(429, b"", {"retry-after": "4"})])
async def test_where_the_upload_fails_no_job_was_sent(server: ComfyUiServer, tmp_path: Path, what: Any) -> None:
    workflows = {"paint": workflow(tmp_path, "repaint.json", REPAINT)}
    case = msgspec.structs.replace(COMFY, task="img2img", options=lambda _: {"workflows": workflows})
    server.fail("POST", "/upload/image", what, handled=True)
    async with provider(case, server.url, tmp_path) as adapter:
        with pytest.raises(NotSent):
            await adapter.create(job_of(case, source=painted()), nobody_told)
    assert not server.asked("POST", "/prompt")


async def test_an_upload_that_is_refused_or_not_understood_ends_it(server: ComfyUiServer, tmp_path: Path) -> None:
    workflows = {"paint": workflow(tmp_path, "repaint.json", REPAINT)}
    case = msgspec.structs.replace(COMFY, task="img2img", options=lambda _: {"workflows": workflows})
    async with provider(case, server.url, tmp_path) as adapter:
        for answer in (Answer(400, b""), told({"ok": True})):
            server.fail("POST", "/upload/image", answer)
            with pytest.raises(JobRefused) as refusal:
                await adapter.create(job_of(case, source=painted()), nobody_told)
            assert refusal.value.blame == "provider"


async def test_a_workflow_that_does_not_run_is_the_operators_matter(server: ComfyUiServer, adapter: Provider) -> None:
    with pytest.raises(JobRefused) as refusal:
        await adapter.create(job_of(COMFY, parameters={"width": "wide"}), nobody_told)
    assert (refusal.value.blame, refusal.value.code) == ("provider", "prompt_outputs_failed_validation")


class TestFates:
    @AGES
    async def test_a_create_that_broke_off_is_found_by_our_id_and_not_made_twice(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern = modern
        server.fail("POST", "/prompt", "reset", handled=True)
        with pytest.raises(FateUnknown):
            await adapter.create(JOB, nobody_told)
        assert await adapter.find(JOB) == ID
        outcome = await adapter.poll(JOB, ID)
        while isinstance(outcome, Running):
            outcome = await adapter.poll(JOB, ID)
        assert outcome.products == (painted(0), painted(1))
        assert await adapter.find(JOB) == ID, "also when it is over"
        assert server.created == 1

    @AGES
    async def test_what_never_arrived_is_not_found(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern = modern
        server.fail("POST", "/prompt", "reset")
        with pytest.raises(FateUnknown):
            await adapter.create(JOB, nobody_told)
        assert await adapter.find(JOB) is None

    @pytest.mark.parametrize("path", ["/api/jobs/", "/queue", "/history/"])
    async def test_not_found_is_said_only_by_a_server_that_could_be_asked(
        self, server: ComfyUiServer, adapter: Provider, path: str
    ) -> None:
        server.modern = path == "/api/jobs/"
        server.fail("GET", path, Answer(500, b"{}"))
        with pytest.raises(Unreachable):
            await adapter.find(JOB)

    @AGES
    async def test_a_restart_forgets_every_job(self, server: ComfyUiServer, adapter: Provider, modern: bool) -> None:
        server.modern = modern
        name = await running(adapter)
        server.restart()
        with pytest.raises(JobMissing):
            await adapter.poll(JOB, name)

    @AGES
    async def test_a_job_waits_for_those_before_it(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern = modern
        server.queue_of_others()
        server.steps_each = 2
        assert (await finished(adapter, JOB)).products == (painted(0), painted(1))

    @AGES
    @pytest.mark.parametrize(
        ("ends", "code"), [("torch.OutOfMemoryError", "torch.OutOfMemoryError"), ("interrupted", "cancelled")]
    )
    async def test_a_job_that_did_not_end_well_is_refused(
        self, server: ComfyUiServer, adapter: Provider, modern: bool, ends: str, code: str
    ) -> None:
        server.modern, server.ends = modern, ends
        with pytest.raises(JobRefused) as refusal:
            await finished(adapter, JOB)
        assert (refusal.value.blame, refusal.value.code) == ("provider", code)
        assert "kitten" not in str(refusal.value)

    async def test_a_word_that_nobody_knows_is_no_end(self, server: ComfyUiServer, adapter: Provider) -> None:
        name = await running(adapter)
        server.fail("GET", "/api/jobs/", told({"id": name, "status": "dreaming"}))
        assert isinstance(await adapter.poll(JOB, name), Running)


class TestFiles:
    @AGES
    async def test_what_was_saved_counts_and_previews_do_not(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern, server.withheld = modern, 1
        assert (await finished(adapter, job_of(COMFY, count=3))).products == (painted(0), painted(1), None)

    async def test_films_are_found_under_whatever_name_the_node_gives_them(
        self, server: ComfyUiServer, adapter: Provider
    ) -> None:
        server.extension = ".mp4"
        assert (await finished(adapter, job_of(COMFY, task_type="text2video", count=1))).products == (filmed(0),)

    async def test_pictures_beside_a_film_are_no_film(self, server: ComfyUiServer, adapter: Provider) -> None:
        with pytest.raises(JobRefused) as refusal:
            await finished(adapter, job_of(COMFY, task_type="text2video", count=1))
        assert refusal.value.code == "no_output"

    async def test_a_file_that_is_gone_is_none_and_if_all_are_the_job_is_missing(
        self, server: ComfyUiServer, adapter: Provider
    ) -> None:
        server.gone = {"ComfyUI 0.png"}
        assert (await finished(adapter, JOB)).products == (None, painted(1))
        server.gone.add("ComfyUI 1.png")
        with pytest.raises(JobMissing):
            await adapter.poll(JOB, ID)

    async def test_a_file_that_breaks_off_is_fetched_again(self, server: ComfyUiServer, adapter: Provider) -> None:
        name = await running(adapter)
        while server.state(name) != "done":
            server.step()
        server.fail("GET", "/view", "cut", handled=True)
        with pytest.raises(Unreachable):
            await adapter.poll(JOB, name)
        assert await adapter.poll(JOB, name) == Finished((painted(0), painted(1)))


class TestCancel:
    """Nobody else's job is ever stopped, whatever the server is like and whatever runs."""

    @AGES
    async def test_a_job_that_waits_is_taken_out_and_the_one_that_runs_goes_on(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern = modern
        other = server.queue_of_others()
        name = await running(adapter)
        server.step()
        server.stands_still = True
        assert await adapter.cancel(name)
        assert (server.state(other), server.state(name)) == ("running", "done" if modern else "unknown")

    @AGES
    async def test_a_job_that_runs_is_stopped_by_its_own_id(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern = modern
        name = await running(adapter)
        server.step()
        server.stands_still = True
        assert server.state(name) == "running"
        assert await adapter.cancel(name)
        assert server.state(name) == "done"
        with pytest.raises(JobRefused) as refusal:
            await adapter.poll(JOB, name)
        assert refusal.value.code == "cancelled"

    @AGES
    async def test_a_job_that_is_over_is_not_stopped_and_neither_is_the_next(
        self, server: ComfyUiServer, adapter: Provider, modern: bool
    ) -> None:
        server.modern = modern
        name = await running(adapter)
        while server.state(name) != "done":
            server.step()
        other = server.queue_of_others()
        server.step()
        server.stands_still = True
        assert not await adapter.cancel(name)
        assert server.state(other) == "running"

    @AGES
    async def test_every_interrupt_names_its_job(self, server: ComfyUiServer, adapter: Provider, modern: bool) -> None:
        server.modern = modern
        name = await running(adapter)
        server.step()
        server.stands_still = True
        await adapter.cancel(name)
        interrupts = server.asked("POST", "/interrupt")
        assert [one.json() for one in interrupts] == ([] if modern else [{"prompt_id": name}])

    async def test_a_job_that_nobody_knows_is_over(self, server: ComfyUiServer, adapter: Provider) -> None:
        assert not await adapter.cancel(ID)

    async def test_a_cancel_that_is_ignored_leaves_a_job_that_ends_as_any(
        self, server: ComfyUiServer, adapter: Provider
    ) -> None:
        server.cancel_ignored = True
        name = await running(adapter)
        assert await adapter.cancel(name)
        outcome = await adapter.poll(JOB, name)
        while isinstance(outcome, Running):
            outcome = await adapter.poll(JOB, name)
        assert all(outcome.products)

    @pytest.mark.parametrize(
        ("modern", "method", "path"),
        [
            (True, "POST", "/api/jobs/"),
            (False, "POST", "/queue"),
            (False, "GET", "/queue"),
            (False, "POST", "/interrupt"),
        ],
    )
    @pytest.mark.parametrize("what", ["reset", Answer(500, b"")])
    async def test_a_cancel_that_was_not_heard_is_to_be_said_again(
        self, server: ComfyUiServer, adapter: Provider, modern: bool, method: str, path: str, what: Any
    ) -> None:
        server.modern = modern
        name = await running(adapter)
        server.step()
        server.stands_still = True
        server.fail(method, path, what)
        with pytest.raises(Unreachable):
            await adapter.cancel(name)
        assert await adapter.cancel(name)

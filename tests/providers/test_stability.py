"""Stability: an image for each request, and what came out counts although others did not."""

from io import BytesIO
from typing import Any

import httpx
import msgspec
import pytest
from PIL import Image

from mintage.application.providers import FateUnknown, JobRefused, NotSent, Provider
from tests.providers.cases import STABILITY, finished, job_of, nobody_told
from tests.providers.server import KEY, Answer, Request, painted
from tests.providers.stability import FAILED, LOCKED_OUT, MODERATED, StabilityServer, refused

pytestmark = pytest.mark.parametrize("case", [STABILITY], ids=["stability"])
GENERATE = "/v2beta/stable-image/generate/"


def fields(request: Request) -> dict[str, str]:
    return {name: part.value.decode() for name, part in request.form().items() if part.filename is None}


async def asked(server: StabilityServer, adapter: Provider, **more: Any) -> dict[str, str]:
    await finished(adapter, job_of(STABILITY, **more))
    return fields(server.requests[-1])


async def test_it_is_a_form_even_without_a_file(server: StabilityServer, adapter: Provider) -> None:
    assert await asked(server, adapter) == {
        "prompt": "a kitten in a garden",
        "negative_prompt": "dogs",
        "style_preset": "neon-punk",
        "aspect_ratio": "5:4",
        "output_format": "png",
    }
    assert server.requests[0].headers["stability-client-user-id"] == "c-7f3a"


@pytest.mark.parametrize(
    ("style", "preset", "prompt"),
    [
        ("realistic", "photographic", "a kitten in a garden"),
        ("anime", "anime", "a kitten in a garden"),
        ("oil-painting", None, "a kitten in a garden\nStyle: oil painting."),
        (None, None, "a kitten in a garden"),
    ],
)
async def test_a_style_is_a_preset_where_there_is_one_and_words_where_there_is_none(
    server: StabilityServer, adapter: Provider, style: Any, preset: Any, prompt: str
) -> None:
    sent = await asked(server, adapter, style=style)
    assert (sent.get("style_preset"), sent["prompt"]) == (preset, prompt)


@pytest.mark.parametrize(
    ("model", "path", "named"),
    [("core", "core", None), ("ultra", "ultra", None), ("sd3.5-medium", "sd3", "sd3.5-medium")],
)
async def test_each_model_has_its_path(
    server: StabilityServer, adapter: Provider, model: str, path: str, named: Any
) -> None:
    assert (await asked(server, adapter, model=model)).get("model") == named
    assert server.requests[0].path == GENERATE + path


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("sd3.5-large", {"mode": "image-to-image", "strength": "0.3"}),
        ("ultra", {"strength": "0.3", "aspect_ratio": "3:2"}),
    ],
)
async def test_a_source_goes_with_its_strength_which_means_the_same_there(
    server: StabilityServer, adapter: Provider, model: str, expected: dict[str, str]
) -> None:
    source = painted(1, (300, 200))
    sent = await asked(server, adapter, model=model, source=source, task_type="img2img", parameters={"strength": 0.3})
    assert {name: sent.get(name) for name in ("mode", "strength", "aspect_ratio") if name in sent} == expected
    assert server.requests[0].form()["image"].value == source


async def test_of_several_images_each_is_another(server: StabilityServer, adapter: Provider) -> None:
    job = job_of(STABILITY, count=3, parameters={"seed": 4_294_967_294})
    assert len({*(await finished(adapter, job)).products}) == 3
    assert sorted(fields(request)["seed"] for request in server.requests) == ["0", "1", "4294967294"]


class TestSomeOfSeveral:
    async def test_those_that_were_filtered_are_none_and_the_others_are_there(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.filtered = {1, 2}
        products = (await finished(adapter, job_of(STABILITY, count=4))).products
        assert len(products) == 4
        assert sum(product is None for product in products) == 2

    @pytest.mark.parametrize("other", [LOCKED_OUT, MODERATED, FAILED, Answer(502, b"<html>")])
    async def test_one_that_came_out_is_delivered_whatever_became_of_the_other(
        self, server: StabilityServer, adapter: Provider, other: Answer
    ) -> None:
        server.answers = {1: other}
        products = (await finished(adapter, job_of(STABILITY, count=2))).products
        assert sum(product is None for product in products) == 1

    async def test_one_that_breaks_off_is_not_asked_for_again(self, server: StabilityServer, adapter: Provider) -> None:
        server.fail("POST", GENERATE, "reset", handled=True)
        products = (await finished(adapter, job_of(STABILITY, count=2))).products
        assert sum(product is None for product in products) == 1
        assert server.created == 2
        assert len(server.requests) == 2

    async def test_if_one_may_have_been_paid_for_none_is_sent_again(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.answers = {0: LOCKED_OUT, 1: MODERATED, 2: Answer(502, b"")}
        with pytest.raises(FateUnknown):
            await adapter.create(job_of(STABILITY, count=3), nobody_told)

    async def test_if_one_would_be_refused_again_none_is_sent_again(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.answers = {0: LOCKED_OUT, 1: MODERATED}
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(STABILITY, count=2), nobody_told)
        assert refusal.value.blame == "policy"

    async def test_if_none_was_taken_all_wait_as_long_as_the_longest(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.answers = {0: FAILED, 1: LOCKED_OUT}
        with pytest.raises(NotSent) as later:
            await adapter.create(job_of(STABILITY, count=2), nobody_told)
        assert later.value.retry_in_s == 60.0

    async def test_when_nobody_waits_any_more_the_others_are_let_go(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        class NobodyWaits(Exception):
            pass

        def told(progress: float) -> None:
            if progress:
                raise NobodyWaits

        server.fail("POST", GENERATE, "silence", handled=True)
        # The one without an answer would keep it for minutes.
        with pytest.raises(NobodyWaits):
            await adapter.create(job_of(STABILITY, count=2), told)

    async def test_progress_is_told_with_each_image(self, server: StabilityServer, adapter: Provider) -> None:
        steps: list[float] = []
        await adapter.create(job_of(STABILITY, count=4), steps.append)
        assert steps == [0.0, 0.25, 0.5, 0.75, 1.0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("answer", "blame", "code"),
        [
            (MODERATED, "policy", "content_moderation"),
            (refused(422, "public_figure"), "policy", "public_figure"),
            (refused(403, "forbidden"), "provider", "forbidden"),
            (refused(402, "payment_required"), "provider", "payment_required"),
            (refused(413, "payload_too_large"), "user", "payload_too_large"),
        ],
    )
    async def test_each_has_its_blame(
        self, server: StabilityServer, adapter: Provider, answer: Answer, blame: str, code: str
    ) -> None:
        server.answers = {0: answer}
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(STABILITY), nobody_told)
        assert (refusal.value.blame, refusal.value.code) == (blame, code)

    async def test_a_picture_that_was_blurred_is_no_picture_although_it_is_answered_200(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.filtered = {0}
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(STABILITY), nobody_told)
        assert (refusal.value.blame, refusal.value.code) == ("policy", "CONTENT_FILTERED")

    async def test_a_language_that_is_not_spoken_there_is_for_the_person_to_change(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(STABILITY, prompt="花园里的小猫"), nobody_told)
        assert (refusal.value.blame, refusal.value.code) == ("user", "invalid_language")

    async def test_a_key_that_asked_too_often_is_left_alone_for_a_minute(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.answers = {0: LOCKED_OUT}
        with pytest.raises(NotSent) as later:
            await adapter.create(job_of(STABILITY), nobody_told)
        assert later.value.retry_in_s == 60.0

    async def test_a_failure_of_theirs_costs_nothing_and_may_be_tried_again(
        self, server: StabilityServer, adapter: Provider
    ) -> None:
        server.answers = {0: FAILED}
        with pytest.raises(NotSent):
            await adapter.create(job_of(STABILITY), nobody_told)


class TestTransparent:
    JOB = msgspec.structs.replace(job_of(STABILITY), transparent=True)

    async def test_the_ground_is_cut_away_afterwards(self, server: StabilityServer, adapter: Provider) -> None:
        (product,) = (await finished(adapter, self.JOB)).products
        assert product is not None
        assert Image.open(BytesIO(product)).mode == "RGBA"
        made, cut = server.requests
        assert cut.path == "/v2beta/stable-image/edit/remove-background"
        assert cut.form()["image"].value == painted(0)
        assert made.path == GENERATE + "core"

    @pytest.mark.parametrize("answer", [LOCKED_OUT, Answer(502, b"")])
    async def test_what_was_painted_is_not_painted_again_because_the_cut_failed(
        self, server: StabilityServer, adapter: Provider, answer: Answer
    ) -> None:
        server.fail("POST", "/v2beta/stable-image/edit/", answer)
        with pytest.raises(FateUnknown):
            await adapter.create(self.JOB, nobody_told)
        assert server.created == 1


@pytest.mark.parametrize("mistake", [{"width": (None, "1024")}, {"aspect_ratio": (None, "7:5")}])
async def test_the_server_is_as_strict_as_documented(server: StabilityServer, mistake: Any) -> None:
    """Or the tests above would prove nothing."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}", "Accept": "image/*"}) as http:
        url = server.url + STABILITY.create
        assert (await http.post(url, json={"prompt": "a kitten"})).status_code == 400
        assert (await http.post(url, data={"prompt": "a kitten"})).status_code == 400
        assert (await http.post(url, files={"prompt": (None, "a kitten"), **mistake})).status_code == 400
    assert server.created == 0

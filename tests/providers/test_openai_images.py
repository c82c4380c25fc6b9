"""OpenAI's images: what is asked for, in the words it has, and each image that comes out."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mintage.application.providers import FateUnknown, JobRefused, NotSent, Provider
from tests.providers.cases import IMAGES, finished, job_of, nobody_told, provider
from tests.providers.openai import QUOTA, SLOW_DOWN, OpenAiImagesServer, moderated, refused
from tests.providers.server import painted

pytestmark = pytest.mark.parametrize("case", [IMAGES], ids=["openai-images"])
EDITS = "/v1/images/edits"


async def asked(server: OpenAiImagesServer, adapter: Provider, **more: Any) -> dict[str, Any]:
    await finished(adapter, job_of(IMAGES, **more))
    fields: dict[str, Any] = server.requests[-1].json()
    return fields


async def test_everything_that_has_no_field_there_is_put_into_the_prompt(
    server: OpenAiImagesServer, adapter: Provider
) -> None:
    assert await asked(server, adapter) == {
        "model": "gpt-image-1",
        "prompt": "a kitten in a garden\nStyle: cyberpunk.\nAvoid: dogs",
        "n": 2,
        "size": "1536x1024",
        "quality": "auto",
        "output_format": "png",
        "user": "c-7f3a",
    }


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({}, "auto"),
        ({"width": 64, "height": 64}, "1024x1024"),
        ({"width": 1920, "height": 1080}, "1536x1024"),
        ({"width": 1080, "height": 1920}, "1024x1536"),
        ({"width": 2048}, "1536x1024"),
        ({"aspect_ratio": "9:16"}, "1024x1536"),
        ({"aspect_ratio": "1:1"}, "1024x1024"),
    ],
)
async def test_the_size_is_the_nearest_that_there_is(
    server: OpenAiImagesServer, adapter: Provider, parameters: Any, size: str
) -> None:
    assert (await asked(server, adapter, parameters=parameters))["size"] == size


async def test_a_style_among_the_parameters_is_a_style_and_an_unknown_one_keeps_its_name(
    server: OpenAiImagesServer, adapter: Provider
) -> None:
    fields = await asked(server, adapter, style=None, negative_prompt=None, parameters={"style": "ukiyo-e"})
    assert fields["prompt"] == "a kitten in a garden\nStyle: ukiyo-e."


async def test_the_quality_of_the_request_wins_over_that_of_the_options(
    server: OpenAiImagesServer, tmp_path: Path
) -> None:
    async with provider(IMAGES, server.url, tmp_path, quality="low") as adapter:
        assert (await asked(server, adapter))["quality"] == "low"
        assert (await asked(server, adapter, parameters={"quality": "high"}))["quality"] == "high"


async def test_a_transparent_background_is_asked_for_and_comes(server: OpenAiImagesServer, adapter: Provider) -> None:
    products = (await finished(adapter, job_of(IMAGES, transparent=True))).products
    assert server.requests[-1].json()["background"] == "transparent"
    for product in products:
        assert product is not None
        assert Image.open(BytesIO(product)).mode == "RGBA"


async def test_a_model_without_transparency_is_not_asked_for_it(server: OpenAiImagesServer, tmp_path: Path) -> None:
    async with provider(IMAGES, server.url, tmp_path, transparent=False) as adapter:
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(IMAGES, transparent=True), nobody_told)
    assert refusal.value.blame == "user"
    assert not server.requests


class TestEdits:
    async def test_the_source_goes_as_a_file_and_never_as_a_url(
        self, server: OpenAiImagesServer, adapter: Provider
    ) -> None:
        source = painted(3, (300, 200))
        job = job_of(IMAGES, task_type="img2img", source=source, parameters={"strength": 0.7})
        assert len((await finished(adapter, job)).products) == 2
        (request,) = server.requests
        assert request.path == EDITS
        parts = request.form()
        assert parts["image"].value == source
        assert (parts["n"].value, parts["model"].value) == (b"2", b"gpt-image-1")
        assert parts["size"].value == b"1536x1024", "as its source is"
        assert "strength" not in parts

    @pytest.mark.parametrize(
        ("model", "strength", "fidelity"),
        [
            ("gpt-image-1", 0.5, "high"),
            ("gpt-image-1", 0, "high"),
            ("gpt-image-1", 0.51, None),
            ("gpt-image-1-mini", 0.1, None),
        ],
    )
    async def test_a_source_that_is_to_be_kept_is_kept_faithfully_by_models_that_can(
        self, server: OpenAiImagesServer, adapter: Provider, model: str, strength: float, fidelity: Any
    ) -> None:
        job = job_of(IMAGES, task_type="img2img", source=painted(), model=model, parameters={"strength": strength})
        await finished(adapter, job)
        part = server.requests[-1].form().get("input_fidelity")
        assert (None if part is None else part.value.decode()) == fidelity

    async def test_an_edit_that_breaks_off_is_not_sent_again_either(
        self, server: OpenAiImagesServer, adapter: Provider
    ) -> None:
        server.fail("POST", EDITS, "reset", handled=True)
        with pytest.raises(FateUnknown):
            await adapter.create(job_of(IMAGES, task_type="img2img", source=painted()), nobody_told)
        assert server.created == 1


class TestWhatComesOut:
    async def test_images_that_do_not_come_are_none_and_those_that_do_keep_their_place(
        self, server: OpenAiImagesServer, adapter: Provider
    ) -> None:
        server.withheld, server.broken = 1, {1}
        products = (await finished(adapter, job_of(IMAGES, count=4))).products
        assert products == (painted(0), None, painted(2), None)

    async def test_more_images_than_were_asked_for_are_not_taken(
        self, server: OpenAiImagesServer, adapter: Provider
    ) -> None:
        server.withheld = -2
        assert len((await finished(adapter, job_of(IMAGES, count=2))).products) == 2

    async def test_no_image_at_all_is_a_refusal(self, server: OpenAiImagesServer, adapter: Provider) -> None:
        server.withheld = 2
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(IMAGES, count=2), nobody_told)
        assert (refusal.value.blame, refusal.value.code) == ("provider", "no_images")


@pytest.mark.parametrize("stage", ["input", "output", None])
async def test_moderation_is_a_matter_of_policy(
    server: OpenAiImagesServer, adapter: Provider, stage: str | None
) -> None:
    server.fail("POST", IMAGES.create, moderated(stage))
    with pytest.raises(JobRefused) as refusal:
        await adapter.create(job_of(IMAGES), nobody_told)
    assert (refusal.value.blame, refusal.value.code) == ("policy", "moderation_blocked")


async def test_the_older_word_for_it_is_one_too(server: OpenAiImagesServer, adapter: Provider) -> None:
    server.fail("POST", IMAGES.create, refused("content_policy_violation"))
    with pytest.raises(JobRefused) as refusal:
        await adapter.create(job_of(IMAGES), nobody_told)
    assert refusal.value.blame == "policy"


async def test_a_quota_that_is_used_up_does_not_come_back_by_waiting(
    server: OpenAiImagesServer, adapter: Provider
) -> None:
    server.fail("POST", IMAGES.create, QUOTA)
    with pytest.raises(JobRefused) as refusal:
        await adapter.create(job_of(IMAGES), nobody_told)
    assert (refusal.value.blame, refusal.value.code) == ("provider", "insufficient_quota")


async def test_told_to_slow_down_it_was_not_taken_although_the_status_is_503(
    server: OpenAiImagesServer, adapter: Provider
) -> None:
    server.fail("POST", IMAGES.create, SLOW_DOWN)
    with pytest.raises(NotSent):
        await adapter.create(job_of(IMAGES), nobody_told)


async def test_a_model_that_is_no_more_is_the_providers_matter(server: OpenAiImagesServer, adapter: Provider) -> None:
    with pytest.raises(JobRefused) as refusal:
        await adapter.create(job_of(IMAGES, model="dall-e-2"), nobody_told)
    assert (refusal.value.blame, refusal.value.code) == ("provider", "model_not_found")


async def test_a_wrong_key_is_the_providers_matter(server: OpenAiImagesServer, tmp_path: Path) -> None:
    async with provider(IMAGES, server.url, tmp_path, key="sk-another") as adapter:
        with pytest.raises(JobRefused) as refusal:
            await adapter.create(job_of(IMAGES), nobody_told)
    assert (refusal.value.blame, refusal.value.code) == ("provider", "invalid_api_key")


async def test_an_operator_is_told_which_request_it_was(server: OpenAiImagesServer, adapter: Provider) -> None:
    answer = refused("invalid_value")
    answer.headers["x-request-id"] = "req_42"
    server.fail("POST", IMAGES.create, answer)
    with pytest.raises(JobRefused, match="req_42"):
        await adapter.create(job_of(IMAGES), nobody_told)


@pytest.mark.parametrize("mistake", ["response_format", "negative_prompt", "seed", "width"])
async def test_the_server_is_as_strict_as_documented(
    server: OpenAiImagesServer, adapter: Provider, mistake: str
) -> None:
    """Or the tests above would prove nothing."""
    import httpx

    from tests.providers.server import KEY

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}"}) as http:
        body = {"model": "gpt-image-1", "prompt": "a kitten", mistake: "b64_json"}
        assert (await http.post(server.url + IMAGES.create, json=body)).status_code == 400
        jpeg = {"model": "gpt-image-1", "prompt": "x", "background": "transparent", "output_format": "jpeg"}
        assert (await http.post(server.url + IMAGES.create, json=jpeg)).status_code == 400
        assert (await http.post(server.url + IMAGES.create, json={"prompt": "no model"})).status_code == 404

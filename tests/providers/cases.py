"""One case for each protocol that we speak: its server, its entry in a catalogue, and a job for it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from mintage.application.catalogue import Bounds, Catalogue, Model, Money, Source
from mintage.application.providers import Finished, Job, Provider
from mintage.domain.generation.events import TaskType
from mintage.infra.providers import providers_of
from tests.providers.comfyui import ComfyUiServer
from tests.providers.openai import OpenAiImagesServer, OpenAiVideosServer
from tests.providers.replicate import ReplicateServer
from tests.providers.server import KEY, ProviderServer
from tests.providers.stability import StabilityServer

JOB: Final = Job(
    job_id="0199a1b2-0000-7000-8000-00000000002a",
    customer="c-7f3a",
    task_type="text2img",
    model="",
    prompt="a kitten in a garden",
    parameters={"width": 1280, "height": 1024},
    count=2,
    negative_prompt="dogs",
    style="cyberpunk",
)
INPUT: Final[dict[str, Any]] = {
    "prompt": "{prompt}, {style}",
    "negative_prompt": "{negative_prompt}",
    "width": "{width}",
    "height": "{height}",
    "num_outputs": "{count}",
    "seed": "{seed}",
}
WORKFLOW: Final[dict[str, Any]] = {
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{prompt}, {style}", "clip": ["1", 1]}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "{negative_prompt}", "clip": ["1", 1]}},
    "5": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": "{width}", "height": "{height}", "batch_size": "{count}"},
    },
    "3": {"class_type": "KSampler", "inputs": {"seed": "{seed}", "steps": 20, "latent_image": ["5", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}
REPAINT: Final[dict[str, Any]] = {
    **WORKFLOW,
    "5": {"class_type": "LoadImage", "inputs": {"image": "{source}"}},
}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """``create`` is the path of the request that costs money, ``poll`` what those that ask after a job begin with."""

    kind: Any
    server: Callable[[], ProviderServer]
    prefix: str
    upstream: str
    create: str
    poll: str | None = None
    task: TaskType = "text2img"
    job: Job = JOB
    key: str | None = "PROVIDER_KEY"
    options: Callable[[Path], dict[str, Any]] = lambda _: {}

    @property
    def runs_on(self) -> bool:
        """Whether a job goes on after its create was answered."""
        return self.poll is not None


def workflow(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(content))
    return str(path)


FILM_JOB: Final = msgspec.structs.replace(
    JOB,
    task_type="text2video",
    parameters={"duration": 5, "resolution": "720p", "aspect_ratio": "16:9"},
    count=1,
    style=None,
    negative_prompt=None,
)
IMAGES: Final = Case(
    kind="openai-images",
    server=OpenAiImagesServer,
    prefix="/v1",
    upstream="gpt-image-1",
    create="/v1/images/generations",
)
FILMS: Final = Case(
    kind="openai-videos",
    server=OpenAiVideosServer,
    prefix="/v1",
    upstream="sora-2",
    create="/v1/videos",
    poll="/v1/videos/",
    task="text2video",
    job=FILM_JOB,
)
STABILITY: Final = Case(
    kind="stability",
    server=StabilityServer,
    prefix="",
    upstream="core",
    create="/v2beta/stable-image/generate/core",
    job=msgspec.structs.replace(JOB, count=1),
)
COMFY: Final = Case(
    kind="comfyui",
    server=ComfyUiServer,
    prefix="",
    upstream="paint",
    create="/prompt",
    poll="/api/jobs/",
    key=None,
    options=lambda folder: {"workflows": {"paint": workflow(folder, "paint.json", WORKFLOW)}},
)
REPLICATE: Final = Case(
    kind="replicate",
    server=ReplicateServer,
    prefix="/v1",
    upstream="someone/painter",
    create="/v1/predictions",
    poll="/v1/predictions/",
    options=lambda _: {"inputs": {"someone/painter": INPUT}},
)
CASES: Final = (IMAGES, FILMS, STABILITY, COMFY, REPLICATE)


def catalogue_with(source: Source, *models: Model) -> Catalogue:
    money = Money(credits_per_yuan=10, signup_bonus=100, referral_bonus_referrer=50, referral_bonus_newcomer=20)
    return Catalogue(money=money, models=models, providers={"there": source})


def model_of(case: Case, **more: Any) -> Model:
    names = ("width", "height", "seed", "strength") if "video" not in case.task else ("seed",)
    parameters = {name: Bounds(type="number", default=1) for name in names}
    model = Model(
        provider="sold",
        name="as",
        renderer="there",
        tasks=(case.task,),
        price=10,
        upstream=case.upstream,
        parameters=parameters,
    )
    return msgspec.structs.replace(model, **more)


@asynccontextmanager
async def provider(case: Case, url: str, folder: Path, key: str = KEY, **options: Any) -> AsyncIterator[Provider]:
    """The adapter as the catalogue makes it."""
    source = Source(
        kind=case.kind, base_url=url + case.prefix, key=case.key, options={**case.options(folder), **options}
    )
    adapter = providers_of(catalogue_with(source, model_of(case)), {"PROVIDER_KEY": key})["there"]
    try:
        yield adapter
    finally:
        await adapter.close()


def job_of(case: Case, **more: Any) -> Job:
    return msgspec.structs.replace(case.job, **{"model": case.upstream, "task_type": case.task, **more})


def nobody_told(_: float) -> None:
    """For those who do not care how far it is."""


async def finished(adapter: Provider, job: Job) -> Finished:
    """The job's end, whatever it takes; a server that never ends it fails here."""
    outcome = await adapter.create(job, nobody_told)
    for _ in range(50):
        if isinstance(outcome, Finished):
            return outcome
        outcome = await adapter.poll(job, outcome.provider_job)
    raise AssertionError("it does not end")

"""/api/v1/generate: tasks are accepted at once and worked on in the background."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath
from litestar.types import ASGIApp

from mintage.application.catalogue import UnknownModel
from mintage.application.generations import Ask
from mintage.application.ports.files import Files
from mintage.application.refusals import ContentRefused, RateLimited
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.generation.decider import TaskOver
from mintage.domain.urls import url_of
from mintage.http import messages
from mintage.http.api_v1.envelope import body, ok
from mintage.http.api_v1.events import HEADERS, KINDS, events, last_seen
from mintage.http.api_v1.tasks import (
    QuoteView,
    TaskList,
    TaskView,
    all_shown,
    as_accepted,
    own_task,
    quote_view,
    shown,
    task_view,
)
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import Form
from mintage.http.kinds import SEEN, TASK_STATUSES, TASK_TYPES, WebUrl
from mintage.http.operations import Operation
from mintage.http.queries import Choice, Paging, id_of
from mintage.http.repeats import answered, kept, replay_headers, task_of_reply
from mintage.http.replies import Json, Live, Nothing
from mintage.projections.outlook import outlook
from mintage.projections.tasks import tasks_of

GENERATE_PATH: Final = "/api/v1/generate"
TASKS_PATH: Final = f"{GENERATE_PATH}/tasks"
PAGE: Final = Paging("pageSize")
STATUS: Final = Choice("status", TASK_STATUSES)
TASK_TYPE: Final = Choice("task_type", TASK_TYPES)
REFUSALS: Final = (UnknownModel, ContentRefused, InsufficientCredits, RateLimited)


Prompt: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=4_000, extra_json_schema=SEEN)]
NegativePrompt: TypeAlias = Annotated[str, msgspec.Meta(max_length=4_000)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What all four tasks take; which ``parameters`` there are is the model's affair."""

    prompt: Prompt
    model_provider: str | None = None
    model_name: str | None = None
    negative_prompt: NegativePrompt | None = None
    parameters: dict[str, Any] = {}


class TextToImage(Asked, frozen=True, kw_only=True):
    task_type: Literal["text2img"] = "text2img"


class TextToVideo(Asked, frozen=True, kw_only=True):
    task_type: Literal["text2video"] = "text2video"


class FromImage(Asked, frozen=True, kw_only=True):
    """The url of one of one's own works or of a public one, or any picture in the web."""

    source_image_url: WebUrl


class ImageToImage(FromImage, frozen=True, kw_only=True):
    task_type: Literal["img2img"] = "img2img"


class ImageToVideo(FromImage, frozen=True, kw_only=True):
    task_type: Literal["img2video"] = "img2video"


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """What any of the four takes; all but the ``task_type`` may still be missing."""

    task_type: Literal["text2img", "img2img", "text2video", "img2video"]
    prompt: Prompt | None = None
    model_provider: str | None = None
    model_name: str | None = None
    negative_prompt: NegativePrompt | None = None
    source_image_url: WebUrl | None = None
    parameters: dict[str, Any] = {}


TEXT_TO_IMAGE: Final = Body(TextToImage)
IMAGE_TO_IMAGE: Final = Body(ImageToImage)
TEXT_TO_VIDEO: Final = Body(TextToVideo)
IMAGE_TO_VIDEO: Final = Body(ImageToVideo)
PRICED: Final = Body(Priced)


class GenerateController(Controller):
    path = "/generate"
    tags = ("生成接口",)

    @post("/text-to-image", status_code=200)
    @Operation("文生图", TaskView, body=TEXT_TO_IMAGE, refusals=REFUSALS, repeatable=True)
    async def text_to_image(self, request: Call) -> Json:
        """One to four images (``parameters.count``). Credits are held now, and charged for what comes out."""
        return await _accepted(request, "text-to-image", TEXT_TO_IMAGE)

    @post("/image-to-image", status_code=200)
    @Operation("图生图", TaskView, body=IMAGE_TO_IMAGE, refusals=REFUSALS, repeatable=True)
    async def image_to_image(self, request: Call) -> Json:
        """An image painted anew. Credits are held now, and charged for what comes out."""
        return await _accepted(request, "image-to-image", IMAGE_TO_IMAGE)

    @post("/text-to-video", status_code=200)
    @Operation("文生视频", TaskView, body=TEXT_TO_VIDEO, refusals=REFUSALS, repeatable=True)
    async def text_to_video(self, request: Call) -> Json:
        """A film of a prompt. Credits are held now, and charged when it is done."""
        return await _accepted(request, "text-to-video", TEXT_TO_VIDEO)

    @post("/image-to-video", status_code=200)
    @Operation("图生视频", TaskView, body=IMAGE_TO_VIDEO, refusals=REFUSALS, repeatable=True)
    async def image_to_video(self, request: Call) -> Json:
        """A film of an image. Credits are held now, and charged when it is done."""
        return await _accepted(request, "image-to-video", IMAGE_TO_VIDEO)

    @post("/quote", status_code=200)
    @Operation("生成报价", QuoteView, body=PRICED, refusals=(UnknownModel, ContentRefused, RateLimited))
    async def quote(self, request: Call) -> Json:
        """What one of the four would hold for the same body. Nothing is held or stored."""
        caller, asked, services = await request.caller(), await request.read(PRICED), request.services
        ask = _ask(asked, services.files)
        await services.limits.generated(caller.user_id, request.address)
        quote = await services.generations.quote(caller.user_id, ask)
        expected = await outlook(
            services.db,
            caller.user_id,
            renderer=quote.model.renderer,
            task_type=asked.task_type,
            priority=quote.model.priority,
        )
        return ok(request, quote_view(quote, asked.task_type, expected))

    @get("/tasks")
    @Operation("获取任务列表", TaskList, query=(PAGE, STATUS, TASK_TYPE))
    async def list_tasks(self, request: Call) -> Json:
        """One's own, newest first, also those of an images/generate."""
        caller, query, services = await request.caller(), request.query, request.services
        page = query.page(PAGE)
        status, task_type = query.choice(STATUS), query.choice(TASK_TYPE)
        tasks, total = await tasks_of(
            services.db, caller.user_id, status=status, task_type=task_type, limit=page.size, offset=page.offset
        )
        views = await all_shown(services, tasks, request.language)
        return ok(request, TaskList(views, total, page.number, page.size))

    @get("/tasks/{task_id:str}")
    @Operation("获取任务状态", TaskView)
    async def show(self, request: Call, task_id: FromPath[str]) -> Json:
        """Any task of one's own, also that of an images/generate."""
        caller = await request.caller()
        task = await own_task(request.services, caller.user_id, id_of(task_id))
        return ok(request, await shown(request.services, task, request.language))

    @get("/tasks/{task_id:str}/events")
    @Operation("订阅任务事件", events=KINDS, refusals=(RateLimited,))
    async def events(self, request: Call, task_id: FromPath[str]) -> ASGIApp:
        """Server-Sent Events: ``state`` whenever the task got further, and at last ``end`` with the whole task.

        With the ``Last-Event-ID`` of the last one seen it goes on after it; when nothing more is to come it is 204, and
        the client stops. A connection that ends without an ``end`` was broken off, and is to be made again.
        """
        caller = await request.caller()
        task = await own_task(request.services, caller.user_id, id_of(task_id))
        seen = last_seen(request, task)
        if task.over and seen is not None and seen >= task.reached:
            return Nothing()
        return await Live.begun(events(request, task, seen), HEADERS)

    @post("/tasks/{task_id:str}/cancel", status_code=200)
    @Operation("取消任务", TaskView, refusals=(TaskOver,), repeatable=True)
    async def cancel(self, request: Call, task_id: FromPath[str]) -> Json:
        """Gives the held credits back."""
        caller, raw, services = await request.caller(), await request.raw(), request.services
        task_uuid = (await own_task(services, caller.user_id, id_of(task_id))).task_id
        repeatable = request.repeatable(caller.user_id, f"{TASKS_PATH}/{task_uuid}/cancel", raw)
        reply = await services.generations.cancel(caller.user_id, task_uuid, repeatable=repeatable)
        if reply.body is not None:
            return answered(reply)
        with request.showing():
            view = await shown(services, await own_task(services, caller.user_id, task_uuid), request.language)
            content = await kept(services, repeatable, body(view, request.language, messages.TASK_CANCELLED))
            return Json(content, headers=replay_headers(reply))


async def _accepted(request: Call, name: str, kind: Body[Any]) -> Json:
    caller, raw, services = await request.caller(), await request.raw(), request.services
    ask = _ask(kind.read(raw), services.files)
    repeatable = request.repeatable(caller.user_id, f"{GENERATE_PATH}/{name}", raw)
    await services.limits.generated(caller.user_id, request.address)
    reply = await services.generations.request(caller.user_id, ask, repeatable=repeatable)
    if reply.body is not None:
        return answered(reply)
    with request.showing():
        task = as_accepted(await own_task(services, caller.user_id, task_of_reply(reply)))
        view = task_view(task, (), services.files, request.language, services.clock())
        created = body(view, request.language, messages.TASK_ACCEPTED)
        return Json(await kept(services, repeatable, created), headers=replay_headers(reply))


def _ask(asked: Asked | Priced, files: Files) -> Ask:
    given = msgspec.structs.asdict(asked)
    ask = Ask(document="v1", **given | {"prompt": asked.prompt or ""})
    if ask.source_image_url is None:
        return ask
    form = Form()
    url = form.canonical("source_image_url", ask.source_image_url, url_of)
    form.done()
    return msgspec.structs.replace(ask, source_file=files.key_of_url(url))

"""/api/images: a request waits for its images, and the work goes on if they take longer than that."""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller, get, post

from mintage.application.generations import Ask
from mintage.application.refusals import ContentRefused, RateLimited
from mintage.application.services import Services
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.generation.decider import TaskUnknown
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.kinds import SEEN
from mintage.http.operations import Operation
from mintage.http.queries import Paging
from mintage.http.refusals import GenerationFailed
from mintage.http.repeats import answered, kept, replay_headers, task_of_reply
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import body, shown
from mintage.projections.ledger import balance_of
from mintage.projections.tasks import Task, image_history, task_of
from mintage.projections.works import works_of_tasks

GENERATE_PATH: Final = "/api/images/generate"


class Generate(msgspec.Struct, frozen=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=4_000, extra_json_schema=SEEN)]
    style: Literal["realistic", "cartoon", "oil-painting", "3d-render", "watercolor", "cyberpunk"]
    transparent: bool = False
    count: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1


GENERATE: Final = Body(Generate)
PAGE: Final = Paging("limit")


class ImageController(Controller):
    path = "/images"
    tags = ("AI图片生成接口",)

    @post("/generate", status_code=200)
    @Operation(
        "生成图片",
        views.Made,
        accepted=views.StillMaking,
        body=GENERATE,
        refusals=(InsufficientCredits, ContentRefused, GenerationFailed, RateLimited),
        repeatable=True,
    )
    async def generate(self, request: Call) -> Json:
        """Waits for the images; if they take longer it is 202, and the work goes on. What fails costs nothing."""
        caller, raw, services = await request.caller(), await request.raw(), request.services
        ask = _ask(GENERATE.read(raw))
        repeatable = request.repeatable(caller.user_id, GENERATE_PATH, raw)
        await services.limits.generated(caller.user_id, request.address)
        reply = await services.generations.request(caller.user_id, ask, repeatable=repeatable)
        if reply.body is not None:
            return answered(reply)
        with request.showing():
            task = await _ended(services, caller.user_id, task_of_reply(reply), replayed=reply.receipt is not None)
            remaining = (await balance_of(services.db, caller.user_id)).available
            if not task.over:
                accepted = views.StillMaking([], 0, remaining, task.task_id)
                content = body(accepted, request.language, messages.TASK_ACCEPTED)
                return Json(content, 202, replay_headers(reply))
            works = await works_of_tasks(services.db, [task.task_id])
            made = views.Made(views.made_images(task, works, services.files), task.charged, remaining)
            content = await kept(services, repeatable, body(made, request.language, messages.IMAGES_MADE))
            return Json(content, headers=replay_headers(reply))

    @get("/history")
    @Operation("获取生成历史", views.History, query=(PAGE,))
    async def history(self, request: Call) -> Json:
        """One entry for each request, newest first."""
        caller, page, services = await request.caller(), request.query.page(PAGE), request.services
        tasks, total = await image_history(services.db, caller.user_id, limit=page.size, offset=page.offset)
        works = await works_of_tasks(services.db, [task.task_id for task in tasks])
        entries = views.past_requests(tasks, works, services.files)
        return shown(views.History(entries, total, page.number, page.size))


def _ask(asked: Generate) -> Ask:
    return Ask(
        document="server",
        task_type="text2img",
        prompt=asked.prompt,
        style=asked.style,
        transparent=asked.transparent,
        parameters={"count": asked.count},
    )


async def _ended(services: Services, user_id: str, task_id: str, *, replayed: bool) -> Task:
    """The task when it is over or the wait is. Raises ``GenerationFailed``.

    A repeat of a request that failed ends here too: the key stays bound to its task, so that it cannot charge twice.
    """
    await services.news.wait(task_id, services.terms.generation_wait_s)
    task = await task_of(services.db, user_id, task_id)
    if task is None:
        raise TaskUnknown
    if task.status in {"failed", "cancelled"}:
        raise GenerationFailed(task_id=task_id, reason=task.error_code or "CANCELLED", replayed=replayed)
    return task

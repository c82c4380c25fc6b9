"""/api/v1/generate: tasks are accepted at once and worked on in the background."""

from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath

from mintage.application.generations import Ask
from mintage.application.services import Services
from mintage.domain.generation.decider import TaskUnknown
from mintage.http import messages
from mintage.http.api_v1.envelope import body, ok
from mintage.http.api_v1.views import TaskView, as_accepted, task_view
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.queries import id_of
from mintage.http.repeats import answered, kept, replay_headers, task_of_reply
from mintage.http.replies import Json
from mintage.projections.tasks import Task, task_of
from mintage.projections.works import works_of_tasks

TEXT_TO_IMAGE_PATH: Final = "/api/v1/generate/text-to-image"
TASKS_PATH: Final = "/api/v1/generate/tasks"


class TextToImage(msgspec.Struct, frozen=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=4_000)]
    task_type: Literal["text2img"] = "text2img"
    model_provider: str | None = None
    model_name: str | None = None
    negative_prompt: Annotated[str, msgspec.Meta(max_length=4_000)] | None = None
    parameters: dict[str, Any] = {}


TEXT_TO_IMAGE: Final = Body(TextToImage)


class GenerateController(Controller):
    path = "/generate"
    tags = ("生成接口",)

    @post("/text-to-image", status_code=200)
    async def text_to_image(self, request: Call) -> Json:
        caller, raw, services = await request.caller(), await request.raw(), request.services
        ask = Ask(document="v1", **msgspec.structs.asdict(TEXT_TO_IMAGE.read(raw)))
        repeatable = request.repeatable(caller.user_id, TEXT_TO_IMAGE_PATH, raw)
        reply = await services.generations.request(caller.user_id, ask, repeatable=repeatable)
        if reply.body is not None:
            return answered(reply)
        task = as_accepted(await _task(services, caller.user_id, task_of_reply(reply)))
        created = body(task_view(task, (), services.files), request.language, messages.TASK_ACCEPTED)
        return Json(await kept(services, repeatable, created), headers=replay_headers(reply))

    @get("/tasks/{task_id:str}")
    async def show(self, request: Call, task_id: FromPath[str]) -> Json:
        caller = await request.caller()
        task = await _task(request.services, caller.user_id, id_of(task_id))
        return ok(request, await _view(request.services, task))

    @post("/tasks/{task_id:str}/cancel", status_code=200)
    async def cancel(self, request: Call, task_id: FromPath[str]) -> Json:
        caller, raw, services = await request.caller(), await request.raw(), request.services
        task_uuid = (await _task(services, caller.user_id, id_of(task_id))).task_id
        repeatable = request.repeatable(caller.user_id, f"{TASKS_PATH}/{task_uuid}/cancel", raw)
        reply = await services.generations.cancel(caller.user_id, task_uuid, repeatable=repeatable)
        if reply.body is not None:
            return answered(reply)
        view = await _view(services, await _task(services, caller.user_id, task_uuid))
        content = await kept(services, repeatable, body(view, request.language, messages.TASK_CANCELLED))
        return Json(content, headers=replay_headers(reply))


async def _task(services: Services, user_id: str, task_id: int | str) -> Task:
    task = await task_of(services.db, user_id, task_id)
    if task is None:
        raise TaskUnknown
    return task


async def _view(services: Services, task: Task) -> TaskView:
    works = await works_of_tasks(services.db, [task.task_id]) if task.delivered else ()
    return task_view(task, works, services.files)

"""/api/v1/models: what is for sale, and at what price."""

import msgspec
from litestar import Controller, get

from mintage.application.catalogue import BUILTIN, Model
from mintage.http.api_v1.envelope import ok
from mintage.http.calls import Call
from mintage.http.kinds import TaskType
from mintage.http.operations import Operation
from mintage.http.replies import Json


class ParameterView(msgspec.Struct, frozen=True):
    """What one parameter may be; without a ``default`` it may be left out."""

    type: str
    min: int | float | None
    max: int | float | None
    choices: list[str] | None
    default: str | int | float | bool | None


class ModelView(msgspec.Struct, frozen=True):
    """``price`` is in credits for a request, whatever comes out of it; ``renderer`` says what really serves the model.

    One that is ``builtin`` needs nothing else: no key, no network, no other service.
    """

    provider: str
    name: str
    task_types: list[TaskType]
    price: int
    renderer: str
    builtin: bool
    parameters: dict[str, ParameterView]


class ModelList(msgspec.Struct, frozen=True):
    list: list[ModelView]


class ModelController(Controller):
    path = "/models"
    tags = ("生成接口",)

    @get()
    @Operation("获取模型列表", ModelList)
    async def list_models(self, request: Call) -> Json:
        """In the catalogue's order: the first that can do a task is what a request without a model gets."""
        await request.caller()
        return ok(request, ModelList([_view(model) for model in request.services.catalogue.models]))


def _view(model: Model) -> ModelView:
    """Where a model is served, under which name and with whose key stays with us."""
    return ModelView(
        provider=model.provider,
        name=model.name,
        task_types=list(model.tasks),
        price=model.price,
        renderer=model.renderer,
        builtin=model.renderer == BUILTIN,
        parameters={
            name: ParameterView(bounds.type, bounds.min, bounds.max, list(bounds.choices) or None, bounds.default)
            for name, bounds in model.parameters.items()
        },
    )

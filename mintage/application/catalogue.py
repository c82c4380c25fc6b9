"""What is for sale: the models, what each accepts, what each costs, and what a yuan buys."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from mintage.domain.decider import Refusal
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.generation.events import Parameter, TaskType

BUILTIN: Final = "builtin"
"""The renderer that comes with the product."""
COUNT_MAX: Final = 4
"""The most works of one request: the documents know of no more."""


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one parameter of a model may be; without a default it may be absent. A ``number`` may have decimals."""

    type: Literal["integer", "number", "string"]
    min: int | float | None = None
    max: int | float | None = None
    choices: tuple[str, ...] = ()
    default: Parameter | None = None


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who makes what is sold: the protocol spoken to it (``kind``), where, and with whose key.

    ``key`` names the environment variable that holds the key, or with ``_FILE`` added a file that holds it. At most
    ``concurrency`` jobs are under way there at a time. ``options`` are those of the protocol.
    """

    kind: Literal["openai-images", "openai-videos", "stability", "comfyui", "replicate"]
    base_url: str
    key: str | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 4
    options: dict[str, Any] = {}


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``price`` is in credits per request; ``renderer`` names what really serves it, ``upstream`` its name there.

    ``renderer`` is ``builtin`` or a key of ``Catalogue.providers``. A task that is not done ``deadline_s`` after it was
    accepted fails. Tasks of a model of higher ``priority`` are worked on first.
    """

    provider: str
    name: str
    renderer: str
    tasks: tuple[TaskType, ...]
    price: Annotated[int, msgspec.Meta(ge=1)]
    upstream: str = ""
    deadline_s: Annotated[int, msgspec.Meta(ge=1)] = 3600
    priority: int = 0
    parameters: dict[str, Bounds] = {}

    def checked(self, given: Mapping[str, Any]) -> dict[str, Parameter]:
        """The parameters with defaults filled in; those the model does not know are dropped.

        Raises ``InvalidFields`` with names such as ``parameters.width``.
        """
        wrong: dict[str, Reason] = {}
        values: dict[str, Parameter] = {}
        for name, bounds in self.parameters.items():
            value = given.get(name, bounds.default)
            if value is None and name not in given:
                continue
            reason = _breach(value, bounds)
            if reason is None:
                values[name] = value
            else:
                wrong[f"parameters.{name}"] = reason
        if wrong:
            raise InvalidFields(wrong)
        return values


_Bonus: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Money(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole credits all; ``credits_per_yuan`` is what CNY 1 buys."""

    credits_per_yuan: Annotated[int, msgspec.Meta(ge=1)]
    signup_bonus: _Bonus
    referral_bonus_referrer: _Bonus
    referral_bonus_newcomer: _Bonus


class UnknownModel(Refusal):
    """No model of that provider and name can do that task; ``field`` is which of the two is to blame."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every model has somebody who makes it, bounds that something fits, and a name of its own for each task.

    Raises ``ValueError`` otherwise, with the entry named.
    """

    money: Money
    models: tuple[Model, ...]
    providers: dict[str, Source] = {}

    def __post_init__(self) -> None:
        if BUILTIN in self.providers:
            raise ValueError(f"providers.{BUILTIN}: that name is taken by the built-in renderer")
        sold: set[tuple[str, str, TaskType]] = set()
        for model in self.models:
            called = f"models: {model.provider}/{model.name}"
            if model.renderer not in {BUILTIN, *self.providers}:
                raise ValueError(f"{called}: there is no provider {model.renderer!r}")
            if model.renderer != BUILTIN and not model.upstream:
                raise ValueError(f"{called}: upstream is missing, its name at {model.renderer}")
            for task in model.tasks:
                if (model.provider, model.name, task) in sold:
                    raise ValueError(f"{called}: {task} is there twice")
                sold.add((model.provider, model.name, task))
            for name, bounds in model.parameters.items():
                if reason := _unfit(name, bounds):
                    raise ValueError(f"{called}: parameters.{name}: {reason}")

    def model(self, task: TaskType, provider: str | None, name: str | None) -> Model:
        """The first model that can do the task and fits what the caller named, if anything."""
        for model in self.models:
            if task in model.tasks and provider in {None, model.provider} and name in {None, model.name}:
                return model
        known = any(task in model.tasks and provider in {None, model.provider} for model in self.models)
        raise UnknownModel("model_name" if known else "model_provider")


def _unfit(name: str, bounds: Bounds) -> str | None:
    """Why nobody could use a parameter as it is described, if so."""
    low, high = bounds.min, bounds.max
    if low is not None and high is not None and not low <= high:
        return f"min {low} is above max {high}"
    if name == "count" and not (bounds.type == "integer" and (low or 0) >= 1 and (high or math.inf) <= COUNT_MAX):
        return f"has to be an integer with a min of at least 1 and a max of at most {COUNT_MAX}"
    if bounds.default is not None and _breach(bounds.default, bounds):
        return f"the default {bounds.default!r} is not among what it may be"
    return None


def _breach(value: Any, bounds: Bounds) -> Reason | None:
    match bounds.type:
        case "integer" if type(value) is not int:
            return Reason("type", expected="integer")
        case "number" if type(value) is not int and not (type(value) is float and math.isfinite(value)):
            return Reason("type", expected="number")
        case "string" if type(value) is not str:
            return Reason("type", expected="string")
        case "string":
            return Reason("one_of", choices=bounds.choices) if bounds.choices and value not in bounds.choices else None
    low, high = bounds.min, bounds.max
    if (low is not None and value < low) or (high is not None and value > high):
        return Reason("between", low=low, high=high)
    return None

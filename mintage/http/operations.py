"""What a handler says of itself beyond its route, and everything below a router that is served."""

import re
from collections.abc import Callable
from types import MethodType
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from litestar import Controller, Router
from litestar.handlers import HTTPRouteHandler

from mintage.http.bodies import Body
from mintage.http.queries import Parameter

Data: TypeAlias = Any
"""The type of a reply's data: a struct, or an object's fields with the type of each; None if there is none."""
Handler = TypeVar("Handler", bound=Callable[..., Any])

_OPERATIONS: Final[dict[Any, "Operation"]] = {}


class Operation(msgspec.Struct, frozen=True):
    """A decorator that says of a handler what its route does not; the handler's docstring is the description.

    ``accepted`` is the data of a 202; ``files`` are the media types of files that may come in place of JSON, or alone
    if there is no ``reply``; ``upload`` says that a form with a file may stand for the body; ``query`` are the
    parameters it reads; ``repeatable`` says that it takes an Idempotency-Key; ``events`` that it answers with a stream
    of these, each with its data; ``refusals`` are those that do not follow from the rest.
    """

    summary: str
    reply: Data = None
    accepted: Data = None
    files: tuple[str, ...] = ()
    body: Body[Any] | None = None
    upload: bool = False
    query: tuple[Parameter, ...] = ()
    refusals: tuple[type[Exception], ...] = ()
    public: bool = False
    repeatable: bool = False
    events: dict[str, Data] = {}

    def __call__(self, handler: Handler) -> Handler:
        _OPERATIONS[handler] = self
        return handler


class Endpoint(msgspec.Struct, frozen=True):
    """One method of one path."""

    method: str
    path: str
    parameters: tuple[str, ...]
    controller: Controller
    function: Any
    guarded: bool

    @property
    def key(self) -> str:
        """As the documents would write it, whatever the path calls its ids."""
        return f"{self.method} {re.sub('{.*?}', '{id}', self.path)}"

    @property
    def id(self) -> str:
        controller = type(self.controller).__name__.removesuffix("Controller")
        return f"{controller}_{self.function.__name__}".lower()

    @property
    def operation(self) -> Operation | None:
        return _OPERATIONS.get(self.function)


def endpoints(router: Router) -> list[Endpoint]:
    """Everything below a router, in the order in which its controllers were written."""
    found = [
        Endpoint(
            method=method,
            path=route.path_format,
            parameters=tuple(route.path_parameters),
            controller=controller,
            function=handler.fn.__func__,
            guarded=bool(controller.guards or handler.guards),
        )
        for route in router.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and isinstance(handler.fn, MethodType)
        if isinstance(controller := handler.fn.__self__, Controller)
        for method in handler.http_methods
    ]
    controllers = list(dict.fromkeys(type(endpoint.controller) for endpoint in found))

    def written(endpoint: Endpoint) -> tuple[int, int]:
        controller = type(endpoint.controller)
        return controllers.index(controller), list(vars(controller)).index(endpoint.function.__name__)

    return sorted(found, key=written)

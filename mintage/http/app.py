"""The ASGI application: every path of both documents, and one way to fail for each."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar import Litestar, Request, Response
from litestar.config.cors import CORSConfig
from litestar.types import ControllerRouterHandler

from mintage.application.services import Services
from mintage.http import api_v1, server_api
from mintage.http.api_v1 import envelope as v1_envelope
from mintage.http.calls import Call
from mintage.http.docs import docs
from mintage.http.failures import Problem, problem_of
from mintage.http.files import FileController
from mintage.http.health import HealthController
from mintage.http.openapi import openapi
from mintage.http.server_api import envelope as server_envelope

ALLOWED_HEADERS: Final = ["authorization", "content-type", "idempotency-key", "accept-language", "last-event-id"]
EXPOSED_HEADERS: Final = ["Idempotency-Replayed", "Retry-After", "WWW-Authenticate"]


def create_app(
    services: Services,
    *,
    extra_handlers: Sequence[ControllerRouterHandler] = (),
    unavailable: tuple[type[Exception], ...] = (),
) -> Litestar:
    """``unavailable`` are the exceptions by which the infrastructure says that it is out of reach."""

    class Served(Call):
        pass

    Served.services = services
    Served.unavailable = unavailable

    def fail(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        assert isinstance(request, Call)
        return _dialect(request.scope["path"])(problem_of(error, request.language, unavailable))

    v1, server = api_v1.router(), server_api.router()
    documents = {"v1": openapi(v1, api_v1.DIALECT), "server": openapi(server, server_api.DIALECT)}
    return Litestar(
        [v1, server, docs(documents), HealthController, FileController, *extra_handlers],
        request_class=Served,
        exception_handlers={Exception: fail},
        request_max_body_size=services.terms.body_max,
        cors_config=_cors(services.terms.cors_origins),
        # Litestar's default installs a logger of its own at the root.
        logging_config=None,
        openapi_config=None,
    )


def _dialect(path: str) -> Callable[[Problem], Response[bytes]]:
    """Failures outside any handler are told in the envelope of the document that the path belongs to."""
    if path == api_v1.PREFIX or path.startswith(f"{api_v1.PREFIX}/"):
        return v1_envelope.failure
    return server_envelope.failure


def _cors(origins: str) -> CORSConfig:
    return CORSConfig(
        allow_origins=[],
        allow_origin_regex=origins,
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        # For the one cookie there is: what binds a sign-in with Google to the browser that began it.
        allow_credentials=True,
    )

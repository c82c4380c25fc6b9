"""document-v1.md, served under /api/v1: ``{code, message, data}``, where a failure's code is its HTTP status."""

from litestar import Router

from mintage.http.api_v1.auth import AuthController
from mintage.http.api_v1.generate import GenerateController
from mintage.http.api_v1.users import UserController
from mintage.http.api_v1.works import WorkController

PREFIX = "/api/v1"


def router() -> Router:
    return Router(PREFIX, route_handlers=[AuthController, UserController, WorkController, GenerateController])

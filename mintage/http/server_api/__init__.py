"""document-server.md, served under /api: ``{success, data, message}`` or ``{success, error, message, details}``."""

from litestar import Router

from mintage.http.server_api.auth import AuthController
from mintage.http.server_api.credits import CreditController
from mintage.http.server_api.images import ImageController
from mintage.http.server_api.user import UserController


def router() -> Router:
    return Router("/api", route_handlers=[AuthController, CreditController, ImageController, UserController])

"""Who may do what: a guard refuses everybody without one of its roles, before the handler runs."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from mintage.domain.registration.events import Role
from mintage.http.calls import Call
from mintage.http.refusals import Forbidden

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def only(*roles: Role) -> Guard:
    """Let pass whose role is one of these. The guard raises ``Unauthorized`` and ``Forbidden``."""

    async def guard(call: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        assert isinstance(call, Call)
        if await call.role() not in roles:
            raise Forbidden

    return guard

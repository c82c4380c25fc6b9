"""/api/admin: what only an operator may do; neither document knows it."""

from typing import Final

import msgspec
from litestar import Controller, put
from litestar.params import FromPath

from mintage.domain.registration.decider import PersonUnknown
from mintage.domain.registration.events import Role
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.guards import only
from mintage.http.operations import Operation
from mintage.http.queries import id_of
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import done


class RoleGrant(msgspec.Struct, frozen=True):
    role: Role


ROLE_GRANT: Final = Body(RoleGrant)


class AdminController(Controller):
    path = "/admin"
    tags = ("管理",)
    guards = (only("admin"),)

    @put("/users/{user_id:str}/role")
    @Operation("授予角色", {"user": views.PersonRole}, body=ROLE_GRANT)
    async def grant_role(self, request: Call, user_id: FromPath[str]) -> Json:
        caller, asked = await request.caller(), await request.read(ROLE_GRANT)
        person_id = id_of(user_id)
        if isinstance(person_id, int):
            raise PersonUnknown
        person = await request.services.profiles.grant_role(person_id, asked.role, actor=caller.user_id)
        return done(request, {"user": views.role(person)}, messages.ROLE_GRANTED)

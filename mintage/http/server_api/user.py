"""/api/user: what a person sees of themselves, and changes."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, get, put
from msgspec import UNSET, UnsetType

from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import changes
from mintage.http.kinds import WebUrl
from mintage.http.openapi import Operation
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import done, shown


class ProfileChange(msgspec.Struct, frozen=True):
    """What is absent stays; an ``avatar`` of null clears it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    avatar: WebUrl | UnsetType | None = UNSET


PROFILE_CHANGE: Final = Body(ProfileChange)


class UserController(Controller):
    path = "/user"
    tags = ("用户信息接口",)

    @get("/profile")
    @Operation("获取用户信息", {"user": views.Profile})
    async def show(self, request: Call) -> Json:
        caller = await request.caller()
        person = await request.services.people.known(caller.user_id)
        return shown({"user": views.profile(person, request.services.files)})

    @put("/profile")
    @Operation("更新用户信息", {"user": views.ChangedProfile}, body=PROFILE_CHANGE)
    async def change(self, request: Call) -> Json:
        """What is absent stays; an ``avatar`` of null takes the picture away."""
        caller, asked, services = await request.caller(), await request.read(PROFILE_CHANGE), request.services
        person = await services.profiles.change(
            caller.user_id,
            changes(name=("name", asked.name), avatar=("avatar", asked.avatar)),
            language=request.language,
            address=request.address,
        )
        return done(request, {"user": views.changed_profile(person, services.files)}, messages.PROFILE_CHANGED)

"""/api/user: what a person sees of themselves, and changes."""

from typing import Annotated, Final, TypeAlias

import msgspec
from litestar import Controller, get, put
from msgspec import UNSET, UnsetType

from mintage.application.profiles import Changes
from mintage.domain.urls import URL_MAX, url_of
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import Form, name_of
from mintage.http.kinds import SEEN, URL_PATTERN
from mintage.http.operations import Operation
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import done, shown

EXAMPLE_AVATAR: Final = "新头像URL"
"""What the document's own example sends for an avatar; it is taken as it stands (docs/decisions/0026)."""

Picture: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        extra_json_schema={"maxLength": URL_MAX, "anyOf": [{"pattern": URL_PATTERN}, {"const": EXAMPLE_AVATAR}]}
    ),
]


class ProfileChange(msgspec.Struct, frozen=True):
    """What is absent stays; an ``avatar`` of null clears it."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, extra_json_schema=SEEN)] | UnsetType = UNSET
    avatar: Picture | UnsetType | None = UNSET


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
        form = Form()
        changes = Changes(
            name=form.canonical("name", asked.name, name_of),
            avatar=form.canonical("avatar", asked.avatar, _picture_of),
        )
        form.done()
        person = await services.profiles.change(
            caller.user_id, changes, language=request.language, address=request.address
        )
        return done(request, {"user": views.changed_profile(person, services.files)}, messages.PROFILE_CHANGED)


def _picture_of(text: str) -> str | None:
    return text if text == EXAMPLE_AVATAR else url_of(text)

"""/api/v1/users: what a person sees of themselves, and changes."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post, put
from msgspec import UNSET, UnsetType

from mintage.application.credentials import WrongOldPassword
from mintage.application.refusals import RateLimited
from mintage.application.services import Services
from mintage.domain.registration.decider import EmailTaken, PhoneTaken
from mintage.http import messages
from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.views import UserView, user_view
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.files import avatar_url
from mintage.http.forms import changes, new_password, token_of
from mintage.http.kinds import SEEN, Email, NewPassword, Phone, Url, WebUrl
from mintage.http.languages import Text
from mintage.http.operations import Operation
from mintage.http.replies import Json
from mintage.http.uploads import file_of, is_form
from mintage.projections.ledger import balance_of
from mintage.projections.people import Person


class ProfileChange(msgspec.Struct, frozen=True):
    """What is absent stays; null clears."""

    nickname: Annotated[str, msgspec.Meta(min_length=1, max_length=100, extra_json_schema=SEEN)] | UnsetType | None = (
        UNSET
    )
    email: Email | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET


class PasswordChange(msgspec.Struct, frozen=True, rename="camel"):
    old_password: str
    new_password: NewPassword


class Avatar(msgspec.Struct, frozen=True):
    avatar_url: WebUrl


class NewToken(msgspec.Struct, frozen=True):
    """All others have just died."""

    token: str


PROFILE_CHANGE: Final = Body(ProfileChange)
PASSWORD_CHANGE: Final = Body(PasswordChange)
AVATAR: Final = Body(Avatar)


class UserController(Controller):
    path = "/users"
    tags = ("用户接口",)

    @get("/profile")
    @Operation("获取用户信息", UserView)
    async def show(self, request: Call) -> Json:
        return await profile(request)

    @put("/profile")
    @Operation("更新用户信息", UserView, body=PROFILE_CHANGE, refusals=(EmailTaken, PhoneTaken, RateLimited))
    async def change(self, request: Call) -> Json:
        """What is absent stays, null clears. A new e-mail is mailed a code."""
        caller, asked, services = await request.caller(), await request.read(PROFILE_CHANGE), request.services
        asked_for = changes(name=("nickname", asked.nickname), email=asked.email, phone=asked.phone)
        person = await services.profiles.change(
            caller.user_id, asked_for, language=request.language, address=request.address
        )
        return await _shown(request, person, messages.CHANGED)

    @post("/change-password", status_code=200)
    @Operation("修改密码", NewToken, body=PASSWORD_CHANGE, refusals=(WrongOldPassword, RateLimited))
    async def change_password(self, request: Call) -> Json:
        """Ends every token; the reply brings a new one."""
        caller, asked, services = await request.caller(), await request.read(PASSWORD_CHANGE), request.services
        password = new_password("newPassword", asked.new_password, services.terms.password_min)
        person = await services.credentials.change_password(
            caller, asked.old_password, password, address=request.address, language=request.language
        )
        return ok(request, NewToken(token_of(services, person)), messages.PASSWORD_CHANGED)

    @post("/upload-avatar", status_code=200)
    @Operation("上传头像", {"avatar_url": Url}, body=AVATAR, upload=True, refusals=(RateLimited,))
    async def upload_avatar(self, request: Call) -> Json:
        """By its address, or as a file: PNG, JPEG or WebP, up to 2 MiB."""
        caller, services = await request.caller(), request.services
        if is_form(request):
            content = await file_of(request, "avatar")
            person = await services.profiles.upload(
                caller.user_id, content, language=request.language, address=request.address
            )
        else:
            asked = changes(avatar=("avatar_url", (await request.read(AVATAR)).avatar_url))
            person = await services.profiles.change(
                caller.user_id, asked, language=request.language, address=request.address
            )
        return ok(request, Avatar(avatar_url(services.files, person.avatar) or ""))


async def profile(request: Call) -> Json:
    """The caller, as both auth/me and users/profile show them."""
    caller = await request.caller()
    return await _shown(request, await request.services.people.known(caller.user_id))


async def _shown(request: Call, person: Person, message: Text = messages.SUCCESS) -> Json:
    services: Services = request.services
    balance = await balance_of(services.db, person.user_id)
    return ok(request, user_view(person, balance, services.files), message)

"""/api/v1/auth: signing up, signing in and out."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post

from mintage.application.refusals import InvalidCredentials, RateLimited
from mintage.domain.registration.decider import EmailTaken, PhoneTaken, UsernameTaken
from mintage.http import messages
from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.users import profile
from mintage.http.api_v1.views import SignedIn, UserView, user_view
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import newcomer, token_of
from mintage.http.kinds import Email, NewPassword, Phone
from mintage.http.languages import Text
from mintage.http.operations import Operation
from mintage.http.replies import Json
from mintage.projections.ledger import balance_of
from mintage.projections.people import Person


class Registration(msgspec.Struct, frozen=True):
    username: Annotated[str, msgspec.Meta(min_length=3, max_length=50)]
    password: NewPassword
    email: Email | None = None
    phone: Phone | None = None
    referral_code: str | None = None


class SignIn(msgspec.Struct, frozen=True):
    username: str
    password: str


REGISTRATION: Final = Body(Registration)
SIGN_IN: Final = Body(SignIn)


class AuthController(Controller):
    path = "/auth"
    tags = ("认证接口",)

    @post("/register", status_code=200)
    @Operation(
        "用户注册",
        SignedIn,
        body=REGISTRATION,
        refusals=(UsernameTaken, EmailTaken, PhoneTaken, RateLimited),
        public=True,
    )
    async def register(self, request: Call) -> Json:
        """Signs up and in. An e-mail is mailed a code."""
        asked, services = await request.read(REGISTRATION), request.services
        someone = newcomer(
            "v1",
            language=request.language,
            password_min=services.terms.password_min,
            **msgspec.structs.asdict(asked),
        )
        await services.limits.registered(request.address)
        return await _signed_in(request, await services.people.register(someone), messages.REGISTERED)

    @post("/login", status_code=200)
    @Operation("用户登录", SignedIn, body=SIGN_IN, refusals=(InvalidCredentials, RateLimited), public=True)
    async def login(self, request: Call) -> Json:
        """``username`` may also be the e-mail or the phone."""
        asked = await request.read(SIGN_IN)
        person = await request.services.people.sign_in(asked.username, asked.password, address=request.address)
        return await _signed_in(request, person, messages.SIGNED_IN)

    @post("/logout", status_code=200)
    @Operation("退出登录")
    async def logout(self, request: Call) -> Json:
        """Ends this token."""
        await request.services.credentials.sign_out(await request.caller())
        return ok(request, None, messages.SIGNED_OUT)

    @get("/me")
    @Operation("获取当前用户信息", UserView)
    async def me(self, request: Call) -> Json:
        return await profile(request)


async def _signed_in(request: Call, person: Person, message: Text) -> Json:
    services = request.services
    view = user_view(person, await balance_of(services.db, person.user_id), services.files)
    return ok(request, SignedIn(token_of(services, person), view), message)

"""/api/auth: signing up, proving an address, signing in and out."""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller, post
from msgspec import UNSET

from mintage.application.codes import CODE_S
from mintage.application.refusals import EmailNotVerified, InvalidCode, InvalidCredentials, RateLimited
from mintage.domain.registration.decider import EmailTaken
from mintage.http import forms, messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import new_password, newcomer, token_of
from mintage.http.kinds import SEEN, Email, NewPassword
from mintage.http.languages import Text
from mintage.http.operations import Operation
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import done
from mintage.projections.people import Person

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, extra_json_schema=SEEN)]


class Registration(msgspec.Struct, frozen=True):
    email: Email
    password: NewPassword
    name: Name


class SignIn(msgspec.Struct, frozen=True):
    email: str
    password: str


class CodeRequest(msgspec.Struct, frozen=True):
    email: Email
    type: Literal["verification", "password_reset"] = "verification"
    name: Name | None = None


class Proof(msgspec.Struct, frozen=True):
    email: Email
    code: str
    type: Literal["verification"] = "verification"


class Reset(msgspec.Struct, frozen=True):
    email: Email
    code: str
    new_password: NewPassword


REGISTRATION: Final = Body(Registration)
SIGN_IN: Final = Body(SignIn)
CODE_REQUEST: Final = Body(CodeRequest)
PROOF: Final = Body(Proof)
SIGNED_IN: Final = {"user": views.User, "token": str}
RESET: Final = Body(Reset)


class AuthController(Controller):
    path = "/auth"
    tags = ("用户认证相关接口",)

    @post("/register", status_code=200)
    @Operation("用户注册", {"user": views.NewUser}, body=REGISTRATION, refusals=(EmailTaken, RateLimited), public=True)
    async def register(self, request: Call) -> Json:
        """The account waits for its e-mail to be proved; a code is mailed at once."""
        asked, services = await request.read(REGISTRATION), request.services
        someone = newcomer(
            "server",
            language=request.language,
            password_min=services.terms.password_min,
            **msgspec.structs.asdict(asked),
        )
        await services.limits.registered(request.address)
        person = await services.people.register(someone)
        return done(request, {"user": views.new_user(person, services.files)}, messages.REGISTERED)

    @post("/login", status_code=200)
    @Operation(
        "用户登录", SIGNED_IN, body=SIGN_IN, refusals=(InvalidCredentials, EmailNotVerified, RateLimited), public=True
    )
    async def login(self, request: Call) -> Json:
        """Asks for a proved e-mail."""
        asked = await request.read(SIGN_IN)
        services = request.services
        person = await services.people.sign_in_by_email(asked.email, asked.password, address=request.address)
        return _signed_in(request, person, messages.SIGNED_IN)

    @post("/send-verification", status_code=200)
    @Operation(
        "发送验证邮件", {"email": str, "expires_in": int}, body=CODE_REQUEST, refusals=(RateLimited,), public=True
    )
    async def send_verification(self, request: Call) -> Json:
        """The same reply whether or not the address is anybody's."""
        asked = await request.read(CODE_REQUEST)
        email = forms.email(asked.email)
        await request.services.credentials.send_code(
            email, asked.type, language=request.language, name=asked.name, address=request.address
        )
        return done(request, {"email": email, "expires_in": CODE_S}, messages.CODE_SENT)

    @post("/verify-email", status_code=200)
    @Operation("验证邮箱", SIGNED_IN, body=PROOF, refusals=(InvalidCode, RateLimited), public=True)
    async def verify_email(self, request: Call) -> Json:
        """Proves the address, and signs in."""
        asked = await request.read(PROOF)
        email = forms.email(asked.email)
        person = await request.services.credentials.verify_email(email, asked.code, address=request.address)
        return _signed_in(request, person, messages.EMAIL_PROVED)

    @post("/reset-password", status_code=200)
    @Operation("重置密码", body=RESET, refusals=(InvalidCode, RateLimited), public=True)
    async def reset_password(self, request: Call) -> Json:
        """Ends every token, and counts as a proof of the e-mail."""
        asked, services = await request.read(RESET), request.services
        password = new_password("new_password", asked.new_password, services.terms.password_min)
        await services.credentials.reset_password(
            forms.email(asked.email), asked.code, password, language=request.language, address=request.address
        )
        return done(request, UNSET, messages.PASSWORD_RESET)

    @post("/logout", status_code=200)
    @Operation("退出登录")
    async def logout(self, request: Call) -> Json:
        """Ends this token."""
        await request.services.credentials.sign_out(await request.caller())
        return done(request, UNSET, messages.SIGNED_OUT)


def _signed_in(request: Call, person: Person, message: Text) -> Json:
    services = request.services
    return done(request, {"user": views.user(person, services.files), "token": token_of(services, person)}, message)

"""/api/auth: signing up, proving an address, signing in."""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller, post

from mintage.application.people import CODE_S
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.names import email_of
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.newcomers import newcomer, token_of
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import done

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Registration(msgspec.Struct, frozen=True):
    email: str
    password: str
    name: Name


class SignIn(msgspec.Struct, frozen=True):
    email: str
    password: str


class CodeRequest(msgspec.Struct, frozen=True):
    email: str
    type: Literal["verification", "password_reset"] = "verification"
    name: Name | None = None


class Proof(msgspec.Struct, frozen=True):
    email: str
    code: str
    type: Literal["verification"] = "verification"


REGISTRATION: Final = Body(Registration)
SIGN_IN: Final = Body(SignIn)
CODE_REQUEST: Final = Body(CodeRequest)
PROOF: Final = Body(Proof)


class AuthController(Controller):
    path = "/auth"
    tags = ("用户认证",)

    @post("/register", status_code=200)
    async def register(self, request: Call) -> Json:
        asked, services = await request.read(REGISTRATION), request.services
        person = await services.people.register(
            newcomer(
                "server",
                language=request.language,
                password_min=services.terms.password_min,
                **msgspec.structs.asdict(asked),
            )
        )
        return done(request, {"user": views.new_user(person)}, messages.REGISTERED)

    @post("/login", status_code=200)
    async def login(self, request: Call) -> Json:
        asked, services = await request.read(SIGN_IN), request.services
        # What cannot be an address is nobody's, and takes as long to find out as any other.
        person = await services.people.sign_in_by_email(email_of(asked.email) or asked.email, asked.password)
        return done(request, {"user": views.user(person), "token": token_of(services, person)}, messages.SIGNED_IN)

    @post("/send-verification", status_code=200)
    async def send_verification(self, request: Call) -> Json:
        asked, services = await request.read(CODE_REQUEST), request.services
        email = _email(asked.email)
        await services.people.send_code(email, asked.type, language=request.language, name=asked.name)
        return done(request, {"email": email, "expires_in": CODE_S}, messages.CODE_SENT)

    @post("/verify-email", status_code=200)
    async def verify_email(self, request: Call) -> Json:
        asked, services = await request.read(PROOF), request.services
        person = await services.people.verify_email(_email(asked.email), asked.code)
        return done(request, {"user": views.user(person), "token": token_of(services, person)}, messages.EMAIL_PROVED)


def _email(given: str) -> str:
    email = email_of(given)
    if email is None:
        raise InvalidFields({"email": Reason("pattern")})
    return email

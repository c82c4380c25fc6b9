"""/api/v1/auth: signing up and signing in."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post

from mintage.http import messages
from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.users import profile
from mintage.http.api_v1.views import SignedIn, user_view
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.languages import Text
from mintage.http.newcomers import newcomer, token_of
from mintage.http.replies import Json
from mintage.projections.ledger import balance_of
from mintage.projections.people import Person


class Registration(msgspec.Struct, frozen=True):
    username: Annotated[str, msgspec.Meta(min_length=3, max_length=50)]
    password: str
    email: str | None = None
    phone: str | None = None
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
    async def register(self, request: Call) -> Json:
        asked = await request.read(REGISTRATION)
        person = await request.services.people.register(
            newcomer(
                "v1",
                language=request.language,
                password_min=request.services.terms.password_min,
                **msgspec.structs.asdict(asked),
            )
        )
        return await _signed_in(request, person, messages.REGISTERED)

    @post("/login", status_code=200)
    async def login(self, request: Call) -> Json:
        asked = await request.read(SIGN_IN)
        person = await request.services.people.sign_in(asked.username, asked.password)
        return await _signed_in(request, person, messages.SIGNED_IN)

    @get("/me")
    async def me(self, request: Call) -> Json:
        return await profile(request)


async def _signed_in(request: Call, person: Person, message: Text) -> Json:
    balance = await balance_of(request.services.db, person.user_id)
    return ok(request, SignedIn(token_of(request.services, person), user_view(person, balance)), message)

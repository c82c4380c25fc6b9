"""/api/auth/google: signing in with Google, by a state that is ours and stays with the browser that asked for it."""

from hashlib import sha256
from typing import Annotated, Final

import msgspec
from litestar import Controller, get, post
from litestar.datastructures import Cookie

from mintage.application.google import HANDSHAKE_S, GoogleSignIn, NotLinked
from mintage.application.refusals import InvalidCredentials, RateLimited
from mintage.application.transaction import Unavailable
from mintage.http import messages
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import token_of
from mintage.http.operations import Operation
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import done, shown

PATH: Final = "/api/auth/google"
UNCONFIGURED_RETRY_S: Final = 3_600


class Return(msgspec.Struct, frozen=True):
    """What Google sent the browser back with."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]
    state: Annotated[str, msgspec.Meta(max_length=512)]


class Start(msgspec.Struct, frozen=True):
    authorization_url: str
    state: str
    expires_in: int


RETURN: Final = Body(Return)


class GoogleController(Controller):
    path = "/auth/google"
    tags = ("用户认证相关接口",)

    @get("/start")
    @Operation("开始 Google 登录", Start, public=True)
    async def start(self, request: Call) -> Json:
        """返回 Google 授权地址与 state，并设置一个 Cookie；请用同一浏览器、携带凭据（credentials）完成登录。"""
        url, handshake = await _google(request).start()
        reply = shown(Start(url, handshake.state, HANDSHAKE_S))
        cookie = _cookie(request, handshake.state, handshake.binding, HANDSHAKE_S)
        reply.headers = (cookie, (b"cache-control", b"no-store"))
        return reply

    @post("/", status_code=200)
    @Operation(
        "Google OAuth登录",
        {"user": views.GoogleUser, "token": str},
        body=RETURN,
        refusals=(InvalidCredentials, NotLinked, RateLimited),
        public=True,
    )
    async def finish(self, request: Call) -> Json:
        google, services = _google(request), request.services
        back = await request.read(RETURN)
        binding = request.cookies.get(_cookie_name(back.state))
        person = await google.finish(back.code, back.state, binding, language=request.language, address=request.address)
        user = views.google_user(person, services.files)
        reply = done(request, {"user": user, "token": token_of(services, person)}, messages.GOOGLE_SIGNED_IN)
        reply.headers = (_cookie(request, back.state, "", 0),)
        return reply


def _google(request: Call) -> GoogleSignIn:
    google = request.services.google
    if google is None:
        raise Unavailable("no Google client is configured", UNCONFIGURED_RETRY_S)
    return google


def _cookie(request: Call, state: str, binding: str, age_s: int) -> tuple[bytes, bytes]:
    return Cookie(
        _cookie_name(state),
        value=binding,
        path=PATH,
        max_age=age_s,
        httponly=True,
        secure=request.services.terms.secure_cookies,
        samesite="lax",
    ).to_encoded_header()


def _cookie_name(state: str) -> str:
    # One to each state, so that a person who begins in two windows can finish in both.
    return f"google_{sha256(state.encode()).hexdigest()[:16]}"

"""/api/user: what a person sees of themselves."""

from litestar import Controller, get

from mintage.http.calls import Call
from mintage.http.replies import Json
from mintage.http.server_api import views
from mintage.http.server_api.envelope import shown


class UserController(Controller):
    path = "/user"
    tags = ("用户信息",)

    @get("/profile")
    async def show(self, request: Call) -> Json:
        caller = await request.caller()
        return shown({"user": views.profile(await request.services.people.known(caller.user_id))})

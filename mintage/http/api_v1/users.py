"""/api/v1/users: what a person sees of themselves."""

from litestar import Controller, get

from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.views import user_view
from mintage.http.calls import Call
from mintage.http.replies import Json
from mintage.projections.ledger import balance_of


class UserController(Controller):
    path = "/users"
    tags = ("用户接口",)

    @get("/profile")
    async def show(self, request: Call) -> Json:
        return await profile(request)


async def profile(request: Call) -> Json:
    """The caller, as both auth/me and users/profile show them."""
    caller = await request.caller()
    person = await request.services.people.known(caller.user_id)
    return ok(request, user_view(person, await balance_of(request.services.db, caller.user_id)))

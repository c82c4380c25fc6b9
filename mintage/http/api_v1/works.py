"""/api/v1/works: everything that came out, or is about to."""

from typing import Final

from litestar import Controller, get
from litestar.params import FromPath

from mintage.domain.work.decider import WorkUnknown
from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.views import WorkList, work_view
from mintage.http.calls import Call
from mintage.http.queries import id_of
from mintage.http.replies import Json
from mintage.projections.works import work_for, works_of

STATUSES: Final = ("processing", "completed", "failed")
WORK_TYPES: Final = ("image", "video")


class WorkController(Controller):
    path = "/works"
    tags = ("作品接口",)

    @get()
    async def list_works(self, request: Call) -> Json:
        caller, query, services = await request.caller(), request.query, request.services
        page = query.page("pageSize")
        status, work_type = query.choice("status", STATUSES), query.choice("work_type", WORK_TYPES)
        works, total = await works_of(
            services.db, caller.user_id, status=status, work_type=work_type, limit=page.size, offset=page.offset
        )
        views = [work_view(work, services.files) for work in works]
        return ok(request, WorkList(views, total, page.number, page.size))

    @get("/{work_id:str}")
    async def show(self, request: Call, work_id: FromPath[str]) -> Json:
        caller = await request.caller()
        work = await work_for(request.services.db, caller.user_id, id_of(work_id))
        if work is None:
            raise WorkUnknown
        return ok(request, work_view(work, request.services.files))

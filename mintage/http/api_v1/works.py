"""/api/v1/works: everything that came out, or is about to; to be named, published and deleted."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, delete, get, put
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from mintage.application.services import Services
from mintage.domain.work.decider import WorkInTheMaking, WorkNotYours, WorkUnknown
from mintage.http import messages
from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.views import WorkList, WorkView, work_view
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import Form, name_of
from mintage.http.kinds import SEEN, WORK_STATUSES, WORK_TYPES
from mintage.http.operations import Operation
from mintage.http.queries import Choice, Paging, id_of
from mintage.http.replies import Json
from mintage.projections.works import Work, work_for, works_of

PAGE: Final = Paging("pageSize")
STATUS: Final = Choice("status", WORK_STATUSES)
WORK_TYPE: Final = Choice("work_type", WORK_TYPES)


class WorkChange(msgspec.Struct, frozen=True):
    """What is absent stays; a ``title`` of null takes it away."""

    is_public: bool | UnsetType = UNSET
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200, extra_json_schema=SEEN)] | UnsetType | None = UNSET


WORK_CHANGE: Final = Body(WorkChange)


class WorkController(Controller):
    path = "/works"
    tags = ("作品接口",)

    @get()
    @Operation("获取作品列表", WorkList, query=(PAGE, STATUS, WORK_TYPE))
    async def list_works(self, request: Call) -> Json:
        """Newest first."""
        caller, query, services = await request.caller(), request.query, request.services
        page = query.page(PAGE)
        status, work_type = query.choice(STATUS), query.choice(WORK_TYPE)
        works, total = await works_of(
            services.db, caller.user_id, status=status, work_type=work_type, limit=page.size, offset=page.offset
        )
        views = [work_view(work, services.files, caller.user_id, request.language) for work in works]
        return ok(request, WorkList(views, total, page.number, page.size))

    @get("/{work_id:str}")
    @Operation("获取作品详情", WorkView)
    async def show(self, request: Call, work_id: FromPath[str]) -> Json:
        """One's own, or a public one of anybody's."""
        caller, services = await request.caller(), request.services
        work = await _work(services, caller.user_id, id_of(work_id))
        return ok(request, work_view(work, services.files, caller.user_id, request.language))

    @put("/{work_id:str}")
    @Operation("更新作品", WorkView, body=WORK_CHANGE, refusals=(WorkNotYours,))
    async def change(self, request: Call, work_id: FromPath[str]) -> Json:
        """What is absent stays; a ``title`` of null takes it away."""
        caller, asked, services = await request.caller(), await request.read(WORK_CHANGE), request.services
        form = Form()
        title = form.canonical("title", asked.title, name_of)
        form.done()
        work = await _work(services, caller.user_id, id_of(work_id))
        await services.works.change(caller.user_id, work.work_id, title=title, is_public=asked.is_public)
        changed = await _work(services, caller.user_id, work.work_id)
        return ok(request, work_view(changed, services.files, caller.user_id, request.language), messages.CHANGED)

    @delete("/{work_id:str}", status_code=200)
    @Operation("删除作品", refusals=(WorkNotYours, WorkInTheMaking))
    async def delete(self, request: Call, work_id: FromPath[str]) -> Json:
        """For good, with its file. What it cost stays in the ledger."""
        caller, services = await request.caller(), request.services
        work = await _work(services, caller.user_id, id_of(work_id))
        await services.works.delete(caller.user_id, work.work_id)
        return ok(request, None, messages.DELETED)


async def _work(services: Services, reader: str, work_id: int | str) -> Work:
    work = await work_for(services.db, reader, work_id)
    if work is None:
        raise WorkUnknown
    return work

"""What becomes of a task, told as it happens (Server-Sent Events), and taken up again where a connection broke off.

An event's id is the version of the task and its progress in that version: it only grows, and the log gives it out, so
that it means the same in every process and after every restart.
"""

import re
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import PersonUnknown
from mintage.http.api_v1.tasks import StateView, TaskView, own_task, shown, state_view
from mintage.http.calls import Call
from mintage.http.components import EVENT_ID, EVENT_ID_PATTERN
from mintage.http.operations import Data
from mintage.http.refusals import Unauthorized
from mintage.http.replies import Headers
from mintage.projections.outlook import TaskState
from mintage.projections.tasks import Task

KINDS: Final[dict[str, Data]] = {"state": StateView, "end": TaskView}
HEADERS: Final[Headers] = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # nginx would keep back what is to be read at once.
    (b"x-accel-buffering", b"no"),
)
QUIET_S: Final = 10.0
"""So long nothing is said at most, and so long at most the token is believed without another look."""
_RETRY: Final = b"retry: 2000\n\n"
_STILL_HERE: Final = b":\n\n"
_ID: Final = re.compile(EVENT_ID_PATTERN.encode())

_encode: Final = msgspec.json.Encoder().encode


def last_seen(request: Call, task: Task) -> tuple[int, int] | None:
    """What a client that comes back has seen. Raises ``InvalidFields`` for what is no id, or beyond the task."""
    given = request.header(EVENT_ID.lower().encode())
    if given is None:
        return None
    if not _ID.fullmatch(given):
        raise InvalidFields({EVENT_ID: Reason("pattern")})
    version, progress = map(int, given.split(b"-"))
    if version > task.version:
        raise InvalidFields({EVENT_ID: Reason("unknown")})
    return version, progress


async def events(request: Call, task: Task, seen: tuple[int, int] | None) -> AsyncGenerator[bytes, None]:
    """Everything that becomes of the task after what was ``seen``, to its end; from how it is now on if nothing was.

    Also ends when the token does, when the server stops, or when the database is away: without an ``end``, so that the
    client comes back. Raises ``RateLimited`` and ``Unavailable`` before it begins.
    """
    services = request.services
    place: int | None = None
    gone: tuple[type[Exception], ...] = (Unauthorized, PersonUnknown, *request.unavailable)
    with services.news.watch(task.user_id, task.task_id) as watch:
        yield _RETRY
        try:
            while True:
                state = await watch.change(QUIET_S)
                await request.caller()
                if watch.stopping:
                    return
                if state is None:
                    yield _STILL_HERE
                    continue
                if state.over:
                    state = task = await own_task(services, task.user_id, task.task_id)
                if seen is not None:
                    for step in await services.news.steps(state, seen[0]):
                        yield _event("state", step, state_view(step, services.clock()))
                if state.over:
                    yield _event("end", task, await shown(services, task, request.language))
                    return
                moved = place is not None and state.reached == seen and state.queue_position != place
                if seen is None or state.reached > seen or moved:
                    seen = state.reached
                    yield _event("state", state, state_view(state, services.clock()))
                place = state.queue_position
        except gone:
            return


def _event(kind: str, state: TaskState, data: object) -> bytes:
    return b"id: %d-%d\nevent: %b\ndata: %b\n\n" % (*state.reached, kind.encode(), _encode(data))

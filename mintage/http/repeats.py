"""What a use case came to, as a reply: a repeat gets the bytes of the first one."""

from typing import Any

from mintage.application.generations import Accepted
from mintage.application.once import Repeatable, Reply
from mintage.application.services import Services
from mintage.http.replies import REPLAYED, Headers, Json


def answered(reply: Reply[Any], status: int = 200) -> Json:
    """A reply that was final when the use case was done."""
    assert reply.body is not None
    return Json(reply.body, status, replay_headers(reply))


def replay_headers(reply: Reply[Any]) -> Headers:
    return () if reply.receipt is None else REPLAYED


def task_of_reply(reply: Reply[Accepted]) -> str:
    """The task that was accepted, the first time if this is a repeat."""
    first = reply.outcome or reply.receipt
    assert first is not None
    assert first.task_id is not None
    return first.task_id


async def kept(services: Services, repeatable: Repeatable | None, body: bytes) -> bytes:
    """The final body to a generation; of two that were made at the same time the first."""
    return body if repeatable is None else await services.generations.keep_reply(repeatable, body)

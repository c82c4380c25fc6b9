"""Prompts are shown to a service before anything is held: OpenAI's moderations, or what answers like them."""

import logging
from typing import Annotated, Final

import httpx
import msgspec

from mintage.application.transaction import Unavailable
from mintage.domain.generation.events import TaskType

MODEL: Final = "omni-moderation-latest"
TIMEOUT_S: Final = 5.0

_log = logging.getLogger(__name__)


class _Result(msgspec.Struct):
    flagged: bool


class _Judged(msgspec.Struct):
    results: Annotated[list[_Result], msgspec.Meta(min_length=1)]


class OpenAiModeration:
    """Implements ``application.ports.Moderation``.

    Where it does not answer, nothing is made if it is ``required``, and everything otherwise.
    """

    def __init__(self, base_url: str, key: str, *, required: bool) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=TIMEOUT_S)
        self._required = required

    async def refuses(
        self,
        prompt: str,
        negative_prompt: str | None,  # noqa: ARG002 -- says what is not to be seen, and may name anything
        *,
        task_type: TaskType,  # noqa: ARG002
        user_id: str,  # noqa: ARG002 -- nothing is told of the person
    ) -> bool:
        if not prompt:
            return False
        try:
            reply = await self._http.post("/v1/moderations", json={"model": MODEL, "input": prompt})
            reply.raise_for_status()
            return any(result.flagged for result in msgspec.json.decode(reply.content, type=_Judged).results)
        except (httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("the moderations do not answer: %s", type(error).__name__)
            if self._required:
                raise Unavailable("the moderations do not answer") from None
            return False

    async def close(self) -> None:
        await self._http.aclose()

"""Prompts are shown to a service before anything is held: OpenAI's moderations, or what answers like them."""

import asyncio
import logging
from typing import Annotated, Final

import httpx
import msgspec

from mintage.application.transaction import Unavailable
from mintage.domain.generation.events import TaskType

MODEL: Final = "omni-moderation-latest"
TIMEOUT_S: Final = 5.0
"""The longest it may take to answer, from the first byte sent to the last one read."""
REPLY_MAX: Final = 1_048_576
"""The largest answer that is read, in bytes."""

_log = logging.getLogger(__name__)


class _Result(msgspec.Struct):
    flagged: bool


class _Judged(msgspec.Struct):
    results: Annotated[list[_Result], msgspec.Meta(min_length=1)]


class _TooLarge(Exception):
    """The answer is none that judges a prompt."""


class OpenAiModeration:
    """Implements ``ports.moderation.Moderation``.

    Where it does not answer, nothing is made if it is ``required``, and everything otherwise.
    """

    def __init__(self, base_url: str, key: str, *, required: bool) -> None:
        # What is packed could grow beyond any bound when it is unpacked.
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
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
            # Each read has httpx's own timeout, but a server that sends a byte now and then keeps to that for ever.
            async with asyncio.timeout(TIMEOUT_S):
                reply = await self._asked(prompt)
            return any(result.flagged for result in msgspec.json.decode(reply, type=_Judged).results)
        except (TimeoutError, httpx.HTTPError, msgspec.DecodeError, UnicodeDecodeError, _TooLarge) as error:
            _log.warning("the moderations do not answer: %s", type(error).__name__)
            if self._required:
                raise Unavailable("the moderations do not answer") from None
            return False

    async def _asked(self, prompt: str) -> bytes:
        """Raises ``httpx.HTTPError``, ``_TooLarge``."""
        body = bytearray()
        asked = {"model": MODEL, "input": prompt}
        async with self._http.stream("POST", "/v1/moderations", json=asked) as reply:
            reply.raise_for_status()
            async for chunk in reply.aiter_raw():
                body += chunk
                if len(body) > REPLY_MAX:
                    raise _TooLarge
        return bytes(body)

    async def close(self) -> None:
        await self._http.aclose()

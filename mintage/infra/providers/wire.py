"""One provider's address and key: what is sent there, and what each failure on the way says of the job.

A create is ``NotSent`` only where nothing can have left, or where the provider says that it took nothing. Of what a
provider answers no text but its code words goes any further: the rest may repeat a prompt, or a part of the key.
"""

import asyncio
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import httpx
import msgspec

from mintage.application.providers import Blame, FateUnknown, JobMissing, JobRefused, NotSent, Unreachable

T = TypeVar("T")

CONNECT_S: Final = 10.0
SEND_S: Final = 60.0
"""The longest the provider may refuse to take any of what we send, in seconds."""
IDLE_S: Final = 3.0
"""Connections are let go before servers close them, which many do after 5 s: a create must not meet a closing one."""
FILE_S: Final = 300.0
"""The longest a file takes, in seconds."""
JSON_MAX: Final = 4 * 1_048_576
FILE_MAX: Final = 256 * 1_048_576
ERROR_MAX: Final = 65_536
RETRY_MAX_S: Final = 600.0
"""A longer pause than this is not believed."""

Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=3600)]

Part: TypeAlias = tuple[str | None, str | bytes] | tuple[str | None, str | bytes, str]
"""A field of a form, as ``(None, value)``, or a file: its name, content and type."""

_WORD: Final = re.compile(r"[A-Za-z0-9][\w.:/-]{0,63}", re.ASCII)
_POLICY: Final = re.compile(
    r"moderat|policy|policies|safety|nsfw|sensitive|content_filter|prohibited|disallowed", re.IGNORECASE
)
_FILE_TYPES: Final = ("image/", "video/", "application/octet-stream", "binary/octet-stream")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request to ``path`` below the provider's address; with ``parts`` its body is a form, else JSON if given."""

    method: str
    path: str
    json: Any = None
    parts: tuple[tuple[str, Part], ...] = ()
    headers: dict[str, str] = {}
    bytes_max: int = JSON_MAX


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a refusal's body says, in the provider's protocol; ``untouched``: that it surely did nothing, nor will."""

    code: str = ""
    blame: Blame | None = None
    untouched: bool = False
    retry_in_s: float | None = None


class _Unsent(Exception):
    """There was no connection to send anything over."""


class _Broken(Exception):
    """It may have been sent; no whole answer came back."""


class _TooLarge(_Broken):
    pass


class Wire:
    """``answer_s`` is the longest the provider takes to answer anything but a file, in seconds."""

    def __init__(
        self, base_url: str, key: str | None, answer_s: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._base = httpx.URL(base_url.rstrip("/") + "/")
        self._auth = {"Authorization": f"Bearer {key}"} if key else {}
        self._answer_s = answer_s
        self._http = httpx.AsyncClient(
            # No proxies, passwords or certificates but those that are meant for this.
            trust_env=False,
            follow_redirects=False,
            headers={"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "mintage"},
            timeout=httpx.Timeout(answer_s, connect=CONNECT_S, write=SEND_S, pool=CONNECT_S),
            limits=httpx.Limits(max_connections=100, keepalive_expiry=IDLE_S),
            transport=transport,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def create(self, ask: Ask, said: Callable[[Reply], Said]) -> Reply:
        """What may cost money. Raises ``NotSent``, ``FateUnknown``, ``JobRefused``."""
        try:
            reply = await self._exchange(ask)
        except _Unsent as error:
            raise NotSent(_failed(ask, error)) from None
        except _Broken as error:
            raise FateUnknown(_failed(ask, error)) from None
        if not reply.good:
            raise _refusal(ask, reply, said(reply))
        return reply

    async def prepare(self, ask: Ask, said: Callable[[Reply], Said]) -> Reply:
        """What a create needs before it, and what costs nothing. Raises ``NotSent``, ``JobRefused``."""
        try:
            return await self.create(ask, said)
        except FateUnknown as error:
            raise NotSent(str(error)) from None

    async def answer(self, ask: Ask) -> Reply:
        """Whatever is answered to what may be asked again. Raises ``Unreachable``."""
        try:
            return await self._exchange(ask)
        except (_Unsent, _Broken) as error:
            raise Unreachable(_failed(ask, error)) from None

    async def ask(self, ask: Ask) -> Reply:
        """Something of a job. Raises ``Unreachable``, ``JobMissing``."""
        reply = await self.answer(ask)
        if reply.status in {404, 410}:
            raise JobMissing(_told(ask, reply))
        if not reply.good:
            raise unreachable(ask, reply)
        return reply

    async def file(self, where: str, hosts: Collection[str] = ()) -> bytes | None:
        """A file at a path below the provider's address, or at a url there or (https only) at one of the hosts.

        None if it is gone. The key goes to the provider alone. Raises ``Unreachable``, ``JobRefused``.
        """
        ours = self._is_ours(where)
        if not ours and not _is_at(where, hosts):
            raise JobRefused("provider", "foreign_file", "a file is where nobody is sent")
        try:
            reply = await self._exchange(Ask(method="GET", path=where, bytes_max=FILE_MAX), FILE_S)
        except _TooLarge:
            raise JobRefused("provider", "file_too_large", f"a file of more than {FILE_MAX} bytes") from None
        except (_Unsent, _Broken) as error:
            raise Unreachable(f"a file: {error}") from None
        # Stores answer 403 for a link that has expired; from the provider itself it would speak of the key.
        if reply.status in {404, 410} or (reply.status == 403 and not ours):
            return None
        if not reply.good:
            raise Unreachable(f"a file: status {reply.status}", pause_of(reply.headers))
        if not reply.headers.get("content-type", _FILE_TYPES[-1]).lower().startswith(_FILE_TYPES):
            raise Unreachable("a file: something else came in its place")
        return reply.content

    async def _exchange(self, ask: Ask, total_s: float | None = None) -> Reply:
        try:
            async with (
                asyncio.timeout(total_s or CONNECT_S + self._answer_s),
                self._http.stream(
                    ask.method,
                    self._base.join(ask.path),
                    json=ask.json,
                    files=ask.parts or None,
                    headers={**(self._auth if self._is_ours(ask.path) else {}), **ask.headers},
                ) as reply,
            ):
                return Reply(reply.status_code, reply.headers, await _content(reply, ask.bytes_max))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Unsent(type(error).__name__) from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, TimeoutError) as error:
            raise _Broken(type(error).__name__) from None

    def _is_ours(self, path: str) -> bool:
        try:
            url = self._base.join(path)
        except httpx.InvalidURL:
            return False
        return (url.scheme, url.host, url.port) == (self._base.scheme, self._base.host, self._base.port)


async def _content(reply: httpx.Response, bytes_max: int) -> bytes:
    content = bytearray()
    if not reply.is_success:
        # The status has said it all; a body that is cut off or does not end changes nothing of it.
        with suppress(httpx.HTTPError):
            async for portion in reply.aiter_raw():
                content += portion[: ERROR_MAX - len(content)]
                if len(content) >= ERROR_MAX:
                    break
        return bytes(content)
    if reply.headers.get("content-encoding", "identity").lower() != "identity":
        # It was asked not to be packed; what it would unpack to nobody knows.
        raise _Broken("a packed answer")
    async for portion in reply.aiter_raw():
        content += portion
        if len(content) > bytes_max:
            raise _TooLarge(f"more than {bytes_max} bytes")
    return bytes(content)


def read(reply: Reply, kind: type[T], otherwise: type[FateUnknown | Unreachable]) -> T:
    """The JSON of an answer, or ``otherwise`` raised."""
    try:
        return msgspec.json.decode(reply.content, type=kind)
    # Nesting without end is one more way not to be what was promised.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise otherwise("the answer is not what the protocol says") from None


def hinted(reply: Reply, kind: type[T], default: T) -> T:
    """The JSON of a refusal, or the default if there is none in it."""
    try:
        return msgspec.json.decode(reply.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return default


def word(text: Any) -> str:
    """A code word, or nothing if it is a text or anything else."""
    return text if isinstance(text, str) and _WORD.fullmatch(text) else ""


def is_policy(*texts: Any) -> bool:
    """Whether a provider that has no word of its own for it speaks of what may be shown."""
    return any(isinstance(text, str) and _POLICY.search(text) is not None for text in texts)


def unreachable(ask: Ask, reply: Reply) -> Unreachable:
    """The answer says nothing of the job. Not even 401 does: the job goes on, and the key may be put right in time."""
    return Unreachable(_told(ask, reply), pause_of(reply.headers))


def pause_of(headers: httpx.Headers) -> float | None:
    """How long the provider wants to be left alone, in seconds."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (pause := number(headers.get(name))) is not None:
            return min(max(pause * unit_s, 0.0), RETRY_MAX_S)
    with suppress(KeyError, ValueError, TypeError):
        at = parsedate_to_datetime(headers["retry-after"])
        # By the provider's own clock, if it shows it.
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return min(max((at - now).total_seconds(), 0.0), RETRY_MAX_S)
    return None


def number(text: Any) -> float | None:
    """What a text or a number comes to, if it is one."""
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if isfinite(value) else None


def _refusal(ask: Ask, reply: Reply, said: Said) -> Exception:
    status, message = reply.status, _told(ask, reply)
    code = said.code or f"http_{status}"
    if said.blame is not None:
        return JobRefused(said.blame, code, message)
    if status in {408, 409, 425, 429} or said.untouched:
        pause = pause_of(reply.headers)
        return NotSent(f"{code}: {message}", said.retry_in_s if pause is None else pause)
    if status >= 500:
        return FateUnknown(f"{code}: {message}")
    # 400, 413 and 422 and their like are about what was asked for; the others about our account, or where we ask.
    return JobRefused("provider" if status < 400 or 401 <= status <= 407 else "user", code, message)


def _told(ask: Ask, reply: Reply) -> str:
    request_id = word(reply.headers.get("x-request-id"))
    return f"{ask.method} {ask.path} answered {reply.status}" + (f", request {request_id}" if request_id else "")


def _failed(ask: Ask, error: Exception) -> str:
    return f"{ask.method} {ask.path}: {error}"


def _is_at(where: str, hosts: Collection[str]) -> bool:
    try:
        url = httpx.URL(where)
    except httpx.InvalidURL:
        return False
    if url.scheme != "https" or url.port is not None or url.userinfo:
        return False
    return any(url.host == host or url.host.endswith(f".{host}") for host in hosts)

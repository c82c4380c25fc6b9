"""One message to one address: https to a public address that was checked, no redirect, no more than ten seconds."""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from functools import cache
from typing import Final

import httpcore
import httpx
import msgspec

from mintage.infra.guard import Guard, Network, NoAddress, NotPublic, Resolve

TOTAL_S: Final = 10.0
CONNECT_S: Final = 5.0
PORTS: Final = range(1, 65_536)
"""The address has to be public and to speak TLS; which port a person's server has is theirs to say."""
_TIMEOUTS: Final = {"connect": CONNECT_S, "read": TOTAL_S, "write": TOTAL_S, "pool": CONNECT_S}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The ``status`` that was answered and what ``Retry-After`` said, or the ``error`` in place of an answer.

    ``error`` is ``address_refused``, ``no_address``, ``tls``, ``timeout`` or ``connection``.
    """

    status: int | None = None
    retry_after: str | None = None
    error: str | None = None


@cache
def _public_trust() -> ssl.SSLContext:
    """Reading all certificates takes a while."""
    return ssl.create_default_context()


class Sender:
    """Posts to public addresses; ``allowed`` networks, ``resolve`` and ``trust`` are for tests, which have none."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        allowed: Collection[Network] = (),
        trust: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        self._guard = Guard(resolve=resolve, allowed=allowed, ports=PORTS)
        self._trust = trust or _public_trust()
        self._total_s = total_s

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """What came of it, whatever it was. Of the answer nothing is read but its head."""
        try:
            async with asyncio.timeout(self._total_s):
                return await self._posted(httpx.URL(url), body, headers)
        except (NotPublic, httpx.InvalidURL):
            return Answer(error="address_refused")
        except NoAddress:
            return Answer(error="no_address")
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(error="timeout")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            return Answer(error="tls" if _is_tls(error) else "connection")

    async def _posted(self, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        if url.scheme != "https":
            raise NotPublic("not https")
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        told = {"Content-Type": "application/json", "User-Agent": "mintage", **headers}
        sent = [(b"Host", url.netloc), *((name.encode(), value.encode()) for name, value in told.items())]
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._trust, network_backend=self._guard) as pool,
            pool.stream("POST", target, headers=sent, content=body, extensions={"timeout": _TIMEOUTS}) as response,
        ):
            waits = [value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"]
            return Answer(status=response.status, retry_after=waits[0] if waits else None)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None

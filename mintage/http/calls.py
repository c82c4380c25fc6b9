"""A request: who makes it, in which language, with which body, under which key."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import ClientException
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE

from mintage.application.once import Repeatable
from mintage.application.ports.identity import GONE, Claims
from mintage.application.services import Services
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import PersonUnknown
from mintage.domain.registration.events import Role
from mintage.http.bodies import Body
from mintage.http.languages import Language, language_of
from mintage.http.queries import Query
from mintage.http.refusals import Unauthorized
from mintage.projections.people import Standing

T = TypeVar("T", bound=msgspec.Struct)

KEY: Final = "Idempotency-Key"
LANGUAGES_MAX: Final = 200
_DIGITS: Final = 18
"""As many of an announced length as are looked at."""
KEY_PATTERN: Final = r"[\x21-\x7e]{1,255}"
_KEY: Final = re.compile(KEY_PATTERN.encode())


class Call(Request[Any, Any, Any]):
    """What litestar hands to a handler.

    Headers and body are read straight from ASGI: litestar's own accessors cost more than all the rest of a handler
    that spends credits.
    """

    services: ClassVar[Services]
    unavailable: ClassVar[tuple[type[Exception], ...]]
    """The exceptions by which the infrastructure says that it is out of reach. Both are set once, for the application's
    own subclass."""

    def header(self, name: bytes) -> bytes | None:
        """The first header of this (lower-case) name."""
        for given, value in self.scope["headers"]:
            if given == name:
                return value
        return None

    @property
    def language(self) -> Language:
        accepted = self.header(b"accept-language")
        return "zh" if accepted is None else language_of(accepted[:LANGUAGES_MAX])

    @property
    def address(self) -> str:
        """The client's address, by the word of the trusted proxies if it came through them; for ``Limits``."""
        client = self.scope["client"]
        return "" if client is None else client[0]

    @property
    def query(self) -> Query:
        return Query(self.scope["query_string"])

    async def caller(self) -> Claims:
        """Whose token this is. Raises ``Unauthorized``, and ``PersonUnknown`` if the account is gone."""
        services = self.services
        scheme, _, token = (self.header(b"authorization") or b"").partition(b" ")
        claims = services.tokens.claims(token.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
        if claims is None or claims.exp <= services.clock().timestamp():
            raise Unauthorized
        standing = await self._standing(claims.user_id)
        if standing.session_version < claims.sv and standing is not GONE:
            # Another process has just issued it, and word of that is still on its way.
            services.sessions.forget(claims.user_id)
            standing = await self._standing(claims.user_id)
        if standing is GONE:
            raise PersonUnknown
        if standing.session_version != claims.sv or claims.jti in standing.ended:
            raise Unauthorized
        return claims

    async def role(self) -> Role:
        """The caller's role. Raises as ``caller`` does."""
        return (await self._standing((await self.caller()).user_id)).role

    async def _standing(self, user_id: str) -> Standing:
        sessions = self.services.sessions
        return sessions.cached(user_id) or await sessions.look_up(user_id)

    async def raw(self, most: int | None = None) -> bytes:
        """The body's bytes, up to so many of them: ``terms.body_max`` where nothing else is said."""
        most = self.services.terms.body_max if most is None else most
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced[:_DIGITS]) > most:
            raise ClientException(status_code=HTTP_413_REQUEST_ENTITY_TOO_LARGE)
        chunks: list[bytes] = []
        length = 0
        while True:
            event = await self.receive()
            if event["type"] != "http.request":
                raise ClientException("the client went away")
            chunks.append(event.get("body", b""))
            length += len(chunks[-1])
            if length > most:
                raise ClientException(status_code=HTTP_413_REQUEST_ENTITY_TOO_LARGE)
            if not event.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Around whatever shows what this request has stored already.

        Raises ``OutcomeUnknown`` if that cannot be read: "try again" would be taken for "nothing was done".
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, (Unavailable, *self.unavailable)):
                raise OutcomeUnknown from error
            raise

    async def read(self, body: Body[T]) -> T:
        """The body as a struct. Raises ``InvalidFields``."""
        return body.read(await self.raw())

    def repeatable(self, user_id: str, path: str, raw: bytes) -> Repeatable | None:
        """What makes a repeat of this request known, if it carries a key. Raises ``InvalidFields``."""
        keys = [value for name, value in self.scope["headers"] if name == b"idempotency-key"]
        if not keys:
            return None
        key, *others = keys
        if others or not _KEY.fullmatch(key):
            raise InvalidFields({KEY: Reason("pattern")})
        return Repeatable(user_id, path, key.decode("ascii"), sha256(raw).digest())

"""Google as an OpenID provider: who stands behind a code, on nothing but a fresh id token that is signed for us."""

import asyncio
import logging
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Generic, TypeVar

import httpx
import jwt
import msgspec

from mintage.application.ports.google import GoogleIdentity, Handshake
from mintage.application.refusals import InvalidCredentials
from mintage.application.transaction import Unavailable
from mintage.domain.registration.names import email_of

T = TypeVar("T")

ANSWER_S: Final = 5.0
"""The longest each request to the provider takes, in seconds."""
ANSWER_MAX: Final = 1_048_576
KEPT_S: Final = 3_600
"""How long the provider's addresses and keys are believed, in seconds."""
REFETCH_S: Final = 30
"""How soon after one fetch an unknown key is looked for again, in seconds."""
LEEWAY_S: Final = 60
RETRY_S: Final = 5
ALGORITHMS: Final = ("RS256", "ES256")

_GOOGLES_NAMES: Final = ("https://accounts.google.com", "accounts.google.com")
_GOOGLES_MAILBOXES: Final = ("@gmail.com", "@googlemail.com")

_log = logging.getLogger(__name__)


class _Provider(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Granted(msgspec.Struct, frozen=True):
    id_token: str


class _Denied(msgspec.Struct, frozen=True):
    error: str


class _IdToken(msgspec.Struct, frozen=True):
    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[!-~]+\Z")]
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nonce: str
    azp: str | None = None
    email: str | None = None
    email_verified: Any = False
    hd: str | None = None
    name: str | None = None
    picture: str | None = None


class OpenIdClient:
    """Implements ``ports.google.Google`` with the provider that ``discovery_url`` describes."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        discovery_url: str,
        clock: Callable[[], datetime],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(timeout=ANSWER_S, transport=transport)
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._discovery_url = discovery_url
        self._clock = clock
        self._provider = _Fetched(lambda: self._found(self._discovery_url, _Provider), clock)
        self._keys = _Fetched(self._fetch_keys, clock)

    async def close(self) -> None:
        await self._http.aclose()

    async def authorization_url(self, handshake: Handshake) -> str:
        provider = await self._provider.get(KEPT_S)
        challenge = urlsafe_b64encode(sha256(handshake.verifier.encode()).digest()).rstrip(b"=").decode()
        url = httpx.URL(provider.authorization_endpoint).copy_merge_params(
            {
                "response_type": "code",
                "client_id": self._client_id,
                "redirect_uri": self._redirect_uri,
                "scope": "openid email profile",
                "state": handshake.state,
                "nonce": handshake.nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        return str(url)

    async def identity(self, code: str, handshake: Handshake) -> GoogleIdentity:
        provider = await self._provider.get(KEPT_S)
        token = await self._token(provider, code, handshake)
        try:
            claims = await self._claims(provider, token)
        except (jwt.PyJWTError, msgspec.ValidationError) as error:
            raise _no(f"an id token that does not count: {error}") from error
        self._refuse_not_ours(claims, handshake)
        email = email_of(claims.email or "")
        return GoogleIdentity(
            sub=claims.sub,
            email=email,
            email_verified=claims.email_verified is True,
            authoritative=bool(claims.hd) or (email or "").endswith(_GOOGLES_MAILBOXES),
            name=claims.name,
            picture=claims.picture,
        )

    async def _token(self, provider: _Provider, code: str, handshake: Handshake) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "redirect_uri": self._redirect_uri,
            "code_verifier": handshake.verifier,
        }
        status, content = await self._ask("POST", provider.token_endpoint, form)
        if status in {400, 401, 403}:
            try:
                raise _no(f"{status} {msgspec.json.decode(content, type=_Denied).error!r}")
            except msgspec.DecodeError:
                raise _no(f"{status}") from None
        if status != 200:
            raise _away(f"{provider.token_endpoint} answered {status}")
        try:
            return msgspec.json.decode(content, type=_Granted).id_token
        except msgspec.ValidationError as error:
            raise _no(f"no id token: {error}") from error
        except msgspec.DecodeError as error:
            raise _away(f"{provider.token_endpoint} answered what is no JSON") from error

    async def _claims(self, provider: _Provider, token: str) -> _IdToken:
        key_id = jwt.get_unverified_header(token).get("kid")
        keys = await self._keys.get(KEPT_S)
        if key_id not in keys:
            keys = await self._keys.get(REFETCH_S)
        if key_id not in keys:
            raise jwt.InvalidKeyError("signed with a key that is not the provider's")
        claims = jwt.decode(
            token,
            keys[key_id],
            algorithms=ALGORITHMS,
            issuer=_GOOGLES_NAMES if provider.issuer in _GOOGLES_NAMES else provider.issuer,
            # The rest is checked by our own clock, and for our own id alone.
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
        )
        return msgspec.convert(claims, _IdToken)

    def _refuse_not_ours(self, claims: _IdToken, handshake: Handshake) -> None:
        now = self._clock().timestamp()
        if claims.aud not in (self._client_id, [self._client_id]) or claims.azp not in {None, self._client_id}:
            raise _no("an id token for somebody else")
        if claims.nonce != handshake.nonce:
            raise _no("an id token of another sign-in")
        if not claims.exp > now - LEEWAY_S or not claims.iat <= now + LEEWAY_S:
            raise _no("an id token of another time")

    async def _fetch_keys(self) -> dict[str | None, jwt.PyJWK]:
        """The provider's keys by their ids; a single one counts for tokens that name none, too."""
        provider = await self._provider.get(KEPT_S)
        keys: dict[str | None, jwt.PyJWK] = {}
        for described in (await self._found(provider.jwks_uri, _KeySet)).keys:
            try:
                key = jwt.PyJWK(described)
            except jwt.PyJWTError:
                continue
            if key.algorithm_name in ALGORITHMS and key.public_key_use in {None, "sig"}:
                keys[key.key_id] = key
        if len(keys) == 1:
            keys[None] = next(iter(keys.values()))
        return keys

    async def _found(self, url: str, kind: type[T]) -> T:
        status, content = await self._ask("GET", url)
        if status != 200:
            raise _away(f"{url} answered {status}")
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise _away(f"{url}: {error}") from error

    async def _ask(self, method: str, url: str, form: dict[str, str] | None = None) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(ANSWER_S), self._http.stream(method, url, data=form) as reply:
                content = b""
                async for chunk in reply.aiter_bytes():
                    content += chunk
                    if len(content) > ANSWER_MAX:
                        raise _away(f"{url} answers without end")
                return reply.status_code, content
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _away(f"{url}: {type(error).__name__}") from error


class _Fetched(Generic[T]):
    """What is fetched now and then, once for all who wait for it."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], clock: Callable[[], datetime]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._last: tuple[datetime, T] | None = None
        self._fetching: asyncio.Task[T] | None = None

    async def get(self, age_s: int) -> T:
        """As it was at most so many seconds ago."""
        if self._last is not None and (self._clock() - self._last[0]).total_seconds() < age_s:
            return self._last[1]
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.ensure_future(self._fetched())
        return await asyncio.shield(self._fetching)

    async def _fetched(self) -> T:
        asked_at = self._clock()
        value = await self._fetch()
        self._last = (asked_at, value)
        return value


def _no(why: str) -> InvalidCredentials:
    _log.warning("the OpenID provider says no: %s", why)
    return InvalidCredentials()


def _away(why: str) -> Unavailable:
    _log.warning("the OpenID provider is out of reach: %s", why)
    return Unavailable(why, RETRY_S)

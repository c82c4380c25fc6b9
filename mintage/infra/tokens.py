"""Bearer tokens are JWTs (HS256); one verified before is recognised without verifying it again.

Only the signature is remembered: expiry and revocation are asked anew on every request.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import jwt
import msgspec

from mintage.application.ports.identity import Claims

TOKEN_LIFE: Final = timedelta(hours=24)
REMEMBERED_MAX: Final = 50_000
LONGEST: Final = 4_096
_REQUIRED: Final = ["exp", "iat", "user_id", "sv", "jti"]


class JwtTokens:
    """Implements ``ports.identity.Tokens``."""

    def __init__(self, secret: bytes, clock: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._secret = secret
        self._new_id = new_id
        self._clock = clock
        self._remembered: dict[str, Claims] = {}

    def issue(self, *, user_id: str, email: str | None, session_version: int) -> str:
        now = int(self._clock().timestamp())
        claims = Claims(user_id, email, now + int(TOKEN_LIFE.total_seconds()), now, session_version, self._new_id())
        return jwt.encode(msgspec.to_builtins(claims), self._secret, algorithm="HS256")

    def claims(self, token: str) -> Claims | None:
        known = self._remembered.get(token)
        if known is not None:
            return known
        if len(token) > LONGEST:
            return None
        try:
            # Expiry is the caller's to check, each time.
            decoded = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            claims = msgspec.convert(decoded, Claims)
            UUID(claims.user_id), UUID(claims.jti)
        except (jwt.InvalidTokenError, ValueError):
            return None
        if len(self._remembered) >= REMEMBERED_MAX:
            # The oldest half goes: dictionaries keep the order of insertion.
            for old in list(self._remembered)[: REMEMBERED_MAX // 2]:
                del self._remembered[old]
        self._remembered[token] = claims
        return claims

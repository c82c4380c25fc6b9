"""Sign-ins with Google that were begun: nothing is stored before they end, and each ends once.

A ``state`` is an id, its expiry and our seal on both. Everything else about it is derived from the two under other
labels, so that whichever process it comes back to knows what was sent along.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from mintage.application.google import HANDSHAKE_S
from mintage.application.ports.google import Handshake
from mintage.infra.database import Pool

# Together with the seal a multiple of three: base64 without padding.
_ID_BYTES: Final = 16
_EXPIRY_BYTES: Final = 6

_USE: Final = "insert into google_states (id, created_at) values (%s, %s) on conflict do nothing"


class SealedHandshakes:
    """Implements ``ports.google.Handshakes``."""

    def __init__(self, db: Pool, key: bytes, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._key = hmac.digest(key, b"google handshakes", "sha256")
        self._clock = clock

    def begin(self) -> Handshake:
        expires = int(self._clock().timestamp()) + HANDSHAKE_S
        return self._derived(secrets.token_bytes(_ID_BYTES) + expires.to_bytes(_EXPIRY_BYTES, "big"))

    async def redeem(self, state: str, binding: str | None) -> Handshake | None:
        now = self._clock()
        try:
            ticket = urlsafe_b64decode(state)[: _ID_BYTES + _EXPIRY_BYTES]
        except ValueError:
            return None
        ours = self._derived(ticket)
        if not _same(ours.state, state) or not _same(ours.binding, binding or ""):
            return None
        if int.from_bytes(ticket[_ID_BYTES:], "big") <= now.timestamp():
            return None
        used = await self._db.execute(_USE, (UUID(bytes=ticket[:_ID_BYTES]), now))
        return ours if used == 1 else None

    def _derived(self, ticket: bytes) -> Handshake:
        def sealed(label: bytes) -> bytes:
            return hmac.digest(self._key, label + ticket, "sha256")

        return Handshake(
            state=_text(ticket + sealed(b"state")),
            binding=_text(sealed(b"binding")),
            nonce=_text(sealed(b"nonce")),
            verifier=_text(sealed(b"verifier")),
        )


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _same(ours: str, given: str) -> bool:
    return hmac.compare_digest(ours.encode(), given.encode())

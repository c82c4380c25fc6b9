"""Codes nobody may guess: drawn from the system's randomness, stored as keyed hashes, guessed at five times at most."""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final

import msgspec

from mintage.application.records import Purpose
from mintage.infra.database import Pool

TRIES_MAX: Final = 5
REFERRAL_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

# Counted and committed before anything is compared, so that no failure in between gives a try back.
_TRY: Final = """
update verification_codes set attempts = attempts + 1
where id = (
    select id from verification_codes where email = %s and type = %s and not used
    order by created_at desc, id desc limit 1
) and expires_at > %s and attempts < %s
returning id::text as code_id, code"""


class _Tried(msgspec.Struct):
    code_id: str
    code: str


class CodeBook:
    """Implements ``ports.identity.Codes``."""

    def __init__(self, db: Pool, key: bytes) -> None:
        self._db = db
        self._key = hmac.digest(key, b"verification codes", "sha256")

    def referral_code(self) -> str:
        return "".join(secrets.choice(REFERRAL_ALPHABET) for _ in range(8))

    def verification_code(self) -> str:
        return f"{secrets.randbelow(1_000_000):06d}"

    def digest(self, purpose: Purpose, email: str, code: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{email}\n{code}".encode(), hashlib.sha256).hexdigest()

    async def redeem(self, purpose: Purpose, email: str, code: str, now: datetime) -> bool:
        tried = await self._db.fetch_one(_Tried, _TRY, (email, purpose, now, TRIES_MAX))
        if tried is None or not hmac.compare_digest(tried.code, self.digest(purpose, email, code)):
            return False
        used = await self._db.execute(
            "update verification_codes set used = true where id = %s and not used", (tried.code_id,)
        )
        return used == 1

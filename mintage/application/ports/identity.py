"""Who somebody is: their password, the codes mailed to them, their tokens, and which of those still count."""

from datetime import datetime
from typing import Final, Protocol

import msgspec

from mintage.application.records import Purpose
from mintage.projections.people import Standing

GONE: Final = Standing(-1, "user")
"""The standing of who has no account any more."""


class PasswordHasher(Protocol):
    """Slow on purpose, so never on the event loop; both raise ``Unavailable`` when too many wait."""

    async def hash(self, password: str) -> str:
        """An argon2id string with its parameters and salt."""
        ...

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether it is the password; takes as long when there is no hash to compare with."""
        ...


class Codes(Protocol):
    """Draws what nobody may guess, and keeps the count of guesses."""

    def referral_code(self) -> str:
        """Eight characters of ``A-Z2-9`` without look-alikes."""
        ...

    def verification_code(self) -> str:
        """Six digits."""
        ...

    def digest(self, purpose: Purpose, email: str, code: str) -> str:
        """The keyed hash under which a code is stored."""
        ...

    async def redeem(self, purpose: Purpose, email: str, code: str, now: datetime) -> bool:
        """Whether it is the newest code of this address and purpose, still good; a good one is used up.

        Every call counts as one of five tries, before anything is compared.
        """
        ...


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What a genuine token says (document-server, JWT Token格式); ``exp`` and ``iat`` are Unix seconds."""

    user_id: str
    email: str | None
    exp: int
    iat: int
    sv: int
    """The person's session version when it was issued; a newer one has ended it."""
    jti: str
    """The token's own id, by which it can be ended alone."""


class Tokens(Protocol):
    def issue(self, *, user_id: str, email: str | None, session_version: int) -> str:
        """A bearer token, good for 24 hours."""
        ...

    def claims(self, token: str) -> Claims | None:
        """What a token says if we signed it, whatever the time is; None otherwise. Cheap for one seen before."""
        ...


class Sessions(Protocol):
    """Who is there and which of their tokens still count. Both are cheap for somebody seen a moment ago."""

    def cached(self, user_id: str) -> Standing | None:
        """Where the person stands, if that is at hand; ``GONE`` if there is no such account."""
        ...

    async def look_up(self, user_id: str) -> Standing:
        """Where the person stands; ``GONE`` if there is no such account."""
        ...

    def forget(self, user_id: str) -> None:
        """Ask again: something about the person changed."""
        ...

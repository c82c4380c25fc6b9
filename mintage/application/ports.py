"""What the use cases and the documents need from outside, in their own words."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from mintage.application.records import Purpose


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


class Mail(msgspec.Struct, frozen=True):
    """A code to be mailed; ``language`` is ``zh`` or ``en``."""

    to: str
    purpose: Purpose
    code: str
    name: str | None
    language: Literal["zh", "en"]
    expires_s: int


class Mailer(Protocol):
    def send(self, mail: Mail) -> None:
        """Hand a mail over for delivery; returns at once, and a failure to deliver is the mailer's to log."""
        ...


class Payment(msgspec.Struct, frozen=True):
    """What a gateway answers to an order: paid already (``reference``), or where to pay (``payment_url``)."""

    reference: str | None = None
    payment_url: str | None = None


class Gateway(Protocol):
    async def create(self, *, recharge_id: str, amount_fen: int, method: str) -> Payment:
        """Ask for the money; safe to repeat with the same order."""
        ...


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What a genuine token says (document-server, JWT Token格式); ``exp`` and ``iat`` are Unix seconds."""

    user_id: str
    email: str | None
    exp: int
    iat: int
    sv: int
    """The person's session version when it was issued; a newer one has ended it."""


class Tokens(Protocol):
    def issue(self, *, user_id: str, email: str | None, session_version: int) -> str:
        """A bearer token, good for 24 hours."""
        ...

    def claims(self, token: str) -> Claims | None:
        """What a token says if we signed it, whatever the time is; None otherwise. Cheap for one seen before."""
        ...


class Sessions(Protocol):
    """Who is there and which of their tokens still count. Both are cheap for somebody seen a moment ago."""

    def cached(self, user_id: str) -> int | None:
        """The person's session version if it is at hand, -1 if the account is gone, None if it must be looked up."""
        ...

    async def look_up(self, user_id: str) -> int:
        """The person's session version, -1 if there is no such account."""
        ...


class Files(Protocol):
    """The files of works, under the keys that their events name, behind urls that expire."""

    def url(self, key: str) -> str:
        """An absolute url that works for 24 hours without a token."""
        ...

    def genuine(self, key: str, expires: str, signature: str) -> bool:
        """Whether these are the key, expiry and signature of a url of ours that has not expired."""
        ...

    async def read(self, key: str) -> bytes | None:
        """The file, None if it was removed."""
        ...

    async def remove_all_of(self, work_id: str) -> None:
        """Remove every file that is stored for a work, for good."""
        ...


class Endings(Protocol):
    """Word of tasks that ended, in whichever process."""

    async def wait(self, user_id: str, task_id: str, timeout_s: float) -> None:
        """Come back when the task is over, or when the time is."""
        ...

    def release(self) -> None:
        """Let go of whoever waits, now and from now on: the server is stopping."""
        ...

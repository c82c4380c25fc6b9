"""What the use cases and the documents need from outside, in their own words."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

from mintage.application.records import Purpose
from mintage.domain.generation.events import TaskType
from mintage.projections.outlook import TaskState
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


class Mail(msgspec.Struct, frozen=True):
    """A code to be mailed; ``language`` is ``zh`` or ``en``."""

    to: str
    purpose: Purpose
    code: str
    name: str | None
    language: Literal["zh", "en"]
    expires_s: int


class Notice(msgspec.Struct, frozen=True):
    """Word to a person that something about their account changed, in case it was not they who did it."""

    to: str
    kind: Literal["password_changed", "email_changed", "google_linked"]
    name: str | None
    language: Literal["zh", "en"]


class Mailer(Protocol):
    def send(self, mail: Mail | Notice) -> None:
        """Hand a mail over for delivery; returns at once, and a failure to deliver is the mailer's to log."""
        ...


class Handshake(msgspec.Struct, frozen=True):
    """A sign-in with Google that was begun: ``state`` goes through Google and back, ``binding`` stays in the browser.

    ``nonce`` has to be in what Google signs; ``verifier`` proves (PKCE) that we are who asked.
    """

    state: str
    binding: str
    nonce: str
    verifier: str


class Handshakes(Protocol):
    def begin(self) -> Handshake:
        """One that nobody may guess."""
        ...

    async def redeem(self, state: str, binding: str | None) -> Handshake | None:
        """What was begun with this state and binding, and uses it up; None if there is nothing, or no more."""
        ...


class GoogleIdentity(msgspec.Struct, frozen=True):
    """Who signed in at Google. ``sub`` is theirs for ever; all else is what Google says of them today.

    ``email`` is in canonical form, None if there is none. Google is ``authoritative`` for the mailboxes it runs itself;
    others it has only verified at some time, or not.
    """

    sub: str
    email: str | None
    email_verified: bool
    authoritative: bool
    name: str | None
    picture: str | None


class Google(Protocol):
    """Both raise ``Unavailable`` if Google cannot be reached."""

    async def authorization_url(self, handshake: Handshake) -> str:
        """Where the person goes to sign in."""
        ...

    async def identity(self, code: str, handshake: Handshake) -> GoogleIdentity:
        """Who came back with this code. Raises ``InvalidCredentials`` if Google says no or cannot be believed."""
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


class StoredFile(msgspec.Struct, frozen=True):
    """``size`` is in bytes; ``version`` changes with the content."""

    size: int
    version: str


class Files(Protocol):
    """What is stored as a file, under keys: works, which are private unless published, and avatars, which never are.

    Whatever looks at the files raises ``Unavailable`` when the place where they are does not answer.
    """

    def url(self, key: str, *, public: bool = False) -> str:
        """An absolute url that works for 24 hours without a token, or for as long as the file is ``public``."""
        ...

    def key_of_url(self, url: str) -> str | None:
        """What file a url of ours is the url of, whoever may open it and whether or not it has expired.

        None for a url of elsewhere. Of ours that names no file the rest of the path, which is the key of none.
        """
        ...

    def work_of(self, key: str) -> str | None:
        """The id of the work whose file this is the key of, whether or not it is there; None for any other key."""
        ...

    def genuine(self, key: str, expires: str, signature: str) -> bool:
        """Whether these are the key, expiry and signature of a url of ours that has not expired."""
        ...

    async def stat(self, key: str) -> StoredFile | None:
        """How large the file is, None if it was removed."""
        ...

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """The file, or ``length`` bytes of it from ``start`` on; None if it was removed."""
        ...

    async def remove(self, key: str) -> None:
        """Remove a file for good, if it is there."""
        ...

    async def remove_all_of(self, work_id: str) -> None:
        """Remove every file that is stored for a work, for good."""
        ...


class Avatars(Protocol):
    """The pictures that people upload of themselves, stored as files that need no signature."""

    async def store(self, user_id: str, content: bytes) -> str:
        """Keep a picture as a square without anything but its pixels; returns its storage key, ``avatars/…``.

        Raises ``InvalidFields`` unless it is a PNG, JPEG or WebP.
        """
        ...

    def own(self, user_id: str, url: str) -> str:
        """The storage key for a url of the person's own upload, so that it outlives our address; else the url."""
        ...

    async def remove(self, avatar: str | None) -> None:
        """Remove an upload that was replaced, for good; a url of elsewhere is nothing to remove."""
        ...

    async def remove_all_of(self, user_id: str) -> None:
        """Remove everything the person ever uploaded, for good."""
        ...


class Moderation(Protocol):
    async def refuses(self, prompt: str, negative_prompt: str | None, *, task_type: TaskType, user_id: str) -> bool:
        """Whether this is not to be made, for this person. Raises ``Unavailable`` if that has to be known and is not.

        The prompt may be empty. It goes into no log.
        """
        ...


class Watch(Protocol):
    """What somebody who watches a task is told of it."""

    @property
    def stopping(self) -> bool:
        """Whether nothing more is told, because the server is stopping."""
        ...

    async def change(self, timeout_s: float) -> TaskState | None:
        """How the task is, once it has got further or has another place in line; None if that takes longer.

        The first time it is how the task is now. What changes twice before it is asked for is told once.
        """
        ...


class News(Protocol):
    """Word of tasks, in whichever process something happens to them."""

    async def wait(self, task_id: str, timeout_s: float) -> None:
        """Come back when the task is over, or when the time is."""
        ...

    def watch(self, user_id: str, task_id: str) -> AbstractContextManager[Watch]:
        """Watch a task for as long as this lasts, for its owner.

        Raises ``RateLimited`` if they watch too many as it is, ``Unavailable`` if too many people do.
        """
        ...

    async def steps(self, state: TaskState, after: int) -> list[TaskState]:
        """Each status and each attempt of the task between version ``after`` and that of ``state``, as it began."""
        ...

    def release(self) -> None:
        """Let go of whoever waits or watches, now and from now on: the server is stopping."""
        ...


class Rule(msgspec.Struct, frozen=True):
    """How often something may be done: ``most`` times from the first time on, until ``window_s`` are over.

    ``fail_closed``: where what is counted together cannot be read, it is not done at all.
    """

    name: str
    most: int
    window_s: int
    fail_closed: bool = False


class Budget(msgspec.Struct, frozen=True):
    """A rule as it applies to somebody; what it counts under ``key`` is kept where nobody can read the key."""

    rule: Rule
    key: str


class Limiter(Protocol):
    """Counts how often things are done, in this process or together with others."""

    async def take(self, budgets: Sequence[Budget]) -> None:
        """Count one in every budget or, if any is used up, in none.

        Raises ``RateLimited``, and ``Unavailable`` if a rule fails closed and has to.
        """
        ...

    async def give_back(self, budgets: Sequence[Budget]) -> None:
        """Undo a ``take`` that is not to count; it may be forgotten, but raises nothing."""
        ...

    def turn(self, budget: Budget) -> AbstractAsyncContextManager[None]:
        """Around what is done under a budget: in this process one at a time, in order.

        Raises ``Unavailable`` when too many wait.
        """
        ...

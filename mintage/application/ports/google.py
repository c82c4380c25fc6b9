"""Signing in with Google: what is begun, and who comes back."""

from typing import Protocol

import msgspec


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

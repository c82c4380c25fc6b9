"""Signing in with Google: people are known by its ``sub``; an e-mail address opens an account only if it is theirs.

An account whose address Google vouches for is linked if we know the address to be the account's too. Where nobody ever
proved it to us, a stranger may have signed up with it: their password and their tokens end.
"""

from collections.abc import Callable
from typing import Final, Literal
from unicodedata import category

from msgspec.structs import replace

from mintage.application.limits import Limits
from mintage.application.people import Newcomer, People
from mintage.application.ports.google import Google, GoogleIdentity, Handshake, Handshakes
from mintage.application.ports.mail import Mailer, Notice
from mintage.application.records import PasswordSet
from mintage.application.transaction import Journal, Transaction
from mintage.domain.decider import Refusal
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import (
    REGISTRATION,
    AddressChanged,
    EmailTaken,
    GoogleTaken,
    LinkGoogle,
    UsernameTaken,
)
from mintage.domain.urls import url_of
from mintage.projections.people import Person, person_by_email, person_by_google_id
from mintage.projections.sql import Database

HANDSHAKE_S: Final = 600
"""How long somebody may take to sign in at Google, in seconds."""
NAME_MAX: Final = 100

_TRIES_MAX: Final = 3


class NotLinked(Refusal):
    """The e-mail address is registered, and Google's word is not enough to open that account."""


class GoogleSignIn:
    def __init__(
        self,
        journal: Journal,
        db: Database,
        people: People,
        *,
        google: Google,
        handshakes: Handshakes,
        mailer: Mailer,
        limits: Limits,
        new_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._db = db
        self._people = people
        self._google = google
        self._handshakes = handshakes
        self._mailer = mailer
        self._limits = limits
        self._new_id = new_id

    async def start(self) -> tuple[str, Handshake]:
        """Where to send the person, and what has to come back from there. Raises ``Unavailable``."""
        handshake = self._handshakes.begin()
        return await self._google.authorization_url(handshake), handshake

    async def finish(
        self, code: str, state: str, binding: str | None, *, language: Literal["zh", "en"], address: str
    ) -> Person:
        """Whoever comes back from Google, registered or linked if need be; a state counts once, whatever comes of it.

        Raises ``InvalidFields`` for a state that does not count, ``InvalidCredentials``, ``NotLinked``,
        ``RateLimited`` and ``Unavailable``.
        """
        handshake = await self._handshakes.redeem(state, binding)
        if handshake is None:
            raise InvalidFields({"state": Reason("unknown")})
        async with self._limits.google(address):
            identity = await self._google.identity(code, handshake)
        for _ in range(_TRIES_MAX):
            try:
                return await self._person(identity, language)
            except (GoogleTaken, EmailTaken, UsernameTaken, AddressChanged):
                # Somebody was faster, most likely the same person in another window: look again.
                continue
        raise NotLinked

    async def _person(self, identity: GoogleIdentity, language: Literal["zh", "en"]) -> Person:
        known = await person_by_google_id(self._db, identity.sub)
        if known is not None:
            return known
        owner = await person_by_email(self._db, identity.email) if identity.email else None
        if owner is None:
            return await self._people.register(self._newcomer(identity, language))
        if owner.google_id is not None or not identity.email_verified:
            raise NotLinked
        if owner.email_verified and not identity.authoritative:
            raise NotLinked
        version = await self._link(owner, identity, language)
        # Not a later version: whatever has ended this session since is to end it.
        return replace(await self._people.known(owner.user_id), session_version=version)

    def _newcomer(self, identity: GoogleIdentity, language: Literal["zh", "en"]) -> Newcomer:
        email = identity.email if identity.email_verified else None
        return Newcomer(
            document="server",
            username=email or f"google-{self._new_id()[-12:]}",
            password=None,
            email=email,
            name=name_of(identity.name or "") or (email and email.partition("@")[0]),
            avatar=url_of(identity.picture or ""),
            google_id=identity.sub,
            email_verified=email is not None,
            language=language,
        )

    async def _link(self, owner: Person, identity: GoogleIdentity, language: Literal["zh", "en"]) -> int:
        assert owner.email is not None
        proved = owner.email_verified
        link = LinkGoogle(google_id=identity.sub, address=owner.address, drop_password=not proved)
        notice = Notice(owner.email, "google_linked", owner.name, language)

        def work(transaction: Transaction) -> int:
            if transaction.state(REGISTRATION, owner.user_id).email_verified != proved:
                raise AddressChanged
            state = transaction.execute(REGISTRATION, owner.user_id, link)
            if not proved:
                transaction.record(PasswordSet(owner.user_id, None))
            transaction.after.append(lambda: self._mailer.send(notice))
            return state.session_version

        return await self._journal.transact(work, actor=owner.user_id)


def name_of(given: str) -> str | None:
    """What may be shown of a name that Google knows, None if that is nothing."""
    shown = "".join(character for character in given if category(character) not in {"Cc", "Cs"})
    return shown.strip()[:NAME_MAX].strip() or None

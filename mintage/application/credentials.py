"""What a person proves: an address by a mailed code, a new password by the old one or by a code; and signing out."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from mintage.application.codes import CodeMail
from mintage.application.limits import Limits
from mintage.application.people import is_password, known
from mintage.application.ports.identity import Claims, Codes, PasswordHasher, Sessions
from mintage.application.ports.mail import Mailer, Notice
from mintage.application.records import PasswordSet, Purpose, TokenEnded
from mintage.application.refusals import InvalidCode, InvalidCredentials
from mintage.application.transaction import Journal, Transaction
from mintage.domain.decider import Refusal
from mintage.domain.registration.decider import (
    REGISTRATION,
    AddressChanged,
    ChangePassword,
    ResetPassword,
    VerifyEmail,
)
from mintage.projections.people import Person, person_by_email
from mintage.projections.sql import Database


class WrongOldPassword(Refusal):
    """The password that is to be changed is not the one that was given."""


class Credentials:
    def __init__(
        self,
        journal: Journal,
        db: Database,
        *,
        hasher: PasswordHasher,
        codes: Codes,
        code_mail: CodeMail,
        mailer: Mailer,
        sessions: Sessions,
        limits: Limits,
        clock: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._db = db
        self._hasher = hasher
        self._codes = codes
        self._code_mail = code_mail
        self._mailer = mailer
        self._sessions = sessions
        self._limits = limits
        self._clock = clock

    async def send_code(
        self, email: str, purpose: Purpose, *, language: Literal["zh", "en"], name: str | None, address: str
    ) -> None:
        """Mail a code, if the e-mail is somebody's; who asks cannot tell. Raises ``RateLimited``."""
        await self._limits.code_sent(email, purpose, address)
        found = await person_by_email(self._db, email)
        user_id, known_as = (found.user_id, found.name) if found else (None, None)
        # Anybody may ask: whoever is known by a name is not to be greeted by what a stranger wrote.
        mailing = self._code_mail.drawn(email, purpose, user_id=user_id, language=language, name=known_as or name)
        await self._journal.transact(mailing, actor="system")

    async def verify_email(self, email: str, code: str, *, address: str) -> Person:
        """Take a mailed code as proof of the e-mail. Raises ``InvalidCode``, ``RateLimited``."""
        async with self._limits.code_tried(address):
            found = await self._redeemed("verification", email, code)
            return await self._proved(found, VerifyEmail(address=found.address))

    async def reset_password(
        self, email: str, code: str, new_password: str, *, language: Literal["zh", "en"], address: str
    ) -> None:
        """Set a password by a mailed code, which proves the e-mail too; every token ends.

        Raises ``InvalidCode``, ``RateLimited``.
        """
        async with self._limits.code_tried(address):
            # Before the code is used up: the hasher may have too much to do.
            hashed = await self._hasher.hash(new_password)
            found = await self._redeemed("password_reset", email, code)
            notice = Notice(email, "password_changed", found.name, language)
            await self._proved(found, ResetPassword(address=found.address), PasswordSet(found.user_id, hashed), notice)

    async def change_password(
        self, caller: Claims, old_password: str, new_password: str, *, language: Literal["zh", "en"], address: str
    ) -> Person:
        """Set a password by the old one; every token ends. Raises ``WrongOldPassword``, ``RateLimited``."""
        try:
            async with self._limits.sign_in(caller.user_id, address):
                if not await is_password(self._db, self._hasher, caller.user_id, old_password):
                    raise InvalidCredentials
        except InvalidCredentials:
            raise WrongOldPassword from None
        hashed = await self._hasher.hash(new_password)
        person = await known(self._db, caller.user_id)

        def work(transaction: Transaction) -> int:
            command = ChangePassword(session_version=caller.sv)
            transaction.record(PasswordSet(caller.user_id, hashed))
            if person.email is not None and person.email_verified:
                notice = Notice(person.email, "password_changed", person.name, language)
                transaction.after.append(lambda: self._mailer.send(notice))
            return transaction.execute(REGISTRATION, caller.user_id, command).session_version

        version = await self._journal.transact(work, actor=caller.user_id)
        # Not a later version: whatever has ended this session since is to end it.
        return replace(await known(self._db, caller.user_id), session_version=version)

    async def sign_out(self, caller: Claims) -> None:
        """End the token that asks, and no other."""

        def work(transaction: Transaction) -> None:
            transaction.record(TokenEnded(caller.jti, caller.user_id, transaction.now))
            transaction.after.append(lambda: self._sessions.forget(caller.user_id))

        await self._journal.transact(work, actor=caller.user_id)

    async def _redeemed(self, purpose: Purpose, email: str, code: str) -> Person:
        if not await self._codes.redeem(purpose, email, code, self._clock()):
            raise InvalidCode
        found = await person_by_email(self._db, email)
        if found is None:
            raise InvalidCode
        return found

    async def _proved(
        self,
        found: Person,
        command: VerifyEmail | ResetPassword,
        record: PasswordSet | None = None,
        notice: Notice | None = None,
    ) -> Person:
        """The person as the command leaves them; of a session no later than that."""

        def work(transaction: Transaction) -> int:
            try:
                state = transaction.execute(REGISTRATION, found.user_id, command)
            except AddressChanged:
                raise InvalidCode from None
            if record is not None:
                transaction.record(record)
            if notice is not None:
                transaction.after.append(lambda: self._mailer.send(notice))
            return state.session_version

        version = await self._journal.transact(work, actor=found.user_id)
        return replace(await known(self._db, found.user_id), session_version=version)

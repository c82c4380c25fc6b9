"""Signing up, signing in, and proving an address."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from mintage.application.catalogue import Money
from mintage.application.ports import Codes, Mail, Mailer, PasswordHasher
from mintage.application.records import CodeIssued, PasswordSet, Purpose
from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, GrantCredits
from mintage.domain.decider import Refusal
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import (
    REGISTRATION,
    EmailTaken,
    PersonUnknown,
    PhoneTaken,
    ReferralCodeTaken,
    Register,
    UsernameTaken,
    VerifyEmail,
)
from mintage.domain.registration.events import Document
from mintage.domain.registration.names import email_of, phone_of
from mintage.projections.people import (
    Person,
    password_hash,
    person,
    person_by_email,
    person_by_login,
    person_by_referral_code,
)
from mintage.projections.sql import Database

CODE_S: Final = 600
"""How long a mailed code is good, in seconds (document-server 2.1)."""

PASSWORD_MAX: Final = 128
"""The longest password that may be set, in characters."""

_DRAWS_MAX: Final = 5


class InvalidCredentials(Refusal):
    """No such account, or not its password; nobody is told which."""


class EmailNotVerified(Refusal):
    """The password is right, but the address was never proved."""

    def __init__(self, email: str) -> None:
        super().__init__("the e-mail address is not verified")
        self.email = email


class InvalidCode(Refusal):
    """The code is wrong, used, too old, or was guessed at too often."""


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything already in its canonical form (``domain.registration.names``)."""

    document: Document
    username: str
    password: str
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    referral_code: str | None = None
    language: Literal["zh", "en"] = "zh"


class People:
    def __init__(
        self,
        journal: Journal,
        db: Database,
        money: Money,
        *,
        hasher: PasswordHasher,
        codes: Codes,
        mailer: Mailer,
        new_id: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._db = db
        self._money = money
        self._hasher = hasher
        self._codes = codes
        self._mailer = mailer
        self._new_id = new_id
        self._clock = clock

    async def register(self, newcomer: Newcomer) -> Person:
        """Sign somebody up: account, bonus, and a mailed code if they gave an address, all at once.

        Raises ``UsernameTaken``, ``EmailTaken``, ``PhoneTaken``, and ``InvalidFields`` for an unknown referral code.
        """
        referrer = await self._referrer(newcomer.referral_code)
        await self._refuse_taken(newcomer)
        hashed = await self._hasher.hash(newcomer.password)
        user_id = self._new_id()
        for draw in range(1, _DRAWS_MAX + 1):
            try:
                await self._journal.transact(self._registration(newcomer, user_id, hashed, referrer), actor=user_id)
                break
            except UsernameTaken:
                # Who signs up by the server document has the address for a username; of two at once one learns it here.
                raise (EmailTaken if newcomer.username == newcomer.email else UsernameTaken) from None
            except ReferralCodeTaken:
                if draw == _DRAWS_MAX:
                    raise
        return await self.known(user_id)

    async def sign_in(self, login: str, password: str) -> Person:
        """Whoever has this username, address or phone, if it is their password. Raises ``InvalidCredentials``."""
        return await self._authenticated(
            await person_by_login(self._db, login, email_of(login), phone_of(login)), password
        )

    async def sign_in_by_email(self, email: str, password: str) -> Person:
        """The same for who must have proved their address. Raises ``EmailNotVerified`` besides."""
        found = await self._authenticated(await person_by_email(self._db, email), password)
        if not found.email_verified:
            raise EmailNotVerified(email)
        return found

    async def send_code(self, email: str, purpose: Purpose, *, language: Literal["zh", "en"], name: str | None) -> None:
        """Mail a code, if the address is somebody's; who asks cannot tell."""
        found = await person_by_email(self._db, email)
        known = name or (found.name if found else None)
        mail, record = self._code(email, purpose, language, known, self._clock())

        def work(transaction: Transaction) -> None:
            transaction.record(record)
            if found is not None:
                transaction.after.append(lambda: self._mailer.send(mail))

        await self._journal.transact(work, actor="system")

    async def verify_email(self, email: str, code: str) -> Person:
        """Take a mailed code as proof of the address. Raises ``InvalidCode``."""
        if not await self._codes.redeem("verification", email, code, self._clock()):
            raise InvalidCode
        found = await person_by_email(self._db, email)
        if found is None:
            raise InvalidCode
        await self._journal.transact(
            lambda transaction: transaction.execute(REGISTRATION, found.user_id, VerifyEmail()), actor=found.user_id
        )
        return await self.known(found.user_id)

    async def known(self, user_id: str) -> Person:
        """Raises ``PersonUnknown`` for who is not there, or is erased."""
        found = await person(self._db, user_id)
        if found is None:
            raise PersonUnknown
        return found

    def _registration(
        self, newcomer: Newcomer, user_id: str, hashed: str, referrer: Person | None
    ) -> Callable[[Transaction], None]:
        bonus = self._money.signup_bonus
        transaction_id, referral_code = self._new_id(), self._codes.referral_code()
        mailing = (
            self._code(newcomer.email, "verification", newcomer.language, newcomer.name, self._clock())
            if newcomer.email is not None
            else None
        )

        def work(transaction: Transaction) -> None:
            transaction.begin(
                REGISTRATION,
                user_id,
                Register(
                    user_id=user_id,
                    number=transaction.number("user"),
                    document=newcomer.document,
                    username=newcomer.username,
                    referral_code=referral_code,
                    email=newcomer.email,
                    phone=newcomer.phone,
                    name=newcomer.name,
                    referred_by=referrer.user_id if referrer else None,
                ),
            )
            if bonus:
                grant = GrantCredits(
                    transaction_id=transaction_id,
                    amount=bonus,
                    source="signup_bonus",
                    description=f"注册赠送{bonus}积分",
                )
                transaction.begin(CREDITS, user_id, grant)
            transaction.record(PasswordSet(user_id, hashed))
            if mailing is not None:
                mail, record = mailing
                transaction.record(record)
                transaction.after.append(lambda: self._mailer.send(mail))

        return work

    def _code(
        self, email: str, purpose: Purpose, language: Literal["zh", "en"], name: str | None, now: datetime
    ) -> tuple[Mail, CodeIssued]:
        code = self._codes.verification_code()
        record = CodeIssued(
            self._new_id(),
            email,
            purpose,
            self._codes.digest(purpose, email, code),
            now,
            now + timedelta(seconds=CODE_S),
        )
        return Mail(email, purpose, code, name, language, CODE_S), record

    async def _referrer(self, code: str | None) -> Person | None:
        if code is None:
            return None
        found = await person_by_referral_code(self._db, code)
        if found is None:
            raise InvalidFields({"referral_code": Reason("unknown")})
        return found

    async def _refuse_taken(self, newcomer: Newcomer) -> None:
        """Say so before a password is hashed; the database's constraints decide between two at the same moment."""
        if await person_by_login(self._db, newcomer.username, None, None):
            raise EmailTaken if newcomer.username == newcomer.email else UsernameTaken
        if newcomer.email and await person_by_email(self._db, newcomer.email):
            raise EmailTaken
        if newcomer.phone and await person_by_login(self._db, "", None, newcomer.phone):
            raise PhoneTaken

    async def _authenticated(self, found: Person | None, password: str) -> Person:
        hashed = await password_hash(self._db, found.user_id) if found else None
        # One character too many is as wrong as a million, which hashers do not take.
        right = await self._hasher.verify(password[: PASSWORD_MAX + 1], hashed)
        if found is None or not right:
            raise InvalidCredentials
        return found

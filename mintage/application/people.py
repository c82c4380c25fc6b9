"""Signing up and signing in."""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from mintage.application.catalogue import Money
from mintage.application.codes import CodeMail
from mintage.application.limits import Limits
from mintage.application.ports.identity import Codes, PasswordHasher
from mintage.application.records import PasswordSet
from mintage.application.refusals import EmailNotVerified, InvalidCredentials
from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, GrantCredits
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import (
    REGISTRATION,
    EmailTaken,
    PersonUnknown,
    PhoneTaken,
    ReferralCodeTaken,
    Register,
    UsernameTaken,
)
from mintage.domain.registration.events import Document
from mintage.domain.registration.names import Login, login_of
from mintage.projections.people import (
    Person,
    password_hash,
    person,
    person_by_login,
    person_by_referral_code,
)
from mintage.projections.sql import Database

PASSWORD_MAX: Final = 128
"""The longest password that may be set, in characters."""

NOBODY: Final = "00000000-0000-0000-0000-000000000000"

_DRAWS_MAX: Final = 5


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything already in its canonical form (``domain.registration.names``).

    Who comes by Google has no password; ``email_verified`` is then what Google says.
    """

    document: Document
    username: str
    password: str | None
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    avatar: str | None = None
    google_id: str | None = None
    email_verified: bool = False
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
        code_mail: CodeMail,
        limits: Limits,
        new_id: Callable[[], str],
    ) -> None:
        self._journal = journal
        self._db = db
        self._money = money
        self._hasher = hasher
        self._codes = codes
        self._code_mail = code_mail
        self._limits = limits
        self._new_id = new_id

    async def register(self, newcomer: Newcomer) -> Person:
        """Sign somebody up: account, bonus, and a mailed code if they gave an address, all at once.

        Raises ``UsernameTaken``, ``EmailTaken``, ``PhoneTaken``, ``GoogleTaken``, and ``InvalidFields`` for an unknown
        referral code.
        """
        referrer = await self._referrer(newcomer.referral_code)
        await self._refuse_taken(newcomer)
        hashed = None if newcomer.password is None else await self._hasher.hash(newcomer.password)
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
        # Not a later version: whatever has ended this session since is to end it.
        return replace(await self.known(user_id), session_version=0)

    async def sign_in(self, login: str, password: str, *, address: str) -> Person:
        """Whoever has this username, e-mail or phone, if it is their password.

        ``address`` is where the request comes from. Raises ``InvalidCredentials``, ``RateLimited``.
        """
        return await self._authenticated(login_of(login), password, address)

    async def sign_in_by_email(self, email: str, password: str, *, address: str) -> Person:
        """The same for who must have proved their e-mail. Raises ``EmailNotVerified`` besides."""
        login = login_of(email)
        found = await self._authenticated(login if login and login.email else None, password, address)
        if not found.email_verified:
            assert found.email is not None
            raise EmailNotVerified(found.email)
        return found

    async def known(self, user_id: str) -> Person:
        """Raises ``PersonUnknown`` for who is not there, or is erased."""
        return await known(self._db, user_id)

    def _registration(
        self, newcomer: Newcomer, user_id: str, hashed: str | None, referrer: Person | None
    ) -> Callable[[Transaction], None]:
        bonus = self._money.signup_bonus
        transaction_id, referral_code = self._new_id(), self._codes.referral_code()
        mailing = None
        if newcomer.email is not None and not newcomer.email_verified:
            mailing = self._code_mail.drawn(
                newcomer.email,
                "verification",
                user_id=user_id,
                language=newcomer.language,
                name=newcomer.name,
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
                    avatar=newcomer.avatar,
                    google_id=newcomer.google_id,
                    email_verified=newcomer.email_verified,
                ),
            )
            if bonus:
                grant = GrantCredits(
                    transaction_id=transaction_id,
                    amount=bonus,
                    source="signup_bonus",
                    description=f"注册赠送{bonus}积分",
                    now=transaction.now,
                )
                transaction.begin(CREDITS, user_id, grant)
            if hashed is not None:
                transaction.record(PasswordSet(user_id, hashed))
            if mailing is not None:
                mailing(transaction)

        return work

    async def _referrer(self, code: str | None) -> Person | None:
        if code is None:
            return None
        found = await person_by_referral_code(self._db, code)
        if found is None:
            raise InvalidFields({"referral_code": Reason("unknown")})
        return found

    async def _refuse_taken(self, newcomer: Newcomer) -> None:
        """Say so before a password is hashed; the database's constraints decide between two at the same moment."""
        for name, taken in (
            (newcomer.username, EmailTaken if newcomer.username == newcomer.email else UsernameTaken),
            (newcomer.email, EmailTaken),
            (newcomer.phone, PhoneTaken),
        ):
            login = login_of(name) if name else None
            if login is not None and await person_by_login(self._db, login):
                raise taken

    async def _authenticated(self, login: Login | None, password: str, address: str) -> Person:
        found = await person_by_login(self._db, login) if login else None
        # A login that is nobody's counts as its own, so that it is limited like any other.
        async with self._limits.sign_in(found.user_id if found else str(login), address):
            right = await is_password(self._db, self._hasher, found.user_id if found else NOBODY, password)
            if found is None or not right:
                raise InvalidCredentials
            return found


async def known(db: Database, user_id: str) -> Person:
    """Raises ``PersonUnknown`` for who is not there, or is erased."""
    found = await person(db, user_id)
    if found is None:
        raise PersonUnknown
    return found


async def is_password(db: Database, hasher: PasswordHasher, user_id: str, password: str) -> bool:
    """Whether it is the person's password; takes as long for ``NOBODY``, or who has none."""
    hashed = await password_hash(db, user_id)
    # One character too many is as wrong as a million, which hashers do not take.
    return await hasher.verify(password[: PASSWORD_MAX + 1], hashed)

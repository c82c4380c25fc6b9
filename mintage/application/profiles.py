"""What a person shows of themselves, and what they may do."""

from contextlib import suppress
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from mintage.application.codes import CodeMail
from mintage.application.limits import Limits
from mintage.application.people import known
from mintage.application.ports.files import Avatars
from mintage.application.ports.mail import Mailer, Notice
from mintage.application.transaction import Journal, Transaction, Unavailable
from mintage.domain.decider import Refusal
from mintage.domain.registration.decider import REGISTRATION, ChangeProfile, EmailTaken, GrantRole, UsernameTaken
from mintage.domain.registration.events import Role
from mintage.projections.people import Person, person_by_email
from mintage.projections.sql import Database


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything already in its canonical form; what is unset stays, None clears."""

    name: str | UnsetType | None = UNSET
    avatar: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET


class Profiles:
    def __init__(
        self,
        journal: Journal,
        db: Database,
        *,
        code_mail: CodeMail,
        mailer: Mailer,
        avatars: Avatars,
        limits: Limits,
    ) -> None:
        self._journal = journal
        self._db = db
        self._code_mail = code_mail
        self._mailer = mailer
        self._avatars = avatars
        self._limits = limits

    async def change(self, user_id: str, changes: Changes, *, language: Literal["zh", "en"], address: str) -> Person:
        """Change what differs; a new e-mail is unverified and gets a code, and the old one a notice.

        Raises ``EmailTaken``, ``PhoneTaken``, ``EmailNeeded``, ``RateLimited``.
        """
        before = await known(self._db, user_id)
        if isinstance(changes.avatar, str):
            changes = replace(changes, avatar=self._avatars.own(user_id, changes.avatar))
        given = {
            field: value
            for field, value in msgspec.structs.asdict(changes).items()
            if value is not UNSET and value != getattr(before, field)
        }
        if not given:
            return before
        email = given.get("email")
        if email is not None:
            # Before it counts: a mail that is never sent must not use up what its owner may ask for.
            if await person_by_email(self._db, email) is not None:
                raise EmailTaken
            await self._limits.code_sent(email, "verification", address)
            mailing = self._code_mail.drawn(
                email, "verification", user_id=user_id, language=language, name=given.get("name", before.name)
            )

        def work(transaction: Transaction) -> None:
            transaction.execute(REGISTRATION, user_id, ChangeProfile(**given))
            if email is not None:
                mailing(transaction)
            if "email" in given and before.email is not None and before.email_verified:
                notice = Notice(before.email, "email_changed", before.name, language)
                transaction.after.append(lambda: self._mailer.send(notice))

        try:
            await self._journal.transact(work, actor=user_id)
        except UsernameTaken:
            # Of who has the address for a username.
            raise EmailTaken from None
        if "avatar" in given:
            # The change is stored, whatever becomes of the old picture; housekeeping removes one that nobody has.
            with suppress(OSError, Unavailable):
                await self._avatars.remove(before.avatar)
        return await known(self._db, user_id)

    async def upload(self, user_id: str, content: bytes, *, language: Literal["zh", "en"], address: str) -> Person:
        """Make an uploaded picture the person's; if that cannot be, it is not kept.

        Raises ``InvalidFields``, ``PersonUnknown``, ``RateLimited``.
        """
        async with self._limits.uploading(user_id):
            avatar = await self._avatars.store(user_id, content)
            try:
                return await self.change(user_id, Changes(avatar=avatar), language=language, address=address)
            except (Refusal, Unavailable):
                # Whatever else happens, it may be theirs already; if it is not, housekeeping removes it.
                await self._avatars.remove(avatar)
                raise

    async def grant_role(self, user_id: str, role: Role, *, actor: str) -> Person:
        """Give a role in place of the one before, from the next request on. Raises ``PersonUnknown``."""
        await self._journal.transact(
            lambda transaction: transaction.execute(REGISTRATION, user_id, GrantRole(role=role)), actor=actor
        )
        return await known(self._db, user_id)

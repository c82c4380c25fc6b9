"""Mailing a code: stored as a keyed hash in the transaction that asks for it, sent when that is durable."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

from mintage.application.ports.identity import Codes
from mintage.application.ports.mail import Mail, Mailer
from mintage.application.records import CodeIssued, Purpose
from mintage.application.transaction import Transaction
from mintage.domain.registration.decider import REGISTRATION

CODE_S: Final = 600
"""How long a mailed code is good, in seconds (document-server 2.1)."""


class CodeMail:
    def __init__(self, codes: Codes, mailer: Mailer, new_id: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._codes = codes
        self._mailer = mailer
        self._new_id = new_id
        self._clock = clock

    def drawn(
        self,
        email: str,
        purpose: Purpose,
        *,
        user_id: str | None,
        language: Literal["zh", "en"],
        name: str | None,
    ) -> Callable[[Transaction], None]:
        """Draw a code; what is returned stores it and mails it, or only stores it if the address is nobody's."""
        code, now = self._codes.verification_code(), self._clock()
        digest = self._codes.digest(purpose, email, code)
        record = CodeIssued(self._new_id(), user_id, email, purpose, digest, now, now + timedelta(seconds=CODE_S))
        mail = Mail(email, purpose, code, name, language, CODE_S)

        def work(transaction: Transaction) -> None:
            if user_id is not None and transaction.state(REGISTRATION, user_id).erased:
                return
            transaction.record(record)
            if user_id is not None:
                transaction.after.append(lambda: self._mailer.send(mail))

        return work

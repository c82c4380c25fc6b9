"""Mailing a code: stored as a keyed hash in the transaction that asks for it, sent when that is durable."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

from mintage.application.ports import Codes, Mail, Mailer
from mintage.application.records import CodeIssued, Purpose
from mintage.application.transaction import Transaction

CODE_S: Final = 600
"""How long a mailed code is good, in seconds (document-server 2.1)."""


class CodeMail:
    def __init__(self, codes: Codes, mailer: Mailer, new_id: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._codes = codes
        self._mailer = mailer
        self._new_id = new_id
        self._clock = clock

    def drawn(
        self, email: str, purpose: Purpose, *, language: Literal["zh", "en"], name: str | None, deliver: bool = True
    ) -> Callable[[Transaction], None]:
        """Draw a code; what is returned stores it and mails it, or only stores it."""
        code, now = self._codes.verification_code(), self._clock()
        digest = self._codes.digest(purpose, email, code)
        record = CodeIssued(self._new_id(), email, purpose, digest, now, now + timedelta(seconds=CODE_S))
        mail = Mail(email, purpose, code, name, language, CODE_S)

        def work(transaction: Transaction) -> None:
            transaction.record(record)
            if deliver:
                transaction.after.append(lambda: self._mailer.send(mail))

        return work

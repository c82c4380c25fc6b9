"""What is mailed to people."""

from typing import Literal, Protocol

import msgspec

from mintage.application.records import Purpose


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

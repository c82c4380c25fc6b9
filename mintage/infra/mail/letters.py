"""A mail as bytes: plain text and HTML that say the same, one code and no other six digits."""

import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mintage.application.ports.mail import Mail, Notice
from mintage.infra.mail.wording import FRAMES, WORDINGS

_NAME: Final = re.compile(r"[^\W\d_]+([ ·'-][^\W\d_]+){0,9}")
# Ids without digits, so that no header and no boundary can hold what looks like a code.
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")


class Letter(msgspec.Struct, frozen=True):
    """A composed mail; ``utf8`` says that its address has letters which only SMTPUTF8 carries."""

    letter_id: str
    at: datetime
    sender: str
    to: str
    utf8: bool
    content: bytes


class Composer:
    """``sender`` is the From of all mails, ``product`` what they call the product."""

    def __init__(self, sender: str, product: str) -> None:
        self._sender = sender
        self._product = product
        templates = Environment(
            loader=PackageLoader("mintage.infra.mail"),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        self._plain = templates.get_template("letter.txt")
        self._html = templates.get_template("letter.html")

    def compose(self, mail: Mail | Notice, letter_id: str, at: datetime) -> Letter:
        """Raises ``ValueError`` for an address that no mail can be sent to."""
        local, _, domain = mail.to.rpartition("@")
        to = Address(username=local, domain=domain if domain.isascii() else domain.encode("idna").decode())
        utf8 = not local.isascii()
        sender = parseaddr(self._sender)[1]
        code, minutes = (mail.code, mail.expires_s // 60) if isinstance(mail, Mail) else (None, 0)
        wording = WORDINGS[(mail.language, mail.purpose if isinstance(mail, Mail) else mail.kind)]
        values = {"product": self._product, "minutes": minutes, "at": f"{at:%Y-%m-%d %H:%M} UTC"}
        context = {
            "language": "zh-CN" if mail.language == "zh" else "en",
            "product": self._product,
            "code": code,
            "subject": wording.subject.format_map(values),
            "glance": wording.glance.format_map(values),
            "opening": wording.opening.format_map(values),
            "advice": [sentence.format_map(values) for sentence in wording.advice],
            **_frame(mail, self._product),
        }
        # Unbroken digits have to be readable in the raw file, so nothing here is base64.
        message = EmailMessage(policy=SMTPUTF8 if utf8 else SMTP)
        message["From"] = self._sender
        message["To"] = to
        message["Subject"] = context["subject"]
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{letter_id.translate(_LETTERS)}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self._plain.render(context), cte="quoted-printable")
        message.add_alternative(self._html.render(context), subtype="html", cte="quoted-printable")
        message.set_boundary(f"=_{letter_id.translate(_LETTERS)}")
        return Letter(letter_id, at, sender, to.addr_spec, utf8, message.as_bytes())


def _frame(mail: Mail | Notice, product: str) -> dict[str, str]:
    frame = FRAMES[mail.language]
    # A name is anybody's text: only letters of it go into our mail, no second code, no address to go to.
    name = mail.name if mail.name and _NAME.fullmatch(mail.name) else None
    return {
        "greeting": frame.greeting_by_name.format(name=name) if name else frame.greeting,
        "wish": frame.wish,
        "signature": frame.signature.format(product=product),
        "automatic": frame.automatic,
    }

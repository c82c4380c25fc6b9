"""Development mail: each one a file in the outbox that any mail program opens."""

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Final

from mintage.application.ports import Mail

_NAME: Final = re.compile(r"[^\W\d_]+([ ·'-][^\W\d_]+){0,9}")
SENDER: Final = "mintage <no-reply@mintage.invalid>"

_SUBJECTS: Final = {
    ("zh", "verification"): "请验证您的邮箱",
    ("zh", "password_reset"): "重置您的密码",
    ("en", "verification"): "Please verify your e-mail address",
    ("en", "password_reset"): "Reset your password",
}
_TEXTS: Final = {
    "zh": "{name}您好：\n\n您的验证码是\n\n{code}\n\n它在{minutes}分钟内有效，请勿告诉他人。"
    "如果不是您本人操作，请忽略本邮件。\n",
    "en": "Hello {name},\n\nyour code is\n\n{code}\n\nIt is good for {minutes} minutes; tell it to nobody. "
    "If you did not ask for it, ignore this mail.\n",
}


class Outbox:
    """Implements ``application.ports.Mailer`` by writing ``<folder>/<time>-<id>.eml``."""

    def __init__(self, folder: Path, new_id: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._new_id = new_id
        self._clock = clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def send(self, mail: Mail) -> None:
        now = self._clock()
        message = EmailMessage(policy=SMTP)
        message["From"] = SENDER
        message["To"] = mail.to
        message["Subject"] = _SUBJECTS[(mail.language, mail.purpose)]
        message["Date"] = format_datetime(now)
        message["Message-ID"] = make_msgid(domain="mintage.invalid")
        # A name is anybody's text: only letters of it go into our mail, no second code, no address to go to.
        name = mail.name if mail.name and _NAME.fullmatch(mail.name) else ""
        text = _TEXTS[mail.language].format(name=name, code=mail.code, minutes=mail.expires_s // 60)
        message.set_content(text, cte="quoted-printable")
        path = self._folder / f"{now:%Y%m%dT%H%M%S}-{self._new_id()}.eml"
        # Elsewhere, so that nobody can tell by the time a request takes whether it made a mail.
        asyncio.get_running_loop().run_in_executor(None, _write, path, message.as_bytes())


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".part")
    draft.write_bytes(content)
    draft.rename(path)

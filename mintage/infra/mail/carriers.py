"""Where letters go: to an SMTP server, or, in development, into the outbox as files that any mail program opens."""

import asyncio
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib

from mintage.infra.mail.letters import Letter

ANSWER_S: Final = 10.0
"""How long the server may take over each step, in seconds."""


class Refused(Exception):
    """The letter will never be taken."""


class Deferred(Exception):
    """The letter was not taken this time."""


class Carrier(Protocol):
    async def carry(self, letter: Letter) -> None:
        """Raises ``Refused`` or ``Deferred``, neither of which says a code or an address."""
        ...


class Outbox:
    """Writes ``<folder>/<time>-<id>.eml``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def carry(self, letter: Letter) -> None:
        path = self._folder / f"{letter.at:%Y%m%dT%H%M%S}-{letter.letter_id}.eml"
        try:
            await asyncio.to_thread(_write, path, letter.content)
        except OSError as error:
            raise Deferred(f"the outbox: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".part")
    draft.write_bytes(content)
    draft.rename(path)


class SmtpServer:
    """``url`` is ``smtp://`` (STARTTLS whenever it is offered) or ``smtps://``, with or without a user and password.

    Who signs in on another machine does so over TLS or not at all. On this machine nobody asks whose certificate it is.
    ``tls`` replaces the system's certificates.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password or "")
        self._implicit_tls = parts.scheme == "smtps"
        self._tls = tls

    async def carry(self, letter: Letter) -> None:
        here = _is_loopback(self._host)
        try:
            await aiosmtplib.send(
                letter.content,
                sender=letter.sender,
                recipients=[letter.to],
                mail_options=["SMTPUTF8"] if letter.utf8 else [],
                hostname=self._host,
                port=self._port,
                username=self._user,
                password=self._password if self._user else None,
                use_tls=self._implicit_tls,
                start_tls=True if self._user and not here and not self._implicit_tls else None,
                validate_certs=not here,
                tls_context=self._tls,
                timeout=ANSWER_S,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            raise _verdict(error) from error


def _verdict(error: Exception) -> Refused | Deferred:
    """A server's text may quote the address, so its code alone is told."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    kind = type(error).__name__
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return (Deferred if 400 <= error.code <= 499 else Refused)(f"{kind} {error.code}")
    if isinstance(error, OSError):
        return Deferred(kind)
    # It lacks what we insist on: STARTTLS, a way to sign in, SMTPUTF8.
    return Refused(f"{kind}, the server cannot do what it takes")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

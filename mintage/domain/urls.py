"""Addresses that people give: of pictures, shown to browsers as they are, and of their own servers, which we go to."""

import re
from typing import Final
from urllib.parse import urlsplit

from mintage.domain.addresses import is_public

URL_MAX: Final = 2_048

_NAME_MAX: Final = 253
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST: Final = re.compile(r"[^\W_]([\w.-]*[^\W_])?\.?|[0-9a-f:]+(\.[0-9]+){0,3}")


def url_of(text: str) -> str | None:
    """An ``http`` or ``https`` url as it stands, None if it is none.

    It has a host and nobody's name or password, no blank, backslash or character that does not show, and at most
    2,048 characters.
    """
    if len(text) > URL_MAX or not text.isprintable() or " " in text or "\\" in text:
        return None
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 -- raises for what is no port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not _HOST.fullmatch(parts.hostname or ""):
        return None
    return text


def public_https_url_of(text: str) -> str | None:
    """An ``https`` url as it stands, None if it is none, has no host or port that could be, or leads to an address that
    is not public.

    Where a name leads is only known, and looked at, when it is gone to.
    """
    url = url_of(text)
    if url is None or not url.lower().startswith("https:"):
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        found = is_public(host)
    except ValueError:
        found = _is_name(host)
    return url if found and parts.port != 0 else None


def _is_name(host: str) -> bool:
    """Whether a name server could know it. What ends in a number is an address in a notation that resolvers take."""
    try:
        # Refuses labels that are empty or too long, and makes plain digits of circled and wide ones.
        name = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        return False
    last = name.rpartition(".")[2]
    return len(name) <= _NAME_MAX and ":" not in name and last != "localhost" and not _NUMBER.fullmatch(last)

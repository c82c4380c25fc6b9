"""Addresses of pictures that people give: shown to browsers as they are, so nothing in them may deceive."""

import re
from typing import Final
from urllib.parse import urlsplit

URL_MAX: Final = 2_048

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

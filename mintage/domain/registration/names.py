"""Names compare without case and without look-alike encodings: one spelling, one owner."""

import re
import unicodedata

_PHONE = re.compile(r"1[3-9][0-9]{9}")


def name_key(name: str) -> str:
    """What two spellings of one username have in common: NFKC, caseless."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def phone_of(text: str) -> str | None:
    """A mainland mobile number as eleven digits (``+86`` and blanks dropped), None if it is none."""
    digits = text.replace(" ", "").removeprefix("+86")
    return digits if _PHONE.fullmatch(digits) else None


def email_of(text: str) -> str | None:
    """An e-mail address in lower case, None if it cannot be one: one ``@`` with both sides, at most 254."""
    address = text.strip().lower()
    local, at, host = address.partition("@")
    plausible = at and local and "." in host.strip(".") and "@" not in host and len(address) <= 254
    clean = not any(character.isspace() or not character.isprintable() for character in address)
    return address if plausible and clean else None

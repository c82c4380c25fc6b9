"""Names compare without case and without look-alike encodings: one spelling, one owner."""

import re
import unicodedata
from typing import Final, NamedTuple

_EMAIL = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@([^\W_]([\w-]*[^\W_])?\.)+[^\W_]([\w-]*[^\W_])?"
)
_PHONE = re.compile(r"1[3-9][0-9]{9}")


LOGIN_MAX: Final = 254
"""Characters of the longest name there can be. Normalising takes time that grows with the square of the length."""


class Login(NamedTuple):
    """What somebody signs in by: one of the three."""

    email: str | None = None
    phone: str | None = None
    username_key: str | None = None


def login_of(text: str) -> Login | None:
    """Which kind of name a login is, in canonical form; None if it cannot be anybody's."""
    text = text.strip()
    if len(text) > LOGIN_MAX:
        return None
    if "@" in text:
        email = email_of(text)
        return Login(email=email) if email else None
    phone = phone_of(text)
    return Login(phone=phone) if phone else Login(username_key=name_key(text))


def name_key(name: str) -> str:
    """What two spellings of one username have in common: NFKC, caseless."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def phone_of(text: str) -> str | None:
    """A mainland mobile number as eleven digits (``+86`` and blanks dropped), None if it is none."""
    if len(text) > LOGIN_MAX:
        return None
    digits = text.replace(" ", "").removeprefix("+86")
    return digits if _PHONE.fullmatch(digits) else None


def email_of(text: str) -> str | None:
    """An e-mail address in lower case, None if it cannot be one: one ``@`` with both sides, at most 254."""
    address = text.strip().lower()
    # What changes under NFKC looks like somebody else's address.
    if len(address) > LOGIN_MAX or unicodedata.normalize("NFKC", address) != address:
        return None
    return address if _EMAIL.fullmatch(address) and _goes_there(address) else None


def _goes_there(address: str) -> bool:
    """Whether mail to the address goes to the domain it names, and not to one that IDNA takes for the same."""
    domain = address.rpartition("@")[2]
    try:
        return domain.isascii() or domain.encode("idna").decode("idna") == domain
    except UnicodeError:
        return False


def username_of(text: str) -> str | None:
    """The username as typed: 3 to 50 letters, digits, ``_``, ``-``, ``.``; None if it is none or looks like a phone."""
    if len(text) > 50:
        return None
    # Judged by what it is compared as, so that no look-alike encoding smuggles in what may not be typed.
    name = unicodedata.normalize("NFKC", text)
    plain = all(character.isalpha() or character.isdecimal() or character in "_-." for character in text + name)
    if not plain or len(text) < 3 or not 3 <= len(name) <= 50 or phone_of(name) is not None:
        return None
    return text

"""Names compare without case and without look-alike encodings: one spelling, one owner."""

import re
import unicodedata

_EMAIL = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*@([^\W_]([\w-]*[^\W_])?\.)+[^\W_]([\w-]*[^\W_])?"
)
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
    # What changes under NFKC looks like somebody else's address.
    plain = unicodedata.normalize("NFKC", address) == address and len(address) <= 254
    return address if plain and _EMAIL.fullmatch(address) else None


def username_of(text: str) -> str | None:
    """The username as typed: 3 to 50 letters, digits, ``_``, ``-``, ``.``; None if it is none or looks like a phone."""
    # Judged by what it is compared as, so that no look-alike encoding smuggles in what may not be typed.
    name = unicodedata.normalize("NFKC", text)
    plain = all(character.isalpha() or character.isdecimal() or character in "_-." for character in text + name)
    if not plain or not 3 <= len(text) <= 50 or not 3 <= len(name) <= 50 or phone_of(name) is not None:
        return None
    return text

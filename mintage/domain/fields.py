"""Bad input, field by field: which rule each one broke, in words that a message table turns into sentences."""

import re
from typing import Final, Literal, TypeAlias

import msgspec

from mintage.domain.decider import Refusal

Rule: TypeAlias = Literal[
    "required",
    "type",
    "between",
    "length",
    "one_of",
    "pattern",
    "moment",
    "recorded",
    "unknown",
    "unasked",
    "taken",
    "mismatch",
    "wrong",
    "refused",
    "login",
    "control_characters",
    "future",
    "after_as_of",
    "zero",
    "ahead",
    "for_grants",
    "https",
]


class Reason(msgspec.Struct, frozen=True):
    """The rule broken and the bounds it set: ``low``/``high`` for numbers and lengths, ``choices``, ``expected``."""

    rule: Rule
    low: int | float | None = None
    high: int | float | None = None
    choices: tuple[str, ...] = ()
    expected: str | None = None


UNSEEN: Final = r"\s\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff"
"""Characters that show nothing, as the inside of a regular expression's brackets."""

_SEEN: Final = re.compile(f"[^{UNSEEN}]")


def is_blank(text: str) -> bool:
    """Whether there is nothing in it that can be seen."""
    return _SEEN.search(text) is None


class InvalidFields(Refusal):
    """The request cannot be understood; ``fields`` names each field as the caller sent it."""

    def __init__(self, fields: dict[str, Reason]) -> None:
        super().__init__(", ".join(f"{name}: {reason.rule}" for name, reason in fields.items()))
        self.fields = fields

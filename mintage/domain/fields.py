"""Bad input, field by field: which rule each one broke, in words that a message table turns into sentences."""

from typing import Literal, TypeAlias

import msgspec

from mintage.domain.decider import Refusal

Rule: TypeAlias = Literal[
    "required",
    "type",
    "between",
    "length",
    "one_of",
    "pattern",
    "unknown",
    "taken",
    "mismatch",
    "wrong",
    "control_characters",
]


class Reason(msgspec.Struct, frozen=True):
    """The rule broken and the bounds it set: ``low``/``high`` for numbers and lengths, ``choices``, ``expected``."""

    rule: Rule
    low: int | float | None = None
    high: int | float | None = None
    choices: tuple[str, ...] = ()
    expected: str | None = None


class InvalidFields(Refusal):
    """The request cannot be understood; ``fields`` names each field as the caller sent it."""

    def __init__(self, fields: dict[str, Reason]) -> None:
        super().__init__(", ".join(f"{name}: {reason.rule}" for name, reason in fields.items()))
        self.fields = fields

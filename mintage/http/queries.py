"""What a path or a query string says, as strictly as a body: one plain value, or the field is named."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from mintage.domain.fields import InvalidFields, Reason
from mintage.http.refusals import NoSuchPath

PAGE_MAX: Final = 1_000_000
SIZE_MAX: Final = 100
SIZE: Final = 20

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
NUMBER_MAX: Final = 10**18 - 1
_MOMENT: Final = Annotated[datetime, msgspec.Meta(tz=True)]
_LOST_PLUS: Final = re.compile(r"(:.*) (\d\d:\d\d)")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Page(msgspec.Struct, frozen=True):
    """``number`` counts from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


class Paging(msgspec.Struct, frozen=True):
    """Which page of a list, and how many make one, which is what the documents have different names for."""

    size: str

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        return {
            "page": {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 1},
            self.size: {"type": "integer", "minimum": 1, "maximum": SIZE_MAX, "default": SIZE},
        }


class Choice(msgspec.Struct, frozen=True):
    """One of a few words, or none."""

    name: str
    choices: tuple[str, ...]

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        return {self.name: {"type": "string", "enum": list(self.choices)}}


class Matching(msgspec.Struct, frozen=True):
    """A text of a certain form, or none."""

    name: str
    pattern: str

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        return {self.name: {"type": "string", "pattern": f"^{self.pattern}$"}}


class Instant(msgspec.Struct, frozen=True):
    """A moment with its zone, or none."""

    name: str

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        return {self.name: {"type": "string", "format": "date-time"}}


Parameter: TypeAlias = Paging | Choice | Matching | Instant


class Query:
    """The parameters of a query string; those nobody asks for are ignored, unless they are refused by ``only``."""

    def __init__(self, raw: bytes) -> None:
        self._given: dict[str, list[str]] = {}
        for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace"):
            self._given.setdefault(name, []).append(value)

    def only(self, *parameters: Parameter) -> None:
        """Raises ``InvalidFields`` for whatever else is given, so that a misspelt name is noticed."""
        known = {name for parameter in parameters for name in parameter.schemas}
        if unasked := self._given.keys() - known:
            raise InvalidFields({name: Reason("unasked") for name in sorted(unasked)})

    def text(self, name: str) -> str | None:
        values = self._given.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise InvalidFields({name: Reason("pattern")})
        return values[0]

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        text = self.text(name)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text):
            raise InvalidFields({name: Reason("type", expected="integer")})
        if not low <= int(text) <= high:
            raise InvalidFields({name: Reason("between", low=low, high=high)})
        return int(text)

    def choice(self, parameter: Choice) -> str | None:
        text = self.text(parameter.name)
        if text is not None and text not in parameter.choices:
            raise InvalidFields({parameter.name: Reason("one_of", choices=parameter.choices)})
        return text

    def matching(self, parameter: Matching) -> str | None:
        text = self.text(parameter.name)
        if text is not None and not re.fullmatch(parameter.pattern, text):
            raise InvalidFields({parameter.name: Reason("pattern")})
        return text

    def instant(self, parameter: Instant) -> datetime | None:
        text = self.text(parameter.name)
        if text is None:
            return None
        # A plus that nobody encoded comes as a blank.
        plain = _LOST_PLUS.sub(r"\1+\2", text)
        try:
            moment: datetime = msgspec.convert(plain, _MOMENT)
            return moment.astimezone(UTC)
        except (msgspec.ValidationError, OverflowError):
            raise InvalidFields({parameter.name: Reason("moment")}) from None

    def page(self, parameter: Paging) -> Page:
        return Page(self.integer("page", 1, 1, PAGE_MAX), self.integer(parameter.size, SIZE, 1, SIZE_MAX))


def id_of(text: str) -> int | str:
    """The integer or the UUID that a path names something by; raises ``NoSuchPath``."""
    if _NUMBER.fullmatch(text):
        return int(text)
    if _UUID.fullmatch(text):
        return text.lower()
    raise NoSuchPath

"""A JSON body is taken as it stands or refused with its fields named: nothing is converted, rounded or guessed."""

import re
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import inspect

from mintage.domain.fields import InvalidFields, Reason

T = TypeVar("T", bound=msgspec.Struct)

BODY: Final = "body"
"""The field that is named when no field can be."""

_NOT_JSON: Final = Reason("type", expected="JSON")
CONTROLS: Final = r"[\x00-\x08\x0b\x0c\x0e-\x1f]"
"""A pattern of what no text may hold."""
# Never stored or compared as text, so whatever it holds is just a wrong password.
OPAQUE: Final = frozenset({"password", "oldPassword", "newPassword", "new_password"})
_CONTROLS: Final = re.compile(CONTROLS)
_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Body(Generic[T]):
    """Decodes bodies of one kind; unknown fields are ignored."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._fields = [
            (field.encode_name, field.required, field.type, msgspec.json.Decoder(field.type).decode)
            for field in msgspec.structs.fields(kind)
        ]

    def read(self, raw: bytes) -> T:
        """Raises ``InvalidFields`` with everything that is wrong."""
        try:
            # What is skipped unread is not checked by the decoder.
            if not raw.isascii():
                raw.decode()
            value = self._decode(raw)
        except _MALFORMED:
            raise InvalidFields(dict(self._wrong(raw)) or {BODY: _NOT_JSON}) from None
        # A control character is only valid JSON when it is escaped, so most bodies need no second look.
        if b"\\u00" in raw:
            self._refuse_controls(value)
        return value

    def _wrong(self, raw: bytes) -> Iterator[tuple[str, Reason]]:
        """Field by field what the decoder, which stops at the first mistake, has against a body."""
        try:
            raw.decode()
            pieces = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            yield BODY, Reason("type", expected="object")
        except _MALFORMED:
            yield BODY, _NOT_JSON
        else:
            for name, required, kind, decode in self._fields:
                if name in pieces:
                    try:
                        decode(pieces[name])
                    except _MALFORMED:
                        yield name, _breach(inspect.type_info(kind), pieces[name])
                elif required:
                    yield name, Reason("required")

    def _refuse_controls(self, value: T) -> None:
        wrong = {
            field.encode_name: Reason("control_characters")
            for field in msgspec.structs.fields(value)
            if field.encode_name not in OPAQUE and _has_controls(getattr(value, field.name))
        }
        if wrong:
            raise InvalidFields(wrong)


def _breach(kind: inspect.Type, piece: msgspec.Raw) -> Reason:
    """Which rule of its type a value broke."""
    if isinstance(kind, inspect.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    try:
        value = msgspec.json.decode(piece)
    except _MALFORMED:
        value = None
    match kind:
        case inspect.IntType(ge=low, le=high):
            return Reason("between", low=low, high=high) if type(value) is int else Reason("type", expected="integer")
        case inspect.StrType(pattern=str()) if type(value) is str:
            return Reason("pattern")
        case inspect.StrType(min_length=low, max_length=high):
            return Reason("length", low=low, high=high) if type(value) is str else Reason("type", expected="string")
        case inspect.ListType(item_type=inspect.LiteralType(values=values)) if type(value) is list:
            return Reason("one_of", choices=tuple(map(str, values)))
        case inspect.ListType():
            return Reason("type", expected="array")
        case inspect.LiteralType(values=values):
            return Reason("one_of", choices=tuple(map(str, values)))
        case inspect.DateTimeType():
            return Reason("pattern")
        case inspect.BoolType():
            return Reason("type", expected="boolean")
        case _:
            return Reason("type", expected="object")


def _has_controls(value: Any) -> bool:
    # By hand and not by recursion: what was nested just not too deep to be decoded must not break here.
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                if _CONTROLS.search(text):
                    return True
            case dict() as items:
                waiting += [*items, *items.values()]
            case list() as items:
                waiting += items
    return False

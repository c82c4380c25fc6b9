"""Events as Hypothesis draws them: every field of every event in the catalogue, read off its own annotations."""

import types
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from mintage.domain.catalogue import EVENT_TYPES, TAGS, AnyEvent
from mintage.domain.decider import Event
from mintage.domain.recorded import Recorded

T = TypeVar("T")

INT64: Final = st.integers(-(2**63), 2**63 - 1)
_SCALARS: Final[dict[Any, st.SearchStrategy[Any]]] = {
    str: st.text(),
    int: INT64,
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: st.datetimes(timezones=st.just(UTC)),
    type(None): st.none(),
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that a field annotated with ``kind`` may have."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {Union, types.UnionType}:
        return st.one_of(*map(of, arguments))
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(of(arguments[0]), max_size=4).map(tuple)
    if origin is dict:
        return st.dictionaries(*map(of, arguments), max_size=4)
    raise TypeError(kind)


def struct(kind: type[T]) -> st.SearchStrategy[T]:
    """A struct with every field drawn, those with defaults included."""
    fields = msgspec.structs.fields(cast(Any, kind))
    return st.builds(kind, **{field.name: of(field.type) for field in fields})


EVENTS: Final[dict[type[Event], st.SearchStrategy[AnyEvent]]] = {
    kind: cast(st.SearchStrategy[AnyEvent], struct(kind)) for kind in EVENT_TYPES
}
events: Final[st.SearchStrategy[AnyEvent]] = st.one_of(*EVENTS.values())


@st.composite
def recorded(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Recorded:
    """An event in a place of the log where it could lie."""
    event = draw(events)
    return Recorded(
        position=draw(st.integers(1, 2**63 - 1)),
        stream=f"{TAGS[type(event)].partition('.')[0]}-{draw(st.uuids())}",
        version=draw(st.integers(1, 2**31 - 1)),
        at=draw(of(datetime)),
        actor=draw(st.text()),
        command_id=str(draw(st.uuids())),
        event=event,
    )

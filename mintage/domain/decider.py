"""The shape every aggregate takes: decide what happens, evolve the state by what happened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Generic, TypeVar

import msgspec


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something somebody wants; the domain may refuse it."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """Something that happened; stored for ever, so changed only by addition.

    ``PERSONAL`` names the fields to be sealed with the key of the person whose id is the event's ``user_id``.
    """

    PERSONAL: ClassVar[tuple[str, ...]] = ()


class Refusal(Exception):
    """The domain said no. Subclasses carry what the caller needs to recover, never codes or statuses."""


StateT = TypeVar("StateT")
CommandT = TypeVar("CommandT")
EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True, slots=True)
class Decider(Generic[StateT, CommandT, EventT]):
    """One aggregate: its streams are named ``<category>-<key>``.

    ``shape`` numbers the state's layout and the meaning of ``evolve``: a snapshot taken under another number
    is ignored. ``snapshot_every`` is how many events may lie behind the newest snapshot of a stream; None for
    aggregates whose streams stay short by nature.
    """

    category: str
    initial: StateT
    decide: Callable[[CommandT, StateT], tuple[EventT, ...]]
    evolve: Callable[[StateT, EventT], StateT]
    shape: int = 1
    snapshot_every: int | None = None

    def stream(self, key: str) -> str:
        return f"{self.category}-{key}"

    def fold(self, state: StateT, events: Iterable[EventT]) -> StateT:
        return reduce(self.evolve, events, state)

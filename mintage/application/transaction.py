"""One command's view of the log: it reads staged states, decides, and leaves nothing behind when refused.

A unit of work is a plain function of a ``Transaction``: no I/O, no clock, no randomness, so that the journal may
run it again from fresh states. What it needs and is not loaded yet makes it stop (``NotLoaded``) and start over.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from mintage.application.records import Receipt, Record
from mintage.domain.catalogue import numbered
from mintage.domain.decider import Command, Decider, Event
from mintage.domain.recorded import Recorded

StateT = TypeVar("StateT")
CommandT = TypeVar("CommandT", bound=Command)
EventT = TypeVar("EventT", bound=Event)
Outcome = TypeVar("Outcome")

ReceiptKey: TypeAlias = tuple[str, str, str]
"""User, path and Idempotency-Key."""


class NotLoaded(Exception):
    """The work needs what is not in memory; the journal loads it and runs the work again."""

    def __init__(
        self, *, stream: str | None = None, receipt: ReceiptKey | None = None, number: str | None = None
    ) -> None:
        super().__init__(stream or receipt or number)
        self.stream = stream
        self.receipt = receipt
        self.number = number


class Stage:
    """What the works of one batch have decided so far, on top of the states that are loaded."""

    def __init__(
        self, states: Mapping[str, tuple[int, Any]], numbers: Mapping[str, int], position: int, now: datetime
    ) -> None:
        self.states = states
        self.numbers: dict[str, int] = dict(numbers)
        self.receipts: dict[ReceiptKey, Receipt | None] = {}
        self.changed: dict[str, tuple[int, Any]] = {}
        self.entries: list[Recorded] = []
        self.records: list[Record] = []
        self.now = now
        self._position = position

    def adopt(self, transaction: "Transaction") -> None:
        """Make what a work decided the ground that later works of the batch stand on."""
        self.changed.update(transaction.changed)
        position = self._position
        for stream, version, event in transaction.events:
            position += 1
            self.entries.append(
                Recorded(position, stream, version, self.now, transaction.actor, transaction.command_id, event)
            )
            if (named := numbered(event)) is not None:
                self.numbers[named[0]] = named[1]
        self._position = position
        for record in transaction.records:
            self.records.append(record)
            if isinstance(record, Receipt):
                self.receipts[(record.user_id, record.path, record.key)] = record


class Transaction:
    """Handed to a unit of work: the states it may read, the commands it may give.

    ``now`` is the time of every event of the batch, ``command_id`` the id that all events of this work share.
    """

    __slots__ = ("_numbers", "_stage", "actor", "after", "changed", "command_id", "events", "now", "records")

    def __init__(self, stage: Stage, command_id: str, actor: str) -> None:
        self._stage = stage
        self._numbers: dict[str, int] = {}
        self.command_id = command_id
        self.actor = actor
        self.now = stage.now
        self.changed: dict[str, tuple[int, Any]] = {}
        self.events: list[tuple[str, int, Any]] = []
        self.records: list[Record] = []
        self.after: list[Callable[[], None]] = []

    def state(self, decider: Decider[StateT, Any, Any], key: str) -> StateT:
        """The aggregate as the commands before this one left it; its initial state if nothing happened to it."""
        return cast(StateT, self._versioned(decider.stream(key))[1])

    def execute(self, decider: Decider[StateT, CommandT, EventT], key: str, command: CommandT) -> StateT:
        """Give a command to an aggregate; returns the state it leads to or raises the aggregate's refusal."""
        stream = f"{decider.category}-{key}"
        version: int
        state: StateT
        version, state = self._versioned(stream)
        return self._decide(decider, stream, version, state, command)

    def begin(self, decider: Decider[StateT, CommandT, EventT], key: str, command: CommandT) -> StateT:
        """Give its first command to an aggregate whose id was made just now, so that there is nothing to load."""
        return self._decide(decider, decider.stream(key), 0, decider.initial, command)

    def number(self, kind: str) -> int:
        """The next integer id of its kind; used up only if the work is stored."""
        last = self._numbers.get(kind) or self._stage.numbers.get(kind)
        if last is None:
            raise NotLoaded(number=kind)
        self._numbers[kind] = last + 1
        return last + 1

    def receipt(self, key: ReceiptKey) -> Receipt | None:
        """The reply kept under an Idempotency-Key, by an earlier work of this very batch included."""
        try:
            return self._stage.receipts[key]
        except KeyError:
            raise NotLoaded(receipt=key) from None

    def record(self, record: Record) -> None:
        """Store something beside the log in the same database transaction."""
        self.records.append(record)

    def _versioned(self, stream: str) -> tuple[int, Any]:
        found = self.changed.get(stream) or self._stage.changed.get(stream) or self._stage.states.get(stream)
        if found is None:
            raise NotLoaded(stream=stream)
        return found

    def _decide(
        self,
        decider: Decider[StateT, CommandT, EventT],
        stream: str,
        version: int,
        state: StateT,
        command: CommandT,
    ) -> StateT:
        for event in decider.decide(command, state):
            version += 1
            state = decider.evolve(state, event)
            self.events.append((stream, version, event))
        self.changed[stream] = (version, state)
        return state


Work: TypeAlias = Callable[[Transaction], Outcome]


class Journal(Protocol):
    """The one way to change anything."""

    async def transact(self, work: Work[Outcome], *, actor: str) -> Outcome:
        """Run the work and store what it decided; the outcome comes back only when it is durable.

        Raises the work's own refusal (nothing is stored then), ``Unavailable`` if it was not tried in time, or
        ``OutcomeUnknown`` if the time ran out while the database was storing it.
        """
        ...


class Unavailable(Exception):
    """The command was not tried and left nothing behind; it may be given again after ``retry_after_s``."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(Exception):
    """Time ran out while the command was being stored; repeat it with the same Idempotency-Key to find out."""

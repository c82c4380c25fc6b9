"""Given what happened, when a command is given, then this happens: any decider, tested in its own words."""

from typing import Generic, TypeVar

import pytest

from mintage.domain.decider import Command, Decider, Event, Refusal

StateT = TypeVar("StateT")
CommandT = TypeVar("CommandT", bound=Command)
EventT = TypeVar("EventT", bound=Event)


class Then(Generic[StateT, CommandT, EventT]):
    """What a command came to. Every check returns it, so that checks can be chained."""

    def __init__(
        self,
        decider: Decider[StateT, CommandT, EventT],
        before: tuple[EventT, ...],
        events: tuple[EventT, ...],
        refusal: Refusal | None,
    ) -> None:
        self._decider = decider
        self._before = before
        self._events = events
        self._refusal = refusal

    def then(self, *expected: EventT) -> "Then[StateT, CommandT, EventT]":
        """Exactly these events, in this order."""
        assert self._refusal is None, f"refused: {self._refusal!r}"
        assert self._events == expected
        return self

    def then_nothing(self) -> "Then[StateT, CommandT, EventT]":
        """Accepted, and nothing had to happen: the command was a repetition."""
        return self.then()

    def then_refused(self, kind: type[Refusal], **carried: object) -> None:
        """Refused as exactly this, carrying at least this."""
        assert type(self._refusal) is kind, self._refusal or self._events
        assert {name: getattr(self._refusal, name) for name in carried} == carried
        assert str(self._refusal) or self._refusal.__doc__, "a refusal explains itself"

    def state(self) -> StateT:
        """The aggregate afterwards, folded from its very first event."""
        return self._decider.fold(self._decider.initial, (*self._before, *self._events))

    def when(self, command: CommandT) -> "Then[StateT, CommandT, EventT]":
        """Go on: what happened so far is the history of the next command."""
        assert self._refusal is None, f"refused: {self._refusal!r}"
        return Given(self._decider, *self._before, *self._events).when(command)


class Given(Generic[StateT, CommandT, EventT]):
    """A history of one aggregate."""

    def __init__(self, decider: Decider[StateT, CommandT, EventT], *history: EventT) -> None:
        self._decider = decider
        self._history = history

    def state(self) -> StateT:
        return self._decider.fold(self._decider.initial, self._history)

    def when(self, command: CommandT) -> Then[StateT, CommandT, EventT]:
        before = self.state()
        try:
            events = self._decider.decide(command, before)
        except Refusal as refusal:
            return Then(self._decider, self._history, (), refusal)
        assert before == self.state(), "deciding changed the state it was given"
        return Then(self._decider, self._history, events, None)

    def when_mistaken(self, command: CommandT) -> None:
        """A command that no caller may give: it fails loudly instead of being refused politely."""
        with pytest.raises(AssertionError):
            self._decider.decide(command, self.state())

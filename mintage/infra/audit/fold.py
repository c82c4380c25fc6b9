"""One stream, event by event: its hash chain, its versions, what it says it is, and whether each event follows."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec

from mintage.domain.catalogue import DECIDERS, TAGS
from mintage.domain.credits.account import evolve
from mintage.domain.credits.decider import CREDITS
from mintage.domain.credits.events import CreditsConsumed, CreditsGranted, HoldCaptured, SpendingReversed
from mintage.domain.credits.postings import Posting, posting_of
from mintage.domain.decider import Decider
from mintage.domain.recorded import Recorded
from mintage.infra.audit.accounts import Debits, followed, overdue
from mintage.infra.audit.claims import CLAIMING
from mintage.infra.audit.findings import Broken
from mintage.infra.audit.rules import require_lawful
from mintage.infra.chain import GENESIS, event_hash
from mintage.infra.codec import UPCASTERS, unpack

COLUMNS: Final = "notification_id, originator_id, originator_version, topic, state, hash, command_id::text"
Row: TypeAlias = tuple[int, str, int, str, bytes, bytes, str | None]
"""An event as ``COLUMNS`` selects it, in binary."""
_SHARED: Final = CLAIMING | {SpendingReversed}
"""What its own stream alone cannot judge."""
Report: TypeAlias = Callable[[str, int, str], None]


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """What the database keeps of a stream's state at a version, to load it faster."""

    version: int
    shape: int
    state: bytes


NO_SNAPSHOT: Final = Snapshot(-1, 0, b"")


class Fold:
    """A stream up to the ``version`` taken last, and its ``state`` then, as long as it is ``sound``.

    What follows an event that breaks a rule is not judged any more: all of it would be noise. Hashes and versions are.
    An account's ``postings`` are those of all sound events since somebody emptied the list, some of them in one.
    """

    def __init__(self, stream: str, report: Report, snapshot: Snapshot = NO_SNAPSHOT) -> None:
        self.stream = stream
        self.version = 0
        self.sound = True
        self.postings: list[Posting] = []
        self._report = report
        self._hash = GENESIS
        self._command_id = ""
        # Of most accounts nothing ever expires.
        self._has_dates = False
        self._looked_at: datetime | None = None
        category = stream.partition("-")[0]
        self.is_account = category == CREDITS.category
        self._decider: Decider[Any, Any, Any] | None = DECIDERS.get(category)
        self.state: Any = self._decider.initial if self._decider else None
        # One of another shape is used by nobody.
        is_used = self._decider is not None and self._decider.shape == snapshot.shape
        self.snapshot = snapshot if is_used else NO_SNAPSHOT
        self.snapshot_is_of_the_log = not is_used

    def take(self, rows: Iterable[Row]) -> list[tuple[Recorded, Any]]:
        """Check the next events and fold them; returns those that its own stream alone cannot judge, with its state."""
        shared: list[tuple[Recorded, Any]] = []
        debits: Debits | None = None
        for position, stream, version, topic, state, stored, command_id in rows:
            if event_hash(self._hash, position, version, stream, topic, state) != stored:
                self._report(stream, version, "its hash is not that of what is stored, or of what is before it")
            # That of the next one is to follow from what is stored: so each change is found where it was made.
            self._hash = stored
            if version != self.version + 1:
                self._break(version, f"version {version} follows {self.version}")
            self.version = version
            try:
                envelope = unpack(topic, state)
            except ValueError as error:
                self._break(version, f"cannot be read: {error}")
                continue
            event, command = envelope.data, envelope.command
            is_labelled = TAGS[type(event)] == topic and command_id == command and envelope.at.tzinfo is not None
            is_plain = is_labelled and self.sound and version != self.snapshot.version
            if is_plain and type(event) is CreditsConsumed:
                debits = debits or self._debits()
                if debits is not None and debits.take(event):
                    self._command_id = command
                    continue
            entry = envelope.recorded(position, stream, version)
            if not is_labelled:
                self._look_at_label(entry, topic, command_id)
            if self.sound:
                if debits is not None:
                    self._settle(debits)
                    debits = None
                self._follow(entry)
            if type(event) in _SHARED:
                shared.append((entry, self.state))
        if debits is not None:
            self._settle(debits)
        return shared

    def finish(self) -> None:
        """Check what only the end of a command shows.

        Nobody owes credits while some are there, and whatever looks at dates leaves nothing there that is past its own.
        """
        if self.sound and self.is_account:
            self._end_command(self.version)

    def _look_at_label(self, entry: Recorded, topic: str, command_id: str | None) -> None:
        """What is stored beside an event is to be what the event says itself."""
        if entry.at.tzinfo is None:
            self._break(entry.version, f"recorded at {entry.at} of no time zone")
        if TAGS[type(entry.event)] != topic and topic not in UPCASTERS:
            self._break(entry.version, f"lies under {topic} and is a {type(entry.event).__name__}")
        # Only the first of a command has its id beside it.
        if command_id is not None and command_id != entry.command_id:
            self._report(entry.stream, entry.version, "lies under another command's id")

    def _debits(self) -> Debits | None:
        return Debits.on(self.state) if self.is_account and not self._has_dates else None

    def _settle(self, debits: Debits) -> None:
        if debits.amount:
            debit = debits.whole()
            self.state = evolve(self.state, debit)
            self.postings.append(posting_of(debit))

    def _follow(self, entry: Recorded) -> None:
        try:
            if self.is_account:
                self._follow_account(entry)
            elif self._decider is None:
                raise Broken("in a stream of no known kind")
            else:
                require_lawful(self.state, entry)
                self.state = self._decider.evolve(self.state, entry.event)
        except Broken as broken:
            self._break(entry.version, str(broken))
        except (LookupError, ArithmeticError, AssertionError, AttributeError, TypeError) as error:
            # An event of another aggregate, or of what is not there.
            what = f"{type(entry.event).__name__} does not follow from what was before ({type(error).__name__})"
            self._break(entry.version, what)
        if entry.version == self.snapshot.version and self.sound:
            self._compare()

    def _follow_account(self, entry: Recorded) -> None:
        event: Any = entry.event
        if isinstance(event, SpendingReversed) and entry.actor == entry.key:
            raise Broken("given back by the very person it is given to")
        if entry.command_id != self._command_id:
            if self.state.owed or self._looked_at is not None:
                self._end_command(entry.version - 1)
            self._command_id = entry.command_id
            self._looked_at = None
        self.state = followed(self.state, event, entry.at)
        if self.sound:
            self.postings.append(posting_of(event))
        if isinstance(event, CreditsGranted) and event.expires_at is not None:
            self._has_dates = True
        # Who captures a whole hold brings nothing in or back, and does not look.
        if self._has_dates and not (isinstance(event, HoldCaptured) and not event.returned):
            self._looked_at = entry.at

    def _end_command(self, version: int) -> None:
        if self.state.owed and self.state.available:
            self._break(version, f"{self.state.owed} owed with {self.state.available} there")
        elif self._looked_at is not None and (lot := overdue(self.state, self._looked_at)) is not None:
            self._break(version, f"lot {lot} is past its date, and was left there")

    def _compare(self) -> None:
        """The state beside the snapshot of this very version."""
        self.snapshot_is_of_the_log = True
        try:
            is_equal = msgspec.json.decode(self.snapshot.state, type=type(self.state)) == self.state
        except ValueError:
            is_equal = False
        if not is_equal:
            self._report(self.stream, self.version, "its snapshot is not what the events up to it come to")

    def _break(self, version: int, what: str) -> None:
        self.sound = False
        self._report(self.stream, version, what)

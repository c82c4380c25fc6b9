"""Replays the whole log and proves what the database serves: every rule held at every event, every balance agrees."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import psycopg
from msgspec.structs import astuple

from mintage.domain.catalogue import decider_of
from mintage.domain.credits.decider import CREDITS, CreditAccount, evolve
from mintage.domain.credits.events import CreditEvent, HoldCaptured, HoldReleased
from mintage.domain.credits.postings import Posting, posting_of
from mintage.domain.generation.events import GenerationCancelled, GenerationCompleted, GenerationFailed
from mintage.domain.recorded import Recorded
from mintage.infra.database import connect_sync
from mintage.infra.log_reader import Damaged, head, portions
from mintage.infra.rebuild import DifferentRow, rebuild
from mintage.infra.store import BEGINNING
from mintage.infra.vault import SealBroken, Vault
from mintage.projections import INLINE
from mintage.projections.ledger import CREDIT_EVENTS
from mintage.projections.sql import ReadModel

EMPTY: Final = CREDITS.initial
_ORIGINS: Final = {
    "credit_accounts": ("credits", "user_id"),
    "transactions": ("credits", "user_id"),
    "people": ("registration", "user_id"),
    "tasks": ("generation", "task_id"),
    "queue": ("generation", "task_id"),
    "works": ("work", "work_id"),
    "recharges": ("recharge", "recharge_id"),
    "characters": ("character", "character_id"),
}
"""The aggregate whose events make the rows of a table, and the column with its id."""
DIFFERENCES_MAX: Final = 100
"""So many are named; the rest are counted."""


class Difference(msgspec.Struct, frozen=True):
    """Where the log breaks a rule or the database disagrees: the stream, the event's version, and what is wrong."""

    stream: str
    version: int
    what: str

    def __str__(self) -> str:
        return f"{self.stream} event {self.version}: {self.what}"


class Findings(msgspec.Struct):
    """What a replay came to; ``totals`` are all postings added up, which must come to zero."""

    events: int = 0
    accounts: int = 0
    totals: Posting = Posting()
    found: int = 0
    differences: list[Difference] = []

    def report(self, difference: Difference) -> None:
        self.found += 1
        if self.found <= DIFFERENCES_MAX:
            self.differences.append(difference)


class Replay:
    """Folds the log, event by event, into accounts and postings, and checks each rule as it goes."""

    def __init__(self) -> None:
        self.findings = Findings()
        self.accounts: dict[str, CreditAccount] = {}
        self.versions: dict[str, int] = {}
        self._totals = Posting()
        self._settled: dict[str, tuple[str, int]] = {}
        self._position = 0
        self._at = BEGINNING

    def feed(self, entries: Sequence[Recorded]) -> None:
        versions, position, at = self.versions, self._position, self._at
        for entry in entries:
            stream, version, event = entry.stream, entry.version, entry.event
            if entry.position != position + 1:
                self._report(entry, f"position {entry.position} follows {position}")
            if version != versions.get(stream, 0) + 1:
                self._report(entry, f"version {version} follows {versions.get(stream, 0)}")
            if entry.at < at:
                self._report(entry, "recorded before the event before it")
            position, at, versions[stream] = entry.position, entry.at, version
            if isinstance(event, CREDIT_EVENTS):
                self._post(entry, event)
            elif isinstance(event, GenerationCompleted | GenerationFailed | GenerationCancelled):
                self._end(entry, event)
        self._position, self._at = position, at
        self.findings.events += len(entries)

    def finish(self) -> Findings:
        """Check what only the end of the log shows."""
        for stream, account in self.accounts.items():
            held = sum(lot.amount for lots in account.holds.values() for lot in lots)
            if account.available != sum(lot.amount for lot in account.lots) or account.held != held:
                version = self.versions[stream]
                self.findings.report(Difference(stream, version, "lots and holds do not add up to the balance"))
        for task_id, (ending, _) in self._settled.items():
            self.findings.report(Difference(f"generation-{task_id}", 0, f"{ending} without the other half"))
        self.findings.accounts = len(self.accounts)
        self.findings.totals = self._totals
        if balance := sum(astuple(self._totals)):
            self.findings.report(Difference("credits", 0, f"all postings sum to {balance}"))
        return self.findings

    def _post(self, entry: Recorded, event: CreditEvent) -> None:
        stream = entry.stream
        before = self.accounts.get(stream, EMPTY)
        try:
            account = evolve(before, event)
        except (KeyError, IndexError):
            self._report(entry, f"{type(event).__name__} of a lot or hold that is not there")
            return
        self.accounts[stream] = account
        if event.amount <= 0:
            self._report(entry, f"an amount of {event.amount}")
        if account.available < 0 or account.held < 0:
            self._report(entry, f"available {account.available}, held {account.held}")
        totals, posting = self._totals, posting_of(event)
        self._totals = Posting(
            totals.available + posting.available,
            totals.held + posting.held,
            totals.issued + posting.issued,
            totals.spent + posting.spent,
            totals.expired + posting.expired,
        )
        if isinstance(event, HoldCaptured):
            taken, back = (sum(part.amount for part in parts) for parts in (event.taken, event.returned))
            if taken != event.amount or taken + back != sum(lot.amount for lot in before.holds[event.hold_id]):
                self._report(entry, "what was captured and what was returned do not make up the hold")
            self._match(event.hold_id, "captured", event.amount)
        elif isinstance(event, HoldReleased):
            self._match(event.hold_id, "released", 0)

    def _end(self, entry: Recorded, event: GenerationCompleted | GenerationFailed | GenerationCancelled) -> None:
        charged = event.charged if isinstance(event, GenerationCompleted) else 0
        self._match(entry.key, "captured" if charged else "released", charged)

    def _match(self, task_id: str, ending: str, amount: int) -> None:
        """A task's end and its hold's end come in one transaction and say the same."""
        other = self._settled.pop(task_id, None)
        if other is None:
            self._settled[task_id] = (ending, amount)
        elif other != (ending, amount):
            what = f"its hold was {other[0]} for {other[1]}, its end says {ending} for {amount}"
            self.findings.report(
                Difference(f"generation-{task_id}", self.versions.get(f"generation-{task_id}", 0), what)
            )

    def _report(self, entry: Recorded, what: str) -> None:
        self.findings.report(Difference(entry.stream, entry.version, what))


def verify(conninfo: str, vault: Vault, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Findings:
    """Replay the log from event 1 and compare every account and every inline read model with it, under traffic."""
    replay = Replay()
    with connect_sync(conninfo) as connection:
        connection.execute("set statement_timeout = 0")
        connection.execute("set idle_in_transaction_session_timeout = 0")
        connection.execute("begin isolation level repeatable read read only")
        end = head(connection)
        try:
            for entries in portions(connection, after=0, upto=end):
                replay.feed(entries)
                progress(entries[-1].position, end)
        except Damaged as damaged:
            # Whatever follows from the rest of the log would be noise.
            replay.findings.report(Difference(damaged.stream, damaged.version, f"cannot be read: {damaged}"))
            return replay.findings
        findings = replay.finish()
        _compare_accounts(connection, replay, findings)
        connection.execute("commit")
    for model in INLINE:
        _compare_rows(conninfo, vault, model, findings)
    return findings


def _compare_rows(conninfo: str, vault: Vault, model: ReadModel, findings: Findings) -> None:
    try:
        compared = rebuild(conninfo, vault, model, swap=False)
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        # The detail would show the row, whosever it is.
        what = f"cannot be made from the log: {error.diag.message_primary}"
        findings.report(Difference(f"read model {model.name}", 0, what))
        return
    except SealBroken as error:
        findings.report(Difference(f"read model {model.name}", 0, f"cannot be made from the log: seal broken: {error}"))
        return
    with connect_sync(conninfo) as connection:
        for different in compared.rows:
            stream, version = _origin(connection, different)
            whose = "the database serves" if different.stored else "the log comes to"
            # Only money is shown: the rows of the other tables say who somebody is and what they asked for.
            shown = different.row if stream.startswith("credits-") else {}
            row = "".join(f", {name} {value}" for name, value in shown.items())
            what = f"{whose} a row of table {different.table} that the other has not{row}"
            findings.report(Difference(stream, version, what))
    named = Counter(different.table for different in compared.rows)
    for table, rows in compared.differences.items():
        if rows > named[table]:
            findings.report(Difference(f"read model {model.name}", 0, f"{rows} rows of table {table} differ in all"))


def _origin(connection: psycopg.Connection[Any], different: DifferentRow) -> tuple[str, int]:
    """The stream whose events make a row, and the event itself if the row names its position."""
    category, key = _ORIGINS.get(different.table, ("table", ""))
    stream = f"{category}-{different.row[key]}" if key else f"table {different.table}"
    found = connection.execute(
        "select originator_version from stored_events where originator_id = %s and notification_id = %s",
        (stream, different.row.get("position", 0)),
    ).fetchone()
    return stream, int(found[0]) if found else 0


def _compare_accounts(connection: psycopg.Connection[Any], replay: Replay, findings: Findings) -> None:
    served: dict[str, tuple[int, int, int]] = {}
    rows = connection.execute("select user_id::text, available, held, version from credit_accounts").fetchall()
    for user_id, available, held, version in rows:
        served[CREDITS.stream(user_id)] = (available, held, version)
    for stream in sorted(served.keys() | replay.accounts.keys()):
        account = replay.accounts.get(stream) or decider_of(stream).initial
        replayed = (account.available, account.held, replay.versions.get(stream, 0))
        if served.get(stream, (0, 0, 0)) != replayed:
            available, held, version = served.get(stream, (0, 0, 0))
            what = (
                f"the log comes to {replayed[0]} available and {replayed[1]} held, "
                f"the database serves {available} and {held} as of event {version}"
            )
            findings.report(Difference(stream, replayed[2], what))

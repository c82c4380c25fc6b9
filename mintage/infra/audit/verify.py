"""Proves what a database serves from its log alone, without a write to it, however long the log is."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from mintage.domain.credits.postings import Posting
from mintage.infra.audit import order, tables
from mintage.infra.audit.claims import unequal
from mintage.infra.audit.findings import Differences, Findings, total
from mintage.infra.audit.halves import TABLE, Claims, report_lonely
from mintage.infra.audit.models import compare_models
from mintage.infra.audit.order import Ordered, Span
from mintage.infra.audit.plan import Kept, reading
from mintage.infra.audit.replay import Replayed, Streams, replay
from mintage.infra.audit.workers import Progress, Told, Workers, counting
from mintage.infra.database import connect_sync
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.log_reader import head
from mintage.infra.seal.merkle import Accumulator
from mintage.infra.seal.notes import Checkpoint
from mintage.infra.vault import Vault

_CARELESS: Final = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_wal_size = '4GB'")
"""What is made is looked at once, and made again if the machine goes down."""


def verify(
    conninfo: str,
    vault: Vault,
    progress: Progress = lambda _phase, _done, _all: None,
    *,
    jobs: int = 1,
    state: Path | None = None,
    scratch: Path | None = None,
    checkpoints: Sequence[Checkpoint] = (),
) -> Findings:
    """Audit a database with a server of our own beside it, in ``scratch`` or a directory that does not stay.

    ``state`` keeps what is done, and with the same ``state`` a killed audit goes on; ``checkpoints`` are of this log.
    Raises ``StateOfAnother``, ``PostgresUnavailable``.
    """
    with tempfile.TemporaryDirectory(prefix="mintage-audit-") as temporary:
        folder = state or Path(temporary)
        # Always a directory of our own: what is in there is thrown away.
        ours = (scratch or folder) / "mintage-scratch"
        with scratch_server(ours) as server:
            findings = audit(conninfo, vault, server, folder, progress, jobs=jobs, checkpoints=checkpoints)
        shutil.rmtree(ours)
        return findings


@contextmanager
def scratch_server(folder: Path) -> Iterator[str]:
    """A PostgreSQL that need not survive a power cut; yields where."""
    with EmbeddedPostgres(folder) as server:
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            for setting in _CARELESS:
                connection.execute(f"alter system set {setting}".encode())
            connection.execute("select pg_reload_conf()")
        yield server.conninfo


def audit(
    conninfo: str,
    vault: Vault,
    scratch: str,
    folder: Path,
    progress: Progress = lambda _phase, _done, _all: None,
    *,
    jobs: int = 1,
    checkpoints: Sequence[Checkpoint] = (),
) -> Findings:
    """The same with ``scratch``, a database of our own that is empty or of the audit that ``folder`` keeps."""
    with reading(conninfo) as connection:
        kept = Kept(folder, connection)
    if kept.is_new:
        tables.clear(scratch)
    with Workers(jobs) as workers:
        auditing = _Audit(conninfo, scratch, kept, progress, workers)
        auditing.replay()
        auditing.order(checkpoints)
    sections = [*auditing.sections, *compare_models(conninfo, scratch, vault, progress)]
    kept.forget()
    findings = auditing.findings
    with reading(conninfo) as connection:
        newest = head(connection)
    findings.since = max(newest - kept.plan.end, 0)
    findings.found = sum(section.found for section in sections)
    findings.differences = [difference for section in sections for difference in section.kept]
    return findings


class _Audit:
    def __init__(self, conninfo: str, scratch: str, kept: Kept, progress: Progress, workers: Workers) -> None:
        self._conninfo = conninfo
        self._scratch = scratch
        self._kept = kept
        self._plan = kept.plan
        self._progress = progress
        self._workers = workers
        self.findings = Findings()
        self.sections: list[Differences] = []

    # -- the streams

    def replay(self) -> None:
        """Every stream, and what only all of them together show."""
        end, pieces = self._plan.end, self._plan.pieces
        all_replayed: list[Replayed] = self._done(
            "replay", replay_piece, [(self._conninfo, streams, end, self._plan.salt) for streams in pieces], Replayed
        )
        alone, together = self._section(), self._section()
        for replayed in all_replayed:
            alone.add(replayed.differences)
        self.findings.events = sum(replayed.events for replayed in all_replayed)
        self.findings.accounts = sum(replayed.accounts for replayed in all_replayed)
        self.findings.replay_s = sum(replayed.seconds for replayed in all_replayed)
        self.findings.totals = totals = total(replayed.totals for replayed in all_replayed)
        if unequal(replayed.tally for replayed in all_replayed):
            self._find_halves(together)
        if not any(replayed.unsound for replayed in all_replayed):
            left = [sum(parts) for parts in zip(*(replayed.left for replayed in all_replayed), strict=True)]
            _check_totals(totals, left or [0, 0, 0, 0], together)
        if self.findings.events != end and not alone.found:
            together.report("log", 0, f"{self.findings.events} events at {end} positions")

    def _find_halves(self, differences: Differences) -> None:
        with connect_sync(self._scratch) as scratch:
            scratch.execute(TABLE)
            plan = self._plan
            pieces = [(self._conninfo, streams, plan.end, plan.salt, self._scratch) for streams in plan.pieces]
            for _ in self._workers.done(claim_piece, pieces, self._told("halves", self._plan.end)):
                pass
            report_lonely(scratch, differences)

    # -- the order

    def order(self, checkpoints: Sequence[Checkpoint]) -> None:
        """The positions from the first to the last, and the roots that were signed."""
        pieces = [(self._conninfo, span, bool(checkpoints)) for span in self._plan.spans]
        # A run without checkpoints makes no trees that one with them could go on with.
        name = "trees" if checkpoints else "order"
        all_ordered: list[Ordered] = self._done(name, order_span, pieces, Ordered)
        differences = self._section()
        for ordered in all_ordered:
            differences.add(ordered.differences)
        if checkpoints:
            self._check_roots(checkpoints, [ordered.tree for ordered in all_ordered], self._section())

    def _check_roots(
        self, checkpoints: Sequence[Checkpoint], trees: Sequence[Accumulator], differences: Differences
    ) -> None:
        end = self._plan.end
        sealed: dict[int, bytes] = {}
        for one in sorted(checkpoints, key=lambda one: one.size):
            if sealed.setdefault(one.size, one.root) != one.root:
                differences.report("checkpoints", 0, f"two roots were signed for {one.size} events")
        longest = max(sealed)
        with reading(self._conninfo) as connection:
            newest = head(connection)
        if longest > newest:
            differences.report("log", 0, f"ends at position {newest}; a log of {longest} events was signed")
        spans = self._plan.spans
        if end < longest <= newest:
            # Signed since this audit began.
            spans = [*spans, Span(end, longest)]
        before, pieces = Accumulator(), []
        for span, tree in zip_longest(spans, trees):
            inside = {size: root for size, root in sealed.items() if span.after < size <= span.upto}
            if inside:
                start = Accumulator(before.size, list(before.peaks))
                pieces.append((self._conninfo, msgspec.structs.replace(span, sealed=inside), start))
            # After a gap nothing fits any more, and every later root is wrong.
            if tree is not None and before.size == span.after:
                before.merge(tree)
        wrong: list[int] = []
        for _, sizes in self._workers.done(wrong_roots_of, pieces, self._told("checkpoints", end)):
            wrong += sizes
        if wrong:
            first = min(wrong)
            good = max((size for size in sealed if size < first), default=0)
            before = Accumulator()
            for span, tree in zip(self._plan.spans, trees, strict=True):
                if span.upto <= good:
                    before.merge(tree)
            self._locate(good, before, first, sealed[first], differences)

    def _locate(self, good: int, before: Accumulator, bad: int, root: bytes, differences: Differences) -> None:
        """What was changed between two checkpoints: the very event, if the database still has the sealed hashes.

        ``before`` is a tree of at most the good one's size.
        """
        with reading(self._conninfo) as connection:
            found = order.unlike_tiles(connection, order.tree_at(connection, good, before), bad, root)
        where = f"between positions {good + 1} and {bad}"
        signed = f"the log is not what was signed at {bad} events; it was changed {where}"
        if found is None:
            differences.report("log", 0, signed)
        else:
            position, stream, version = found
            differences.report(stream, version, f"not what was sealed at position {position}: {signed}")

    # -- pieces

    def _done(self, phase: str, function: Callable[..., Any], pieces: Sequence[Any], kind: type[Any]) -> list[Any]:
        """Every piece's result, those kept of a run before included."""
        results = [self._kept.result(f"{phase}-{place:05}.json", kind) for place in range(len(pieces))]
        left = [place for place, result in enumerate(results) if result is None]
        told = self._told(phase, self._plan.end)
        told(sum(result.events for result in results if result is not None))
        for place, result in self._workers.done(function, [pieces[place] for place in left], told):
            self._kept.keep(f"{phase}-{left[place]:05}.json", result)
            results[left[place]] = result
        return results

    def _section(self) -> Differences:
        """What one part of the audit finds, so that no part's differences crowd out those of another."""
        self.sections.append(Differences())
        return self.sections[-1]

    def _told(self, phase: str, whole: int) -> Told:
        return counting(self._progress, phase, whole)


def _check_totals(totals: Posting, left: Sequence[int], differences: Differences) -> None:
    """The postings and the accounts are two ways to the same sums."""
    if totals.credits or totals.fen:
        differences.report("log", 0, f"all postings sum to {totals.credits} credits and {totals.fen} fen")
    posted = (totals.available, totals.held, -totals.owed, -totals.paid_fen)
    if posted != tuple(left):
        differences.report("log", 0, f"the postings come to {posted}, the accounts to {tuple(left)}")


def replay_piece(conninfo: str, streams: Streams, end: int, salt: str, told: Told) -> Replayed:
    with reading(conninfo) as connection:
        return replay(connection, streams, end, told, salt)


def claim_piece(conninfo: str, streams: Streams, end: int, salt: str, scratch: str, told: Told) -> None:
    with reading(conninfo) as connection, connect_sync(scratch) as ours:
        claims = Claims(ours, salt)
        replay(connection, streams, end, told, salt, claims.take)
        claims.flush()


def order_span(conninfo: str, span: Span, tree: bool, told: Told) -> Ordered:
    with reading(conninfo) as connection:
        return order.in_order(connection, span, told, tree=tree)


def wrong_roots_of(conninfo: str, span: Span, before: Accumulator, _: Told) -> list[int]:
    with reading(conninfo) as connection:
        return order.wrong_roots(connection, span, before)

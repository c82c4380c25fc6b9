"""What the database serves about an account beside what its events come to, at the very version that is served."""

import re
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from mintage.domain.credits.account import CreditAccount, sum_of
from mintage.domain.credits.events import CreditsConsumed, CreditsGranted, HoldCaptured, Slice, SpendingReversed, Terms
from mintage.domain.recorded import Recorded
from mintage.infra.audit.findings import Broken
from mintage.infra.audit.fold import COLUMNS, Fold, Report
from mintage.infra.codec import decode

AT_ONCE: Final = 2_000
_ACCOUNT: Final = re.compile(r"credits-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")

# One statement, so that balance and holds are of one moment.
_SERVED: Final = """
select a.user_id::text, a.version, a.available, a.held, a.owed,
    (select jsonb_object_agg(hold_id, amount) from holds h where h.user_id = a.user_id and ended_at is null),
    (select array_agg(lot) from lots l where l.user_id = a.user_id and settled)
from credit_accounts a where a.user_id = any(string_to_array(%s, ',')::uuid[])"""
_BEYOND: Final = f"""
select {COLUMNS} from stored_events
where originator_id = %s and originator_version > %s::bigint and originator_version <= %s::bigint
order by originator_version limit {AT_ONCE}"""
_EVENT: Final = "select notification_id, originator_id, originator_version, topic, state from stored_events e"
_SPENDING: Final = f"{_EVENT} join transactions t on t.position = e.notification_id where t.id = %s::uuid"
_GRANTS: Final = f"""
{_EVENT} join lots l on l.position = e.notification_id where l.user_id = %s::uuid and l.lot = any(%s::integer[])"""


def require_served(connection: psycopg.Connection[Any], folds: Sequence[Fold], report: Report) -> None:
    """Report every sound account that is not served as its events have it.

    The rows are read after the events, so that they can only be ahead; the events up to there are read then.
    """
    user_ids = [_user_of(fold) for fold in folds]
    # As one text: with a list of them psycopg needs four times the processor for the whole question (measured).
    known = ",".join([user_id for user_id in user_ids if user_id])
    rows = connection.cursor(binary=True).execute(_SERVED, (known,)).fetchall()
    served = {user_id: row for user_id, *row in rows}
    for fold, user_id in zip(folds, user_ids, strict=True):
        row = served.get(user_id)
        if row is None:
            report(fold.stream, fold.version, "the log has this account, the database serves none")
            continue
        version, available, held, owed, holds, settled = row
        _fold_on(connection, fold, version)
        require_snapshot(connection, fold, report)
        if not fold.sound:
            continue
        account: CreditAccount = fold.state
        ours = account.available, account.held, account.owed, fold.version
        theirs = available, held, owed, version
        if ours != theirs:
            differing = f"the log comes to {_said(*ours)}; the database serves {_said(*theirs)}"
            report(fold.stream, fold.version, differing)
        elif (holds or {}) != {hold_id: sum_of(hold.lots) for hold_id, hold in account.holds.items()}:
            report(fold.stream, fold.version, "the open holds that the database serves are not those of the log")
        elif settled and (left := [lot.number for lot in account.lots if lot.number in settled]):
            report(fold.stream, fold.version, f"lots {left} are there and marked as settled: they would never expire")


def require_snapshot(connection: psycopg.Connection[Any], fold: Fold, report: Report) -> None:
    """Report a snapshot that running systems would go on from and that is of no event of a sound stream.

    It may be of an event that was appended since: those were stored together.
    """
    if fold.snapshot_is_of_the_log or not fold.sound:
        return
    _fold_on(connection, fold, fold.snapshot.version)
    if not fold.snapshot_is_of_the_log and fold.sound:
        report(fold.stream, fold.version, f"has a snapshot of event {fold.snapshot.version}, which is not there")


def require_original(connection: psycopg.Connection[Any], entry: Recorded, event: SpendingReversed) -> None:
    """Raise ``Broken`` unless what came back is what that very transaction of the account had spent.

    Found through what the database serves, so that no account's whole past has to be kept in memory.
    """
    before = _events(connection, _SPENDING, (event.reverses,))
    spending = before[0].event if before else None
    if (
        not isinstance(spending, CreditsConsumed | HoldCaptured)
        or (spending.transaction_id, before[0].stream) != (event.reverses, entry.stream)
        or before[0].version >= entry.version
    ):
        raise Broken(f"reverses {event.reverses}, which spent nothing of this account before")
    if event.product != (spending.product if isinstance(spending, HoldCaptured) else None):
        raise Broken(f"reverses what was not spent on {event.product}")
    if tuple(Slice(lot.number, lot.amount, lot.fen) for lot in event.returned) != spending.taken:
        raise Broken(f"what came back is not what {event.reverses} had spent")
    numbers = [lot.number for lot in event.returned]
    terms = {
        grant.lot: Terms(grant.amount, grant.paid_fen, grant.expires_at, grant.priority, grant.reference)
        for granted in _events(connection, _GRANTS, (entry.key, numbers))
        if isinstance(grant := granted.event, CreditsGranted)
    }
    if any(terms.get(lot.number) != lot.terms for lot in event.returned):
        raise Broken("what came back has other terms than it was granted with")


def _events(connection: psycopg.Connection[Any], sql: str, params: tuple[Any, ...]) -> list[Recorded]:
    try:
        return [decode(*row) for row in connection.cursor(binary=True).execute(sql, params).fetchall()]
    except (ValueError, psycopg.DataError) as error:
        raise Broken("reverses what cannot be read") from error


def _fold_on(connection: psycopg.Connection[Any], fold: Fold, version: int) -> None:
    """Take what was appended since, up to a version."""
    while fold.version < version:
        rows = connection.cursor(binary=True).execute(_BEYOND, (fold.stream, fold.version, version)).fetchall()
        if not rows:
            return
        fold.take(rows)
    fold.finish()


def _said(available: int, held: int, owed: int, version: int) -> str:
    return f"{available} available, {held} held, {owed} owed as of event {version}"


def _user_of(fold: Fold) -> str:
    """The account's user; empty of a stream whose name is no id's, written as ids are."""
    named = _ACCOUNT.fullmatch(fold.stream)
    return "" if named is None else named[1]

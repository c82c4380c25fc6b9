"""What every person has and how it came: balances, transactions, lots and holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias, get_args
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec.structs import astuple

from mintage.domain.credits.decider import AlreadyReversed, HoldExists
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsRemoved,
    HoldCaptured,
    SpendingReversed,
)
from mintage.domain.credits.postings import posting_of
from mintage.domain.recorded import Recorded
from mintage.projections import lots
from mintage.projections.sql import Database, ReadModel, Statement, Value, exactly

SCHEMA: Final = """
create table credit_accounts (
    user_id uuid primary key,
    available bigint not null constraint credit_accounts_available check (available >= 0),
    held bigint not null constraint credit_accounts_held check (held >= 0),
    owed bigint not null constraint credit_accounts_owed check (owed >= 0),
    version bigint not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint credit_accounts_debts_first check (owed = 0 or available = 0)
) with (fillfactor = 50);
create table transactions (
    id uuid primary key,
    user_id uuid not null,
    type text not null constraint transactions_type check (type in ('recharge', 'consume')),
    kind text not null,
    amount bigint not null constraint transactions_amount check (amount > 0),
    description text not null,
    payment_method text,
    balance_after bigint not null,
    reverses uuid constraint transactions_reverses unique,
    position bigint not null,
    created_at timestamptz not null
);
create index transactions_newest on transactions (user_id, position desc);
"""

_OPEN: Final = """
insert into credit_accounts (user_id, available, held, owed, version, created_at, updated_at)
select user_id, 0, 0, 0, 0, at, at from unnest(%s::uuid[], %s::timestamptz[]) as opened (user_id, at)"""

# The balance after each line is what the account had before the batch plus what the batch did up to the line. What is
# held is in it, as nothing was spent of it yet, and what is owed is taken off: so each line differs from the one before
# by its own amount.
_ENTER: Final = """
insert into transactions
    (id, user_id, type, kind, amount, description, payment_method, reverses, balance_after, position, created_at)
select line.id, line.user_id, line.type, line.kind, line.amount, line.description, line.payment_method, line.reverses,
    a.available + a.held - a.owed + line.change, line.position, line.at
from unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::uuid[], %s::uuid[],
    %s::bigint[], %s::bigint[], %s::timestamptz[])
    as line (id, type, kind, amount, description, payment_method, reverses, user_id, change, position, at)
join credit_accounts a on a.user_id = line.user_id"""

# An account that is not exactly where the events left off would become null, which the table refuses.
_POST: Final = """
update credit_accounts a set
    available = case a.version when new.before then a.available + new.available end,
    held = a.held + new.held, owed = a.owed + new.owed, version = new.version, updated_at = new.at
from unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[])
    as new (user_id, before, available, held, owed, version, at)
where a.user_id = new.user_id"""


class Balance(msgspec.Struct, frozen=True):
    available: int = 0
    held: int = 0


class TransactionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a statement: ``amount`` is positive, ``type`` gives the direction, ``kind`` the exact cause.

    ``balance_after`` is what was not spent then, held or not, less what was owed. ``reverses`` is the transaction that
    this one gave back.
    """

    id: str
    type: str
    kind: str
    amount: int
    description: str
    payment_method: str | None
    balance_after: int
    created_at: datetime
    reverses: str | None = None


_Line: TypeAlias = tuple[str, str, str, int, str, str | None, str | None]


def line_of(entry: Recorded) -> _Line | None:
    """Id, type, kind, amount, description, payment method and what is reversed: the line an event makes, if any."""
    event = entry.event
    match event:
        case CreditsConsumed():
            return event.transaction_id, "consume", "consume", event.amount, event.description, None, None
        case HoldCaptured():
            return event.transaction_id, "consume", "generation", event.amount, event.description, None, None
        case CreditsGranted(source=source):
            method = event.payment_method
            return event.transaction_id, "recharge", source, event.amount, event.description, method, None
        case CreditsExpired(amount=amount):
            derived = str(uuid5(NAMESPACE_URL, f"{entry.stream}/{entry.version}"))
            return derived, "consume", "expiry", amount, f"{amount}积分已过期", None, None
        case SpendingReversed():
            return event.transaction_id, "recharge", "reversal", event.amount, event.description, None, event.reverses
        case CreditsRemoved():
            return event.transaction_id, "consume", "adjustment", event.amount, event.description, None, None
        case CreditsClawedBack(amount=amount) if amount:
            method = event.payment_method
            return event.transaction_id, "consume", "clawback", amount, event.description, method, None
    return None


class _Change(msgspec.Struct, gc=False):
    """What a batch does to one account; ``before`` is the version it must find there."""

    user_id: str
    before: int
    available: int
    held: int
    owed: int
    version: int
    at: datetime


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    opened: list[tuple[Value, ...]] = []
    lines: list[tuple[Value, ...]] = []
    accounts: dict[str, _Change] = {}
    rare: list[Recorded] = []
    for entry in entries:
        event = entry.event
        if not isinstance(event, CREDIT_EVENTS):
            continue
        user_id, version, at = entry.key, entry.version, entry.at
        posting = posting_of(event)
        account = accounts.get(user_id)
        if account is None:
            accounts[user_id] = account = _Change(user_id, version - 1, 0, 0, 0, version, at)
            if version == 1:
                opened.append((user_id, at))
        account.available += posting.available
        account.held += posting.held
        account.owed -= posting.owed
        account.version = version
        account.at = at
        if (line := line_of(entry)) is not None:
            change = account.available + account.held - account.owed
            lines.append((*line, user_id, change, entry.position, at))
        if not isinstance(event, CreditsConsumed):
            rare.append(entry)
    writes = []
    if opened:
        writes.append(Statement(_OPEN, tuple(zip(*opened, strict=True))))
    if lines:
        writes.append(Statement(_ENTER, tuple(zip(*lines, strict=True))))
    if accounts:
        columns = tuple(zip(*map(astuple, accounts.values()), strict=True))
        writes.append(exactly(len(accounts), _POST, columns))
    return writes + lots.statements(rare) if rare else writes


CREDIT_EVENTS: Final = get_args(CreditEvent)

LEDGER: Final = ReadModel(
    name="ledger",
    tables=("credit_accounts", "transactions", "lots", "holds"),
    schema=SCHEMA + lots.SCHEMA,
    events=frozenset(CREDIT_EVENTS),
    statements=statements,
    revision=3,
    volatile=frozenset({"settled"}),
    refusals={"transactions_reverses": AlreadyReversed, "holds_pkey": HoldExists},
)


async def balance_of(db: Database, user_id: str) -> Balance:
    """What a person can spend and what is held for their tasks; nothing for an account that never had any."""
    found = await db.fetch_one(Balance, "select available, held from credit_accounts where user_id = %s", (user_id,))
    return found or Balance()


async def transactions_of(db: Database, user_id: str, *, limit: int, offset: int) -> tuple[list[TransactionLine], int]:
    """A page of a person's transactions, newest first, and how many there are in all."""
    lines = await db.fetch(
        TransactionLine,
        """select id::text, type, kind, amount, description, payment_method, balance_after, created_at,
            reverses::text
        from transactions where user_id = %s order by position desc limit %s offset %s""",
        (user_id, limit, offset),
    )
    return lines, await count(db, "select count(*) as n from transactions where user_id = %s", (user_id,))


class _Count(msgspec.Struct):
    n: int


async def count(db: Database, sql: str, params: Sequence[object]) -> int:
    row = await db.fetch_one(_Count, sql, params)
    assert row is not None
    return row.n

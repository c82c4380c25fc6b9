"""The ledger in double entry: one balanced posting for each credit event, as finance's reports add them up."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import astuple

from mintage.domain.catalogue import TAGS
from mintage.domain.credits.events import CreditEvent, CreditsClawedBack
from mintage.domain.credits.postings import Posting, posting_of
from mintage.domain.recorded import Recorded
from mintage.projections.ledger import CREDIT_EVENTS, line_of
from mintage.projections.sql import ReadModel, Statement, Value, insert_said

SCHEMA: Final = """
create table postings (
    position bigint primary key,
    at timestamptz not null,
    user_id uuid not null,
    event text not null,
    version bigint not null,
    transaction_id uuid,
    reference uuid,
    gateway text,
    product text,
    available bigint not null default 0,
    held bigint not null default 0,
    owed bigint not null default 0,
    paid bigint not null default 0,
    promotional bigint not null default 0,
    revenue bigint not null default 0,
    breakage bigint not null default 0,
    receivable_fen bigint not null default 0,
    paid_fen bigint not null default 0,
    revenue_fen bigint not null default 0,
    breakage_fen bigint not null default 0,
    constraint postings_credits check (available + held + owed + paid + promotional + revenue + breakage = 0),
    constraint postings_fen check (receivable_fen + paid_fen + revenue_fen + breakage_fen = 0)
);
create index postings_person on postings (user_id, position);
create index postings_at on postings (at, position);
create index postings_breakage on postings (at) where breakage <> 0;
"""

LEDGER_ENTRIES: Final = """
create view ledger_entries as
    select p.position, p.at, leg.account, leg.credits, leg.fen
    from postings p cross join lateral (values
        ('available:' || p.user_id, p.available, 0),
        ('held:' || p.user_id, p.held, 0),
        ('owed:' || p.user_id, p.owed, 0),
        ('paid', p.paid, p.paid_fen),
        ('promotional', p.promotional, 0),
        ('revenue', p.revenue, p.revenue_fen),
        ('breakage', p.breakage, p.breakage_fen),
        ('receivable:' || coalesce(p.gateway, 'unknown'), 0, p.receivable_fen)
    ) as leg (account, credits, fen)
    where leg.credits <> 0 or leg.fen <> 0;
"""
"""Every posting leg by leg, each under the name of its account."""

_COLUMNS: Final = {
    "position": "bigint",
    "at": "timestamptz",
    "user_id": "uuid",
    "event": "text",
    "version": "bigint",
    "transaction_id": "uuid",
    "reference": "uuid",
    "gateway": "text",
    "product": "text",
    **dict.fromkeys(Posting.__struct_fields__, "bigint"),
}


def row_of(entry: Recorded) -> tuple[Value, ...]:
    """The row a credit event makes.

    ``transaction_id`` is the line it makes in ``transactions``, ``reference`` the order or the adjustment that it
    belongs to, where there is one.
    """
    event = entry.event
    assert isinstance(event, CREDIT_EVENTS), event
    line = line_of(entry)
    return (
        entry.position,
        entry.at,
        entry.key,
        TAGS[type(event)],
        entry.version,
        None if line is None else line[0],
        _reference(event),
        getattr(event, "payment_method", None),
        getattr(event, "product", None),
        *astuple(posting_of(event)),
    )


def _reference(event: CreditEvent) -> str | None:
    # A clawback's own ``reference`` is the gateway's.
    return event.recharge_id if isinstance(event, CreditsClawedBack) else getattr(event, "reference", None)


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    rows = [row_of(entry) for entry in entries if isinstance(entry.event, CREDIT_EVENTS)]
    return [insert_said("postings", _COLUMNS, rows)] if rows else []


POSTINGS: Final = ReadModel(
    name="postings",
    tables=("postings",),
    schema=SCHEMA,
    events=frozenset(CREDIT_EVENTS),
    statements=statements,
    revision=2,
)

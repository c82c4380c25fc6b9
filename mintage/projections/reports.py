"""What finance's reports read: the ledger as it was recorded up to any position of the log.

Credits are whole, money is whole fen. Lists that grow with the number of people or events come in pages, each begun
after the last row of the page before: the postings up to a position never change, so together they are one report.
"""

from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec

from mintage.domain.credits.postings import Posting
from mintage.projections.sql import Database

PAGE: Final = 1_000


class Newest(msgspec.Struct, frozen=True):
    """The last event that a report takes in."""

    position: int
    at: datetime


class Balances(msgspec.Struct, frozen=True):
    """What a person has: ``owed`` is what they owe, never below zero."""

    available: int
    held: int
    owed: int


class Entry(msgspec.Struct, frozen=True):
    """One event of a person with what it changed; ``description`` as in their list of transactions.

    ``reference`` is the order or the adjustment that it belongs to.
    """

    position: int
    at: datetime
    event: str
    transaction_id: UUID | None
    reference: UUID | None
    description: str | None
    product: str | None
    gateway: str | None
    available: int
    held: int
    owed: int


class PersonBalance(msgspec.Struct, frozen=True):
    """The three accounts of a person as they are posted: ``owed`` is zero or less."""

    user_id: UUID
    available: int
    held: int
    owed: int


class Receivable(msgspec.Struct, frozen=True):
    """What a gateway has of ours."""

    gateway: str | None
    fen: int


class Deferred(msgspec.Struct, frozen=True):
    """What a person paid and did not spend yet."""

    user_id: UUID
    fen: int


class Revenue(msgspec.Struct, frozen=True):
    """What was spent on a product on a UTC day; ``product`` is null for what was spent, or undone, without one."""

    day: date
    product: str | None
    credits: int
    fen: int


class Breakage(msgspec.Struct, frozen=True):
    """What was lost unspent on a UTC day."""

    day: date
    expired_credits: int
    expired_fen: int
    removed_credits: int
    removed_fen: int


class OpenHold(msgspec.Struct, frozen=True):
    hold_id: UUID
    user_id: UUID
    amount: int
    product: str
    description: str
    created_at: datetime
    expires_at: datetime | None


class PostingRow(msgspec.Struct, frozen=True):
    """A row of ``postings``; see ``domain.credits.postings.Posting``."""

    position: int
    at: datetime
    user_id: UUID
    event: str
    version: int
    transaction_id: UUID | None
    reference: UUID | None
    gateway: str | None
    product: str | None
    available: int
    held: int
    owed: int
    paid: int
    promotional: int
    revenue: int
    breakage: int
    receivable_fen: int
    paid_fen: int
    revenue_fen: int
    breakage_fen: int


class _Known(msgspec.Struct, frozen=True):
    known: bool


async def newest(db: Database, as_of: datetime | None) -> Newest | None:
    """The last posting recorded at a moment or before it, or of all; None if there is none."""
    until, params = ("", ()) if as_of is None else ("where at <= %s", (as_of,))
    return await db.fetch_one(
        Newest, f"select position, at from postings {until} order by at desc, position desc limit 1", params
    )


async def is_known(db: Database, user_id: str) -> bool:
    """Whether there is, or was, such a person."""
    row = await db.fetch_one(
        _Known,
        "select exists (select from people where user_id = %s) or exists (select from credit_accounts where "
        "user_id = %s) as known",
        (user_id, user_id),
    )
    return row is not None and row.known


_BALANCES: Final = """
select coalesce(sum(available), 0)::bigint as available, coalesce(sum(held), 0)::bigint as held,
    -coalesce(sum(owed), 0)::bigint as owed
from postings where user_id = %s and position <= %s"""


async def balances(db: Database, user_id: str, upto: int, before: datetime | None = None) -> Balances:
    """What a person had at a position, of what was recorded ``before`` a moment if one is given."""
    earlier, params = ("", ()) if before is None else (" and at < %s", (before,))
    row = await db.fetch_one(Balances, _BALANCES + earlier, (user_id, upto, *params))
    assert row is not None
    return row


async def entries(db: Database, user_id: str, after: int, upto: int, since: datetime | None) -> list[Entry]:
    later, params = ("", ()) if since is None else (" and p.at >= %s", (since,))
    return await db.fetch(
        Entry,
        f"""select p.position, p.at, p.event, p.transaction_id, p.reference, t.description, p.product, p.gateway,
            p.available, p.held, -p.owed as owed
        from postings p left join transactions t on t.id = p.transaction_id
        where p.user_id = %s and p.position > %s and p.position <= %s{later} order by p.position limit {PAGE}""",
        (user_id, after, upto, *params),
    )


async def totals(db: Database, upto: int) -> Posting:
    """What each account comes to, those of all people and of all gateways added up."""
    sums = ", ".join(f"coalesce(sum({column}), 0)::bigint as {column}" for column in Posting.__struct_fields__)
    row = await db.fetch_one(Posting, f"select {sums} from postings where position <= %s", (upto,))
    assert row is not None
    return row


async def receivables(db: Database, upto: int) -> list[Receivable]:
    return await db.fetch(
        Receivable,
        """select gateway, sum(receivable_fen)::bigint as fen from postings
        where position <= %s and receivable_fen <> 0 group by 1 order by 1""",
        (upto,),
    )


async def people_accounts(db: Database, upto: int, after: UUID | None) -> list[PersonBalance]:
    """Whoever had credits by then, a page of them, by their ids."""
    later, params = ("", ()) if after is None else (" and user_id > %s", (after,))
    return await db.fetch(
        PersonBalance,
        f"""select user_id, sum(available)::bigint as available, sum(held)::bigint as held, sum(owed)::bigint as owed
        from postings where position <= %s{later} group by user_id order by user_id limit {PAGE}""",
        (upto, *params),
    )


async def deferred(db: Database, upto: int, after: UUID | None) -> list[Deferred]:
    """Per person, where there is any; a page of them, by their ids."""
    later, params = ("", ()) if after is None else (" and user_id > %s", (after,))
    return await db.fetch(
        Deferred,
        f"""select user_id, -sum(paid_fen)::bigint as fen from postings where position <= %s{later}
        group by user_id having sum(paid_fen) <> 0 order by user_id limit {PAGE}""",
        (upto, *params),
    )


async def revenue(db: Database, upto: int, since: datetime | None) -> list[Revenue]:
    later, params = ("", ()) if since is None else (" and at >= %s", (since,))
    return await db.fetch(
        Revenue,
        f"""select (at at time zone 'UTC')::date as day, product, sum(revenue)::bigint as credits,
            -sum(revenue_fen)::bigint as fen
        from postings where position <= %s{later} and (revenue <> 0 or revenue_fen <> 0)
        group by 1, 2 order by 1, 2 nulls first""",
        (upto, *params),
    )


async def breakage(db: Database, upto: int, since: datetime | None) -> list[Breakage]:
    later, params = ("", ()) if since is None else (" and at >= %s", (since,))

    def summed(column: str, event: str) -> str:
        return f"coalesce(sum({column}) filter (where event = '{event}'), 0)::bigint"

    return await db.fetch(
        Breakage,
        f"""select (at at time zone 'UTC')::date as day,
            {summed("breakage", "credits.expired")} as expired_credits,
            {summed("-breakage_fen", "credits.expired")} as expired_fen,
            {summed("breakage", "credits.removed")} as removed_credits,
            {summed("-breakage_fen", "credits.removed")} as removed_fen
        from postings where position <= %s{later} and breakage <> 0 group by 1 order by 1""",
        (upto, *params),
    )


async def holds(db: Database, as_of: datetime, after: OpenHold | None) -> list[OpenHold]:
    """What was held for tasks at a moment; a page of it, oldest first."""
    later, params = (
        ("", ())
        if after is None
        else (
            " and (created_at, hold_id) > (%s, %s)",
            (after.created_at, after.hold_id),
        )
    )
    return await db.fetch(
        OpenHold,
        f"""select hold_id, user_id, amount, product, description, created_at, expires_at from holds
        where created_at <= %s and (ended_at is null or ended_at > %s){later}
        order by created_at, hold_id limit {PAGE}""",
        (as_of, as_of, *params),
    )


async def postings(db: Database, after: int, upto: int) -> list[PostingRow]:
    """A page of the whole ledger."""
    return await db.fetch(
        PostingRow,
        f"""select {", ".join(PostingRow.__struct_fields__)} from postings
        where position > %s and position <= %s order by position limit {PAGE}""",
        (after, upto),
    )

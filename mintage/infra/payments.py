"""The payments and refunds of a gateway as the read model ``recharges`` has them, one at a time out of one snapshot."""

from collections.abc import Collection, Iterator
from typing import Final

from psycopg.rows import kwargs_row

from mintage.application.reconciliation import Booked, Period
from mintage.infra.database import connect_sync

_PORTION: Final = 1_000

_BOOKED: Final = """
with asked as (select %(since)s::timestamptz as since, %(until)s::timestamptz as until)
select 'payment' as movement, payment_reference as reference, amount_fen, recharge_id::text, paid_at as at
from recharges, asked
where payment_method = %(gateway)s and (
    paid_at >= coalesce(since, '-infinity') and paid_at < coalesce(until, 'infinity')
    or payment_reference = any(%(references)s::text[]))
union all
select 'refund', refund_reference, amount_fen, recharge_id::text, created_at
from refunds, asked
where payment_method = %(gateway)s and (
    created_at >= coalesce(since, '-infinity') and created_at < coalesce(until, 'infinity')
    or refund_reference = any(%(references)s::text[]))
order by at, reference"""


def booked(conninfo: str, gateway: str, period: Period, references: Collection[str]) -> Iterator[Booked]:
    """All that was recorded in the period, and beyond it what has one of these references; nothing is written."""
    asked = {"since": period.since, "until": period.until, "gateway": gateway, "references": list(references)}
    with connect_sync(conninfo) as connection:
        connection.read_only = True
        with connection.transaction(), connection.cursor("booked", row_factory=kwargs_row(Booked)) as cursor:
            cursor.itersize = _PORTION
            cursor.execute(_BOOKED, asked)
            yield from cursor

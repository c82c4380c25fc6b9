"""What a transaction spent, as the log has it; an event never changes, so it may be read before anything is decided."""

from typing import Final

import msgspec

from mintage.application.reversals import Spending
from mintage.domain.credits.events import CreditsConsumed, HoldCaptured, Terms
from mintage.infra.codec import decode
from mintage.infra.database import Pool

_EVENT: Final = """
select t.user_id::text as user_id, e.notification_id as position, e.originator_id as stream,
    e.originator_version as version, e.topic, e.state
from transactions t join stored_events e on e.notification_id = t.position where t.id = %s"""
_TERMS: Final = """
select lot, amount, paid_fen, expires_at, priority, reference::text
from lots where user_id = %s and lot = any(%s::integer[])"""


class _Event(msgspec.Struct):
    user_id: str
    position: int
    stream: str
    version: int
    topic: str
    state: bytes


class _Lot(Terms, frozen=True, kw_only=True):
    lot: int


class LoggedSpendings:
    """Implements ``application.reversals.Spendings``."""

    def __init__(self, db: Pool) -> None:
        self._db = db

    async def find(self, transaction_id: str) -> Spending | None:
        found = await self._db.fetch_one(_Event, _EVENT, (transaction_id,))
        if found is None:
            return None
        event = decode(found.position, found.stream, found.version, found.topic, bytes(found.state)).event
        if not isinstance(event, CreditsConsumed | HoldCaptured):
            return Spending(found.user_id, None)
        lots = await self._db.fetch(_Lot, _TERMS, (found.user_id, [part.lot for part in event.taken]))
        terms = {row.lot: Terms(row.amount, row.paid_fen, row.expires_at, row.priority, row.reference) for row in lots}
        return Spending(found.user_id, event, terms)

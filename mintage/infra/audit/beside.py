"""What lies beside the log and its read models and has to agree with them: keys, marks of working state, snapshots."""

from typing import Any, Final

import psycopg

from mintage.infra.audit.findings import Differences

_KEYS: Final = """
select 'registration-' || coalesce(p.user_id, k.user_id), case
    when p.user_id is null then 'a key of nobody who is registered'
    when p.erased then 'was erased, and the key is still there'
    else 'is not erased, and the key is gone' end
from people p full join person_keys k using (user_id)
where (k.user_id is not null) is distinct from (p.user_id is not null and not p.erased)"""
# Two clocks never quite agree; and one that is ahead has written the log by its own time.
_SETTLED: Final = """
select 'credits-' || user_id, 'lot ' || lot || ' is marked as settled, and its date has not passed' from lots
where settled and (expires_at is null or
    expires_at > greatest(now(), (select at from postings order by position desc limit 1)) + interval '1 minute')"""
_AHEAD: Final = """
select 'checkpoint of ' || name, 'stands at position ' || position || ', which the log has not reached' from checkpoints
where position > (select coalesce(max(notification_id), 0) from stored_events)"""
_SNAPSHOTS: Final = """
select stream, 'has a snapshot and no events' from snapshots s
where not exists (select from stored_events e where e.originator_id = s.stream)"""


def look_beside(served: psycopg.Connection[Any]) -> Differences:
    """In one snapshot of the database, whose read models are compared elsewhere."""
    differences = Differences()
    for query in (_KEYS, _SETTLED, _AHEAD, _SNAPSHOTS):
        with served.cursor("beside") as cursor:
            for stream, what in cursor.execute(query):
                differences.report(stream, 0, what)
    return differences

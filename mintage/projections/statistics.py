"""What happened on each UTC day, in numbers."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from mintage.domain.credits.events import CreditsConsumed, CreditsGranted, HoldCaptured
from mintage.domain.generation.events import GenerationCompleted, GenerationFailed, GenerationRequested
from mintage.domain.recharge.events import RechargePaid
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonRegistered
from mintage.projections.sql import ReadModel, Statement

SCHEMA: Final = """
create table statistics (
    day date not null,
    measure text not null,
    total bigint not null,
    primary key (day, measure)
);
"""

_ADD: Final = """
insert into statistics (day, measure, total)
select day::date, measure, total from unnest(%s::text[], %s::text[], %s::bigint[]) as one (day, measure, total)
on conflict (day, measure) do update set total = statistics.total + excluded.total"""

MEASURES: Final[dict[type[Any], tuple[tuple[str, Callable[[Any], int]], ...]]] = {
    PersonRegistered: (("registrations", lambda _: 1),),
    RechargePaid: (("recharges", lambda _: 1), ("paid_fen", lambda event: event.amount_fen)),
    CreditsGranted: (("credits_granted", lambda event: event.amount),),
    CreditsConsumed: (("credits_spent", lambda event: event.amount),),
    HoldCaptured: (("credits_spent", lambda event: event.amount),),
    GenerationRequested: (("tasks_requested", lambda _: 1),),
    GenerationCompleted: (
        ("tasks_completed", lambda _: 1),
        ("works_delivered", lambda event: event.delivered),
    ),
    GenerationFailed: (("tasks_failed", lambda _: 1),),
}


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    totals: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for measure, value in MEASURES.get(type(entry.event), ()):
            totals[(entry.at.date().isoformat(), measure)] += value(entry.event)
    if not totals:
        return []
    days, measures = zip(*totals, strict=True)
    return [Statement(_ADD, (days, measures, list(totals.values())))]


STATISTICS: Final = ReadModel(
    name="statistics",
    tables=("statistics",),
    schema=SCHEMA,
    events=frozenset(MEASURES),
    statements=statements,
)

"""The last integer id given out of each kind, so that numbers go up and are never given twice."""

from collections.abc import Sequence
from typing import Final

from mintage.domain.catalogue import numbered
from mintage.domain.character.events import CharacterCreated
from mintage.domain.generation.events import GenerationRequested
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import PersonRegistered
from mintage.domain.webhook.events import WebhookRegistered
from mintage.domain.work.events import WorkCreated
from mintage.projections.sql import ReadModel, Statement

SCHEMA: Final = "create table numbers (kind text primary key, last bigint not null);"

_SET: Final = """
insert into numbers (kind, last) select * from unnest(%s::text[], %s::bigint[])
on conflict (kind) do update set last = excluded.last"""


def statements(entries: Sequence[Recorded]) -> list[Statement]:
    last = dict(named for entry in entries if (named := numbered(entry.event)) is not None)
    return [Statement(_SET, (list(last), list(last.values())))] if last else []


NUMBERS: Final = ReadModel(
    name="numbers",
    tables=("numbers",),
    schema=SCHEMA,
    events=frozenset({PersonRegistered, GenerationRequested, WorkCreated, CharacterCreated, WebhookRegistered}),
    statements=statements,
)

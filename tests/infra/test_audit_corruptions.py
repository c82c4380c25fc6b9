"""A hundred random corruptions of a stored log and of what is served from it: each is found, and where it was made."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import psycopg
import pytest

from mintage.infra.audit import Findings
from mintage.infra.audit.tables import ORIGINS
from mintage.infra.chain import event_hash
from mintage.projections import READ_MODELS
from tests.infra.audit_kit import Sealed, database, rehash, shown, tamper
from tests.infra.kit import one, rows, run_sql, some_id

ROUNDS: Final = 3
"""How often each kind of corruption is tried, with another event or row each time."""


class Place(msgspec.Struct, frozen=True):
    """Where a corruption is to be named; any event of the stream if ``version`` is None. ``what`` has to be said."""

    stream: str
    version: int | None = None
    what: str = ""

    def is_named(self, findings: Findings) -> bool:
        return any(
            found.stream == self.stream and self.version in {None, found.version} and self.what in found.what
            for found in findings.differences
        )


Corruption = Callable[[str, random.Random], list[Place]]
"""Does something to the database; returns the places that must be named."""


class Stored(msgspec.Struct, frozen=True):
    position: int
    stream: str
    version: int
    topic: str
    state: bytes

    @property
    def place(self) -> Place:
        return Place(self.stream, self.version)


def events(conninfo: str, where: str = "true") -> list[Stored]:
    found = rows(
        conninfo,
        "select notification_id, originator_id, originator_version, topic, state from stored_events "
        f"where {where} order by notification_id",
    )
    return [Stored(*row) for row in found]


def change(conninfo: str, position: int, **columns: Any) -> None:
    """Set columns of an event."""
    names = ", ".join(f"{name} = %s" for name in columns)
    with psycopg.connect(conninfo) as connection:
        connection.execute("alter table stored_events disable trigger user")
        sql = f"update stored_events set {names} where notification_id = %s"
        connection.execute(sql.encode(), (*columns.values(), position))


# -- events


def byte_flipped(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo))
    state = bytearray(event.state)
    state[rng.randrange(len(state))] ^= 1 << rng.randrange(8)
    change(conninfo, event.position, state=bytes(state))
    return [event.place]


def amounts_changed(conninfo: str, rng: random.Random) -> list[Place]:
    """Alike in the event and in its slices, and the hashes with them: the checkpoints remember."""
    event = rng.choice(events(conninfo, "topic like 'credits.%' and state like '%\"amount\":%'"))
    data = msgspec.json.decode(event.state)
    data["data"]["amount"] += 1
    for part in (*data["data"].get("taken", ()), *data["data"].get("returned", ())):
        part["amount"] += 1
    change(conninfo, event.position, state=msgspec.json.encode(data))
    rehash(conninfo)
    return [event.place]


def words_changed_everywhere(conninfo: str, rng: random.Random) -> list[Place]:
    """In the event, in every hash, and in what is served: only what was signed tells."""
    event = rng.choice(events(conninfo, "topic = 'credits.consumed'"))
    change(conninfo, event.position, state=event.state.replace(b'"spent"', b'"given"'))
    rehash(conninfo)
    run_sql(conninfo, f"update transactions set description = 'given' where position = {event.position}")
    return [Place(event.stream, event.version, "not what was sealed")]


def words_changed_and_seals_forgotten(conninfo: str, rng: random.Random) -> list[Place]:
    """With the tiles gone, too, the checkpoints before and after say between which positions it was."""
    event = rng.choice(events(conninfo, "topic = 'credits.consumed'"))
    change(conninfo, event.position, state=event.state.replace(b'"spent"', b'"given"'))
    rehash(conninfo)
    run_sql(conninfo, f"update transactions set description = 'given' where position = {event.position}")
    sizes = [size for (size,) in rows(conninfo, "select size from seals order by 1")]
    run_sql(conninfo, "truncate seal_tiles")
    bad = min(size for size in sizes if size >= event.position)
    good = max((size for size in sizes if size < event.position), default=0)
    return [Place("log", 0, f"between positions {good + 1} and {bad}")]


def event_deleted(conninfo: str, rng: random.Random) -> list[Place]:
    """A gap in the versions, if another follows in the stream; a gap in the positions in any case."""
    event = rng.choice(events(conninfo)[:-1])
    tamper(conninfo, f"delete from stored_events where notification_id = {event.position}")
    (after,) = events(conninfo, f"notification_id = {event.position + 1}")
    places = [Place(after.stream, after.version, f"position {event.position} is missing")]
    return places + [
        Place(later.stream, later.version, f"follows {event.version - 1}")
        for later in events(conninfo, f"originator_id = '{event.stream}'")
        if later.version == event.version + 1
    ]


def event_deleted_and_all_renumbered(conninfo: str, rng: random.Random) -> list[Place]:
    """By a careful hand, with every hash made to follow; the event that took its position is not what was signed."""
    event = rng.choice(events(conninfo)[:-1])
    _renumber(conninfo, f"delete from stored_events where notification_id = {event.position}", event.position, -1)
    run_sql(conninfo, "alter table stored_events disable trigger user")
    run_sql(
        conninfo,
        f"update stored_events set originator_version = -originator_version where originator_id = '{event.stream}' "
        f"and originator_version > {event.version}",
        "update stored_events set originator_version = -originator_version - 1 where originator_version < 0",
    )
    rehash(conninfo)
    (moved,) = events(conninfo, f"notification_id = {event.position}")
    return [Place(moved.stream, moved.version, "not what was sealed")]


def event_inserted(conninfo: str, rng: random.Random) -> list[Place]:
    """A copy at the end of its stream and of the log, with the hash that it has to have."""
    event = rng.choice(events(conninfo))
    return [_append(conninfo, event.stream, event.topic, event.state, command_id=None)]


def grant_inserted(conninfo: str, rng: random.Random) -> list[Place]:
    """Of an adjustment that nobody asked for, as a command of its own."""
    event = rng.choice(events(conninfo, "topic = 'credits.granted'"))
    data = msgspec.json.decode(event.state)
    lots = one(
        conninfo,
        "select count(*) from stored_events where topic = 'credits.granted' and originator_id = %s",
        (event.stream,),
    )
    command_id = some_id()
    newest = msgspec.json.decode(events(conninfo)[-1].state)["at"]
    data["data"] |= {"transaction_id": some_id(), "source": "adjustment", "reference": some_id(), "lot": lots + 1}
    data["data"] |= {"expires_at": None, "paid_fen": 0, "payment_method": None}
    data |= {"command": command_id, "at": newest}
    place = _append(conninfo, event.stream, event.topic, msgspec.json.encode(data), command_id)
    return [msgspec.structs.replace(place, what="adjustment without the other half"), Place(event.stream)]


def event_inserted_in_the_middle(conninfo: str, rng: random.Random) -> list[Place]:
    """With room made for it and every hash made to follow."""
    event = rng.choice(events(conninfo, "topic = 'credits.consumed'"))
    _renumber(conninfo, "select 1", event.position - 1, 1)
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            b"insert into stored_events (originator_id, originator_version, topic, state, notification_id, hash) "
            b"values (%s, %s, %s, %s, %s, %s)",
            (f"work-{some_id()}", 1, event.topic, event.state, event.position, bytes(32)),
        )
    rehash(conninfo)
    (inserted,) = events(conninfo, f"notification_id = {event.position}")
    return [Place(inserted.stream, 1, "not what was sealed"), Place(inserted.stream, 1, "does not follow")]


def positions_swapped(conninfo: str, rng: random.Random) -> list[Place]:
    one_of_them, other = rng.sample(events(conninfo), 2)
    change(conninfo, one_of_them.position, notification_id=-1)
    change(conninfo, other.position, notification_id=one_of_them.position)
    change(conninfo, -1, notification_id=other.position)
    return [one_of_them.place, other.place]


def positions_swapped_and_rehashed(conninfo: str, rng: random.Random) -> list[Place]:
    places = positions_swapped(conninfo, rng)
    rehash(conninfo)
    first = min((event for event in events(conninfo) if event.place in places), key=lambda event: event.position)
    return [Place(first.stream, first.version, "not what was sealed")]


def versions_swapped(conninfo: str, rng: random.Random) -> list[Place]:
    every = events(conninfo)
    streams = [event.stream for event in every]
    event = rng.choice([event for event in every if streams.count(event.stream) > 1])
    other = rng.choice([two for two in every if two.stream == event.stream and two != event])
    change(conninfo, event.position, originator_version=-1)
    change(conninfo, other.position, originator_version=event.version)
    change(conninfo, event.position, originator_version=other.version)
    return [event.place, other.place]


def version_renumbered(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo))
    change(conninfo, event.position, originator_version=event.version + 1_000)
    return [Place(event.stream, event.version + 1_000)]


def position_renumbered(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo))
    change(conninfo, event.position, notification_id=event.position + 10_000)
    return [event.place]


def topic_changed(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo))
    others = [topic for (topic,) in rows(conninfo, "select distinct topic from stored_events") if topic != event.topic]
    change(conninfo, event.position, topic=rng.choice(sorted(others)))
    if rng.random() < 0.5:
        rehash(conninfo)
    return [event.place]


def hash_changed(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo))
    change(conninfo, event.position, hash=rng.randbytes(32))
    return [event.place]


def command_changed(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo, "command_id is not null"))
    change(conninfo, event.position, command_id=rng.choice([None, some_id()]))
    return [event.place]


def time_turned_back(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo)[1:])
    data = msgspec.json.decode(event.state)
    change(conninfo, event.position, state=msgspec.json.encode(data | {"at": "2001-01-01T00:00:00Z"}))
    rehash(conninfo)
    return [Place(event.stream, event.version, "recorded before")]


def actor_changed(conninfo: str, rng: random.Random) -> list[Place]:
    event = rng.choice(events(conninfo))
    data = msgspec.json.decode(event.state)
    change(conninfo, event.position, state=msgspec.json.encode(data | {"actor": "nobody"}))
    return [event.place]


def half_taken_away(conninfo: str, rng: random.Random) -> list[Place]:
    """What has another half in another stream becomes something that has none; with every hash made to follow."""
    event = rng.choice(events(conninfo, "topic in ('credits.captured', 'recharge.paid', 'credits.clawed_back')"))
    data = msgspec.json.decode(event.state)
    key = {"credits.captured": "hold_id", "credits.clawed_back": "reference", "recharge.paid": ""}[event.topic]
    if key:
        data["data"][key] = some_id()
    data["command"] = data["command"] if key else some_id()
    change(conninfo, event.position, state=msgspec.json.encode(data))
    rehash(conninfo)
    return [event.place]


def tail_truncated(conninfo: str, rng: random.Random) -> list[Place]:
    head = one(conninfo, "select max(notification_id) from stored_events")
    left = head - rng.randint(1, 20)
    tamper(conninfo, f"delete from stored_events where notification_id > {left}")
    return [Place("log", 0, f"ends at position {left}; a log of {head} events was signed")]


Change = Callable[[dict[str, Any]], object]

RULES_BROKEN: Final[dict[str, tuple[str, Change, str]]] = {
    "slices out of order": (
        "topic = 'credits.consumed' and convert_from(state, 'utf8') like '%},{%'",
        lambda event: event["taken"].reverse(),
        "come first",
    ),
    "more money than is in the lot": (
        "topic = 'credits.consumed' and convert_from(state, 'utf8') not like '%\"fen\":0%'",
        lambda event: event["taken"][0].update(fen=10**6),
        "takes 1000000 fen",
    ),
    "more than is there": (
        "topic = 'credits.consumed' and convert_from(state, 'utf8') not like '%},{%'",
        lambda event: (event.update(amount=10**6), event["taken"][0].update(amount=10**6)),
        "takes 1000000 of lot",
    ),
    "lot out of turn": (
        "topic = 'credits.granted'",
        lambda event: event.update(lot=event["lot"] + 1),
        "after lot",
    ),
    "held twice": (
        "topic = 'credits.held'",
        lambda event: event["taken"][0].update(amount=event["amount"] + 1),
        "come first",
    ),
    "captured for another product": (
        "topic = 'credits.captured'",
        lambda event: event.update(product="another/model"),
        "captured for another/model",
    ),
    "captured less than taken": (
        "topic = 'credits.captured'",
        lambda event: event.update(returned=[*event["returned"], {"lot": 1, "amount": 1, "fen": 0}]),
        "do not make up the hold",
    ),
    "released less than held": (
        "topic = 'credits.released'",
        lambda event: event.update(amount=event["amount"] - 1),
        "what was returned is not what was held",
    ),
    "hold that is not there": (
        "topic = 'credits.released'",
        lambda event: event.update(hold_id="nobody's"),
        "is not open",
    ),
    "another lot expired": (
        "topic = 'credits.expired'",
        lambda event: event.update(amount=event["amount"] - 1),
        "is not what expired",
    ),
    "reversal of what was not spent": (
        "topic = 'credits.reversed'",
        lambda event: event.update(reverses=some_id()),
        "which spent nothing of this account",
    ),
    "reversal of no id": (
        "topic = 'credits.reversed'",
        lambda event: event.update(reverses="none"),
        "reverses what cannot be read",
    ),
    "reversal of less than was spent": (
        "topic = 'credits.reversed'",
        lambda event: (
            event.update(amount=event["amount"] - 1),
            event["returned"][0].update(amount=event["amount"]),
        ),
        "had spent",
    ),
    "reversal on other terms": (
        "topic = 'credits.reversed'",
        lambda event: event["returned"][0]["terms"].update(priority=1),
        "other terms than it was granted with",
    ),
    "less owed than is missing": (
        "topic = 'credits.clawed_back'",
        lambda event: event.update(owed=event["owed"] - 1),
        "owed of",
    ),
    "less of the debt paid": (
        "topic = 'credits.debt_paid'",
        lambda event: (event.update(amount=event["amount"] - 1), event["taken"][0].update(amount=event["amount"])),
        "paid of",
    ),
    "paid with what is not the order's": (
        "topic = 'recharge.paid'",
        lambda event: event.update(amount_fen=1),
        "RechargePaid does not follow",
    ),
    "more refunded than paid": (
        "topic = 'recharge.refunded'",
        lambda event: event.update(amount_fen=10**9),
        "RechargeRefunded does not follow",
    ),
    "approved by who asked": (
        "topic = 'adjustment.approved'",
        lambda event: event.update(approved_by="finance-1"),
        "AdjustmentApproved does not follow",
    ),
    "charged more than the share": (
        "topic = 'generation.completed'",
        lambda event: event.update(charged=event["charged"] + 1),
        "GenerationCompleted does not follow",
    ),
    "refund of another sum": (
        "topic = 'credits.clawed_back'",
        lambda event: event.update(refunded_fen=event["refunded_fen"] + 1),
        "refund without the other half",
    ),
    "adjustment of another sum": (
        "topic = 'credits.removed'",
        lambda event: (
            event.update(amount=1),
            event["taken"][0].update(amount=1),
            event["taken"].__delitem__(slice(1, None)),
        ),
        "adjustment without the other half",
    ),
    "hold of another price": (
        "topic = 'generation.requested'",
        lambda event: event.update(price=event["price"] + 1),
        "hold without the other half",
    ),
}
"""An event, what is done to it, and the rule that it breaks then."""


@pytest.mark.parametrize("rule", RULES_BROKEN)
def test_a_broken_rule_is_named_though_every_hash_is_right(sealed: Sealed, rule: str) -> None:
    where, alter, what = RULES_BROKEN[rule]
    with database(sealed.server, "corrupt", sealed.template) as conninfo:
        event = events(conninfo, where)[-1]
        data = msgspec.json.decode(event.state)
        alter(data["data"])
        change(conninfo, event.position, state=msgspec.json.encode(data))
        rehash(conninfo)
        findings = sealed.audit(conninfo)
        assert Place(event.stream, event.version, what).is_named(findings), shown(findings)


@pytest.mark.parametrize(
    ("minutes", "what"),
    [(-60, "past its date, and was left there"), (60, "expired before its date")],
    ids=["earlier", "later"],
)
def test_what_expires_does_so_on_its_date(sealed: Sealed, minutes: int, what: str) -> None:
    """Both lots are given another date: they were past it then as they came in, or went too soon."""
    with database(sealed.server, "corrupt", sealed.template) as conninfo:
        for event in events(conninfo, "topic = 'credits.granted' and convert_from(state, 'utf8') like '%for a while%'"):
            data = msgspec.json.decode(event.state)
            due = datetime.fromisoformat(data["data"]["expires_at"]) + timedelta(minutes=minutes)
            data["data"]["expires_at"] = due
            change(conninfo, event.position, state=msgspec.json.encode(data))
        rehash(conninfo)
        findings = sealed.audit(conninfo)
        assert Place(event.stream, None, what).is_named(findings), shown(findings)


def _append(conninfo: str, stream: str, topic: str, state: bytes, command_id: str | None) -> Place:
    """Insert an event at the end of the log."""
    position = one(conninfo, "select max(notification_id) + 1 from stored_events")
    sql = "select hash, originator_version from stored_events where originator_id = %s order by 2 desc limit 1"
    previous, version = rows(conninfo, sql, (stream,))[0]
    chained = event_hash(previous, position, version + 1, stream, topic, state)
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            b"insert into stored_events values (%s, %s, %s, %s, %s, %s, %s)",
            (stream, version + 1, topic, state, position, command_id, chained),
        )
    return Place(stream, version + 1)


def _renumber(conninfo: str, statement: str, after: int, by: int) -> None:
    """Do something, and move every event after a position."""
    tamper(
        conninfo,
        statement,
        f"update stored_events set notification_id = -notification_id where notification_id > {after}",
        f"update stored_events set notification_id = -notification_id + {by} where notification_id < 0",
    )


# -- what is served

TABLES: Final = [(model, table) for model in READ_MODELS.values() for table in model.tables]
_OTHERWISE: Final = {
    "bigint": "coalesce({}, 0) + 1",
    "integer": "coalesce({}, 0) + 1",
    "smallint": "coalesce({}, 0) + 1",
    "boolean": "not coalesce({}, false)",
    "text": "coalesce({}, '') || '!'",
    "uuid": "gen_random_uuid()",
    "date": "coalesce({}, '2001-01-01') + 1",
    "timestamp with time zone": "coalesce({}, now()) + interval '1 second'",
    "jsonb": "'{{\"a\": 1}}'::jsonb",
    "ARRAY": "array[]::uuid[]",
}


def _columns(conninfo: str, table: str) -> list[tuple[str, str]]:
    return rows(
        conninfo,
        "select column_name, data_type from information_schema.columns where table_name = %s order by ordinal_position",
        (table,),
    )


def _some_row(conninfo: str, table: str, rng: random.Random) -> tuple[str, Place]:
    """Where a row is, and how it is to be named."""
    (place, row) = rng.choice(rows(conninfo, f"select ctid::text, to_jsonb(t) from {table} t order by 1"))
    origin = ORIGINS.get(table)
    return place, Place(f"{origin.category}-{row[origin.key]}" if origin else f"table {table}", None, f"table {table}")


def _free(conninfo: str, table: str) -> None:
    """Take away what would refuse a wrong row."""
    found = rows(
        conninfo,
        "select conname from pg_constraint where conrelid = %s::regclass and contype in ('c', 'p', 'u')",
        (table,),
    )
    run_sql(conninfo, *(f"alter table {table} drop constraint {name}" for (name,) in found))


def cell_changed(table: str, volatile: frozenset[str]) -> Corruption:
    def corrupt(conninfo: str, rng: random.Random) -> list[Place]:
        place, named = _some_row(conninfo, table, rng)
        origin = ORIGINS.get(table)
        columns = [(name, kind) for name, kind in _columns(conninfo, table) if name not in volatile]
        # A row whose key is another one is missed under its own; where there is nothing else that is enough.
        others = [(name, kind) for name, kind in columns if origin is None or name != origin.key]
        name, kind = rng.choice(others or columns)
        _free(conninfo, table)
        run_sql(
            conninfo, f"update {table} set \"{name}\" = {_OTHERWISE[kind].format(f'{name}')} where ctid = '{place}'"
        )
        return [named]

    corrupt.__name__ = f"cell_changed_in_{table}"
    return corrupt


def row_deleted(table: str) -> Corruption:
    def corrupt(conninfo: str, rng: random.Random) -> list[Place]:
        place, named = _some_row(conninfo, table, rng)
        run_sql(conninfo, f"delete from {table} where ctid = '{place}'")
        return [named]

    corrupt.__name__ = f"row_deleted_from_{table}"
    return corrupt


def row_doubled(table: str) -> Corruption:
    def corrupt(conninfo: str, rng: random.Random) -> list[Place]:
        place, named = _some_row(conninfo, table, rng)
        _free(conninfo, table)
        run_sql(conninfo, f"insert into {table} select * from {table} where ctid = '{place}'")
        return [named]

    corrupt.__name__ = f"row_doubled_in_{table}"
    return corrupt


OF_EVENTS: Final[list[Corruption]] = [
    byte_flipped,
    amounts_changed,
    words_changed_everywhere,
    words_changed_and_seals_forgotten,
    event_deleted,
    event_deleted_and_all_renumbered,
    event_inserted,
    grant_inserted,
    event_inserted_in_the_middle,
    positions_swapped,
    positions_swapped_and_rehashed,
    versions_swapped,
    version_renumbered,
    position_renumbered,
    topic_changed,
    hash_changed,
    command_changed,
    time_turned_back,
    actor_changed,
    half_taken_away,
    tail_truncated,
]
OF_TABLES: Final = [
    kind
    for model, table in TABLES
    for kind in (cell_changed(table, model.volatile), row_deleted(table), row_doubled(table))
]
CORRUPTIONS: Final = [(kind, seed) for kind in OF_EVENTS for seed in range(ROUNDS)] + [(kind, 0) for kind in OF_TABLES]


@pytest.mark.parametrize(("kind", "seed"), CORRUPTIONS, ids=[f"{kind.__name__}-{seed}" for kind, seed in CORRUPTIONS])
def test_each_is_found_and_located(sealed: Sealed, kind: Corruption, seed: int) -> None:
    with database(sealed.server, "corrupt", sealed.template) as conninfo:
        places = kind(conninfo, random.Random(f"{kind.__name__} {seed}"))
        findings = sealed.audit(conninfo, checkpoints=sealed.checkpoints)
        missed = [place for place in places if not place.is_named(findings)]
        assert places
        assert not missed, shown(findings)
        assert findings.found >= len(findings.differences) > 0


def test_there_are_a_hundred() -> None:
    assert len(CORRUPTIONS) >= 100

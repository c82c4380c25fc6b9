"""Forgeries by who has the database, the program and the keys: all hashes and read models follow, and a rule tells."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import psycopg
import pytest

from mintage.domain.credits.decider import CREDITS
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.seal.merkle import HASH, TILE
from tests.infra.audit_kit import Audit, Sealed, auditing, database, follow, refill, rehash, shown
from tests.infra.kit import consume, grant, journal_on, one, outcomes, rows, run_sql, some_id
from tests.infra.test_audit_corruptions import Place, Stored, change, events

LONG_AGO: Final = "2020-01-01T00:00:00Z"
Forgery = Callable[[str], Place]
"""Does something to the log; returns what must be named."""


def forge(conninfo: str, event: Stored, envelope: dict[str, Any] | None = None, **data: Any) -> Place:
    """Write other data into an event."""
    state = msgspec.json.decode(event.state) | (envelope or {})
    state["data"] |= data
    change(conninfo, event.position, state=msgspec.json.encode(state))
    return event.place


def append(conninfo: str, *forged: tuple[str, str, dict[str, Any]]) -> list[Place]:
    """Events at the end of the log, in one command."""
    newest = events(conninfo)[-1]
    places: list[Place] = []
    command_id = some_id()
    with psycopg.connect(conninfo) as connection:
        for number, (stream, topic, data) in enumerate(forged, 1):
            version = one(
                conninfo,
                f"select coalesce(max(originator_version), 0) from stored_events where originator_id = '{stream}'",
            )
            version += 1 + sum(place.stream == stream for place in places)
            state = msgspec.json.decode(newest.state) | {"actor": "system", "command": command_id}
            state["data"] = {"type": topic, **data}
            connection.execute(
                b"insert into stored_events values (%s, %s, %s, %s, %s, %s, %s)",
                (
                    stream,
                    version,
                    topic,
                    msgspec.json.encode(state),
                    newest.position + number,
                    command_id if number == 1 else None,
                    bytes(32),
                ),
            )
            places.append(Place(stream, version))
    return places


def saying(place: Place, what: str) -> Place:
    return msgspec.structs.replace(place, what=what)


def payer(conninfo: str) -> str:
    """The account of who paid, spent and got back."""
    return events(conninfo, "topic = 'credits.reversed'")[0].stream


def a_grant(conninfo: str, **terms: Any) -> tuple[str, str, dict[str, Any]]:
    """One more lot for the payer."""
    stream = payer(conninfo)
    lots = len(events(conninfo, f"topic = 'credits.granted' and originator_id = '{stream}'"))
    data = {"transaction_id": some_id(), "lot": lots + 1, "amount": 77, "source": "signup_bonus", "description": ""}
    return stream, "credits.granted", data | terms


def the_adjustment(conninfo: str) -> Stored:
    """The lot of the one that was approved."""
    return events(conninfo, "topic = 'credits.granted' and convert_from(state, 'utf8') like '%\"adjustment\"%2000%'")[
        -1
    ]


def bonus_for_money(conninfo: str) -> Place:
    (place,) = append(conninfo, a_grant(conninfo, paid_fen=100_000, payment_method="wechat"))
    return saying(place, "100000 fen paid for a signup_bonus")


def bonus_by_a_gateway(conninfo: str) -> Place:
    (place,) = append(conninfo, a_grant(conninfo, payment_method="wechat"))
    return saying(place, "paid for a signup_bonus")


def adjustment_for_money(conninfo: str) -> Place:
    return saying(forge(conninfo, the_adjustment(conninfo), paid_fen=500_000), "500000 fen paid for a adjustment")


def adjustment_of_another_priority(conninfo: str) -> Place:
    return saying(forge(conninfo, the_adjustment(conninfo), priority=99), "adjustment without the other half")


def adjustment_that_expires(conninfo: str) -> Place:
    place = forge(conninfo, the_adjustment(conninfo), expires_at="2999-01-01T00:00:00Z")
    return saying(place, "adjustment without the other half")


def adjustment_without_approval(conninfo: str) -> Place:
    adjustment_id = some_id()
    stream, topic, grant = a_grant(conninfo, source="adjustment", reference=adjustment_id, amount=900_000)
    asked = {
        "user_id": stream.partition("-")[2],
        "amount": 900_000,
        "reason": "",
        "requested_by": "system",
        "priority": 50,
        "limit": 1_000,
        "needs_approval": False,
    }
    place, _ = append(conninfo, (f"adjustment-{adjustment_id}", "adjustment.requested", asked), (stream, topic, grant))
    return saying(place, "AdjustmentRequested does not follow")


def adjustment_approved_by_who_asked(conninfo: str) -> Place:
    approved = events(conninfo, "topic = 'adjustment.approved'")[-1]
    command_id = msgspec.json.decode(approved.state)["command"]
    for event in events(conninfo, f"convert_from(state, 'utf8') like '%{command_id}%'"):
        forge(conninfo, event, {"actor": "finance-1"})
    return saying(approved.place, "approved_by finance-2, and the command was given by finance-1")


def adjustment_asked_for_by_nobody(conninfo: str) -> Place:
    asked = events(conninfo, "topic = 'adjustment.requested'")[-1]
    return saying(forge(conninfo, asked, requested_by="nobody"), "requested_by nobody")


def time_without_a_zone(conninfo: str) -> Place:
    event = events(conninfo)[50]
    at = msgspec.json.decode(event.state)["at"]
    return saying(forge(conninfo, event, {"at": at.removesuffix("Z")}), "of no time zone")


def date_without_a_zone(conninfo: str) -> Place:
    stream, _, lot = granted = a_grant(conninfo, expires_at="2999-01-01T00:00:00")
    (place,) = append(conninfo, granted)
    taken = [{"lot": lot["lot"], "amount": 7, "fen": 0}]
    spent = {"transaction_id": some_id(), "amount": 7, "description": "", "taken": taken}
    append(conninfo, (stream, "credits.consumed", spent))
    return saying(place, "of no time zone")


def hold_without_a_zone(conninfo: str) -> Place:
    event = events(conninfo, "topic = 'credits.held'")[-1]
    return saying(forge(conninfo, event, expires_at="2999-01-01T00:00:00"), "of no time zone")


def revenue_moved_forward(conninfo: str) -> Place:
    """The one spending earns what the other one would have."""
    spent = events(conninfo, f"topic = 'credits.consumed' and originator_id = '{payer(conninfo)}'")
    first, second = [
        event
        for event in spent
        if [part["amount"] for part in msgspec.json.decode(event.state)["data"]["taken"]] == [40]
    ][:2]
    fen = msgspec.json.decode(first.state)["data"]["taken"][0]["fen"]
    place = forge(conninfo, first, taken=[{"lot": 1, "amount": 40, "fen": 2 * fen}])
    forge(conninfo, second, taken=[{"lot": 1, "amount": 40, "fen": 0}])
    return saying(place, f"takes {2 * fen} fen")


def refund_for_nothing(conninfo: str) -> Place:
    """The money goes back, and all credits stay."""
    order = some_id()
    stream, topic, lot = a_grant(conninfo, source="recharge", paid_fen=1_000, payment_method="stripe", reference=order)
    asked = {"user_id": stream.partition("-")[2], "amount_fen": 1_000, "credits": 77, "payment_method": "stripe"}
    recharge = f"recharge-{order}"
    append(
        conninfo,
        (recharge, "recharge.requested", asked),
        (recharge, "recharge.paid", {"payment_reference": "p-forged", "amount_fen": 1_000}),
        (stream, topic, lot),
    )
    undone = {"reason": "refund", "payment_method": "stripe", "description": "", "taken": [], "owed": 0, "amount": 0}
    back = {"transaction_id": some_id(), "recharge_id": order, "reference": "r-forged", "refunded_fen": 1_000}
    refunded = {"refund_reference": "r-forged", "amount_fen": 1_000, "credits": 0, "reason": "refund"}
    place, _ = append(
        conninfo, (recharge, "recharge.refunded", refunded), (stream, "credits.clawed_back", back | undone)
    )
    return saying(place, "RechargeRefunded does not follow")


def hold_timed_out_early(conninfo: str) -> Place:
    event = events(conninfo, "topic = 'credits.released'")[-1]
    return saying(forge(conninfo, event, reason="expired"), "expired before its time")


def reversal_of_another_product(conninfo: str) -> Place:
    event = events(conninfo, "topic = 'credits.reversed'")[-1]
    return saying(forge(conninfo, event, product="openai/other"), "reverses what was not spent on openai/other")


def expiry_left_out(conninfo: str) -> Place:
    """The very event is named, though more follows."""
    (place,) = append(conninfo, a_grant(conninfo, expires_at=LONG_AGO))
    append(conninfo, a_grant(conninfo))
    return saying(place, "is past its date, and was left there")


def revenue_of_another_model(conninfo: str) -> Place:
    captured = events(conninfo, "topic = 'credits.captured'")[0]
    hold_id = msgspec.json.decode(captured.state)["data"]["hold_id"]
    (held,) = events(conninfo, f"topic = 'credits.held' and convert_from(state, 'utf8') like '%{hold_id}%'")
    forge(conninfo, captured, product="openai/other")
    return saying(forge(conninfo, held, product="openai/other"), "hold without the other half")


def reversal_to_oneself(conninfo: str) -> Place:
    event = events(conninfo, "topic = 'credits.reversed'")[0]
    return saying(forge(conninfo, event, {"actor": event.stream.partition("-")[2]}), "by the very person")


def refund_of_no_order(conninfo: str) -> Place:
    event = events(conninfo, "topic = 'credits.clawed_back'")[-1]
    return saying(forge(conninfo, event, recharge_id="a\0b"), "refund without the other half")


def nested_too_deep(conninfo: str) -> Place:
    event = events(conninfo, "topic = 'credits.consumed'")[-1]
    deep = b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    change(conninfo, event.position, state=event.state.removesuffix(b"}") + deep)
    return saying(event.place, "cannot be read: it is nested too deep")


FORGERIES: Final[list[Forgery]] = [
    revenue_of_another_model,
    reversal_to_oneself,
    bonus_for_money,
    bonus_by_a_gateway,
    adjustment_for_money,
    adjustment_of_another_priority,
    adjustment_that_expires,
    adjustment_without_approval,
    adjustment_approved_by_who_asked,
    adjustment_asked_for_by_nobody,
    time_without_a_zone,
    date_without_a_zone,
    hold_without_a_zone,
    revenue_moved_forward,
    refund_for_nothing,
    hold_timed_out_early,
    reversal_of_another_product,
    expiry_left_out,
]


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_rule_tells_though_all_else_follows(sealed: Sealed, forgery: Forgery) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        place = forgery(conninfo)
        rehash(conninfo)
        refill(conninfo)
        findings = sealed.audit(conninfo)
        assert place.is_named(findings), shown(findings)


@pytest.mark.parametrize("forgery", [refund_of_no_order, nested_too_deep], ids=lambda forgery: forgery.__name__)
def test_what_no_read_model_can_be_made_of_is_named_and_not_the_end(sealed: Sealed, forgery: Forgery) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        place = forgery(conninfo)
        rehash(conninfo)
        findings = sealed.audit(conninfo)
        assert place.is_named(findings), shown(findings)


def test_what_is_made_anew_of_an_honest_log_agrees(sealed: Sealed) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        rehash(conninfo)
        refill(conninfo)
        assert sealed.audit(conninfo, checkpoints=sealed.checkpoints).differences == []


@pytest.mark.parametrize(
    ("column", "what"), [("originator_version", "version -1 follows"), ("notification_id", "its hash is not")]
)
def test_what_has_no_hash_is_named_and_not_the_end(sealed: Sealed, column: str, what: str) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        event = events(conninfo)[60]
        change(conninfo, event.position, **{column: -1})
        named = Place(event.stream, -1 if column == "originator_version" else event.version, what)
        findings = sealed.audit(conninfo, checkpoints=sealed.checkpoints)
        assert named.is_named(findings), shown(findings)


def test_forged_tiles_do_not_blame_another(sealed: Sealed) -> None:
    """The changed event's own leaf was made to fit, and that of an innocent one was not."""
    with database(sealed.server, "forged", sealed.template) as conninfo:
        good, bad = sorted(one.size for one in sealed.checkpoints)[1:]
        changed = events(conninfo, f"topic = 'credits.consumed' and notification_id > {good}")[0]
        innocent = events(conninfo, f"notification_id > {changed.position} and originator_id <> '{changed.stream}'")[0]
        forge(conninfo, changed, description="given")
        rehash(conninfo)
        refill(conninfo)
        for position, fits in rows(conninfo, "select notification_id, hash from stored_events order by 1"):
            _set_leaf(conninfo, position, bytes(HASH) if position == innocent.position else fits)
        findings = sealed.audit(conninfo, checkpoints=sealed.checkpoints)
        assert Place("log", 0, f"between positions {good + 1} and {bad}").is_named(findings), shown(findings)
        assert not innocent.place.is_named(findings), shown(findings)


def _set_leaf(conninfo: str, position: int, leaf: bytes) -> None:
    tile, place = divmod(position - 1, TILE)
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "update seal_tiles set hashes = overlay(hashes placing %s from %s for 32) where level = 0 and number = %s",
            (leaf, place * HASH + 1, tile),
        )


# -- beside the log


def test_a_mark_that_keeps_a_lot_from_expiring_is_named(sealed: Sealed) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        run_sql(conninfo, "update lots set settled = true")
        findings = sealed.audit(conninfo)
        stream = payer(conninfo)
        assert Place(stream, 0, "is marked as settled, and its date has not passed").is_named(findings), shown(findings)
        assert Place(stream, None, "they would never expire").is_named(findings), shown(findings)


def test_a_mark_on_what_expired_is_right(sealed: Sealed) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        expired = events(conninfo, "topic = 'credits.expired'")
        assert expired
        for event in expired:
            lot = msgspec.json.decode(event.state)["data"]["lot"]
            user_id = event.stream.partition("-")[2]
            run_sql(conninfo, f"update lots set settled = true where user_id = '{user_id}' and lot = {lot}")
        assert sealed.audit(conninfo).differences == []


def test_keys_are_those_of_who_is_there(sealed: Sealed) -> None:
    with database(sealed.server, "forged", sealed.template) as conninfo:
        stream = payer(conninfo).replace("credits", "registration")
        user_id, nobody = stream.partition("-")[2], some_id()
        erased = one(conninfo, "select user_id::text from people where erased")
        run_sql(
            conninfo,
            f"delete from person_keys where user_id = '{user_id}'",
            f"insert into person_keys values ('{nobody}', ''), ('{erased}', '')",
        )
        findings = sealed.audit(conninfo)
        assert Place(stream, 0, "is not erased, and the key is gone").is_named(findings), shown(findings)
        assert Place(f"registration-{erased}", 0, "was erased, and the key is still there").is_named(findings)
        assert Place(f"registration-{nobody}", 0, "a key of nobody").is_named(findings), shown(findings)


@pytest.fixture
async def spender(conninfo: str) -> str:
    """Somebody who has spent so often that there is a snapshot of their account."""
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 1_000), actor="test")
        for _ in range(6):
            await outcomes([consume(user_id, 1) for _ in range(10)], journal)
    follow(conninfo)
    return CREDITS.stream(user_id)


@pytest.fixture
def audit(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audit]:
    with auditing(postgres.conninfo, tmp_path_factory.mktemp("audit")) as audit:
        yield audit


def test_an_honest_snapshot_agrees(conninfo: str, spender: str, audit: Audit) -> None:
    assert one(conninfo, "select version from snapshots") >= CREDITS.snapshot_every
    assert audit(conninfo).differences == []


@pytest.mark.parametrize(
    ("assignment", "what"),
    [
        ("""convert_to(replace(convert_from(state, 'utf8'), '"available":9', '"available":99'), 'utf8')""", "come to"),
        ("""convert_to(replace(convert_from(state, 'utf8'), '"owed":0', '"owed":5'), 'utf8')""", "come to"),
        (
            """convert_to(replace(convert_from(state, 'utf8'), '"reversed_ids":[]', '"reversed_ids":["a"]'), 'utf8')""",
            "come to",
        ),
        ("'nonsense'", "come to"),
    ],
)
def test_another_snapshot_is_named(conninfo: str, spender: str, audit: Audit, assignment: str, what: str) -> None:
    before = one(conninfo, "select state from snapshots")
    version = one(conninfo, "select version from snapshots")
    run_sql(conninfo, f"update snapshots set state = {assignment}")
    assert one(conninfo, "select state from snapshots") != before
    findings = audit(conninfo)
    assert Place(spender, version, what).is_named(findings), shown(findings)


@pytest.mark.parametrize("version", [0, 1_000])
def test_a_snapshot_of_no_event_is_named(conninfo: str, spender: str, audit: Audit, version: int) -> None:
    run_sql(conninfo, f"update snapshots set version = {version}")
    findings = audit(conninfo)
    assert Place(spender, None, f"has a snapshot of event {version}").is_named(findings), shown(findings)
    run_sql(conninfo, f"update snapshots set stream = 'credits-{some_id()}'")
    assert "has a snapshot and no events" in shown(audit(conninfo))


def test_a_snapshot_of_another_shape_is_nobodys(conninfo: str, spender: str, audit: Audit) -> None:
    run_sql(conninfo, "update snapshots set shape = shape - 1, version = 7, state = 'nonsense'")
    assert audit(conninfo).differences == []


def test_what_belongs_to_another_kind_of_stream_is_named_and_not_the_end(sealed: Sealed) -> None:
    """A payment where there is no order; no read model can be made of it either."""
    with database(sealed.server, "astray", sealed.template) as conninfo:
        paid = (payer(conninfo), "recharge.paid", {"payment_reference": "p1", "amount_fen": 100})
        (place,) = append(conninfo, paid)
        rehash(conninfo)
        findings = sealed.audit(conninfo)
        assert saying(place, "RechargePaid does not follow from what was before").is_named(findings), shown(findings)

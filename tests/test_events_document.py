"""``docs/events.md`` says exactly what the catalogue of events says, no more and no less."""

import re
import types
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import pytest

from mintage.domain.catalogue import DECIDERS, EVENT_TYPES, TAGS
from mintage.domain.credits.events import CreditEvent, CreditsGranted, Lot, Slice, Terms
from mintage.domain.credits.postings import Posting, posting_of
from mintage.domain.generation.events import Parameter
from mintage.infra.codec import Envelope
from tests.golden.samples import SAMPLES

PAGE = (Path(__file__).parents[1] / "docs" / "events.md").read_text()
KIND_OF = {tag: kind for kind, tag in TAGS.items()}


def tables(header: str) -> list[list[str]]:
    """The cells of every row of every table on the page that has this header."""
    rows: list[list[str]] = []
    reading = False
    for line in PAGE.splitlines():
        if not line.startswith("|"):
            reading = False
        elif line == header:
            reading = True
        elif reading and not line.startswith("|---"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


TAG_ROWS = tables("| tag | meaning |")
FIELD_ROWS = tables("| event | field | type | if absent | unit and meaning | sealed |")
CREDIT_ROWS = tables("| event | available | held | owed | paid | promotional | revenue | breakage |")
FEN_ROWS = tables("| event | receivable | paid | revenue | breakage |")


def code(cell: str) -> str:
    """What a cell says between its backticks."""
    found = re.fullmatch("`([^`]+)`", cell)
    assert found, cell
    return found.group(1)


def in_words(kind: Any) -> str:
    """A field's type as the page calls it."""
    if kind == Parameter:
        raise AssertionError("only as named values")
    plain = {str: "text", int: "whole number", bool: "yes or no", datetime: "time"}
    if kind in plain:
        return plain[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        *most, last = (f"`{argument}`" for argument in arguments)
        return f"{', '.join(most)} or {last}"
    if origin in {Union, types.UnionType} and type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return f"{in_words(inner)} or empty"
    lists = {
        tuple[Slice, ...]: "list of lot parts",
        tuple[Lot, ...]: "list of lots",
        tuple[str, ...]: "list of texts",
        dict[str, Parameter]: "named values",
    }
    return lists[kind]


def absent(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "always there"
    defaults: dict[object, str] = {None: "empty", False: "no", (): "none", "": "empty"}
    return defaults[field.default] if type(field.default) is not int else str(field.default)


def test_every_tag_is_there_once_with_a_meaning_and_nothing_unknown() -> None:
    assert [code(tag) for tag, _ in TAG_ROWS] == list(dict.fromkeys(code(tag) for tag, _ in TAG_ROWS))
    assert {code(tag) for tag, _ in TAG_ROWS} == set(TAGS.values())
    assert all(meaning.endswith(".") for _, meaning in TAG_ROWS)


def test_every_field_is_there_in_its_order_with_its_type_and_nothing_unknown() -> None:
    said = [(code(tag), code(name), kind, default, sealed) for tag, name, kind, default, _, sealed in FIELD_ROWS]
    true = [
        (
            tag,
            field.name,
            in_words(field.type),
            absent(field),
            "yes" if field.name in KIND_OF[tag].PERSONAL else "no",
        )
        for tag, _ in ((code(tag), meaning) for tag, meaning in TAG_ROWS)
        for field in msgspec.structs.fields(KIND_OF[tag])
    ]
    assert said == true


def test_every_field_has_a_meaning() -> None:
    assert all(meaning for *_, meaning, _ in FIELD_ROWS)


def test_amounts_name_their_unit() -> None:
    for _, name, kind, _, meaning, _ in FIELD_ROWS:
        if code(name).endswith("_fen"):
            assert "fen" in meaning
        elif kind == "whole number" and code(name) in {"amount", "price", "credits", "charged"}:
            assert "credits" in meaning


def test_every_aggregate_has_its_stream() -> None:
    assert set(re.findall(r"^Stream `([a-z]+)-<", PAGE, re.MULTILINE)) == set(DECIDERS)


def test_the_envelope_is_as_described() -> None:
    (*parts,) = (code(part) for part, _ in tables("| part | what it says |"))
    assert tuple(parts) == Envelope.__struct_fields__


def test_a_lot_and_a_part_of_one_are_as_described() -> None:
    for kind in (Slice, Lot, Terms):
        assert all(f"`{name}`" in PAGE for name in kind.__struct_fields__)
    assert Slice.__struct_fields__ == ("lot", "amount", "fen")
    assert Lot.__struct_fields__ == ("number", "amount", "fen", "terms")
    assert "`amount`, how many credits of it, and `fen`, the fen of its price that lie in them" in PAGE


def moved(event: CreditEvent, cells: list[str]) -> list[int]:
    """What the cells of a posting's row come to for an event."""
    taken, returned = getattr(event, "taken", ()), getattr(event, "returned", ())
    values = {name: getattr(event, name, 0) for name in ("amount", "owed", "paid_fen", "refunded_fen")} | {
        "taken": sum(part.amount for part in taken),
        "returned": sum(part.amount for part in returned),
        "fen": sum(part.fen for part in taken) or getattr(event, "fen", 0),
        "back": sum(part.fen for part in returned),
    }
    true = "bought" if values["paid_fen"] else "given"
    return [
        sum(
            values[name] * (-1 if sign == "−" else 1)
            for sign, name, _, condition in re.findall(r"([+−]) (\w+)( if (bought|given))?", cell)
            if condition in {"", true}
        )
        for cell in cells
    ]


@pytest.mark.parametrize("tag", [TAGS[kind] for kind in get_args(CreditEvent)])
def test_the_postings_are_those_of_the_program_and_sum_to_zero(tag: str) -> None:
    (event,) = (sample.event for sample in SAMPLES if TAGS[type(sample.event)] == tag)
    assert isinstance(event, CreditEvent)
    ((_, *credit_cells),) = (row for row in CREDIT_ROWS if code(row[0]) == tag)
    ((_, *fen_cells),) = (row for row in FEN_ROWS if code(row[0]) == tag)
    posting = posting_of(event)
    assert Posting(*moved(event, credit_cells), *moved(event, fen_cells)) == posting
    assert (posting.credits, posting.fen) == (0, 0)


def test_the_given_lot_is_as_described_too() -> None:
    gift = CreditsGranted(transaction_id="t", lot=1, amount=7, source="signup_bonus", description="d")
    ((_, *cells),) = (row for row in CREDIT_ROWS if code(row[0]) == "credits.granted")
    assert Posting(*moved(gift, cells)) == posting_of(gift)


def test_the_page_counts_no_event_that_is_not_in_the_catalogue() -> None:
    categories = "|".join(DECIDERS)
    mentioned = set(re.findall(rf"`((?:{categories})\.[a-z_]+)`", PAGE))
    assert mentioned == {TAGS[kind] for kind in EVENT_TYPES}

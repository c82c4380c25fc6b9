"""The examples of ``docs/ledger.md`` are what the program does: told here once more, and compared number by number."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from mintage.domain.catalogue import TAGS
from mintage.domain.credits.account import CreditAccount, split
from mintage.domain.credits.decider import (
    CREDITS,
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    GrantCredits,
    HoldCredits,
    ReleaseHold,
    RemoveCredits,
    ReverseSpending,
)
from mintage.domain.credits.events import CreditEvent, CreditsGranted, HoldCaptured, Lot, Terms
from mintage.domain.credits.postings import posting_of

PAGE: Final = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text(encoding="utf-8")
DAY: Final = timedelta(days=1)
START: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
FEN: Final = ("receivable_fen", "paid_fen", "revenue_fen", "breakage_fen")
CREDIT: Final = ("available", "held", "owed", "paid", "promotional", "revenue", "breakage")


def story() -> Iterator[tuple[CreditEvent, CreditAccount]]:
    """Every kind of event once at least, with the account after it."""
    account = CREDITS.initial
    happened: list[CreditEvent] = []

    def give(command: CreditCommand) -> Iterator[tuple[CreditEvent, CreditAccount]]:
        nonlocal account
        for event in CREDITS.decide(command, account):
            account = CREDITS.evolve(account, event)
            happened.append(event)
            yield event, account

    gift: dict[str, Any] = {"source": "adjustment", "description": ""}
    yield from give(GrantCredits("t1", 10, **gift, now=START, expires_at=START + 7 * DAY))
    yield from give(
        GrantCredits("t2", 100, "recharge", "", START, paid_fen=1000, payment_method="wechat", reference="order")
    )
    yield from give(ConsumeCredits("t3", 4, "", START))
    yield from give(HoldCredits("task 1", 20, "", "model", START))
    yield from give(CaptureHold("task 1", "t4", 15, "", START))
    yield from give(HoldCredits("task 2", 10, "", "model", START))
    yield from give(ReleaseHold("task 2", "cancelled", START))
    (captured,) = [event for event in happened if isinstance(event, HoldCaptured)]
    terms = {
        lot.lot: Terms(lot.amount, lot.paid_fen, lot.expires_at, lot.priority, lot.reference)
        for lot in happened
        if isinstance(lot, CreditsGranted)
    }
    yield from give(ReverseSpending("t5", captured, terms, "", START + 8 * DAY))
    yield from give(RemoveCredits("t6", 10, "", "adjustment", START + 8 * DAY))
    yield from give(ConsumeCredits("t7", 60, "", START + 8 * DAY))
    yield from give(ClawBack("t8", "order", "refund", "chargeback", 100, 1000, "wechat", "", START + 9 * DAY))
    yield from give(GrantCredits("t9", 50, **gift, now=START + 10 * DAY))


def told() -> list[list[str]]:
    """The rows of the page's table of the example."""
    rows = re.findall(r"^\| \d+ \| (`credits\..*) \|$", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_the_example_tells_every_kind_of_event_with_the_numbers_it_has() -> None:
    happened = list(story())
    expected = []
    for event, account in happened:
        posting = posting_of(event)
        numbers = [getattr(posting, name) for name in (*CREDIT, *FEN)]
        lots = ", ".join(f"{lot.number}: {lot.amount}" + f" ({lot.fen} fen)" * bool(lot.fen) for lot in account.lots)
        cells = [f"{number:+}".replace("-", "−") if number else "" for number in numbers]
        expected.append([f"`{TAGS[type(event)]}`", *cells, lots])
    assert told() == expected
    kinds = {kind for kind, tag in TAGS.items() if tag.startswith("credits.")}
    assert {type(event) for event, _ in happened} == kinds


def test_the_balances_that_the_text_ends_with_are_those_of_the_example() -> None:
    *_, (_, account) = story()
    sums = {name: sum(getattr(posting_of(event), name) for event, _ in story()) for name in (*CREDIT, *FEN)}
    assert (account.available, account.held, account.owed) == (0, 0, -sums["owed"])
    assert f"owes {account.owed} credits" in PAGE
    text = " ".join(PAGE.split())
    assert f"revenue stands at −{sums['revenue_fen']} fen and breakage at {-sums['breakage_fen']} fen" in text


def test_the_example_of_sharing_fen() -> None:
    lot = Lot(1, 3, 100, Terms(3, 100))
    shares = []
    while lot.amount:
        part = split(lot, 1)
        shares.append(part.fen)
        lot = msgspec.structs.replace(lot, amount=lot.amount - 1, fen=lot.fen - part.fen)
    assert f"{shares[0]}, {shares[1]} and {shares[2]} fen" in PAGE

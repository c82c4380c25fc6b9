"""What every credit event posts, account by account, in credits and in fen."""

from typing import get_args

import pytest

from mintage.domain.credits.events import CreditEvent, SpendingReversed
from mintage.domain.credits.postings import Posting, posting_of
from tests.domain.test_credits import (
    captured,
    clawed_back,
    consumed,
    debt_paid,
    expired,
    granted,
    held,
    lot,
    released,
    removed,
)

BACK = (lot(1, 2), lot(2, 3, of=5, paid=True))
SAID: list[tuple[str, CreditEvent, Posting]] = [
    ("a gift", granted(1, 5), Posting(available=5, promotional=-5)),
    ("a sale", granted(1, 5, paid=True), Posting(available=5, paid=-5, receivable_fen=50, paid_fen=-50)),
    ("spent", consumed((1, 2), (2, 3, 30)), Posting(available=-5, revenue=5, paid_fen=30, revenue_fen=-30)),
    ("set aside", held("a", (1, 2), (2, 3, 30)), Posting(available=-5, held=5)),
    (
        "captured in part",
        captured("a", (1, 2), (2, 1, 10), returned=((2, 2, 20),)),
        Posting(available=2, held=-5, revenue=3, paid_fen=10, revenue_fen=-10),
    ),
    ("released", released("a", (1, 2), (2, 3, 30)), Posting(available=5, held=-5)),
    ("expired", expired(2, 3, 30), Posting(available=-3, breakage=3, paid_fen=30, breakage_fen=-30)),
    ("removed", removed((1, 2), (2, 3, 30)), Posting(available=-5, breakage=5, paid_fen=30, breakage_fen=-30)),
    (
        "reversed",
        SpendingReversed(transaction_id="t", reverses="spend", amount=5, description="sorry", returned=BACK),
        Posting(available=5, revenue=-5, paid_fen=-30, revenue_fen=30),
    ),
    (
        "clawed back, three of it spent before",
        clawed_back(2, (2, 2, 20), owed=3),
        Posting(available=-2, owed=-3, paid=5, receivable_fen=-50, paid_fen=20, revenue_fen=30),
    ),
    ("a debt paid", debt_paid((2, 3, 30)), Posting(available=-3, owed=3, paid_fen=30, revenue_fen=-30)),
]


@pytest.mark.parametrize(("event", "posting"), [row[1:] for row in SAID], ids=[row[0] for row in SAID])
def test_what_is_posted(event: CreditEvent, posting: Posting) -> None:
    assert posting_of(event) == posting
    assert (posting.credits, posting.fen) == (0, 0)


def test_none_is_forgotten() -> None:
    assert {type(event) for _, event, _ in SAID} == set(get_args(CreditEvent))

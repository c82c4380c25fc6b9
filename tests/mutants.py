"""Mistakes that somebody could make in the credit account, each of which the tests must notice.

``python -m tests.mutants`` prints one line per mutant: which mistake, and the first test that caught it. A mutant is an
exact snippet of the modules in ``mintage/domain/credits`` (found exactly once in all of them, or the run fails) with
another in its place. The changed source is executed as its module in a forked process of its own, where the pure credit
tests then run until the first failure; the files on disk are never touched. First the property tests try a few
examples, which is enough for nearly every mutant; one that passes is tried once more with all. The unchanged source
must pass the same: what kills is the change. A mutant that passes, or that cannot even be loaded, is an error: exit
code 1.
"""

import contextlib
import io
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import hypothesis
import pytest

from tests.thorough import EXAMPLES_MAX

ROOT: Final = Path(__file__).parents[1]
MODULES: Final = tuple(f"mintage.domain.credits.{name}" for name in ("account", "decider", "postings"))
# The quickest first.
TESTS: Final = tuple(
    f"tests/domain/test_credits{name}.py"
    for name in ("", "_postings", "_seldom", "_fen", "_never_overspend", "_machine")
)
SIDE_BY_SIDE: Final = 2
FEW: Final = 30
"""So many examples are tried at first."""


class Changed(NamedTuple):
    """A module, and what is executed as it."""

    module: str
    source: str


def path_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


def as_it_is(module: str) -> Changed:
    return Changed(module, path_of(module).read_text())


class Mutant(NamedTuple):
    mistake: str
    snippet: str
    instead: str

    def changed(self) -> Changed:
        originals = [as_it_is(module) for module in MODULES]
        found = [original for original in originals for _ in range(original.source.count(self.snippet))]
        assert len(found) == 1, f"{self.mistake}: the snippet is there {len(found)} times"
        return Changed(found[0].module, found[0].source.replace(self.snippet, self.instead))


MUTANTS: Final = (
    Mutant(
        "the last credit cannot be spent",
        "if amount > account.available:",
        "if amount >= account.available:",
    ),
    Mutant(
        "availability is not checked",
        "if amount > account.available:",
        "if False:",
    ),
    Mutant(
        "nothing, or less, can be taken",
        "    assert amount > 0, amount\n",
        "",
    ),
    Mutant(
        "nothing can be granted",
        "            assert command.amount > 0, command.amount\n            assert command.paid_fen",
        "            assert command.paid_fen",
    ),
    Mutant(
        "a lot can cost less than nothing",
        "            assert command.paid_fen >= 0, command.paid_fen\n",
        "",
    ),
    Mutant(
        "a lot cannot be had for nothing",
        "assert command.paid_fen >= 0, command.paid_fen",
        "assert command.paid_fen > 0, command.paid_fen",
    ),
    Mutant(
        "nothing can be captured",
        "    assert command.amount > 0, command.amount\n    if command.amount > held:",
        "    if command.amount > held:",
    ),
    Mutant(
        "less than nothing can be clawed back",
        "    assert command.amount >= 0, command.amount\n",
        "",
    ),
    Mutant(
        "a refund that is worth no credit fails",
        "assert command.amount >= 0, command.amount",
        "assert command.amount > 0, command.amount",
    ),
    Mutant(
        "what is held stays available",
        "return _changed(account, -amount, amount, without(",
        "return _changed(account, 0, amount, without(",
    ),
    Mutant(
        "what is held is counted twice",
        "return _changed(account, -amount, amount, without(",
        "return _changed(account, -amount, 2 * amount, without(",
    ),
    Mutant(
        "a hold can be opened twice",
        "if command.hold_id in account.holds:",
        "if False:",
    ),
    Mutant(
        "a hold that is not open is taken for an empty one",
        "raise HoldNotOpen(hold_id) from None",
        'return Hold((), "")',
    ),
    Mutant(
        "all of a hold cannot be captured",
        "if command.amount > held:",
        "if command.amount >= held:",
    ),
    Mutant(
        "more than was held can be captured",
        "if command.amount > held:",
        "if False:",
    ),
    Mutant(
        "a capture keeps the rest",
        "if part.amount < lot.amount:",
        "if False:",
    ),
    Mutant(
        "a capture gives back lots of which nothing is left",
        "if part.amount < lot.amount:",
        "if True:",
    ),
    Mutant(
        "a capture returns the money of what it spent",
        "lot.amount - part.amount, lot.fen - part.fen))",
        "lot.amount - part.amount, lot.fen))",
    ),
    Mutant(
        "a capture spends the last lots first",
        "taken = _slices(hold.lots, command.amount, beside)",
        "taken = _slices(hold.lots[::-1], command.amount, beside)",
    ),
    Mutant(
        "the rest of a capture stays held",
        "back, -amount - back, lots",
        "back, -amount, lots",
    ),
    Mutant(
        "the rest of a capture is not available",
        "back, -amount - back, lots",
        "0, -amount - back, lots",
    ),
    Mutant(
        "a captured hold stays open",
        "return _changed(account, back, -amount - back, lots, _closed(account.holds, hold_id))",
        "return _changed(account, back, -amount - back, lots)",
    ),
    Mutant(
        "a released hold stays open",
        "return _changed(account, amount, -amount, lots, _closed(account.holds, hold_id))",
        "return _changed(account, amount, -amount, lots)",
    ),
    Mutant(
        "closing one hold closes all",
        "return {key: hold for key, hold in holds.items() if key != hold_id}",
        "return {}",
    ),
    Mutant(
        "opening a hold forgets the others",
        "{**account.holds, hold_id: hold}",
        "{hold_id: hold}",
    ),
    Mutant(
        "a release gives back to the wrong lot",
        "lots = _with(account.lots, account.holds[hold_id].lots)",
        "lots = _with(\n"
        "    account.lots, tuple(msgspec.structs.replace(lot, number=1) for lot in account.holds[hold_id].lots)\n"
        ")",
    ),
    Mutant(
        "a release gives nothing back to the lots",
        "lots = _with(account.lots, account.holds[hold_id].lots)",
        "lots = account.lots",
    ),
    Mutant(
        "a hold forgets when it ends",
        "event.product, event.expires_at)",
        "event.product)",
    ),
    Mutant(
        "a capture forgets what it was for",
        "        product=hold.product,",
        '        product="",',
    ),
    Mutant(
        "a lot outlives its date by a moment",
        "due <= now:",
        "due < now:",
    ),
    Mutant(
        "only one lot expires at a time",
        "            account = evolve(account, event)\n    return expired, account",
        "            account = evolve(account, event)\n            break\n    return expired, account",
    ),
    Mutant(
        "the first lot in line hides the dates of the others",
        "if due is not None and due <= now:",
        "if lot.number == account.lots[0].number and due is not None and due <= now:",
    ),
    Mutant(
        "what expires takes no money with it",
        "CreditsExpired(lot=lot.number, amount=lot.amount, fen=lot.fen)",
        "CreditsExpired(lot=lot.number, amount=lot.amount)",
    ),
    Mutant(
        "spending does not look at dates",
        "expired, account = _expire(account, command.now)\n            consumed",
        "expired = ()\n            consumed",
    ),
    Mutant(
        "holding does not look at dates",
        "expired, account = _expire(account, command.now)\n    held",
        "expired = ()\n    held",
    ),
    Mutant(
        "removing does not look at dates",
        "expired, account = _expire(account, command.now)\n            removed",
        "expired = ()\n            removed",
    ),
    Mutant(
        "clawing back does not look at dates",
        "expired, account = _expire(account, command.now)\n    own",
        "expired: tuple[CreditsExpired, ...] = ()\n    own",
    ),
    Mutant(
        "what expired when spending is not written down",
        "return (*expired, consumed) if expired else (consumed,)",
        "return (consumed,)",
    ),
    Mutant(
        "what expired when holding is not written down",
        "return (*expired, held)",
        "return (held,)",
    ),
    Mutant(
        "what expired when removing is not written down",
        "return (*expired, removed)",
        "return (removed,)",
    ),
    Mutant(
        "what expired when clawing back is not written down",
        "return (*expired, clawed)",
        "return (clawed,)",
    ),
    Mutant(
        "what comes back late stays",
        "expired, account = _expire(evolve(account, event), now)",
        "expired, account = (), evolve(account, event)",
    ),
    Mutant(
        "what a release brings back late stays",
        "return _settled(account, released, command.now)",
        "return (released,)",
    ),
    Mutant(
        "what a capture brings back late stays",
        "return _settled(account, captured, command.now) if captured.returned else (captured,)",
        "return (captured,)",
    ),
    Mutant(
        "a capture that returns nothing lets lots expire",
        "return _settled(account, captured, command.now) if captured.returned else (captured,)",
        "return _settled(account, captured, command.now)",
    ),
    Mutant(
        "what a grant brings in does not pay debts",
        "return _settled(account, granted, command.now)",
        "return (granted,)",
    ),
    Mutant(
        "what a reversal brings back does not pay debts",
        "return _settled(account, _reverse(command, account), command.now)",
        "return (_reverse(command, account),)",
    ),
    Mutant(
        "the priority of lots is not looked at",
        "return terms.priority, terms.expires_at",
        "return terms.expires_at",
    ),
    Mutant(
        "the highest number is spent first",
        "return terms.priority, terms.expires_at",
        "return -terms.priority, terms.expires_at",
    ),
    Mutant(
        "the date comes before the priority",
        "return terms.priority, terms.expires_at or NEVER, terms.paid_fen > 0,",
        "return terms.expires_at or NEVER, terms.priority, terms.paid_fen > 0,",
    ),
    Mutant(
        "paid credits are spent before promotional ones",
        "terms.paid_fen > 0, lot.number",
        "terms.paid_fen == 0, lot.number",
    ),
    Mutant(
        "a gift counts as paid for",
        "terms.paid_fen > 0, lot.number",
        "terms.paid_fen >= 0, lot.number",
    ),
    Mutant(
        "cheap lots are spent before dear ones",
        "terms.paid_fen > 0, lot.number",
        "terms.paid_fen, lot.number",
    ),
    Mutant(
        "the newest lot is spent first",
        "terms.paid_fen > 0, lot.number",
        "terms.paid_fen > 0, -lot.number",
    ),
    Mutant(
        "what never expires is spent first",
        "terms.expires_at or NEVER,",
        "terms.expires_at or datetime.min.replace(tzinfo=UTC),",
    ),
    Mutant(
        "promotional comes before the date",
        "terms.expires_at or NEVER, terms.paid_fen > 0, lot.number",
        "terms.paid_fen > 0, terms.expires_at or NEVER, lot.number",
    ),
    Mutant(
        "lots lie as they came",
        "tuple(sorted(by_number.values(), key=_spending_order))",
        "tuple(by_number.values())",
    ),
    Mutant(
        "what comes back replaces what is left of the lot",
        "Lot(lot.number, lot.amount + other.amount,",
        "Lot(lot.number, other.amount,",
    ),
    Mutant(
        "the money of what comes back replaces that of what is left",
        "lot.fen + other.fen, lot.terms)",
        "other.fen, lot.terms)",
    ),
    Mutant(
        "what comes back is lost if some of the lot is left",
        "lot if there is None else _joined(there, lot)",
        "lot if there is None else there",
    ),
    Mutant(
        "a slice takes no money from its lot",
        "lot.amount - part.amount, lot.fen - part.fen, lot.terms)",
        "lot.amount - part.amount, lot.fen, lot.terms)",
    ),
    Mutant(
        "a slice takes nothing from its lot",
        "return Lot(lot.number, lot.amount - part.amount,",
        "return Lot(lot.number, lot.amount,",
    ),
    Mutant(
        "an empty lot stays in line",
        "for lot in lots if (left := _less(lot, gone[lot.number]) if lot.number in gone else lot).amount)",
        "for lot in lots if (left := _less(lot, gone[lot.number]) if lot.number in gone else lot))",
    ),
    Mutant(
        "an empty lot stays first in line",
        "        if first.amount == part.amount:\n            return lots[1:]\n",
        "",
    ),
    Mutant(
        "of several slices only the first is taken from the lots",
        "if len(slices) == 1 and first.number == part.lot:",
        "if first.number == part.lot:",
    ),
    Mutant(
        "one slice is taken from the first lot, whichever it is of",
        "if len(slices) == 1 and first.number == part.lot:",
        "if len(slices) == 1:",
    ),
    Mutant(
        "lots are numbered by how many are left",
        "lot=account.lots_granted + 1,",
        "lot=len(account.lots) + 1,",
    ),
    Mutant(
        "a lot forgets its date",
        "terms = Terms(amount, fen, event.expires_at, event.priority, event.reference)",
        "terms = Terms(amount, fen, None, event.priority, event.reference)",
    ),
    Mutant(
        "a lot forgets its priority",
        "terms = Terms(amount, fen, event.expires_at, event.priority, event.reference)",
        "terms = Terms(amount, fen, event.expires_at, reference=event.reference)",
    ),
    Mutant(
        "a lot forgets which order it came by",
        "terms = Terms(amount, fen, event.expires_at, event.priority, event.reference)",
        "terms = Terms(amount, fen, event.expires_at, event.priority)",
    ),
    Mutant(
        "a grant has no priority",
        "                priority=command.priority,\n",
        "",
    ),
    Mutant(
        "the money that stays is rounded up",
        "fen - left * terms.paid_fen // terms.amount)))",
        "fen + -left * terms.paid_fen // terms.amount)))",
    ),
    Mutant(
        "a slice gets its share rounded down, and what stays the rest",
        "max(0, fen - left * terms.paid_fen // terms.amount)))",
        "amount * terms.paid_fen // terms.amount))",
    ),
    Mutant(
        "a slice may take less than no money",
        "min(part.fen, max(0, fen - left * terms.paid_fen // terms.amount)))",
        "min(part.fen, fen - left * terms.paid_fen // terms.amount))",
    ),
    Mutant(
        "a slice may take more money than its part has",
        "min(part.fen, max(0, fen - left * terms.paid_fen // terms.amount)))",
        "max(0, fen - left * terms.paid_fen // terms.amount))",
    ),
    Mutant(
        "the price is of what is left of the lot",
        "fen - left * terms.paid_fen // terms.amount)))",
        "fen - left * fen // (left + amount))))",
    ),
    Mutant(
        "a hold is cut without a look at the rest of its lot",
        "taken = _slices(hold.lots, command.amount, beside)",
        "taken = _slices(hold.lots, command.amount)",
    ),
    Mutant(
        "of what lies beside only the credits are looked at",
        "left + beside.amount, fen + beside.fen",
        "left + beside.amount, fen",
    ),
    Mutant(
        "of what lies beside only the money is looked at",
        "left + beside.amount, fen + beside.fen",
        "left, fen + beside.fen",
    ),
    Mutant(
        "a hold is cut with a look at another lot",
        "for other in beside if other.number == lot.number]",
        "for other in beside[:1]]",
    ),
    Mutant(
        "what is taken whole leaves money behind for what lies beside",
        "    if amount == part.amount:\n        return Slice(part.number, amount, part.fen)\n",
        "",
    ),
    Mutant(
        "the last lot looks at what the first has beside",
        "[other for other in beside if other.number == lot.number]",
        "[other for other in beside if other.number == lots[0].number]",
    ),
    Mutant(
        "what a reversal brings back is not available",
        "account = _changed(account, amount, 0, _with(account.lots, lots))",
        "account = _changed(account, 0, 0, _with(account.lots, lots))",
    ),
    Mutant(
        "a transaction can be reversed again",
        "if spent.transaction_id in account.reversed_ids:",
        "if False:",
    ),
    Mutant(
        "only the last reversal is remembered",
        "reversed_ids=account.reversed_ids | {reverses}",
        "reversed_ids=frozenset({reverses})",
    ),
    Mutant(
        "every event forgets what was reversed",
        "        account.owed,\n        account.reversed_ids,\n",
        "        account.owed,\n",
    ),
    Mutant(
        "a reversal remembers itself, not what it reversed",
        "        reverses=spent.transaction_id,",
        "        reverses=command.transaction_id,",
    ),
    Mutant(
        "a reversal gives back only the first lot",
        "for part in spent.taken),\n        product",
        "for part in spent.taken[:1]),\n        product",
    ),
    Mutant(
        "what a reversal brings back has lost its money",
        "Lot(part.lot, part.amount, part.fen, command.terms[part.lot])",
        "Lot(part.lot, part.amount, 0, command.terms[part.lot])",
    ),
    Mutant(
        "a reversal forgets what the task was",
        "product=spent.product if isinstance(spent, HoldCaptured) else None,",
        "product=None,",
    ),
    Mutant(
        "a clawback takes more than is there",
        "there = min(command.amount, account.available)",
        "there = command.amount",
    ),
    Mutant(
        "a clawback does not begin with what the order brought",
        "taken=_slices((*own, *others), there)",
        "taken=_slices(account.lots, there)",
    ),
    Mutant(
        "a clawback begins with what the order did not bring",
        "taken=_slices((*own, *others), there)",
        "taken=_slices((*others, *own), there)",
    ),
    Mutant(
        "what is not there is forgiven",
        "owed=command.amount - there,",
        "owed=0,",
    ),
    Mutant(
        "all that is clawed back is owed",
        "owed=command.amount - there,",
        "owed=command.amount,",
    ),
    Mutant(
        "a debt replaces the one before",
        "owed=account.owed + owed)",
        "owed=owed)",
    ),
    Mutant(
        "every event forgets what is owed",
        "        account.lots_granted,\n        account.owed,\n",
        "        account.lots_granted,\n        0,\n",
    ),
    Mutant(
        "a clawback takes what is owed from what is there",
        "_changed(account, owed - amount, 0, without(account.lots, taken) if taken",
        "_changed(account, -amount, 0, without(account.lots, taken) if taken",
    ),
    Mutant(
        "a clawback that takes nothing fails",
        "without(account.lots, taken) if taken else account.lots)",
        "without(account.lots, taken))",
    ),
    Mutant(
        "what pays a debt stays there",
        "            account = _changed(account, -amount, 0, without(account.lots, taken))\n",
        "            account = _changed(account, 0, 0, account.lots)\n",
    ),
    Mutant(
        "what is overdue pays debts",
        "    expired, account = _expire(evolve(account, event), now)\n    due",
        "    expired, account = _expire(evolve(account, event), datetime.min.replace(tzinfo=now.tzinfo))\n    due",
    ),
    Mutant(
        "debts are never paid",
        "due = min(account.owed, account.available)",
        "due = 0",
    ),
    Mutant(
        "a debt is paid only when all of it can be",
        "due = min(account.owed, account.available)",
        "due = account.owed if account.owed <= account.available else 0",
    ),
    Mutant(
        "a debt is paid with more than is there",
        "due = min(account.owed, account.available)",
        "due = account.owed",
    ),
    Mutant(
        "all that comes in pays a debt",
        "due = min(account.owed, account.available)",
        "due = account.available if account.owed else 0",
    ),
    Mutant(
        "a paid debt stays owed",
        "return msgspec.structs.replace(account, owed=account.owed - amount)",
        "return account",
    ),
    Mutant(
        "debts are paid before what is late goes",
        "return (event, *expired, DebtPaid(amount=due, taken=_slices(account.lots, due)))",
        "return (event, DebtPaid(amount=due, taken=_slices(account.lots, due)), *expired)",
    ),
    Mutant(
        "what expires is posted as spent",
        "case CreditsExpired(amount=amount, fen=fen):\n            return Posting(available=-amount, breakage=amount,",
        "case CreditsExpired(amount=amount, fen=fen):\n            return Posting(available=-amount, revenue=amount,",
    ),
    Mutant(
        "what is removed is posted as spent",
        "        case CreditsRemoved(amount=amount, taken=taken):\n            fen = fen_of(taken)\n",
        "        case CreditsRemoved(amount=amount, taken=taken):\n            fen = fen_of(taken)\n"
        "            return Posting(-amount, 0, 0, 0, 0, amount, 0, 0, fen, -fen)\n",
    ),
    Mutant(
        "the money of what expires is posted as earned",
        "case CreditsExpired(amount=amount, fen=fen):\n",
        "case CreditsExpired(amount=amount, fen=fen):\n"
        "            return Posting(-amount, 0, 0, 0, 0, 0, amount, 0, fen, -fen)\n",
    ),
    Mutant(
        "a clawback leaves the refunded money with the gateway",
        "receivable_fen=-refunded,\n                paid_fen=fen,\n                revenue_fen=refunded - fen,",
        "paid_fen=fen,\n                revenue_fen=-fen,",
    ),
    Mutant(
        "a sale is posted as a gift",
        "            if fen:\n",
        "            if False:\n",
    ),
    Mutant(
        "a gift is posted as a sale",
        "            if fen:\n",
        "            if True:\n",
    ),
    Mutant(
        "the rest of a capture is posted as held",
        "return Posting(back, -amount - back, 0, 0, 0, amount,",
        "return Posting(back, -amount, 0, 0, 0, amount - back,",
    ),
    Mutant(
        "a reversal is posted as a gift",
        "return Posting(available=amount, revenue=-amount, paid_fen=-fen, revenue_fen=fen)",
        "return Posting(available=amount, promotional=-amount, paid_fen=-fen, revenue_fen=fen)",
    ),
    Mutant(
        "a reversal leaves the money earned",
        "return Posting(available=amount, revenue=-amount, paid_fen=-fen, revenue_fen=fen)",
        "return Posting(available=amount, revenue=-amount)",
    ),
    Mutant(
        "a clawback is posted with the sign of a debt turned",
        "                owed=-owed,\n",
        "                owed=owed,\n",
    ),
    Mutant(
        "a clawback takes all the refunded money from the liability",
        "                paid_fen=fen,\n                revenue_fen=refunded - fen,",
        "                paid_fen=refunded,",
    ),
    Mutant(
        "a paid debt is posted as spent",
        "return Posting(available=-amount, owed=amount, paid_fen=fen, revenue_fen=-fen)",
        "return Posting(available=-amount, revenue=amount, paid_fen=fen, revenue_fen=-fen)",
    ),
    Mutant(
        "a paid debt earns nothing",
        "return Posting(available=-amount, owed=amount, paid_fen=fen, revenue_fen=-fen)",
        "return Posting(available=-amount, owed=amount)",
    ),
    Mutant(
        "of several parts only the first has money",
        "    if len(taken) == 1:\n        return taken[0].fen",
        "    if taken:\n        return taken[0].fen",
    ),
)


def run(changed: Sequence[Changed], few: bool, verdict: Connection) -> None:
    """In a process of its own: the tests on these sources; sends the exit code and what failed first."""
    if few:
        os.environ[EXAMPLES_MAX] = str(FEW)
    # Nothing to remember from one mutant to the next, no time spent on the smallest example, the same every time.
    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        report_multiple_bugs=False,
    )
    hypothesis.settings.load_profile("mutants")
    # Pure tests need no plugin, and loading them would take longer than running the tests.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(ROOT)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for name, source in changed:
            assert name not in sys.modules
            sys.modules[name] = module = ModuleType(name)
            module.__file__ = str(path_of(name))
            exec(compile(source, module.__file__, "exec"), module.__dict__)
        code = pytest.main(["-x", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", os.devnull, *TESTS])
    failed = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    verdict.send((int(code), failed[0].split(" - ")[0] if failed else said.getvalue()[-2000:]))


def verdicts(tried: Sequence[Sequence[Changed]]) -> Iterator[tuple[int, int, str]]:
    """Number of what was tried, 0 as it is, exit code of the tests on it, and what failed first; as they come in."""
    context = multiprocessing.get_context("fork")
    waiting = [(number, changed, True) for number, changed in enumerate(tried) if number]
    # It has to pass whatever a mutant was tried with.
    last, is_few_enough = [tried[0]], True
    running: dict[Connection, tuple[int, bool, ForkProcess]] = {}
    while waiting or running or last:
        if not waiting and not running:
            waiting.append((0, last.pop(), is_few_enough))
        while waiting and len(running) < SIDE_BY_SIDE:
            number, changed, few = waiting.pop(0)
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=run, args=(changed, few, there))
            process.start()
            there.close()
            running[here] = number, few, process
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)
            number, few, process = running.pop(connection)
            try:
                code, failed = connection.recv()
            except EOFError:
                code, failed = -1, "the process died"
            process.join()
            if few and number and code == pytest.ExitCode.OK:
                is_few_enough = False
                waiting.append((number, tried[number], False))
            else:
                yield number, code, failed


def main() -> int:
    tried = [[as_it_is(module) for module in MODULES], *([mutant.changed()] for mutant in MUTANTS)]
    wrong = 0
    for number, code, failed in verdicts(tried):
        name = MUTANTS[number - 1].mistake if number else "as it is"
        right = code == (pytest.ExitCode.TESTS_FAILED if number else pytest.ExitCode.OK)
        wrong += not right
        if number:
            print(f"{'killed ' if right else 'NOT KILLED'} {name}: {failed}")  # noqa: T201 -- it is a command
        else:
            print(f"{'passed ' if right else 'BROKEN'} {name}" + ("" if right else f": {failed}"))  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Mistakes that somebody could make in the credit account, each of which the tests must notice.

``python -m tests.mutants`` prints one line per mutant: which mistake, and the first test that caught it. A mutant is an
exact snippet of ``mintage/domain/credits/decider.py`` (found exactly once, or the run fails) with another in its place.
The changed source is executed as that module in a forked process of its own, where the pure credit tests then run until
the first failure; the file on disk is never touched. The unchanged source must pass the same way. A mutant that
passes, or that cannot even be loaded, is an error: exit code 1.
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

ROOT: Final = Path(__file__).parents[1]
MODULE: Final = "mintage.domain.credits.decider"
SOURCE: Final = ROOT / (MODULE.replace(".", "/") + ".py")
TESTS: Final = ("tests/domain/test_credits.py", "tests/domain/test_credits_never_overspend.py")
SIDE_BY_SIDE: Final = 2


class Mutant(NamedTuple):
    mistake: str
    snippet: str
    instead: str

    def source(self) -> str:
        original = SOURCE.read_text()
        assert original.count(self.snippet) == 1, (
            f"{self.mistake}: the snippet is there {original.count(self.snippet)} times"
        )
        return original.replace(self.snippet, self.instead)


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
        "            assert command.amount > 0, command.amount\n            granted",
        "            granted",
    ),
    Mutant(
        "nothing can be captured",
        "    assert command.amount > 0, command.amount\n    if command.amount > held:",
        "    if command.amount > held:",
    ),
    Mutant(
        "a hold can be opened twice",
        "if command.hold_id in account.holds:",
        "if False:",
    ),
    Mutant(
        "a hold that is not open is taken for an empty one",
        "raise HoldNotOpen(hold_id) from None",
        "return ()",
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
        "if spent < lot.amount:",
        "if False:",
    ),
    Mutant(
        "a capture spends the last lots first",
        "    for lot in lots:\n        spent = min(lot.amount, due)",
        "    for lot in reversed(lots):\n        spent = min(lot.amount, due)",
    ),
    Mutant(
        "the rest of a capture stays held",
        "account.held - amount - back,",
        "account.held - amount,",
    ),
    Mutant(
        "the rest of a capture is not available",
        "account.available + back,",
        "account.available,",
    ),
    Mutant(
        "a captured hold stays open",
        "_parts(account.holds[hold_id], returned)),\n                _closed(account.holds, hold_id),",
        "_parts(account.holds[hold_id], returned)),\n                account.holds,",
    ),
    Mutant(
        "a released hold stays open",
        "_with(account.lots, account.holds[hold_id]),\n                _closed(account.holds, hold_id),",
        "_with(account.lots, account.holds[hold_id]),\n                account.holds,",
    ),
    Mutant(
        "closing one hold closes all",
        "return {key: lots for key, lots in holds.items() if key != hold_id}",
        "return {}",
    ),
    Mutant(
        "a release gives back to the wrong lot",
        "_with(account.lots, account.holds[hold_id]),",
        "_with(account.lots, tuple(replace(lot, number=1) for lot in account.holds[hold_id])),",
    ),
    Mutant(
        "a release gives nothing back to the lots",
        "_with(account.lots, account.holds[hold_id]),",
        "account.lots,",
    ),
    Mutant(
        "what is held is counted twice",
        "account.held + amount,",
        "account.held + 2 * amount,",
    ),
    Mutant(
        "what is held stays available",
        "account.available - amount,\n                account.held + amount,",
        "account.available,\n                account.held + amount,",
    ),
    Mutant(
        "a lot outlives its date by a moment",
        "due <= now:",
        "due < now:",
    ),
    Mutant(
        "only one lot expires at a time",
        "while account.lots and (due",
        "if account.lots and (due",
    ),
    Mutant(
        "spending does not look at dates",
        "expired, account = _expire(account, command.now)\n            consumed",
        "expired = ()\n            consumed",
    ),
    Mutant(
        "holding does not look at dates",
        "expired, account = _expire(account, command.now)\n            held",
        "expired = ()\n            held",
    ),
    Mutant(
        "what expired when spending is not written down",
        "return (*expired, consumed) if expired else (consumed,)",
        "return (consumed,)",
    ),
    Mutant(
        "paid credits are spent before promotional ones",
        "lot.paid, lot.number\n",
        "not lot.paid, lot.number\n",
    ),
    Mutant(
        "the newest lot is spent first",
        "lot.paid, lot.number\n",
        "lot.paid, -lot.number\n",
    ),
    Mutant(
        "what never expires is spent first",
        "lot.expires_at or NEVER,",
        "lot.expires_at or datetime.min.replace(tzinfo=UTC),",
    ),
    Mutant(
        "promotional comes before the date",
        "return lot.expires_at or NEVER, lot.paid, lot.number",
        "return lot.paid, lot.expires_at or NEVER, lot.number",
    ),
    Mutant(
        "lots lie as they came",
        "tuple(sorted(by_number.values(), key=_spending_order))",
        "tuple(by_number.values())",
    ),
    Mutant(
        "what comes back replaces what is left of the lot",
        "amount=lot.amount + there.amount)",
        "amount=lot.amount)",
    ),
    Mutant(
        "of several slices only the first is taken from the lots",
        "if len(slices) == 1 and first.number == part.lot:",
        "if first.number == part.lot:",
    ),
    Mutant(
        "an empty lot stays in line",
        "return tuple(lot for lot in left if lot.amount)",
        "return tuple(left)",
    ),
    Mutant(
        "lots are numbered by how many are left",
        "lot=account.lots_granted + 1,",
        "lot=len(account.lots) + 1,",
    ),
    Mutant(
        "a gift counts as paid for",
        "paid=command.paid_fen > 0,",
        "paid=command.paid_fen >= 0,",
    ),
    Mutant(
        "a lot forgets its date",
        "(Lot(number, amount, paid, expires_at),)",
        "(Lot(number, amount, paid),)",
    ),
)


def run(source: str, verdict: Connection) -> None:
    """In a process of its own: the tests on this source; sends the exit code and what failed first."""
    assert MODULE not in sys.modules
    sys.modules[MODULE] = module = ModuleType(MODULE)
    module.__file__ = str(SOURCE)
    # Nothing to remember from one mutant to the next, no time spent on the smallest example, the same every time.
    hypothesis.settings.register_profile("mutants", database=None, derandomize=True, phases=[hypothesis.Phase.generate])
    hypothesis.settings.load_profile("mutants")
    # Pure tests need no plugin, and loading them would take longer than running the tests.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.chdir(ROOT)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        exec(compile(source, str(SOURCE), "exec"), module.__dict__)
        code = pytest.main(["-x", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", os.devnull, *TESTS])
    failed = [line for line in said.getvalue().splitlines() if line.startswith(("FAILED", "ERROR"))]
    verdict.send((int(code), failed[0].split(" - ")[0] if failed else said.getvalue()[-2000:]))


def verdicts(sources: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Number of the source, exit code of the tests on it, and what failed first; as they come in."""
    context = multiprocessing.get_context("fork")
    waiting = list(enumerate(sources))
    running: dict[Connection, tuple[int, ForkProcess]] = {}
    while waiting or running:
        while waiting and len(running) < SIDE_BY_SIDE:
            number, source = waiting.pop(0)
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=run, args=(source, there))
            process.start()
            there.close()
            running[here] = number, process
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)
            number, process = running.pop(connection)
            try:
                code, failed = connection.recv()
            except EOFError:
                code, failed = -1, "the process died"
            process.join()
            yield number, code, failed


def main() -> int:
    sources = [SOURCE.read_text(), *(mutant.source() for mutant in MUTANTS)]
    wrong = 0
    for number, code, failed in verdicts(sources):
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

"""``mintage audit verify``: 0 when everything agrees, 1 on a difference, which is named, 2 if it could not run."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mintage.cli.database import NotReadable, counted, readable_site
from mintage.domain.credits.postings import Posting
from mintage.infra.audit import Difference, Findings, verify
from mintage.infra.database import connect_sync
from mintage.infra.garbage import collect_seldom
from mintage.infra.seal.notes import Checkpoint, NoteInvalid, Verifier, read_notes
from mintage.infra.seal.sealer import signer_of
from mintage.infra.settings import Settings, secrets_of

DRAWN_EVERY_S: Final = 0.1
WIDTH: Final = 30


def add_to(audits: Any, common: argparse.ArgumentParser) -> None:
    parser = audits.add_parser(
        "verify", parents=[common], help="replay the whole log and compare; exits 0 when all agrees, 1 on a difference"
    )
    parser.add_argument(
        "--jobs", type=_jobs, default=os.cpu_count() or 1, metavar="N", help="processes (default: one for each core)"
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="keep what is done there; the same command then goes on where it was"
    )
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where the read models are made anew (default: --state, or /tmp)"
    )
    parser.add_argument(
        "--checkpoints", type=Path, metavar="PATH", help="signed checkpoints, a file or a directory of *.txt"
    )
    parser.add_argument(
        "--key", type=_key, metavar="KEY", help="what `mintage audit key` printed (default: the key of the settings)"
    )
    parser.set_defaults(run=run_verify)


def run_verify(settings: Settings, options: argparse.Namespace) -> int:
    if options.key and options.checkpoints is None:
        print("mintage: --key is what the notes of --checkpoints are checked with: say where they are", file=sys.stderr)
        return 2
    for folder in filter(None, (options.state, options.scratch)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    collect_seldom()
    began = time.monotonic()
    with readable_site(settings) as place:
        checkpoints, wrong = _checkpoints(settings, place.conninfo, options)
        with _Bar() as bar:
            findings = verify(
                place.conninfo,
                place.vault,
                bar.draw,
                jobs=options.jobs,
                state=options.state,
                scratch=options.scratch,
                checkpoints=checkpoints,
            )
    findings.found += len(wrong)
    return _say(findings, wrong, len(checkpoints), time.monotonic() - began)


def _jobs(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 on")
    return int(text)


def _key(text: str) -> Verifier:
    try:
        return Verifier.of(text)
    except NoteInvalid as error:
        raise argparse.ArgumentTypeError(f"{error}; `mintage audit key` prints one") from None


def _checkpoints(
    settings: Settings, conninfo: str, options: argparse.Namespace
) -> tuple[list[Checkpoint], list[Difference]]:
    """What was signed of this log, and what is wrong with that. Raises ``NotReadable`` if nothing was."""
    path = options.checkpoints
    if path is None:
        return [], []
    with connect_sync(conninfo) as connection:
        signer: Verifier = signer_of(connection, secrets_of(settings).seal)
    verifier: Verifier = options.key or signer
    try:
        if verifier.name != signer.name:
            return [], [Difference("log", 0, f"calls itself {signer.name} and not {verifier.name}, as in the key")]
        found = read_notes(path, verifier)
    except NoteInvalid as error:
        return [], [Difference("checkpoints", 0, str(error))]
    if not found:
        raise NotReadable(f"there is no checkpoint of {verifier.name} in {path}")
    return found, []


def _say(findings: Findings, wrong: list[Difference], checkpoints: int, seconds: float) -> int:
    for difference in (*wrong, *findings.differences):
        print(_printable(str(difference)))
    totals = findings.totals
    print(
        f"{counted(findings.events, 'event')} of {counted(findings.accounts, 'account')} in {seconds:.1f} s;"
        f" replayed at {findings.rate:,.0f} events/s per core"
    )
    print(_in_credits(totals))
    print(_in_fen(totals))
    if findings.since:
        print(f"not in it: {counted(findings.since, 'event')} that came since this audit began")
    if findings.found:
        print(counted(findings.found, "difference"))
        return 1
    sealed = f", and the log hashes to all of {counted(checkpoints, 'checkpoint')}" if checkpoints else ""
    print(f"every rule held at every event, and every read model agrees with the log{sealed}")
    return 0


def _printable(text: str) -> str:
    """What somebody wrote into the log must not look like a line of ours, or do things to a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _in_credits(totals: Posting) -> str:
    return (
        f"issued {-totals.paid - totals.promotional:,} = available {totals.available:,} + held {totals.held:,}"
        f" - owed {-totals.owed:,} + spent {totals.revenue:,} + lost {totals.breakage:,} credits"
    )


def _in_fen(totals: Posting) -> str:
    return (
        f"received {totals.receivable_fen:,} = not spent yet {-totals.paid_fen:,}"
        f" + earned {-totals.revenue_fen:,} + lost {-totals.breakage_fen:,} fen"
    )


class _Bar:
    """Progress on stderr, if somebody looks there."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._phase = ""
        self._began = self._drawn = 0.0
        self._from = 0

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._phase:
            print(file=sys.stderr)

    def draw(self, phase: str, done: int, whole: int) -> None:
        if not sys.stderr.isatty():
            return
        now = self._now()
        if phase != self._phase:
            if self._phase:
                print(file=sys.stderr)
            # What was done in a run before says nothing about the speed of this one.
            self._phase, self._began, self._from = phase, now, done
        elif now - self._drawn < DRAWN_EVERY_S and done < whole:
            return
        self._drawn = now
        rate = (done - self._from) / (now - self._began) if now > self._began else 0.0
        share = min(1.0, done / whole) if whole else 1.0
        left = f"{(whole - done) / rate:,.0f} s left" if rate and done < whole else ""
        filled = "#" * int(share * WIDTH)
        line = f"\r{phase:<12} [{filled:<{WIDTH}}] {share:4.0%} {rate:>10,.0f} events/s {left:<14}"
        print(line, end="", file=sys.stderr, flush=True)

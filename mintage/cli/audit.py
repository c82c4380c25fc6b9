"""``mintage audit``: what finance asks of the log."""

import argparse
import sys
import time
from typing import Any

from mintage.bootstrap import site
from mintage.cli.database import show_progress
from mintage.infra.audit import verify
from mintage.infra.migrate import is_migrated
from mintage.infra.settings import Settings


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("audit", help="prove the balances from the log")
    audits = parser.add_subparsers(metavar="AUDIT", required=True)
    verifier = audits.add_parser(
        "verify", parents=[common], help="replay the whole log and compare; exits 0 when all agrees, 1 on a difference"
    )
    verifier.set_defaults(run=run_verify)


def run_verify(settings: Settings, _: argparse.Namespace) -> int:
    started = time.monotonic()
    if not settings.database_url and not (settings.data_dir / "postgres").is_dir():
        print(f"mintage: there is no database in {settings.data_dir}", file=sys.stderr)
        return 2
    with site(settings) as place:
        if not is_migrated(place.conninfo):
            # A migration fills read models anew, and with that would hide what is to be found.
            print("mintage: this database is not at this program's schema; run `mintage migrate`", file=sys.stderr)
            return 2
        findings = verify(place.conninfo, place.vault, progress=show_progress)
    for difference in findings.differences:
        print(difference)
    totals = findings.totals
    print(
        f"{findings.events:,} events replayed in {time.monotonic() - started:.1f} s; {findings.accounts:,} accounts\n"
        f"issued {-totals.issued:,} = available {totals.available:,} + held {totals.held:,} "
        f"+ spent {totals.spent:,} + expired {totals.expired:,}"
    )
    if findings.found:
        print(f"{findings.found:,} differences")
        return 1
    print("every rule held at every event, and every read model agrees with the log")
    return 0

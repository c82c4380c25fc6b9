"""``mintage audit``: what finance asks of the log."""

import argparse
from typing import Any

from mintage.cli import reconcile, reports, verify
from mintage.cli.database import readable_site
from mintage.infra.database import connect_sync
from mintage.infra.seal.sealer import signer_of
from mintage.infra.settings import Settings, secrets_of


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("audit", help="prove the balances from the log")
    audits = parser.add_subparsers(metavar="AUDIT", required=True)
    verify.add_to(audits, common)
    key = audits.add_parser(
        "key", parents=[common], help="print the key that receipts and checkpoints are checked with"
    )
    key.set_defaults(run=run_key)
    reconcile.add_to(audits, common)
    reports.add_to(audits, common)


def run_key(settings: Settings, _: argparse.Namespace) -> int:
    with readable_site(settings) as place, connect_sync(place.conninfo) as connection:
        print(signer_of(connection, secrets_of(settings).seal).text)
    return 0

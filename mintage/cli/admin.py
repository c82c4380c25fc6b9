"""``mintage admin``: what only an operator may do."""

import argparse
import asyncio
import sys
from typing import Any
from uuid import UUID

from mintage.bootstrap import running, site
from mintage.domain.registration.decider import PersonUnknown
from mintage.infra.settings import Settings


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("admin", help="what only an operator may do")
    admins = parser.add_subparsers(metavar="ACT", required=True)
    erase = admins.add_parser("erase", parents=[common], help="destroy a person's key; their ledger stays")
    erase.add_argument("user", type=UUID, metavar="USER", help="the person's UUID")
    erase.set_defaults(run=run_erase)


def run_erase(settings: Settings, options: argparse.Namespace) -> int:
    async def run() -> None:
        async with running(settings, place, base_url=lambda: "", worker=False) as services:
            await services.erasure.erase(str(options.user), actor="operator")

    with site(settings) as place:
        try:
            asyncio.run(run())
        except PersonUnknown:
            print(f"mintage: nobody is registered under {options.user}", file=sys.stderr)
            return 1
    print(f"{options.user} is erased: key, names, addresses, prompts, password and pictures are gone; the ledger stays")
    return 0

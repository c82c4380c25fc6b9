"""``mintage admin``: what only an operator may do."""

import argparse
import asyncio
import sys
from typing import Any, get_args
from uuid import UUID

from mintage.application.services import Services
from mintage.bootstrap import running, site
from mintage.domain.registration.decider import PersonUnknown
from mintage.domain.registration.events import Role
from mintage.domain.registration.names import login_of
from mintage.infra.settings import Settings
from mintage.projections.people import Person, person_by_login


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("admin", help="what only an operator may do")
    admins = parser.add_subparsers(metavar="ACT", required=True)
    erase = admins.add_parser("erase", parents=[common], help="destroy a person's key; their ledger stays")
    erase.add_argument("user", type=UUID, metavar="USER", help="the person's UUID")
    erase.set_defaults(run=run_erase)

    grant = admins.add_parser("grant-role", parents=[common], help="give a person a role in place of the one before")
    grant.add_argument("user", metavar="USER", help="the person's UUID, username, e-mail or phone")
    grant.add_argument("role", choices=get_args(Role), metavar="ROLE", help=", ".join(get_args(Role)))
    grant.set_defaults(run=run_grant_role)


def run_grant_role(settings: Settings, options: argparse.Namespace) -> int:
    async def run() -> Person:
        async with running(settings, place, base_url=lambda: "", worker=False) as services:
            user_id = await _user_id(services, options.user)
            return await services.profiles.grant_role(user_id, options.role, actor="operator")

    with site(settings) as place:
        try:
            person = asyncio.run(run())
        except PersonUnknown:
            print(f"mintage: nobody is registered as {options.user}", file=sys.stderr)
            return 1
    print(f"{person.user_id} ({person.username}) has the role {person.role}")
    return 0


async def _user_id(services: Services, named: str) -> str:
    try:
        return str(UUID(named))
    except ValueError:
        login = login_of(named)
        found = await person_by_login(services.db, login) if login else None
        if found is None:
            raise PersonUnknown from None
        return found.user_id


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

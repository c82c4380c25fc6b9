"""``mintage admin``: what only an operator may do."""

import argparse
import asyncio
import re
import sys
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Final, get_args
from uuid import UUID

from mintage.application.adjustments import Adjusted, Wish
from mintage.application.services import Services
from mintage.cli.database import existing_site
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.fields import InvalidFields
from mintage.domain.registration.decider import PersonUnknown
from mintage.domain.registration.events import Role
from mintage.domain.registration.names import login_of
from mintage.http.messages import sentence
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from mintage.projections.people import Person, person_by_login
from mintage.projections.sql import Database

OPERATOR: Final = "operator"


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

    adjust = admins.add_parser("adjust", parents=[common], help="add credits to an account, or remove them")
    adjust.add_argument("user", metavar="USER", help="the person's UUID, username, e-mail or phone")
    adjust.add_argument("amount", type=_amount, metavar="AMOUNT", help="credits to be added, or removed if below zero")
    adjust.add_argument("--reason", required=True, help="why, for finance; kept in clear for ever, so no names")
    adjust.add_argument(
        "--expires-at", type=moment, metavar="T", help="when what is added expires, as 2030-01-01T00:00Z"
    )
    adjust.add_argument("--priority", type=int, metavar="N", help="0 is spent first, 50 is usual, 100 is spent last")
    adjust.set_defaults(run=run_adjust)


def run_grant_role(settings: Settings, options: argparse.Namespace) -> int:
    async def run() -> Person:
        async with _services(settings, place) as services:
            user_id = await user_id_of(services.db, options.user)
            return await services.profiles.grant_role(user_id, options.role, actor=OPERATOR)

    with existing_site(settings) as place:
        try:
            person = asyncio.run(run())
        except PersonUnknown:
            print(f"mintage: nobody is registered as {options.user}", file=sys.stderr)
            return 1
    print(f"{person.user_id} ({person.username}) has the role {person.role}")
    return 0


def moment(text: str) -> datetime:
    """A moment in ISO 8601 with its offset, for argparse."""
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no moment like 2026-01-31T00:00:00+08:00")


def _amount(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of credits like 100 or -100")
    return int(text)


def told(invalid: InvalidFields) -> str:
    """What is wrong with which option, in a line."""
    return "; ".join(f"{name} {sentence(reason, 'en')}" for name, reason in invalid.fields.items())


def run_adjust(settings: Settings, options: argparse.Namespace) -> int:
    async def run() -> Adjusted:
        async with _services(settings, place) as services:
            wish = Wish(
                user_id=await user_id_of(services.db, options.user),
                amount=options.amount,
                reason=options.reason,
                expires_at=options.expires_at,
                priority=options.priority,
            )
            adjusted = (await services.adjustments.request(wish, actor=OPERATOR)).outcome
            assert adjusted is not None
            return adjusted

    with existing_site(settings) as place:
        try:
            adjusted = asyncio.run(run())
        except PersonUnknown:
            print(f"mintage: nobody is registered as {options.user}", file=sys.stderr)
            return 1
        except InsufficientCredits as short:
            print(f"mintage: {short}; nothing was removed", file=sys.stderr)
            return 1
        except InvalidFields as invalid:
            print(f"mintage: {told(invalid)}", file=sys.stderr)
            return 2
    if adjusted.status == "pending":
        print(
            f"{adjusted.adjustment_id} is above the limit and waits: somebody of finance has to approve it "
            f"(POST /api/finance/adjustments/{adjusted.adjustment_id}/approve)"
        )
    else:
        print(f"{adjusted.adjustment_id}: {adjusted.amount:+,} credits for {adjusted.user_id}")
    return 0


def _services(settings: Settings, place: Site) -> AbstractAsyncContextManager[Services]:
    # Here, because what serves takes longer to load than most other commands take.
    from mintage.bootstrap import running  # noqa: PLC0415

    return running(settings, place, base_url=lambda: "", worker=False)


async def user_id_of(db: Database, named: str) -> str:
    """The id of whoever is named by their UUID, username, e-mail or phone. Raises ``PersonUnknown``."""
    try:
        return str(UUID(named))
    except ValueError:
        login = login_of(named)
        found = await person_by_login(db, login) if login else None
        if found is None:
            raise PersonUnknown from None
        return found.user_id


def run_erase(settings: Settings, options: argparse.Namespace) -> int:
    async def run() -> None:
        async with _services(settings, place) as services:
            await services.erasure.erase(str(options.user), actor=OPERATOR)

    with existing_site(settings) as place:
        try:
            asyncio.run(run())
        except PersonUnknown:
            print(f"mintage: nobody is registered under {options.user}", file=sys.stderr)
            return 1
    print(f"{options.user} is erased: key, names, addresses, prompts, password and pictures are gone; the ledger stays")
    return 0

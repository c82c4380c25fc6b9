"""``mintage migrate`` and ``mintage rebuild``: the schema, and one read model from the log."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mintage.infra.migrate import is_migrated, migrate
from mintage.infra.rebuild import rebuild
from mintage.infra.settings import Settings
from mintage.infra.site import Site, site
from mintage.projections import READ_MODELS


class NotReadable(Exception):
    """What is to be read is not there, or not as this program can read it; the message says what."""


@contextmanager
def existing_site(settings: Settings) -> Iterator[Site]:
    """For what is done to a database: a site that is there, so that a wrong directory makes no new one.

    Raises ``NotReadable``.
    """
    if not settings.database_url and not (settings.data_dir / "postgres").is_dir():
        raise NotReadable(f"there is no database in {settings.data_dir}")
    with site(settings) as place:
        yield place


@contextmanager
def readable_site(settings: Settings) -> Iterator[Site]:
    """For what only reads: the site as it is found, neither made nor migrated. Raises ``NotReadable``."""
    with existing_site(settings) as place:
        # A migration fills read models anew, and with that would hide what an audit is to find.
        if not is_migrated(place.conninfo):
            raise NotReadable("this database is not at this program's schema; run `mintage migrate`")
        yield place


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("migrate", parents=[common], help="bring the schema up to date")
    parser.set_defaults(run=run_migrate)
    parser = commands.add_parser("rebuild", parents=[common], help="make a read model anew from the log, under traffic")
    parser.add_argument("name", choices=sorted(READ_MODELS), metavar="NAME", help=", ".join(sorted(READ_MODELS)))
    parser.set_defaults(run=run_rebuild)


def run_migrate(settings: Settings, _: argparse.Namespace) -> int:
    with site(settings) as place:
        applied = migrate(place.conninfo, place.vault)
    print("\n".join(f"applied {name}" for name in applied) if applied else "nothing to apply")
    return 0


def run_rebuild(settings: Settings, options: argparse.Namespace) -> int:
    with existing_site(settings) as place:
        migrate(place.conninfo, place.vault)
        done = rebuild(place.conninfo, place.vault, READ_MODELS[options.name], progress=show_progress)
    print(f"{done.name}: made again from {counted(done.events, 'event')}")
    for table, rows in done.differences.items():
        print(f"{table}: {counted(rows, 'row') + ' differed' if rows else 'the same as before'}")
    return 1 if any(done.differences.values()) else 0


def show_progress(position: int, end: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{position:,} of {end:,} events", end="\n" if position == end else "", file=sys.stderr, flush=True)


def counted(number: int, one: str, many: str | None = None) -> str:
    """So many of something, in the plural unless it is one."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"

"""``mintage migrate`` and ``mintage rebuild``: the schema, and one read model from the log."""

import argparse
import sys
from typing import Any

from mintage.bootstrap import site
from mintage.infra.migrate import migrate
from mintage.infra.rebuild import rebuild
from mintage.infra.settings import Settings
from mintage.projections import READ_MODELS


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
    with site(settings) as place:
        migrate(place.conninfo, place.vault)
        done = rebuild(place.conninfo, place.vault, READ_MODELS[options.name], progress=show_progress)
    print(f"{done.name}: made again from {done.events:,} events")
    for table, rows in done.differences.items():
        print(f"{table}: {f'{rows:,} rows differed' if rows else 'the same as before'}")
    return 1 if any(done.differences.values()) else 0


def show_progress(position: int, end: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{position:,} of {end:,} events", end="\n" if position == end else "", file=sys.stderr, flush=True)

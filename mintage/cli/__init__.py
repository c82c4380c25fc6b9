"""The commands; each takes ``--data-dir`` and works beside a running server."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import psycopg

from mintage.cli import admin, audit, database, serve
from mintage.infra.embedded_postgres import PostgresUnavailable
from mintage.infra.settings import SettingsRefused, read_settings
from mintage.infra.store import Lost
from mintage.infra.vault import SealBroken

COULD_NOT_RUN = 2


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code, 2 when it could not run."""
    options = _parser().parse_args(argv)
    given: dict[str, Any] = {
        name: value for name in ("data_dir", "host", "port") if (value := getattr(options, name, None)) is not None
    }
    try:
        code = int(options.run(read_settings(**given), options))
        sys.stdout.flush()
        return code
    except (SettingsRefused, database.NotReadable) as refused:
        for line in str(refused).splitlines():
            print(f"mintage: {line}", file=sys.stderr)
    except BrokenPipeError:
        # What is still buffered has nowhere to go, and must not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("mintage: whoever read the output stopped before it was whole", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"mintage: {where}{error.strerror or error}", file=sys.stderr)
    except (PostgresUnavailable, Lost, psycopg.Error, ValueError, SealBroken) as error:
        print(f"mintage: {type(error).__name__}: {error}", file=sys.stderr)
    return COULD_NOT_RUN


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the name of no directory")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data-dir", type=_folder, help="where everything is kept (MINTAGE_DATA_DIR, default: data)")
    parser = argparse.ArgumentParser(
        prog="mintage", description="AI images and videos for prepaid credits, on a log to replay."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (serve, database, audit, admin):
        module.add_to(commands, common)
    return parser

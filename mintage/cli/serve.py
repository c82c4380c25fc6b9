"""``mintage serve`` and ``mintage work``; what they need is loaded when they run, to spare the other commands it."""

import argparse
from pathlib import Path
from typing import Any

from mintage.infra.settings import Settings


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("serve", parents=[common], help="the API, with a worker and the followers")
    parser.add_argument("--host", type=_host, help="where to listen (MINTAGE_HOST, default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="where to listen, 0 for any free port (MINTAGE_PORT, default: 3001)")
    parser.add_argument("--no-worker", action="store_true", help="leave the tasks to `mintage work`")
    parser.set_defaults(run=_serve)
    parser = commands.add_parser(
        "work", parents=[common], help="a worker and the followers without the API, beside any number of others"
    )
    parser.add_argument("--heartbeat", type=Path, help="a file to touch every 5 s for as long as the database answers")
    parser.set_defaults(run=_work)


def _host(text: str) -> str:
    # Nothing would be every address of the machine.
    if not text:
        raise argparse.ArgumentTypeError("the name of no address; 0.0.0.0 is all of them")
    return text


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    from mintage.cli.serving import serve  # noqa: PLC0415

    return serve(settings, options)


def _work(settings: Settings, options: argparse.Namespace) -> int:
    from mintage.cli.serving import work  # noqa: PLC0415

    return work(settings, options)

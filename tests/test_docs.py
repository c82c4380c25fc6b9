"""The pages say what the program does: settings, commands, paths, links."""

import argparse
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from litestar import Litestar

from mintage import cli
from mintage.http import api_v1, server_api
from mintage.http.calls import Call
from mintage.http.docs import docs
from mintage.http.files import FileController
from mintage.http.health import HealthController
from mintage.infra.settings import PREFIX, Settings
from mintage.projections import READ_MODELS

ROOT: Final = Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MACHINE_PATH: Final = re.compile(r"(?<![\w.\-/])/(work|root|home)\b(?!-)")


def table(*headings: str) -> list[list[str]]:
    """The rows of the README's table under these headings, cell by cell."""
    head = f"| {' | '.join(headings)} |\n"
    assert README.count(head) == 1, headings
    body = README.partition(head)[2].splitlines()[1:]
    rows: list[list[str]] = []
    for line in body:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def shown(default: Any) -> str:
    if default is None or default == "":
        return "unset"
    return f"`{('off', 'on')[default] if isinstance(default, bool) else default}`"


def test_the_readme_lists_every_setting_with_its_default() -> None:
    fields = [(f"`{PREFIX}{field.name.upper()}`", shown(field.default)) for field in msgspec.structs.fields(Settings)]
    assert [(name, default) for name, default, _ in table("setting", "default", "meaning")] == fields
    assert all(meaning for _, _, meaning in table("setting", "default", "meaning"))


def commands(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, set[str]]]:
    """Every command that runs, with its options and arguments."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        own = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
        yield path, {(*action.option_strings, str(action.metavar))[0] for action in own}
    for action in below:
        for name, inner in action.choices.items():
            yield from commands(inner, f"{path} {name}")


def test_the_readme_lists_every_command_with_its_arguments() -> None:
    listed = {code(command)[0]: set(code(arguments)) for command, arguments, _ in table("command", "arguments", "does")}
    assert listed == dict(commands(cli._parser(), "mintage"))


def test_the_readme_lists_every_target_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {code(command)[0] for command, _ in table("command", "does")} == {f"make {target}" for target in targets}


def test_the_readme_names_every_read_model() -> None:
    sentence = re.search(r"`NAME` is one of ([^.]+)\.", README)
    assert sentence is not None
    assert code(sentence.group(1)) == sorted(READ_MODELS)


def test_the_readme_lists_every_path_that_is_served() -> None:
    app = Litestar(
        [api_v1.router(), server_api.router(), docs({}), HealthController, FileController],
        request_class=Call,
        openapi_config=None,
        logging_config=None,
    )
    served = {
        re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path): set(getattr(route, "methods", ())) - {"OPTIONS", "HEAD"}
        for route in app.routes
    }
    assert {code(path)[0]: set(methods.split(", ")) for path, methods in table("path", "methods")} == served


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        target = link.partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), link


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    named = []
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith("mintage/http/docs_ui/"):
            continue  # somebody else's, as they publish it
        try:
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # not text, or removed and not yet committed
        named += [f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    assert not named

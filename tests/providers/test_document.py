"""The examples of ``docs/providers.md`` work as they stand."""

import re
from pathlib import Path
from typing import Final

import pytest

from mintage.application.providers import Provider
from mintage.bootstrap import catalogue_of
from mintage.infra.providers import PROTOCOLS, providers_of
from mintage.infra.settings import Settings
from tests.providers.server import KEY

PAGE: Final = (Path(__file__).parents[2] / "docs/providers.md").read_text(encoding="utf-8")
EXAMPLES: Final = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
MONEY: Final = """
[money]
credits_per_yuan = 10
signup_bonus = 100
referral_bonus_referrer = 50
referral_bonus_newcomer = 20
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ``mintage`` is started, with the workflow that the page shows."""
    (workflow,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/sdxl.json").write_text(workflow)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def providers(folder: Path, *examples: str) -> dict[str, Provider]:
    path = folder / "catalogue.toml"
    path.write_text("\n".join((MONEY, *examples)))
    catalogue = catalogue_of(Settings(catalogue=path))
    keys = {source.key: KEY for source in catalogue.providers.values() if source.key is not None}
    made = providers_of(catalogue, keys)
    for adapter in made.values():
        await adapter.close()
    assert {model.renderer for model in catalogue.models} == set(made)
    return made


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r'kind = "(.*)"', text)[0])
async def test_each_example_is_a_catalogue(folder: Path, example: str) -> None:
    assert len(await providers(folder, example)) == 1


async def test_all_of_them_together_are_one_too_and_leave_no_protocol_out(folder: Path) -> None:
    assert len(await providers(folder, *EXAMPLES)) == len(PROTOCOLS)
    assert {re.findall(r'kind = "(.*)"', text)[0] for text in EXAMPLES} == set(PROTOCOLS)


def test_every_option_is_shown() -> None:
    for example in EXAMPLES:
        (kind,) = re.findall(r'kind = "(.*)"', example)
        for option in PROTOCOLS[kind].options.__struct_fields__:
            assert re.search(rf"^{option} = |\.options\.{option}\.", example, re.MULTILINE), (kind, option)


def test_the_table_says_what_each_can_do() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    told = {kind: [cell.strip() for cell in cells.split("|")] for kind, cells in rows if kind in PROTOCOLS}
    assert set(told) == set(PROTOCOLS)
    for kind, (images, films, _, stops, finds, _) in told.items():
        protocol = PROTOCOLS[kind]
        assert (images == "yes") == ("text2img" in protocol.tasks)
        assert (films == "yes") == ("text2video" in protocol.tasks)
        assert (stops == "yes") == protocol.adapter.cancels  # type: ignore[attr-defined]
        assert (finds == "yes") == protocol.adapter.finds  # type: ignore[attr-defined]

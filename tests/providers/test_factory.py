"""A catalogue that cannot work is refused at the start, with the entry named and the key not shown."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mintage import cli
from mintage.application.catalogue import Bounds, Catalogue, Source
from mintage.bootstrap import catalogue_of
from mintage.infra.providers import providers_of
from mintage.infra.settings import Settings, SettingsRefused
from tests.providers.cases import (
    CASES,
    COMFY,
    FILMS,
    IMAGES,
    REPLICATE,
    STABILITY,
    Case,
    catalogue_with,
    model_of,
    workflow,
)
from tests.providers.server import KEY

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)


def source_of(case: Case, folder: Path, **more: Any) -> Source:
    source = Source(
        kind=case.kind, base_url="https://there.example/v1", key="PROVIDER_KEY", options=case.options(folder)
    )
    return msgspec.structs.replace(source, **more)


def refused(catalogue: Catalogue, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsRefused) as refusal:
        providers_of(catalogue, {"PROVIDER_KEY": KEY} if environment is None else environment)
    assert KEY not in str(refusal.value)
    return str(refusal.value)


def unread(path: Path) -> str:
    """The one line by which a catalogue's file is refused."""
    with pytest.raises(SettingsRefused) as refusal:
        catalogue_of(Settings(catalogue=path))
    (line,) = str(refusal.value).splitlines()
    assert line.startswith(f"MINTAGE_CATALOGUE: {path}: ")
    return line


class TestKeys:
    @EVERY
    async def test_a_key_comes_from_the_environment_or_from_a_file(self, case: Case, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text(f"{KEY}\n")
        catalogue = catalogue_with(source_of(case, tmp_path), model_of(case))
        for environment in ({"PROVIDER_KEY": KEY}, {"PROVIDER_KEY_FILE": str(file)}):
            (adapter,) = providers_of(catalogue, environment).values()
            await adapter.close()

    @pytest.mark.parametrize(
        ("environment", "reason"),
        [
            ({}, "PROVIDER_KEY is not set, nor is PROVIDER_KEY_FILE, or it is empty"),
            ({"PROVIDER_KEY": "  "}, "or it is empty"),
            ({"PROVIDER_KEY": KEY, "PROVIDER_KEY_FILE": "key"}, "are both set"),
            ({"PROVIDER_KEY_FILE": "no such file"}, "no such file"),
            ({"PROVIDER_KEY": f"{KEY} {KEY}"}, "is no key"),
            ({"PROVIDER_KEY": f"{KEY}\n{KEY}"}, "is no key"),
            ({"PROVIDER_KEY": f"{KEY}钥"}, "is no key"),
        ],
    )
    @EVERY
    def test_a_key_that_is_missing_or_none_is_refused(
        self, case: Case, environment: dict[str, str], reason: str, tmp_path: Path
    ) -> None:
        said = refused(catalogue_with(source_of(case, tmp_path), model_of(case)), environment)
        assert said.startswith("MINTAGE_CATALOGUE: providers.there.key: ")
        assert reason in said

    @EVERY
    async def test_only_who_needs_none_does_without(self, case: Case, tmp_path: Path) -> None:
        catalogue = catalogue_with(source_of(case, tmp_path, key=None), model_of(case))
        if case in (COMFY, FILMS):
            (adapter,) = providers_of(catalogue, {}).values()
            await adapter.close()
        else:
            assert "providers.there: key is missing" in refused(catalogue)


class TestSources:
    @pytest.mark.parametrize(
        "address",
        ["", "there.example", "ftp://there.example", "https://", "https://a:b@there.example", "http://x/?a=1"],
    )
    @EVERY
    def test_an_address_has_to_be_one(self, case: Case, address: str, tmp_path: Path) -> None:
        said = refused(catalogue_with(source_of(case, tmp_path, base_url=address), model_of(case)))
        assert said.startswith("MINTAGE_CATALOGUE: providers.there: base_url is no address")

    @pytest.mark.parametrize(
        ("option", "reason"),
        [
            ({"colour": "blue"}, "colour"),
            ({"timeout_s": 0}, "timeout_s"),
            ({"timeout_s": "10"}, "timeout_s"),
        ],
    )
    @EVERY
    def test_an_option_that_is_unknown_or_wrong_is_named(
        self, case: Case, option: dict[str, Any], reason: str, tmp_path: Path
    ) -> None:
        options = {**case.options(tmp_path), **option}
        said = refused(catalogue_with(source_of(case, tmp_path, options=options), model_of(case)))
        assert said.startswith("MINTAGE_CATALOGUE: providers.there: options: ")
        assert reason in said

    @pytest.mark.parametrize(
        ("case", "options"),
        [
            (IMAGES, {"sizes": []}),
            (IMAGES, {"sizes": ["16:9"]}),
            (FILMS, {"seconds": []}),
            (FILMS, {"seconds": [0]}),
            (REPLICATE, {}),
            (REPLICATE, {"inputs": {}, "hosts": ["https://replicate.delivery"]}),
            (REPLICATE, {"inputs": {}, "hosts": ["*"]}),
            (COMFY, {}),
        ],
    )
    def test_an_option_has_to_make_sense(self, case: Case, options: dict[str, Any], tmp_path: Path) -> None:
        catalogue = catalogue_with(source_of(case, tmp_path, options=options), model_of(case))
        assert refused(catalogue).startswith("MINTAGE_CATALOGUE: providers.there: options: ")

    def test_everything_that_is_wrong_is_named_at_once(self, tmp_path: Path) -> None:
        wrong = source_of(IMAGES, tmp_path, base_url="", options={"colour": 1}, key=None)
        assert len(refused(catalogue_with(wrong)).splitlines()) == 3


class TestModels:
    @pytest.mark.parametrize(
        ("case", "changes", "reason"),
        [
            (IMAGES, {"tasks": ("text2img", "text2video")}, "openai-images cannot do text2video"),
            (FILMS, {"tasks": ("text2img",)}, "openai-videos cannot do text2img"),
            (STABILITY, {"tasks": ("img2video",)}, "stability cannot do img2video"),
            (STABILITY, {"upstream": "sdxl"}, "not 'sdxl'"),
            (STABILITY, {"tasks": ("text2img", "img2img")}, "core paints without a source"),
            (FILMS, {"parameters": {"duration": Bounds(type="integer", max=13)}}, "at most 12"),
            (FILMS, {"parameters": {"duration": Bounds(type="integer")}}, "at most 12"),
            (REPLICATE, {"upstream": "nobody/nothing"}, "options.inputs has no 'nobody/nothing'"),
            (REPLICATE, {"parameters": {}}, "{height} is neither a field nor a parameter of it"),
            (REPLICATE, {"tasks": ("img2img",)}, "{source} has to be there"),
            (COMFY, {"parameters": {name: Bounds(type="integer") for name in ("width", "height")}}, "{height} may be"),
            (COMFY, {"upstream": "other"}, "options.workflows has no 'other'"),
            (COMFY, {"tasks": ("text2img", "img2img")}, "not both"),
        ],
    )
    def test_what_its_provider_cannot_do_is_refused(
        self, case: Case, changes: dict[str, Any], reason: str, tmp_path: Path
    ) -> None:
        model = msgspec.structs.replace(model_of(case), **changes)
        said = refused(catalogue_with(source_of(case, tmp_path), model))
        assert said.startswith(f"MINTAGE_CATALOGUE: models: sold/as ({', '.join(model.tasks)}): ")
        assert reason in said

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "No such file"),
            ("no JSON", "malformed"),
            ({"nodes": [], "links": []}, "is no workflow as ComfyUI exports it for its API"),
            ({"1": {"class_type": "SaveImage", "inputs": {}}}, "{prompt} is nowhere"),
            ({"1": {"class_type": "A", "inputs": {"text": "{prompt} {colour}"}}}, "{colour} is neither"),
            ({"1": {"class_type": "A", "inputs": {"text": "{prompt}", "image": "{source}"}}}, "{source} has to be"),
        ],
    )
    def test_a_workflow_that_cannot_work_is_refused(self, content: Any, reason: str, tmp_path: Path) -> None:
        path = tmp_path / "other.json"
        if isinstance(content, str):
            path.write_text(content)
        elif content is not None:
            workflow(tmp_path, path.name, content)
        source = source_of(COMFY, tmp_path, options={"workflows": {"paint": str(path)}})
        said = refused(catalogue_with(source, model_of(COMFY)))
        assert "models: sold/as (text2img): options.workflows.paint: " in said
        assert reason in said


class TestCatalogue:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"renderer": "nobody"}, "models: sold/as: there is no provider 'nobody'"),
            ({"upstream": ""}, "models: sold/as: upstream is missing, its name at there"),
        ],
    )
    def test_a_model_names_who_makes_it_and_what_it_is_called_there(
        self, changes: dict[str, str], reason: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match="models: sold/as") as refusal:
            catalogue_with(source_of(IMAGES, tmp_path), msgspec.structs.replace(model_of(IMAGES), **changes))
        assert reason in str(refusal.value)

    def test_the_name_of_the_built_in_renderer_is_taken(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"providers\.builtin"):
            msgspec.structs.replace(
                catalogue_with(source_of(IMAGES, tmp_path)), providers={"builtin": source_of(IMAGES, tmp_path)}
            ).__post_init__()

    @pytest.mark.parametrize(
        "line", ["concurrency = 0", "deadline_s = 0", 'kind = "telepathy"', "price = 0", "colour = 1"]
    )
    def test_an_operators_file_is_refused_with_the_place_named(self, line: str, tmp_path: Path) -> None:
        text = FILE
        entry = "[[models]]" if line.startswith(("deadline", "price")) else "[providers.pictures]"
        text = text.replace('kind = "openai-images"\n', "") if line.startswith("kind") else text
        text = text.replace("price = 10\n", "") if line.startswith("price") else text
        path = tmp_path / "catalogue.toml"
        path.write_text(text.replace(entry, f"{entry}\n{line}"))
        assert re.search(r"\$\.(models|providers)", unread(path))

    @pytest.mark.parametrize(
        ("old", "new", "named"),
        [
            ("credits_per_yuan = 10", "credits_per_yuan = 0", "$.money.credits_per_yuan"),
            ("signup_bonus = 100", "signup_bonus = -1", "$.money.signup_bonus"),
            ("referral_bonus_referrer = 50", "referral_bonus_referrer = -1", "$.money.referral_bonus_referrer"),
            ("referral_bonus_newcomer = 20", "referral_bonus_newcomer = -1", "$.money.referral_bonus_newcomer"),
            ("price = 10", "", "`price`"),
            ('tasks = ["text2img"]', 'tasks = ["text2img", "text2img"]', "models: openai/gpt-image: text2img"),
            ("[money]", "[money", "line 2"),
            ("[money]", "[money]\ncolour = '\udcff'", "utf-8"),
        ],
    )
    def test_one_line_says_the_setting_the_file_and_the_place(
        self, old: str, new: str, named: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "catalogue.toml"
        assert old in FILE
        path.write_text(FILE.replace(old, new), encoding="utf-8", errors="surrogateescape")
        assert named in unread(path)

    def test_what_cannot_be_opened_is_refused_alike(self, tmp_path: Path) -> None:
        assert "directory" in unread(tmp_path)

    @pytest.mark.parametrize("key", ["MINTAGE_MASTER_KEY", "MINTAGE_"])
    @EVERY
    def test_no_provider_is_told_a_secret_of_ours(self, case: Case, key: str, tmp_path: Path) -> None:
        said = refused(catalogue_with(source_of(case, tmp_path, key=key), model_of(case)), {key: KEY})
        assert said.startswith("MINTAGE_CATALOGUE: providers.there: key must not begin with MINTAGE_")

    def test_an_operators_file_that_is_right_is_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "catalogue.toml"
        path.write_text(FILE)
        assert catalogue_of(Settings(catalogue=path)).providers["pictures"].concurrency == 4

    @pytest.mark.parametrize(
        ("old", "new", "named"),
        [
            ('renderer = "pictures"', 'renderer = "films"', "there is no provider 'films'"),
            ('tasks = ["text2img"]', 'tasks = ["text2video"]', "openai-images cannot do text2video"),
            ('key = "OPENAI_API_KEY"', "", "providers.pictures: key is missing"),
        ],
    )
    def test_serve_does_not_start_on_a_catalogue_that_cannot_work(
        self,
        old: str,
        new: str,
        named: str,
        conninfo: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        path = tmp_path / "catalogue.toml"
        assert old in FILE
        path.write_text(FILE.replace(old, new))
        monkeypatch.setenv("MINTAGE_CATALOGUE", str(path))
        monkeypatch.setenv("MINTAGE_DATABASE_URL", conninfo)
        assert cli.main(["serve", "--no-worker", "--port", "0", "--data-dir", str(tmp_path)]) == cli.COULD_NOT_RUN
        said = capsys.readouterr().err
        assert named in said
        assert "Traceback" not in said


FILE = """
[money]
credits_per_yuan = 10
signup_bonus = 100
referral_bonus_referrer = 50
referral_bonus_newcomer = 20

[providers.pictures]
kind = "openai-images"
base_url = "https://api.openai.com/v1"
key = "OPENAI_API_KEY"

[[models]]
provider = "openai"
name = "gpt-image"
renderer = "pictures"
upstream = "gpt-image-1"
tasks = ["text2img"]
price = 10
"""

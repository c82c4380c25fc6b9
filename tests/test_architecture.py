"""What the drawing promises and no single module can check: events, tags, deciders and read models fit together."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import mintage.domain
from mintage.domain.catalogue import DECIDERS, EVENT_TYPES, TAGS, decider_of, numbered
from mintage.domain.decider import Command, Event, Refusal
from mintage.domain.recorded import Recorded
from mintage.infra.columns import kinds_of, packed
from mintage.projections import FOLLOWED, INLINE, READ_MODELS
from mintage.projections.sql import ReadModel
from tests.golden.samples import SAMPLES

for module in pkgutil.walk_packages(mintage.domain.__path__, "mintage.domain."):
    importlib.import_module(module.name)

PAST_TENSE = re.compile(
    r"([a-z]+)\.(?:[a-z]+_)*(?:[a-z]+ed|held|paid|made|sent|given|won|lost|withdrawn)(?:_back|_late)?"
)

MODELS = pytest.mark.parametrize("model", READ_MODELS.values(), ids=READ_MODELS)
KINDS = pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: TAGS[kind])


def subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def domains(kind: type[Any]) -> list[type[Any]]:
    return [child for child in subclasses(kind) if child.__module__.startswith("mintage.domain.")]


def sample_of(kind: type[Event]) -> Recorded:
    return next(sample for sample in SAMPLES if type(sample.event) is kind)


class TestEvents:
    def test_every_event_is_in_the_catalogue(self) -> None:
        assert set(domains(Event)) == set(EVENT_TYPES)
        assert len(set(EVENT_TYPES)) == len(EVENT_TYPES)

    def test_no_two_events_share_a_tag(self) -> None:
        assert len(set(TAGS.values())) == len(EVENT_TYPES)

    @KINDS
    def test_a_tag_is_the_aggregate_and_what_happened_in_the_past_tense(self, kind: type[Event]) -> None:
        named = PAST_TENSE.fullmatch(TAGS[kind])
        assert named
        assert named.group(1) in DECIDERS
        assert kind.__module__ == f"mintage.domain.{named.group(1)}.events"

    @KINDS
    def test_events_are_frozen_and_say_what_they_mean(self, kind: type[Event]) -> None:
        assert kind.__struct_config__.frozen
        assert kind.__doc__
        assert kind.__doc__ != Event.__doc__
        assert kind.__struct_config__.tag_field == "type"

    @KINDS
    def test_personal_fields_exist_are_texts_and_have_an_owner(self, kind: type[Event]) -> None:
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for name in kind.PERSONAL:
            assert fields[name] in {str, str | None}
        if kind.PERSONAL:
            assert fields["user_id"] is str
            assert "user_id" not in kind.PERSONAL

    @KINDS
    def test_what_is_named_like_something_personal_is_sealed(self, kind: type[Event]) -> None:
        personal = {"username", "email", "phone", "name", "avatar", "google_id", "prompt", "negative_prompt", "title"}
        personal |= {field.name for field in msgspec.structs.fields(kind) if field.name.endswith("_url")}
        assert personal & set(kind.__struct_fields__) <= set(kind.PERSONAL)

    @KINDS
    def test_secrets_are_in_no_event(self, kind: type[Event]) -> None:
        assert not re.search(
            r"password|secret|token|otp|(?<!referral_)(?<!error_)code", " ".join(kind.__struct_fields__)
        )


class TestDeciders:
    @pytest.mark.parametrize("category", DECIDERS)
    def test_a_category_is_a_single_word_that_names_its_package(self, category: str) -> None:
        decider = DECIDERS[category]
        assert re.fullmatch("[a-z]+", category)
        assert decider.category == category
        assert decider.decide.__module__ == f"mintage.domain.{category}.decider"

    @pytest.mark.parametrize("category", DECIDERS)
    def test_a_stream_leads_back_to_its_decider_and_its_key(self, category: str) -> None:
        key = "0199b1c0-0000-7000-8000-00000000000a"
        stream = DECIDERS[category].stream(key)
        assert stream == f"{category}-{key}"
        assert decider_of(stream) is DECIDERS[category]
        (sample, *_) = SAMPLES
        assert msgspec.structs.replace(sample, stream=stream).key == key

    @KINDS
    def test_every_event_can_be_the_history_of_its_own_aggregate(self, kind: type[Event]) -> None:
        sample = sample_of(kind)
        assert decider_of(sample.stream).category == TAGS[kind].partition(".")[0]

    @pytest.mark.parametrize("category", DECIDERS)
    def test_a_snapshot_of_any_state_comes_back_as_it_went(self, category: str) -> None:
        initial = DECIDERS[category].initial
        assert msgspec.json.decode(msgspec.json.encode(initial), type=type(initial)) == initial

    def test_commands_are_frozen(self) -> None:
        commands = domains(Command)
        assert commands
        assert all(getattr(command, "__struct_config__").frozen for command in commands)  # noqa: B009 -- a struct

    def test_every_refusal_can_explain_itself(self) -> None:
        refusals = domains(Refusal)
        assert refusals
        assert [refusal for refusal in refusals if not (refusal.__doc__ or "__init__" in vars(refusal))] == []


class TestReadModels:
    def test_their_names_and_tables_are_their_own(self) -> None:
        models = (*INLINE, *FOLLOWED)
        assert len(READ_MODELS) == len(models)
        tables = [table for model in models for table in model.tables]
        assert len(set(tables)) == len(tables)

    @MODELS
    def test_the_schema_makes_exactly_the_tables_named(self, model: ReadModel) -> None:
        assert set(re.findall(r"create table (\w+)", model.schema)) == set(model.tables)

    @MODELS
    def test_volatile_columns_are_columns(self, model: ReadModel) -> None:
        assert all(re.search(rf"^\s+{column} ", model.schema, re.MULTILINE) for column in model.volatile)

    @MODELS
    def test_every_constraint_that_means_a_refusal_is_in_the_schema(self, model: ReadModel) -> None:
        assert all(f"constraint {constraint} " in model.schema for constraint in model.refusals)

    @MODELS
    @KINDS
    def test_a_model_writes_for_exactly_the_events_it_declares(self, model: ReadModel, kind: type[Event]) -> None:
        assert bool(list(model.statements([sample_of(kind)]))) == (kind in model.events)

    @MODELS
    def test_a_statement_has_a_value_for_every_parameter(self, model: ReadModel) -> None:
        for sample in SAMPLES:
            for statement in model.statements([sample]):
                assert statement.sql.count("%s") == len(statement.params)

    @MODELS
    def test_a_column_has_a_type_that_can_be_packed_and_nothing_else_has(self, model: ReadModel) -> None:
        for sample in SAMPLES:
            for statement in model.statements([sample]):
                for kind, param in zip(kinds_of(statement.sql), statement.params, strict=True):
                    assert isinstance(param, int | str) if kind is None else packed(kind, param)

    @MODELS
    def test_of_nothing_comes_nothing(self, model: ReadModel) -> None:
        assert list(model.statements([])) == []

    @MODELS
    def test_the_mapping_is_pure(self, model: ReadModel) -> None:
        declared = [sample for sample in SAMPLES if type(sample.event) in model.events]
        assert list(model.statements(declared)) == list(model.statements(declared))

    def test_every_event_is_in_some_read_model(self) -> None:
        unseen = set(EVENT_TYPES) - {kind for model in READ_MODELS.values() for kind in model.events}
        # A referral's reward is read in the ledger, as the grants it came with.
        assert {TAGS[kind] for kind in unseen} <= {"registration.referral_rewarded"}

    def test_numbers_are_given_out_by_exactly_the_events_that_carry_one(self) -> None:
        carriers = {kind for kind in EVENT_TYPES if "number" in kind.__struct_fields__}
        assert {type(sample.event) for sample in SAMPLES if numbered(sample.event)} == carriers
        assert carriers == READ_MODELS["numbers"].events


def test_an_audit_does_not_load_what_serves(conninfo: str, tmp_path: Path) -> None:
    asked = (
        "import sys; from mintage.cli import main; code = main(['audit', 'trial-balance', '--data-dir', sys.argv[1]]);"
        "print(code, *{'litestar', 'uvicorn', 'numpy', 'av', 'httpx', 'mintage.bootstrap'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked, str(tmp_path)],
        env=os.environ | {"MINTAGE_DATABASE_URL": conninfo},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0"

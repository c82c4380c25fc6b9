"""What was ever stored can be read for ever, and says what it always said."""

import json
from typing import Any

import msgspec
import pytest

from mintage.domain.catalogue import EVENT_TYPES, TAGS, AnyEvent
from mintage.domain.recorded import Recorded
from mintage.infra.codec import decode, encode, opened, tag_of
from tests.golden.samples import BY_TAG, FOLDER, KEY, SAMPLES, older, stored

TAGS_EVER = sorted(TAGS.values())


def read(tag: str, state: bytes) -> Recorded:
    sample = BY_TAG[tag]
    return opened(decode(sample.position, sample.stream, sample.version, tag, state), KEY)


def data_of(tag: str) -> dict[str, Any]:
    data = json.loads(stored(tag))["data"]
    assert isinstance(data, dict)
    return data


def as_stored(tag: str, data: dict[str, Any]) -> bytes:
    return json.dumps({**json.loads(stored(tag)), "data": data}).encode()


def test_there_is_one_sample_of_every_tag_and_no_other() -> None:
    assert sorted(BY_TAG) == TAGS_EVER
    assert len(SAMPLES) == len(BY_TAG)
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == TAGS_EVER


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_a_stored_sample_reads_as_the_event_it_was(tag: str) -> None:
    entry = read(tag, stored(tag))
    assert entry == BY_TAG[tag]
    assert type(entry.event) is type(BY_TAG[tag].event)
    assert tag_of(entry) == tag


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_what_is_written_today_is_what_was_written_then(tag: str) -> None:
    then, now = json.loads(stored(tag)), json.loads(encode(BY_TAG[tag], KEY))
    for field in BY_TAG[tag].event.PERSONAL:
        # Sealed anew every time, under a nonce of its own.
        assert then["data"].pop(field) != now["data"].pop(field)
    assert then == now
    assert list(then) == ["at", "actor", "command", "data"]


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_every_field_of_a_sample_is_there_and_differs_from_its_default(tag: str) -> None:
    event = BY_TAG[tag].event
    data = data_of(tag)
    assert list(data) == ["type", *type(event).__struct_fields__]
    for field in msgspec.structs.fields(event):
        assert getattr(event, field.name) != field.default, field.name


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_a_field_that_a_newer_version_added_is_passed_over(tag: str) -> None:
    data = {**data_of(tag), "added_later": {"by": ["a", "newer", "version"]}}
    assert read(tag, as_stored(tag, data)) == BY_TAG[tag]
    envelope = {**json.loads(stored(tag)), "added_later": 1}
    assert read(tag, json.dumps(envelope).encode()) == BY_TAG[tag]


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_an_event_without_the_fields_that_have_defaults_reads_with_the_defaults(tag: str) -> None:
    event = BY_TAG[tag].event
    optional = {field.name: field.default for field in msgspec.structs.fields(event) if not field.required}
    data = {name: value for name, value in data_of(tag).items() if name not in optional}
    assert read(tag, as_stored(tag, data)).event == msgspec.structs.replace(event, **optional)


@pytest.mark.parametrize("tag", older())
def test_what_an_older_program_stored_means_the_same_with_the_defaults_of_what_was_added(tag: str) -> None:
    state = (FOLDER / "older" / f"{tag}.json").read_bytes()
    event = BY_TAG[tag].event
    said = json.loads(state)["data"]
    added = {field.name: field.default for field in msgspec.structs.fields(event) if field.name not in said}
    assert added
    assert read(tag, state).event == msgspec.structs.replace(event, **added)


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_every_field_without_a_default_is_needed(tag: str) -> None:
    event = BY_TAG[tag].event
    for field in msgspec.structs.fields(event):
        if field.required:
            data = {name: value for name, value in data_of(tag).items() if name != field.name}
            with pytest.raises(msgspec.ValidationError, match=field.name):
                read(tag, as_stored(tag, data))


@pytest.mark.parametrize("tag", TAGS_EVER)
def test_nothing_personal_lies_in_the_log_in_clear(tag: str) -> None:
    event: AnyEvent = BY_TAG[tag].event
    for field in event.PERSONAL:
        clear = getattr(event, field)
        assert clear.encode() not in stored(tag)
        assert json.dumps(clear)[1:-1].encode() not in stored(tag)


def test_the_samples_say_everything_that_the_catalogue_knows() -> None:
    assert {type(sample.event) for sample in SAMPLES} == set(EVENT_TYPES)

"""Events to bytes and back: nothing lost, nothing personal in clear, no damage unnoticed."""

import json
from base64 import b64decode, b64encode
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mintage.domain.recorded import ERASED, Recorded
from mintage.domain.registration.events import PersonErased, PersonRegistered
from mintage.infra.codec import Upcaster, decode, encode, opened, owner_of, tag_of
from mintage.infra.vault import NONCE_BYTES, PREFIX, SealBroken, Vault, place_of, seal, unseal
from tests.golden.samples import ANN, BY_TAG, KEY, SAMPLES, stored
from tests.strategies import recorded

OTHER_KEY = AESGCM(bytes(reversed(range(32))))
PERSONAL = [sample for sample in SAMPLES if sample.event.PERSONAL]
SEALED_FIELDS = [(tag_of(sample), field) for sample in PERSONAL for field in sample.event.PERSONAL]


def sealed(sample: Recorded) -> Recorded:
    """A sample as it lies in the log."""
    tag = tag_of(sample)
    return decode(sample.position, sample.stream, sample.version, tag, stored(tag))


class TestThereAndBack:
    @settings(deadline=None, max_examples=300)
    @given(recorded())
    def test_every_event_comes_back_as_it_went(self, entry: Recorded) -> None:
        state = encode(entry, KEY)
        kept = decode(entry.position, entry.stream, entry.version, tag_of(entry), state)
        assert opened(kept, KEY) == entry
        assert type(kept.event) is type(entry.event)

    @settings(deadline=None)
    @given(recorded())
    def test_what_is_stored_is_plain_json_under_its_tag(self, entry: Recorded) -> None:
        envelope = json.loads(encode(entry, KEY))
        assert list(envelope) == ["at", "actor", "command", "data"]
        assert envelope["data"]["type"] == tag_of(entry)
        assert list(envelope["data"])[1:] == list(type(entry.event).__struct_fields__)

    @settings(deadline=None)
    @given(recorded())
    def test_personal_fields_are_sealed_and_empty_ones_stay_empty(self, entry: Recorded) -> None:
        data = json.loads(encode(entry, KEY))["data"]
        for field in entry.event.PERSONAL:
            clear = getattr(entry.event, field)
            assert data[field] is None if clear is None else data[field].startswith(PREFIX)

    def test_opening_what_holds_nothing_personal_needs_no_key(self) -> None:
        for sample in SAMPLES:
            if not sample.event.PERSONAL:
                assert owner_of(sample) is None
                assert opened(sealed(sample), None) == sample

    def test_a_clear_text_that_looks_sealed_is_sealed_all_the_same(self) -> None:
        (sample, *_) = PERSONAL
        entry = replace(sample, event=replace(sample.event, **{sample.event.PERSONAL[0]: f"{PREFIX}not really"}))
        kept = decode(entry.position, entry.stream, entry.version, tag_of(entry), encode(entry, KEY))
        assert opened(kept, KEY) == entry

    def test_a_personal_event_cannot_be_stored_without_its_owners_key(self) -> None:
        for sample in PERSONAL:
            assert owner_of(sample) == ANN
            with pytest.raises(AssertionError):
                encode(sample, None)

    def test_the_same_text_never_looks_the_same(self) -> None:
        assert len({seal(KEY, "安妮", b"here") for _ in range(100)}) == 100


class TestErased:
    @pytest.mark.parametrize(("tag", "field"), SEALED_FIELDS)
    def test_without_the_key_a_personal_field_reads_erased(self, tag: str, field: str) -> None:
        assert getattr(opened(sealed(BY_TAG[tag]), None).event, field) == ERASED == "[erased]"

    @pytest.mark.parametrize("tag", [tag_of(sample) for sample in PERSONAL])
    def test_everything_else_stays_readable(self, tag: str) -> None:
        sample = BY_TAG[tag]
        erased = dict.fromkeys(sample.event.PERSONAL, ERASED)
        assert opened(sealed(sample), None) == replace(sample, event=replace(sample.event, **erased))

    def test_what_was_never_given_is_not_erased(self) -> None:
        sample = BY_TAG["registration.registered"]
        assert isinstance(sample.event, PersonRegistered)
        entry = replace(sample, event=replace(sample.event, phone=None))
        kept = decode(1, entry.stream, entry.version, tag_of(entry), encode(entry, KEY))
        found = opened(kept, None).event
        assert isinstance(found, PersonRegistered)
        assert (found.phone, found.email) == (None, ERASED)


class TestDamage:
    @pytest.mark.parametrize(("tag", "field"), SEALED_FIELDS)
    def test_a_sealed_field_opens_only_where_it_was_sealed(self, tag: str, field: str) -> None:
        entry = sealed(BY_TAG[tag])
        for moved in (
            replace(entry, stream=entry.stream[:-1] + "0"),
            replace(entry, version=entry.version + 1),
            replace(entry, stream=entry.stream[:-1], version=int(f"{entry.version}1")),
        ):
            with pytest.raises(SealBroken):
                opened(moved, KEY)

    @pytest.mark.parametrize(("tag", "field"), SEALED_FIELDS)
    def test_a_sealed_field_cannot_take_the_place_of_another(self, tag: str, field: str) -> None:
        entry = sealed(BY_TAG[tag])
        for other in entry.event.PERSONAL:
            if other != field:
                swapped = replace(entry.event, **{field: getattr(entry.event, other)})
                with pytest.raises(SealBroken):
                    opened(replace(entry, event=swapped), KEY)

    @pytest.mark.parametrize(("tag", "field"), SEALED_FIELDS)
    def test_another_persons_key_opens_nothing(self, tag: str, field: str) -> None:
        with pytest.raises(SealBroken):
            opened(sealed(BY_TAG[tag]), OTHER_KEY)

    @settings(deadline=None)
    @given(st.text(), st.data())
    def test_any_changed_bit_is_noticed(self, text: str, data: st.DataObject) -> None:
        raw = bytearray(b64decode(seal(KEY, text, b"here").removeprefix(PREFIX)))
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises(SealBroken):
            unseal(KEY, PREFIX + b64encode(raw).decode(), b"here")

    @settings(deadline=None)
    @given(st.text(), st.data())
    def test_whatever_is_cut_off_is_noticed(self, text: str, data: st.DataObject) -> None:
        whole = seal(KEY, text, b"here")
        cut = whole[: data.draw(st.integers(len(PREFIX), len(whole) - 1))]
        if cut != whole.rstrip("="):
            with pytest.raises(SealBroken):
                unseal(KEY, cut, b"here")

    @pytest.mark.parametrize("junk", ["", "!", "AAAA", "安妮", "A" * 15, b64encode(bytes(NONCE_BYTES)).decode()])
    def test_junk_is_noticed(self, junk: str) -> None:
        with pytest.raises(SealBroken):
            unseal(KEY, PREFIX + junk, b"here")

    def test_characters_slipped_into_a_seal_are_noticed(self) -> None:
        whole = seal(KEY, "安妮", b"here")
        with pytest.raises(SealBroken):
            unseal(KEY, whole[:20] + "\n!" + whole[20:], b"here")

    def test_no_two_places_are_one(self) -> None:
        places = [
            place_of(stream, version, field)
            for stream in ("a", "a1", "a11", "1:a", "")
            for version in (1, 11, 111)
            for field in ("x", "1:x", ":x", "")
        ]
        assert len(set(places)) == len(places)

    @pytest.mark.parametrize(
        "state",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b"\xff",
            b'{"at":"2026-02-03T04:05:06Z","actor":"a","command":"c","data":{"type":"nobody.knows"}}',
            b'{"at":"2026-02-03T04:05:06Z","actor":"a","command":"c","data":{"user_id":"ann"}}',
            b'{"at":"2026-02-03T04:05:06Z","actor":"a","command":"c","data":{"type":"registration.erased"}}',
            b'{"at":"yesterday","actor":"a","command":"c","data":{"type":"registration.erased","user_id":"ann"}}',
            b'{"at":"2026-02-03T04:05:06Z","actor":"a","command":"c","data":{"type":"registration.erased","user_id":1}}',
            b'{"at":"2026-02-03T04:05:06Z","actor":"\xff","command":"c","data":{"type":"registration.erased","user_id":"a"}}',
        ],
    )
    def test_a_damaged_event_is_refused(self, state: bytes) -> None:
        with pytest.raises(ValueError):
            decode(1, "registration-ann", 1, "registration.erased", state)
        with pytest.raises(ValueError):
            decode(1, "registration-ann", 1, "old.erased", state, {"old.erased": lambda data: data})


class TestKeys:
    def test_a_persons_key_is_unwrapped_by_the_master_key_for_that_person_only(self) -> None:
        vault = Vault(bytes(32))
        key, wrapped = vault.new_key("ann")
        assert unseal(vault.unwrap("ann", wrapped), seal(key, "安妮", b"here"), b"here") == "安妮"
        with pytest.raises(SealBroken):
            vault.unwrap("bob", wrapped)
        with pytest.raises(SealBroken):
            Vault(bytes(31) + b"\x01").unwrap("ann", wrapped)

    def test_every_person_has_a_key_of_their_own(self) -> None:
        vault = Vault(bytes(32))
        assert len({vault.new_key("ann")[1] for _ in range(10)}) == 10


def _renamed(data: dict[str, Any]) -> dict[str, Any]:
    """Once there was ``person.deleted`` with an ``account``; then it was ``person.gone`` with a ``person``."""
    return {"type": "person.gone", "person": data["account"]}


def _moved(data: dict[str, Any]) -> dict[str, Any]:
    return {"type": "registration.erased", "user_id": data["person"]}


UPCASTERS: dict[str, Upcaster] = {"person.deleted": _renamed, "person.gone": _moved}


class TestUpcasting:
    @pytest.mark.parametrize(
        "data", [{"type": "person.deleted", "account": ANN}, {"type": "person.gone", "person": ANN}]
    )
    def test_a_retired_tag_reads_as_its_newest_form(self, data: dict[str, Any]) -> None:
        sample = BY_TAG["registration.erased"]
        state = json.dumps({**json.loads(stored("registration.erased")), "data": data}).encode()
        found = decode(sample.position, sample.stream, sample.version, data["type"], state, UPCASTERS)
        assert found == sample
        assert type(found.event) is PersonErased

    def test_without_its_upcaster_a_retired_tag_cannot_be_read(self) -> None:
        state = json.dumps(
            {**json.loads(stored("registration.erased")), "data": {"type": "person.gone", "person": ANN}}
        ).encode()
        with pytest.raises(msgspec.ValidationError):
            decode(1, "registration-ann", 1, "person.gone", state)

    def test_upcasters_leave_living_tags_alone(self) -> None:
        for sample in SAMPLES:
            tag = tag_of(sample)
            found = decode(sample.position, sample.stream, sample.version, tag, stored(tag), UPCASTERS)
            assert opened(found, KEY) == sample

    def test_a_sealed_field_survives_its_upcaster(self) -> None:
        def once_a_person(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "type": "registration.registered"}

        sample = BY_TAG["registration.registered"]
        envelope = json.loads(stored("registration.registered"))
        state = json.dumps({**envelope, "data": {**envelope["data"], "type": "person.signed_up"}}).encode()
        upcasters: dict[str, Upcaster] = {"person.signed_up": once_a_person}
        found = decode(sample.position, sample.stream, sample.version, "person.signed_up", state, upcasters)
        assert opened(found, KEY) == sample

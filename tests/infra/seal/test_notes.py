"""Checkpoints are signed notes that other tools read, and nothing that was changed passes for one."""

from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintage.infra.seal.notes import NoteInvalid, Signer, Verifier, read_notes

NAME = "mintage/0199b1c0-0000-7000-8000-00000000000a"
SIGNER = Signer(NAME, bytes(range(32)))
OTHER = Signer(NAME, bytes(32))
VERIFIER = Verifier.of(SIGNER.text)
CHECKPOINT = SIGNER.sign(7, bytes(32))


def test_a_note_known_from_elsewhere_is_verified() -> None:
    """The example of Go's sumdb/note, which the specification comes from."""
    key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    verifier = Verifier.of(key)
    assert verifier.text == key
    assert verifier.key_id.hex() == "c74f20a3"


def test_a_checkpoint_says_what_was_signed() -> None:
    assert CHECKPOINT.note == (
        f"{NAME}\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— {NAME} {CHECKPOINT.note.split()[-1]}\n"
    )
    assert VERIFIER.checkpoint(CHECKPOINT.note) == CHECKPOINT
    assert SIGNER.sign(7, bytes(32)) == CHECKPOINT
    assert len(b64decode(CHECKPOINT.note.split()[-1])) == 68


def test_a_signature_of_somebody_else_beside_ours_does_not_matter() -> None:
    witness = Signer("witness", bytes(32)).sign(7, bytes(32)).note.rpartition("\n\n")[2]
    assert VERIFIER.checkpoint(CHECKPOINT.note + witness).size == 7
    assert VERIFIER.checkpoint(CHECKPOINT.note.replace("\n\n", f"\n\n{witness}")).size == 7


@given(st.integers(0, len(CHECKPOINT.note) - 1), st.characters(codec="utf-8"))
def test_no_changed_character_passes(place: int, character: str) -> None:
    changed = CHECKPOINT.note[:place] + character + CHECKPOINT.note[place + 1 :]
    if changed.removesuffix("\n") != CHECKPOINT.note.removesuffix("\n"):
        with pytest.raises(NoteInvalid):
            VERIFIER.checkpoint(changed)


def test_what_others_sign_is_not_ours() -> None:
    elsewhere = Signer("mintage/elsewhere", bytes(range(32)))
    text, _, signature = OTHER.sign(7, bytes(32)).note.partition("\n\n")
    # Under our key's id, which anybody can write.
    raw = b64decode(signature.split()[-1])
    forged = f"{text}\n\n— {NAME} {b64encode(VERIFIER.key_id + raw[4:]).decode()}\n"
    for note in (OTHER.sign(7, bytes(32)).note, elsewhere.sign(7, bytes(32)).note, forged, text, ""):
        with pytest.raises(NoteInvalid):
            VERIFIER.checkpoint(note)


@pytest.mark.parametrize(
    "key",
    [
        "",
        NAME,
        SIGNER.text.replace("+", "-", 1),
        SIGNER.text[:-1],
        SIGNER.text[:-4] + "AAA=",
        f"two words+{SIGNER.text.partition('+')[2]}",
        f"{NAME}+00000000+{SIGNER.text.rpartition('+')[2]}",
        f"other+{SIGNER.text.partition('+')[2]}",
    ],
)
def test_what_is_no_verifier_key_is_refused(key: str) -> None:
    with pytest.raises(NoteInvalid):
        Verifier.of(key)


class TestFiles:
    def test_all_notes_of_a_directory_are_read_in_order(self, tmp_path: Path) -> None:
        made = [SIGNER.sign(size, bytes([size]) * 32) for size in range(1, 6)]
        (tmp_path / "2026-01-02.txt").write_text("\n".join(one.note for one in made[2:]), encoding="utf-8")
        (tmp_path / "2026-01-01.txt").write_text("\n".join(one.note for one in made[:2]), encoding="utf-8")
        assert read_notes(tmp_path, VERIFIER) == made
        assert read_notes(tmp_path / "2026-01-02.txt", VERIFIER) == made[2:]

    def test_notes_of_another_log_are_left_out(self, tmp_path: Path) -> None:
        other = Signer("mintage/elsewhere", bytes(32)).sign(9, bytes(32))
        (tmp_path / "2026-01-01.txt").write_text(f"{other.note}\n{CHECKPOINT.note}\n{other.note}", encoding="utf-8")
        assert read_notes(tmp_path, VERIFIER) == [CHECKPOINT]

    @pytest.mark.parametrize("length", range(len(CHECKPOINT.note.encode())))
    def test_what_a_crash_left_is_no_note(self, tmp_path: Path, length: int) -> None:
        file = tmp_path / "2026-01-01.txt"
        file.write_bytes(f"{CHECKPOINT.note}\n".encode() + CHECKPOINT.note.encode()[:length])
        assert read_notes(file, VERIFIER) == [CHECKPOINT]

    @pytest.mark.parametrize("change", [("\n7\n", "\n8\n"), ("\n7\n", "\n7x\n"), ("—", "-"), (f"— {NAME}", "— x")])
    def test_a_changed_note_is_named(self, tmp_path: Path, change: tuple[str, str]) -> None:
        file = tmp_path / "2026-01-01.txt"
        file.write_text(f"{CHECKPOINT.note.replace(*change)}\n{CHECKPOINT.note}", encoding="utf-8")
        with pytest.raises(NoteInvalid, match="2026-01-01"):
            read_notes(tmp_path, VERIFIER)

    def test_what_is_no_file_of_notes_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="nowhere"):
            read_notes(tmp_path / "nowhere.txt", VERIFIER)

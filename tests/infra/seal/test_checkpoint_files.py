"""What was signed last is found whichever file it is in, and a file that did not change is not read again."""

import os
from pathlib import Path
from typing import Any

import pytest

from mintage.infra.seal import checkpoint_files as module
from mintage.infra.seal.checkpoint_files import newest_note
from mintage.infra.seal.notes import NoteInvalid, Signer

NAME = "mintage/0199b1c0-0000-7000-8000-00000000000a"
SIGNER = Signer(NAME, bytes(range(32)))


def write(file: Path, *sizes: int, by: Signer = SIGNER) -> None:
    file.write_text("\n".join(by.sign(size, bytes([size]) * 32).note for size in sizes), encoding="utf-8")


def newest(folder: Path) -> int | None:
    found = newest_note(folder, SIGNER)
    return None if found is None else found.size


@pytest.mark.parametrize("first", [1, 2, 3])
def test_it_is_the_largest_whatever_the_files_are_called(tmp_path: Path, first: int) -> None:
    days = {1: (10, 20), 2: (30, 40), 3: (50,)}
    for turn in range(3):
        write(tmp_path / f"2026-01-0{turn + 1}.txt", *days[(first + turn - 1) % 3 + 1])
    assert newest(tmp_path) == 50


def test_where_there_is_nothing_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") is None
    (tmp_path / "2026-01-01.txt").touch()
    write(tmp_path / "2026-01-02.txt", 99, by=Signer("mintage/another", bytes(32)))
    assert newest(tmp_path) is None


@pytest.mark.parametrize("day", [1, 3])
def test_a_note_that_was_torn_does_not_hide_the_one_before(tmp_path: Path, day: int) -> None:
    write(tmp_path / "2026-01-02.txt", 10)
    file = tmp_path / f"2026-01-0{day}.txt"
    write(file, 15, 20)
    whole, torn = file.read_bytes(), SIGNER.sign(30, bytes(32)).note.encode()
    for length in range(len(torn)):
        file.write_bytes(whole + b"\n" + torn[:length])
        assert newest(tmp_path) == 20
    file.write_bytes(whole + b"\n" + torn)
    assert newest(tmp_path) == 30


@pytest.mark.parametrize("day", [1, 3])
def test_one_that_is_not_signed_with_the_key_is_refused_each_time(tmp_path: Path, day: int) -> None:
    write(tmp_path / "2026-01-02.txt", 20)
    write(tmp_path / f"2026-01-0{day}.txt", 30, by=Signer(NAME, bytes(32)))
    for _ in range(2):
        with pytest.raises(NoteInvalid, match="not signed with the key"):
            newest(tmp_path)


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def seen(path: Path) -> Any:
        opened.append(path.name)
        return end_of(path)

    end_of = module._end_of
    monkeypatch.setattr(module, "_end_of", seen)
    one, two = (tmp_path / f"2026-01-0{day}.txt" for day in (1, 2))
    write(one, 10)
    write(two, 20)
    assert [newest(tmp_path) for _ in range(3)] == [20] * 3
    assert sorted(opened) == [one.name, two.name]
    opened.clear()
    write(one, 10, 30)
    assert [newest(tmp_path) for _ in range(3)] == [30] * 3
    # Of the same length, and of another time.
    write(one, 10, 40)
    os.utime(one, (0, 0))
    assert [newest(tmp_path) for _ in range(3)] == [40] * 3
    assert opened == [one.name] * 2
    one.unlink()
    assert newest(tmp_path) == 20
    # Another log's checkpoints are in the same files.
    assert newest_note(tmp_path, Signer("mintage/another", bytes(32))) is None

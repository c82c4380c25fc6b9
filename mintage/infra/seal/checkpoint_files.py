"""Checkpoints in files by day, outside the database: each whole or not at all, and on the disk before it counts."""

import os
import re
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from mintage.infra.seal.notes import Checkpoint, Verifier, whole_notes

_TAIL: Final = 16_384
"""So many bytes at the end of a file are looked at: some seventy notes."""
_BETWEEN: Final = re.compile("\n\n(?!— )".encode())
"""Where one note ends and the next begins."""


class _Seen(NamedTuple):
    """A file as it was read last, and what it ended with."""

    inode: int
    size: int
    modified_ns: int
    last: Checkpoint | None


_seen: Final[dict[tuple[Path, str], _Seen]] = {}
"""By file and verifier: of years of files, only those that changed are read again each second."""


def newest_note(folder: Path, verifier: Verifier) -> Checkpoint | None:
    """The largest of the checkpoints of the verifier's log that its files in the folder end with.

    Not that of the last file: the clock that named the files may have gone back, or once too far ahead. Raises
    ``NoteInvalid`` if one of them is not signed with the verifier's key.
    """
    key = verifier.text
    last = []
    for file in folder.glob("*.txt"):
        # Before it is read: what is appended meanwhile is seen the next time.
        stat = file.stat()
        seen, state = _seen.get((file, key)), (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen is None or seen[:3] != state:
            _seen[file, key] = seen = _Seen(*state, _last_note(file, verifier))
        if seen.last is not None:
            last.append(seen.last)
    return max(last, key=attrgetter("size"), default=None)


def _last_note(file: Path, verifier: Verifier) -> Checkpoint | None:
    meant = [note for note in _end_of(file)[0] if verifier.is_meant(note)]
    return verifier.checkpoint(meant[-1]) if meant else None


def append_note(folder: Path, checkpoint: Checkpoint, at: datetime) -> None:
    """Add a note to the file of its day; it is on the disk when this returns."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{at:%Y-%m-%d}.txt"
    with path.open("ab") as file:
        end = _end_of(path)[1]
        # Whatever a power failure left of a note that never counted.
        file.truncate(end)
        file.write(("\n" if end else "").encode() + checkpoint.note.encode())
        file.flush()
        os.fsync(file.fileno())
    if not end:
        _sync_folder(folder)


def _end_of(path: Path) -> tuple[list[str], int]:
    """The last notes in a file, and where the last of them ends."""
    with path.open("rb") as file:
        start = max(file.seek(0, os.SEEK_END) - _TAIL, 0)
        file.seek(start)
        raw = file.read()
    between = _BETWEEN.search(raw) if start else None
    notes, end = whole_notes(raw, between.end() if between else 0)
    return notes, start + end


def _sync_folder(folder: Path) -> None:
    """Make a new file's name last."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

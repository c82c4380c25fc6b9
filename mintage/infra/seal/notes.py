"""Signed checkpoints: what a log of so many events hashes to, as anybody's tools for transparency logs read them.

The text is C2SP's tlog-checkpoint, the signature that of C2SP's signed-note with Ed25519.
"""

import re
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519: Final = b"\1"
_NOTE: Final = re.compile("[^\n]+\n[0-9]+\n[A-Za-z0-9+/]{43}=\n\n(?:— [^\n ]+ [A-Za-z0-9+/=]+\n)+".encode())
_UNFINISHED_MAX: Final = 1_024
_UNSIGNED: Final = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n")


class NoteInvalid(Exception):
    """No checkpoint, or not signed with the key; the message says what is wrong."""


class Checkpoint(msgspec.Struct, frozen=True):
    """The log ``origin`` had this ``root`` when it had ``size`` events; ``note`` is the text that says and signs it."""

    origin: str
    size: int
    root: bytes
    note: str


class Verifier:
    """Knows the checkpoints of one log by its public key; the log's name is its origin."""

    def __init__(self, name: str, public: bytes) -> None:
        self.name = name
        self._public = public
        self._key = Ed25519PublicKey.from_public_bytes(public)
        self.key_id = sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]

    @classmethod
    def of(cls, key: str) -> "Verifier":
        """From the text ``name+<key id>+<public key>``. Raises ``NoteInvalid`` if it is none."""
        name, _, rest = key.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        public = _decoded(encoded)
        if not name or " " in name or public[:1] != _ED25519 or len(public) != 33:
            raise NoteInvalid("this is no verifier key for Ed25519")
        verifier = cls(name, public[1:])
        if verifier.key_id.hex() != key_id:
            raise NoteInvalid("the id in the verifier key is not that of the key")
        return verifier

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self._public).decode()}"

    def is_meant(self, note: str) -> bool:
        """Whether the note claims to be of this log."""
        return note.startswith(f"{self.name}\n")

    def checkpoint(self, note: str) -> Checkpoint:
        """What a note says. Raises ``NoteInvalid`` unless it is this log's, with a good signature under this key."""
        text, _, signatures = note.partition("\n\n")
        parts = _UNSIGNED.fullmatch(text + "\n")
        if parts is None or parts[1] != self.name:
            raise NoteInvalid(f"this is no checkpoint of {self.name}")
        for line in signatures.removesuffix("\n").split("\n"):
            dash, _, signed = line.partition(" ")
            name, _, encoded = signed.partition(" ")
            signature = _decoded(encoded) if (dash, name) == ("—", self.name) else b""
            if signature[:4] == self.key_id:
                try:
                    self._key.verify(signature[4:], f"{text}\n".encode())
                except InvalidSignature:
                    break
                return Checkpoint(parts[1], int(parts[2]), _decoded(parts[3]), note)
        raise NoteInvalid(f"the checkpoint at {parts[2]} events is not signed with the key of {self.name}")


class Signer(Verifier):
    """Makes the checkpoints of one log; ``seed`` is the 32 bytes of the Ed25519 private key."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        super().__init__(name, self._private.public_key().public_bytes_raw())

    def sign(self, size: int, root: bytes) -> Checkpoint:
        """The same for the same tree, however often it is asked."""
        text = f"{self.name}\n{size}\n{b64encode(root).decode()}\n"
        signature = b64encode(self.key_id + self._private.sign(text.encode())).decode()
        return Checkpoint(self.name, size, root, f"{text}\n— {self.name} {signature}\n")


def read_notes(path: Path, verifier: Verifier) -> list[Checkpoint]:
    """The verifier's log's checkpoints in a file, or in all files of a directory; those of other logs are left out.

    Raises ``NoteInvalid`` at what is no note, or not signed with the key. What a crash left of the last note of a file
    is no note yet.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            notes, _ = whole_notes(file.read_bytes())
            found += [verifier.checkpoint(note) for note in notes if verifier.is_meant(note)]
        except NoteInvalid as error:
            raise NoteInvalid(f"{file.name}: {error}") from None
    return found


def whole_notes(raw: bytes, start: int = 0) -> tuple[list[str], int]:
    """The notes in a file's content, and where the last of them ends.

    What follows may be what a crash left of one more; ``NoteInvalid`` if it cannot be that.
    """
    notes, end = [], start
    while match := _NOTE.match(raw, start):
        notes.append(match[0].decode(errors="replace"))
        end = match.end()
        # A blank line between two of them.
        start = end + raw.startswith(b"\n", end)
    rest = raw[start:]
    if len(rest) > _UNFINISHED_MAX or ("\n\n— ".encode() in rest and rest.endswith(b"\n")):
        raise NoteInvalid(f"what begins at byte {start} is no checkpoint")
    return notes, end


def _decoded(text: str) -> bytes:
    """Base64 in its one canonical spelling."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:
        raise NoteInvalid("there is something that is no base64") from None
    if b64encode(raw).decode() != text:
        raise NoteInvalid("there is base64 with bits left over")
    return raw

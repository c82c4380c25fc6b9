"""tools/verify_receipt.py, alone and without anything installed, takes a receipt that holds and no other."""

import importlib.util
import json
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mintage.infra.chain import GENESIS, event_hash
from mintage.infra.seal.merkle import Edge, proof
from mintage.infra.seal.notes import Signer

TOOL = Path(__file__).parents[3] / "tools" / "verify_receipt.py"
SIGNER = Signer("mintage/0199b1c0-0000-7000-8000-00000000000a", bytes(range(32)))
STREAM = "credits-0199b1c0-0000-7000-8000-00000000000b"

_spec = importlib.util.spec_from_file_location("verify_receipt", TOOL)
assert _spec is not None
assert _spec.loader is not None
tool: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


@cache
def receipts(size: int, signer: Signer = SIGNER) -> list[dict[str, Any]]:
    """Of every event of a log of one stream."""
    events, hashes, previous = [], [], GENESIS
    for number in range(1, size + 1):
        state = {
            "at": "2026-01-02T03:04:05.678901Z",
            "actor": "test",
            "command": "0199b1c0-0000-7000-8000-00000000000c",
            "data": {"type": "credits.consumed", "amount": number, "description": "生成AI图片"},
        }
        text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
        events.append(
            {
                "position": number,
                "stream": STREAM,
                "version": number,
                "topic": "credits.consumed",
                "state": text,
                "previous": previous.hex(),
            }
        )
        previous = event_hash(previous, number, number, STREAM, "credits.consumed", text.encode())
        hashes.append(previous)
    tree = Edge()
    tiles = tree.extend(hashes)
    note = signer.sign(size, tree.root()).note
    return [
        {
            "format": "mintage receipt 1",
            "event": event,
            "proof": [node.hex() for node in proof(index, size, tiles)],
            "checkpoint": note,
        }
        for index, event in enumerate(events)
    ]


def holds(receipt: object, key: str = SIGNER.text) -> bool:
    raw = receipt if isinstance(receipt, bytes) else json.dumps(receipt).encode()
    try:
        tool.verify(raw, key)
    except (tool.Refused, tool.Unreadable, UnicodeEncodeError):
        return False
    return True


def run(folder: Path, content: bytes, key: str = SIGNER.text) -> subprocess.CompletedProcess[str]:
    """As somebody would who has the one file, a Python and nothing else."""
    shutil.copy(TOOL, folder / "verify_receipt.py")
    (folder / "receipt.json").write_bytes(content)
    words = [sys.executable, "-I", "-S", "verify_receipt.py", "receipt.json", "--key", key]
    environment = {"PATH": "", "LANG": "C"}
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


class TestSignatures:
    @pytest.mark.parametrize(
        ("seed", "public", "message", "signature"),
        [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f05"
                "95bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4"
                "302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e971"
                "6ed28dc027beceea1ec40a",
            ),
            (
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d442364"
                "3ce80e2a9ac94fa54ca49f",
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c13"
                "8ac17ad9bef1177331a704",
            ),
        ],
    )
    def test_of_rfc_8032(self, seed: str, public: str, message: str, signature: str) -> None:
        secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
        assert secret.public_key().public_bytes_raw().hex() == public
        assert secret.sign(bytes.fromhex(message)).hex() == signature
        given = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
        assert tool.is_signed(*given)
        assert not tool.is_signed(given[0], given[1] + b"\0", given[2])

    @given(st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.integers(0, 511), st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_are_judged_as_a_library_judges_them(self, seed: bytes, message: bytes, bit: int, flip: bool) -> None:
        secret = Ed25519PrivateKey.from_private_bytes(seed)
        public, signature = secret.public_key().public_bytes_raw(), secret.sign(message)
        if flip:
            signature = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
        assert tool.is_signed(public, message, signature) is not flip
        assert library_says(public, message, signature) is not flip

    @given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
    @example(bytes(32), bytes(64))
    @example(b"\xff" * 32, b"\xff" * 64)
    @settings(max_examples=60, deadline=None)
    def test_by_keys_that_are_none_are_refused_too(self, public: bytes, signature: bytes) -> None:
        assert tool.is_signed(public, b"message", signature) == library_says(public, b"message", signature)

    def test_have_one_form_only(self) -> None:
        """The same with the order of the group added to its second half."""
        secret = Ed25519PrivateKey.from_private_bytes(bytes(32))
        public, signature = secret.public_key().public_bytes_raw(), secret.sign(b"message")
        more = int.from_bytes(signature[32:], "little") + tool.ORDER
        assert tool.is_signed(public, b"message", signature)
        for other in (signature[:32] + more.to_bytes(32, "little"), signature[:-1], signature + b"\0"):
            assert not tool.is_signed(public, b"message", other)
        assert not tool.is_signed(public[:-1], b"message", signature)


def library_says(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class TestReceipts:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 300])
    def test_of_every_event_hold(self, size: int) -> None:
        for receipt in receipts(size)[:: 1 if size < 10 else 37]:
            assert holds(receipt)
            assert holds({"success": True, "data": receipt})

    def test_what_holds_is_told(self, tmp_path: Path) -> None:
        raw = json.dumps({"success": True, "data": receipts(7)[3]}).encode()
        done = run(tmp_path, raw)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "the receipt holds: this event is in the log, unchanged and in its place",
            f"{'log':<15} {SIGNER.name}",
            f"{'event':<15} number 4 of 7, number 4 of {STREAM}",
            f"{'what':<15} credits.consumed",
            f"{'when':<15} 2026-01-02T03:04:05.678901Z",
            f"{'amount':<15} 4",
            f"{'description':<15} 生成AI图片",
        ]

    def test_what_does_not_hold_is_told(self, tmp_path: Path) -> None:
        other = Signer(SIGNER.name, bytes(32))
        raw = json.dumps(receipts(7)[3]).encode()
        for content, key, complaint in (
            (raw.replace(b'\\"amount\\":4', b'\\"amount\\":5'), SIGNER.text, "is not in the log"),
            (raw, other.text, "not signed with this key"),
            (json.dumps(receipts(7, other)[3]).encode(), SIGNER.text, "not signed with this key"),
            (raw, Signer("mintage/elsewhere", bytes(range(32))).text, "not one of mintage/elsewhere"),
        ):
            done = run(tmp_path, content, key)
            assert (done.returncode, done.stderr) == (1, "")
            assert done.stdout.startswith("the receipt does NOT hold: ")
            assert complaint in done.stdout

    @pytest.mark.parametrize(
        ("content", "key"),
        [
            (b"", SIGNER.text),
            (b"\xff\xfe", SIGNER.text),
            (b"[" * 100_000, SIGNER.text),
            (b"[]", SIGNER.text),
            (b"9" * 5_000, SIGNER.text),
            (b'{"success":false,"error":"NOT_FOUND"}', SIGNER.text),
            (json.dumps({**receipts(2)[0], "format": "mintage receipt 2"}).encode(), SIGNER.text),
            (json.dumps({**receipts(2)[0], "more": 1}).encode(), SIGNER.text),
            (json.dumps(receipts(2)[0]).replace("credits.consumed", "\\ud800").encode(), SIGNER.text),
            (json.dumps(receipts(2)[0]).encode(), "no key"),
            (json.dumps(receipts(2)[0]).encode(), SIGNER.text[:-4]),
            (json.dumps(receipts(2)[0]).encode(), SIGNER.text.replace("mintage", "mint")),
        ],
    )
    def test_what_cannot_be_read_is_told(self, tmp_path: Path, content: bytes, key: str) -> None:
        done = run(tmp_path, content, key)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("the receipt cannot be read: ")
        assert "Traceback" not in done.stderr

    def test_a_file_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        words = [sys.executable, "-I", str(TOOL), str(tmp_path / "nothing"), "--key", SIGNER.text]
        assert subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 2

    def test_what_somebody_wrote_does_nothing_to_a_terminal(self) -> None:
        assert tool.printable("a\nevent 9\x1b[2J\u202e\x9b文") == "a?event 9?[2J??文"


RECEIPT = receipts(7)[4]
RAW = json.dumps(RECEIPT, ensure_ascii=False).encode()


class TestEveryByteCounts:
    @given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
    @settings(max_examples=600, deadline=None)
    def test_of_the_file(self, place: int, change: int) -> None:
        changed = bytearray(RAW)
        changed[place] ^= change
        try:
            same = json.loads(bytes(changed)) == RECEIPT
        except ValueError:
            same = False
        assert holds(bytes(changed)) is same

    def test_of_the_file_one_after_the_other(self) -> None:
        """Each byte once, in its lowest bit: the letters and digits of hashes and signatures become others."""
        for place in range(len(RAW)):
            changed = bytearray(RAW)
            changed[place] ^= 1
            try:
                if json.loads(bytes(changed)) == RECEIPT:
                    continue
            except ValueError:
                pass
            assert not holds(bytes(changed)), bytes(changed[max(0, place - 20) : place + 20])

    @given(st.sampled_from(["position", "version"]), st.integers(-10, 10) | st.integers() | st.floats() | st.booleans())
    def test_numbers(self, name: str, value: float) -> None:
        changed = {**RECEIPT, "event": {**RECEIPT["event"], name: value}}
        assert holds(changed) is (type(value) is int and value == RECEIPT["event"][name])

    @given(st.sampled_from(["stream", "topic", "state", "previous"]), st.text() | st.none() | st.integers())
    def test_texts(self, name: str, value: object) -> None:
        assert not holds({**RECEIPT, "event": {**RECEIPT["event"], name: value}})

    def test_what_lies_between_two_texts(self) -> None:
        """The end of the stream's name as the beginning of the topic."""
        event = {**RECEIPT["event"], "stream": STREAM[:-1], "topic": STREAM[-1] + "credits.consumed"}
        assert not holds({**RECEIPT, "event": event})

    @given(st.permutations(range(len(RECEIPT["proof"]))), st.integers(0, len(RECEIPT["proof"])))
    def test_the_proof(self, order: list[int], length: int) -> None:
        changed = [RECEIPT["proof"][number] for number in order][:length]
        assert holds({**RECEIPT, "proof": changed}) is (changed == RECEIPT["proof"])
        assert not holds({**RECEIPT, "proof": [*RECEIPT["proof"], "00" * 32]})

    def test_the_checkpoint_of_another_size(self) -> None:
        for size in (1, 4, 5, 6, 8, 300):
            assert not holds({**RECEIPT, "checkpoint": receipts(size)[0]["checkpoint"]})

    def test_spellings(self) -> None:
        """Nothing that decodes to the same bytes passes for the same receipt."""
        note: str = RECEIPT["checkpoint"]
        signature = note.rsplit(maxsplit=1)[-1]
        last = signature[-2]
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        other = f"{signature[:-2]}{letters[letters.index(last) ^ 1]}="
        assert b64decode(other) == b64decode(signature)
        for changed in (
            {**RECEIPT, "checkpoint": note.replace(signature, other)},
            {**RECEIPT, "checkpoint": note.replace("\n7\n", "\n07\n")},
            {**RECEIPT, "proof": [one.upper() for one in RECEIPT["proof"]]},
        ):
            assert not holds(changed)

    def test_a_node_is_not_taken_for_an_event(self) -> None:
        """Leaves and nodes are hashed apart: what an inner node covers is no event's hash."""
        hashes = [sha256(bytes([number])).digest() for number in range(2)]
        tree = Edge()
        tree.extend(hashes)
        assert tree.root() != sha256(b"\0" + hashes[0] + hashes[1]).digest()


def test_a_signature_of_a_witness_beside_ours_does_not_matter() -> None:
    witness = Signer("witness", bytes(32))
    text = RECEIPT["checkpoint"].partition("\n\n")[0]
    line = f"— witness {b64encode(witness.key_id + bytes(64)).decode()}\n"
    assert holds({**RECEIPT, "checkpoint": RECEIPT["checkpoint"] + line})
    assert not holds({**RECEIPT, "checkpoint": f"{text}\n\n{line}"})

#!/usr/bin/env python3
"""Checks a receipt of a mintage ledger without mintage: this one file and Python's standard library are enough.

    python3 verify_receipt.py receipt.json --key "<verifier key>"

The key comes from whoever runs the ledger (`mintage audit key`, or GET /api/credits/receipt-key), best at another time
and by another way than the receipt. Exits 0 if the receipt holds, 1 if it does not, 2 if it cannot be read.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any

# -- Ed25519, as in RFC 8032 5.1: verifying alone, where nothing is secret and time does not matter

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def decompress(data: bytes) -> Point | None:
    """A point in extended coordinates; None for what is the encoding of none."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def compress(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def add(one: Point, other: Point) -> Point:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point = add(point, point)
        number >>= 1
    return total


BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's for the message."""
    key = decompress(public) if len(public) == 32 else None
    s = int.from_bytes(signature[32:], "little")
    if key is None or len(signature) != 64 or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    x, y, z, t = times(h, key)
    return compress(add(times(s, BASE), (P - x, y, z, P - t))) == signature[:32]


# -- the receipt


class Unreadable(Exception):
    """This is no receipt, or no key."""


class Refused(Exception):
    """The receipt does not prove what it says."""


FIELDS = {"position": int, "stream": str, "version": int, "topic": str, "state": str, "previous": str}


def read(raw: bytes) -> tuple[dict[str, Any], list[bytes], str]:
    """The receipt in a file: bare, or as the whole reply of the API."""
    try:
        document = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"this is no JSON: {error}") from None
    if isinstance(document, dict) and "format" not in document and isinstance(document.get("data"), dict):
        document = document["data"]
    if not isinstance(document, dict) or document.get("format") != "mintage receipt 1":
        raise Unreadable("this is no receipt of a format known here")
    event, proof, checkpoint = document.get("event"), document.get("proof"), document.get("checkpoint")
    if document.keys() != {"format", "event", "proof", "checkpoint"} or not isinstance(checkpoint, str):
        raise Unreadable("a receipt has an event, a proof and a checkpoint")
    if not isinstance(event, dict) or {name: type(value) for name, value in event.items()} != FIELDS:
        raise Unreadable(f"an event has {', '.join(FIELDS)}")
    if not 0 < event["position"] < 2**63 or not 0 < event["version"] < 2**63:
        raise Unreadable("position and version are counted from 1")
    if not isinstance(proof, list):
        raise Unreadable("a proof is a list")
    from_hex(event["previous"])
    return event, [from_hex(one) for one in proof], checkpoint


def from_hex(text: object) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise Unreadable("a hash is 64 hexadecimal digits in lower case")
    return bytes.fromhex(text)


def from_base64(text: str) -> bytes:
    """Only the one canonical spelling, so that nothing of a receipt can be changed without being noticed."""
    try:
        raw = base64.b64decode(text.encode(), validate=True)
    except ValueError:
        raise Refused("there is something that is no base64") from None
    if base64.b64encode(raw) != text.encode():
        raise Refused("there is base64 with bits left over")
    return raw


def read_key(text: str) -> tuple[str, bytes, bytes]:
    """The name and the public key in ``name+<key id>+<key>``, and the key's id."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3:
        raise Unreadable("a verifier key is name+id+key")
    name, key_id = parts[:2]
    try:
        raw = from_base64(parts[2])
    except Refused as error:
        raise Unreadable(f"in the verifier key {error}") from None
    found = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or found.hex() != key_id:
        raise Unreadable("the verifier key is damaged, or of a kind not known here")
    return name, raw[1:], found


def checkpoint_of(note: str, name: str, public: bytes, key_id: bytes) -> tuple[int, bytes]:
    """The size of the log and the root of its tree, if the key signed them (C2SP tlog-checkpoint)."""
    text, _, signatures = note.partition("\n\n")
    said = re.fullmatch(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([^\n]+)", text)
    if said is None or said[1] != name:
        raise Refused(f"the checkpoint is not one of {name}")
    for line in signatures.split("\n"):
        signer = re.fullmatch("— ([^ ]+) ([^ ]+)", line)
        signature = from_base64(signer[2]) if signer and signer[1] == name else b""
        if signature[:4] == key_id:
            if not is_signed(public, (text + "\n").encode(), signature[4:]):
                break
            return int(said[2]), from_base64(said[3])
    raise Refused("the checkpoint is not signed with this key")


def hash_of(event: dict[str, Any]) -> bytes:
    """The event's hash, which covers the one before it in its stream, and is its leaf in the tree."""
    stream, topic, state = (event[name].encode() for name in ("stream", "topic", "state"))
    return hashlib.sha256(
        b"\0mintage event 1\0"
        + from_hex(event["previous"])
        + struct.pack(">QQ", event["position"], event["version"])
        + b"".join(struct.pack(">I", len(part)) + part for part in (stream, topic, state))
    ).digest()


def root_by(proof: list[bytes], leaf: bytes, index: int, size: int) -> bytes:
    """The root that a proof leads to (RFC 9162 2.1.3.2)."""
    if index >= size:
        raise Refused(f"the checkpoint covers {size} events, and this is number {index + 1}")
    node, last = leaf, size - 1
    for sibling in proof:
        if last == 0:
            raise Refused("the proof is too long")
        if index & 1 or index == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    if last:
        raise Refused("the proof is too short")
    return node


def verify(raw: bytes, key: str) -> tuple[dict[str, Any], int]:
    """The event and the size of the log that a receipt proves it to be in."""
    event, proof, note = read(raw)
    size, root = checkpoint_of(note, *read_key(key))
    if root_by(proof, hash_of(event), event["position"] - 1, size) != root:
        raise Refused("the event is not in the log that the checkpoint speaks of")
    return event, size


def story(event: dict[str, Any], size: int, name: str) -> str:
    """What a receipt proves, in words."""
    state = json.loads(event["state"])
    data = state["data"]
    lines = [
        ("log", name),
        ("event", f"number {event['position']} of {size}, number {event['version']} of {event['stream']}"),
        ("what", event["topic"]),
        ("when", state["at"]),
        *((field, data[field]) for field in ("amount", "transaction_id", "description") if field in data),
    ]
    return "\n".join(f"{label:<15} {printable(value)}" for label, value in lines)


def printable(value: object) -> str:
    """What somebody wrote must not look like a line of ours, or do things to a terminal."""
    return "".join(one if one.isprintable() else "?" for one in str(value))


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a receipt of a mintage ledger.")
    parser.add_argument("receipt", help="the file with the receipt, bare or as the whole reply of the API")
    parser.add_argument("--key", required=True, help="the ledger's verifier key, name+id+key")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        raw = Path(options.receipt).read_bytes()
        event, size = verify(raw, options.key)
        told = story(event, size, options.key.partition("+")[0])
    except Refused as error:
        print(f"the receipt does NOT hold: {error}")
        return 1
    except (Unreadable, OSError, UnicodeEncodeError) as error:
        print(f"the receipt cannot be read: {error}", file=sys.stderr)
        return 2
    print("the receipt holds: this event is in the log, unchanged and in its place")
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())

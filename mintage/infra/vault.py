"""Personal fields are readable only with the person's own key, and that key only with the master key.

AES-256-GCM; the associated data binds a sealed field to its stream, version and name, so that it cannot be moved.
"""

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
PREFIX = "sealed:"


class SealBroken(Exception):
    """What was sealed was changed, moved, or sealed with another key."""


class Vault:
    """Wraps and unwraps the persons' keys; ``master_key`` is 32 bytes."""

    def __init__(self, master_key: bytes) -> None:
        self._master = AESGCM(master_key)

    def new_key(self, user_id: str) -> tuple[AESGCM, bytes]:
        """A fresh key for a person, and the same wrapped for storing."""
        key, nonce = AESGCM.generate_key(256), os.urandom(NONCE_BYTES)
        return AESGCM(key), nonce + self._master.encrypt(nonce, key, user_id.encode())

    def unwrap(self, user_id: str, wrapped: bytes) -> AESGCM:
        try:
            key = self._master.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], user_id.encode())
        except InvalidTag:
            raise SealBroken(f"the key of {user_id} was not wrapped with this master key") from None
        return AESGCM(key)


def seal(key: AESGCM, text: str, place: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return PREFIX + b64encode(nonce + key.encrypt(nonce, text.encode(), place)).decode()


def unseal(key: AESGCM, sealed: str, place: bytes) -> str:
    try:
        raw = b64decode(sealed.removeprefix(PREFIX), validate=True)
        return key.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place).decode()
    except (InvalidTag, ValueError):  # ValueError: no longer base64, or too short to be a nonce
        raise SealBroken(place.decode(errors="replace")) from None


def place_of(stream: str, version: int, field: str) -> bytes:
    """Where a sealed field lies; the lengths keep any two places apart."""
    return f"{len(stream)}:{stream}{version}:{field}".encode()

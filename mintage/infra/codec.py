"""Events to bytes and back: JSON that an auditor can read, under tags that outlive every rename."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from mintage.domain.catalogue import TAGS, AnyEvent
from mintage.domain.recorded import ERASED, Recorded
from mintage.infra.vault import PREFIX, SealBroken, place_of, seal, unseal

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: Final[dict[str, Upcaster]] = {}
"""From a retired tag to the function that makes its data that of a newer tag (perhaps itself retired)."""


class Envelope(msgspec.Struct, frozen=True, gc=False):
    at: datetime
    actor: str
    command: str
    data: AnyEvent

    def recorded(self, position: int, stream: str, version: int) -> Recorded:
        """The event in its place."""
        return Recorded(position, stream, version, self.at, self.actor, self.command, self.data)


class _RetiredEnvelope(msgspec.Struct, frozen=True, gc=False):
    at: datetime
    actor: str
    command: str
    data: dict[str, Any]


_encoder = msgspec.json.Encoder()
_decode = msgspec.json.Decoder(Envelope).decode
_decode_retired = msgspec.json.Decoder(_RetiredEnvelope).decode


def owner_of(entry: Recorded) -> str | None:
    """The person whose key seals an event, None if it holds nothing personal."""
    event = entry.event
    return getattr(event, "user_id") if event.PERSONAL else None  # noqa: B009 -- every such event has it


def encode(entry: Recorded, key: AESGCM | None = None) -> bytes:
    """An event as stored; ``key`` is its owner's, needed only where something personal is to be sealed."""
    event = entry.event
    if event.PERSONAL:
        assert key is not None, entry.stream
        event = replace(
            event,
            **{
                field: seal(key, clear, place_of(entry.stream, entry.version, field))
                for field in event.PERSONAL
                if (clear := getattr(event, field)) is not None
            },
        )
    return _encoder.encode(Envelope(entry.at, entry.actor, entry.command_id, event))


def decode(
    position: int,
    stream: str,
    version: int,
    topic: str,
    state: bytes,
    upcasters: Mapping[str, Upcaster] = UPCASTERS,
) -> Recorded:
    """An event as stored, its personal fields still sealed. Raises ``ValueError`` if it cannot be read."""
    return unpack(topic, state, upcasters).recorded(position, stream, version)


def unpack(topic: str, state: bytes, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> Envelope:
    """What is stored of an event beside its place, for who may not need that. Raises ``ValueError`` as ``decode``."""
    try:
        return _upcast(state, upcasters) if topic in upcasters else _decode(state)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def opened(entry: Recorded, key: AESGCM | None) -> Recorded:
    """The same event with its personal fields readable, or ``[erased]`` if the key is gone. Raises ``SealBroken``."""
    clear: dict[str, str] = {}
    for field in entry.event.PERSONAL:
        sealed = getattr(entry.event, field)
        if sealed is not None:
            place = place_of(entry.stream, entry.version, field)
            if not sealed.startswith(PREFIX):
                # Somebody wrote clear text where only a seal may be.
                raise SealBroken(place.decode())
            clear[field] = ERASED if key is None else unseal(key, sealed, place)
    return replace(entry, event=replace(entry.event, **clear)) if clear else entry


def tag_of(entry: Recorded) -> str:
    return TAGS[type(entry.event)]


def _upcast(state: bytes, upcasters: Mapping[str, Upcaster]) -> Envelope:
    raw = _decode_retired(state)
    data = raw.data
    while (upcaster := upcasters.get(data.get("type", ""))) is not None:
        data = upcaster(data)
    return Envelope(raw.at, raw.actor, raw.command, msgspec.convert(data, AnyEvent))

"""A character is made once, changed by its owner alone, and deleted for good."""

from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from mintage.domain.character.events import (
    CharacterAvatarChanged,
    CharacterCreated,
    CharacterDeleted,
    CharacterEvent,
    CharacterRenamed,
)
from mintage.domain.decider import Command, Decider, Refusal


class CreateCharacter(Command, frozen=True):
    user_id: str
    number: int
    character_type: str
    name: str
    avatar_url: str | None = None


class ChangeCharacter(Command, frozen=True):
    """``user_id`` is who asks. What is unset stays; an ``avatar_url`` of None takes the picture away."""

    user_id: str
    name: str | UnsetType = UNSET
    avatar_url: str | UnsetType | None = UNSET


class DeleteCharacter(Command, frozen=True):
    """``user_id`` is who asks."""

    user_id: str


CharacterCommand: TypeAlias = CreateCharacter | ChangeCharacter | DeleteCharacter


class CharacterUnknown(Refusal):
    """There is no such character, or it is somebody else's."""


class CharacterExists(Refusal):
    """The character's id was used already."""


class Character(msgspec.Struct, frozen=True):
    user_id: str = ""
    status: Literal["unknown", "there", "deleted"] = "unknown"


def decide(command: CharacterCommand, character: Character) -> tuple[CharacterEvent, ...]:
    if isinstance(command, CreateCharacter):
        if character.status != "unknown":
            raise CharacterExists
        return (CharacterCreated(**asdict(command)),)
    if character.status != "there" or command.user_id != character.user_id:
        raise CharacterUnknown
    match command:
        case ChangeCharacter(user_id=user_id, name=name, avatar_url=avatar_url):
            events: list[CharacterEvent] = []
            if name is not UNSET:
                events.append(CharacterRenamed(user_id=user_id, name=name))
            if avatar_url is not UNSET:
                events.append(CharacterAvatarChanged(user_id=user_id, avatar_url=avatar_url))
            return tuple(events)
        case DeleteCharacter():
            return (CharacterDeleted(),)
        case _:
            assert_never(command)


def evolve(character: Character, event: CharacterEvent) -> Character:
    match event:
        case CharacterCreated(user_id=user_id):
            return Character(user_id=user_id, status="there")
        case CharacterRenamed() | CharacterAvatarChanged():
            return character
        case CharacterDeleted():
            return replace(character, status="deleted")
        case _:
            assert_never(event)


CHARACTER: Decider[Character, CharacterCommand, CharacterEvent] = Decider("character", Character(), decide, evolve)

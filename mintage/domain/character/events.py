"""What can happen to a character.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from typing import ClassVar, TypeAlias

from mintage.domain.decider import Event


class CharacterCreated(Event, frozen=True, tag="character.created"):
    """Somebody made a character. ``number`` is v1's integer id, ``character_type`` v1's ``type``."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("name", "avatar_url")

    user_id: str
    number: int
    character_type: str
    name: str
    avatar_url: str | None = None


class CharacterRenamed(Event, frozen=True, tag="character.renamed"):
    """The character goes by another name."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("name",)

    user_id: str
    name: str


class CharacterAvatarChanged(Event, frozen=True, tag="character.avatar_changed"):
    """The character's picture is another one, or none."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("avatar_url",)

    user_id: str
    avatar_url: str | None = None


class CharacterDeleted(Event, frozen=True, tag="character.deleted"):
    """The character was removed for good."""


CharacterEvent: TypeAlias = CharacterCreated | CharacterRenamed | CharacterAvatarChanged | CharacterDeleted

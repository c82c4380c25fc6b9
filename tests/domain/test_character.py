"""A character is made once, changed by its owner alone, and deleted for good."""

import pytest

from mintage.domain.character.decider import (
    CHARACTER,
    ChangeCharacter,
    Character,
    CharacterCommand,
    CharacterExists,
    CharacterUnknown,
    CreateCharacter,
    DeleteCharacter,
)
from mintage.domain.character.events import (
    CharacterAvatarChanged,
    CharacterCreated,
    CharacterDeleted,
    CharacterEvent,
    CharacterRenamed,
)
from tests.scenario import Given


def given(*history: CharacterEvent) -> Given[Character, CharacterCommand, CharacterEvent]:
    return Given(CHARACTER, *history)


PICTURE = "https://example.com/fox.png"
CREATE = CreateCharacter(user_id="ann", number=4, character_type="sora", name="Fox", avatar_url=PICTURE)
CREATED = CharacterCreated(user_id="ann", number=4, character_type="sora", name="Fox", avatar_url=PICTURE)
RENAMED = CharacterRenamed(user_id="ann", name="Red fox")
DELETE = DeleteCharacter(user_id="ann")
DELETED = CharacterDeleted()


def test_a_character_is_made() -> None:
    assert given().when(CREATE).then(CREATED).state() == Character("ann", "there")


@pytest.mark.parametrize("history", [(CREATED,), (CREATED, DELETED)], ids=["there", "deleted"])
def test_an_id_is_used_once(history: tuple[CharacterEvent, ...]) -> None:
    given(*history).when(CREATE).then_refused(CharacterExists)


def test_its_owner_changes_it_and_what_is_not_mentioned_stays() -> None:
    given(CREATED).when(ChangeCharacter(user_id="ann", name="Red fox")).then(RENAMED)
    given(CREATED).when(ChangeCharacter(user_id="ann", avatar_url=None)).then(CharacterAvatarChanged(user_id="ann"))
    both = ChangeCharacter(user_id="ann", name="Red fox", avatar_url=PICTURE)
    given(CREATED).when(both).then(RENAMED, CharacterAvatarChanged(user_id="ann", avatar_url=PICTURE))
    given(CREATED).when(ChangeCharacter(user_id="ann")).then()


def test_its_owner_deletes_it() -> None:
    given(CREATED, RENAMED).when(DELETE).then(DELETED)


@pytest.mark.parametrize("history", [(), (CREATED, DELETED)], ids=["never made", "deleted"])
@pytest.mark.parametrize("command", [ChangeCharacter(user_id="ann", name="x"), DELETE], ids=["change", "delete"])
def test_what_is_not_there_is_unknown(history: tuple[CharacterEvent, ...], command: CharacterCommand) -> None:
    given(*history).when(command).then_refused(CharacterUnknown)


@pytest.mark.parametrize(
    "command",
    [ChangeCharacter(user_id="bob", name="x"), ChangeCharacter(user_id="bob"), DeleteCharacter(user_id="bob")],
    ids=["change", "change nothing", "delete"],
)
def test_it_is_unknown_to_anybody_else(command: CharacterCommand) -> None:
    given(CREATED).when(command).then_refused(CharacterUnknown)

"""The characters that a person keeps."""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from mintage.application.transaction import Journal, Transaction
from mintage.domain.character.decider import CHARACTER, ChangeCharacter, CreateCharacter, DeleteCharacter
from mintage.domain.registration.decider import REGISTRATION, PersonUnknown


class Characters:
    def __init__(self, journal: Journal, new_id: Callable[[], str]) -> None:
        self._journal = journal
        self._new_id = new_id

    async def create(self, user_id: str, *, name: str, avatar_url: str | None, character_type: str) -> str:
        """Returns the new character's id."""
        character_id = self._new_id()

        def work(transaction: Transaction) -> None:
            _refuse_erased(transaction, user_id)
            command = CreateCharacter(
                user_id=user_id,
                number=transaction.number("character"),
                character_type=character_type,
                name=name,
                avatar_url=avatar_url,
            )
            transaction.begin(CHARACTER, character_id, command)

        await self._journal.transact(work, actor=user_id)
        return character_id

    async def change(
        self,
        user_id: str,
        character_id: str,
        *,
        name: str | UnsetType = UNSET,
        avatar_url: str | UnsetType | None = UNSET,
    ) -> None:
        """What is unset stays; an ``avatar_url`` of None clears it. Raises ``CharacterUnknown``."""
        command = ChangeCharacter(user_id=user_id, name=name, avatar_url=avatar_url)

        def work(transaction: Transaction) -> None:
            _refuse_erased(transaction, user_id)
            transaction.execute(CHARACTER, character_id, command)

        await self._journal.transact(work, actor=user_id)

    async def delete(self, user_id: str, character_id: str) -> None:
        """Raises ``CharacterUnknown``."""
        command = DeleteCharacter(user_id=user_id)
        await self._journal.transact(
            lambda transaction: transaction.execute(CHARACTER, character_id, command), actor=user_id
        )


def _refuse_erased(transaction: Transaction, user_id: str) -> None:
    # What is sealed with a key that is gone could not be stored.
    if transaction.state(REGISTRATION, user_id).erased:
        raise PersonUnknown

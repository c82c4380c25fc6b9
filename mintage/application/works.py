"""What a person does with their works: name them, show them to everybody, delete them for good."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import UNSET, UnsetType

from mintage.application.ports.files import Files
from mintage.application.transaction import Journal, Transaction, Unavailable
from mintage.domain.registration.decider import REGISTRATION
from mintage.domain.work.decider import WORK, ChangeWork, DeleteWork, WorkUnknown
from mintage.projections.sql import Database
from mintage.projections.works import removed, to_be_removed

PORTION: Final = 100


class Works:
    def __init__(self, journal: Journal, db: Database, files: Files) -> None:
        self._journal = journal
        self._db = db
        self._files = files

    async def change(
        self, user_id: str, work_id: str, *, title: str | UnsetType | None = UNSET, is_public: bool | UnsetType = UNSET
    ) -> None:
        """What is unset stays; a title of None takes it away. Raises ``WorkUnknown``, ``WorkNotYours``."""
        command = ChangeWork(user_id=user_id, title=title, is_public=is_public)
        await self._journal.transact(_given(work_id, command), actor=user_id)

    async def delete(self, user_id: str, work_id: str) -> None:
        """From the event on the work is gone; its files go after it, at the latest by ``finish``.

        Raises ``WorkUnknown``, ``WorkNotYours``, ``WorkInTheMaking``.
        """
        await self._journal.transact(_given(work_id, DeleteWork(user_id=user_id)), actor=user_id)
        # What cannot be removed now is tried again, and complained about, by housekeeping.
        with suppress(OSError, Unavailable):
            await self._files.remove_all_of(work_id)

    async def finish(self) -> None:
        """Remove the files of what failed, expired, was deleted, or was made for somebody since erased.

        Whoever ended the work mostly has; a crash may have come between. What cannot be removed is tried the next time,
        and keeps nothing else. Raises ``OSError`` for it in the end, and ``Unavailable`` at once.
        """
        after, failure = None, None
        while due := await to_be_removed(self._db, after, PORTION):
            gone = []
            for work_id in due:
                try:
                    await self._files.remove_all_of(work_id)
                    gone.append(work_id)
                except OSError as error:
                    failure = error
            await removed(self._db, gone)
            after = due[-1]
        if failure is not None:
            raise failure


def _given(work_id: str, command: ChangeWork | DeleteWork) -> Callable[[Transaction], None]:
    def work(transaction: Transaction) -> None:
        # What an erased person once showed to everybody is nobody's to know of.
        if transaction.state(REGISTRATION, transaction.state(WORK, work_id).user_id).erased:
            raise WorkUnknown
        transaction.execute(WORK, work_id, command)

    return work

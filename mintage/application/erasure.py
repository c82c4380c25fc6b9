"""Erasing a person: open tasks end, files go, the key is destroyed; the ledger stays and still verifies."""

from contextlib import suppress

from mintage.application.generations import Generations
from mintage.application.ports.files import Avatars, Files
from mintage.application.transaction import Journal
from mintage.domain.generation.decider import TaskOver
from mintage.domain.registration.decider import REGISTRATION, Erase, PersonUnknown
from mintage.projections.people import lately_erased
from mintage.projections.queue import open_tasks_of
from mintage.projections.sql import Database
from mintage.projections.works import work_ids_of


class Erasure:
    def __init__(
        self, journal: Journal, db: Database, generations: Generations, files: Files, avatars: Avatars
    ) -> None:
        self._journal = journal
        self._db = db
        self._generations = generations
        self._files = files
        self._avatars = avatars

    async def erase(self, user_id: str, *, actor: str) -> None:
        """Everything that says who they are, here and beside the log. Raises ``PersonUnknown`` the second time.

        From the event on nothing more is accepted for them; what was accepted until then is cleared after it. A repeat
        clears again, and so does ``finish``, so that a crash in between leaves nothing behind.
        """
        try:
            await self._journal.transact(
                lambda transaction: transaction.execute(REGISTRATION, user_id, Erase()), actor=actor
            )
        except PersonUnknown:
            await self._clear(user_id)
            raise
        await self._clear(user_id)

    async def finish(self) -> None:
        """Clear again what lately erased people had, in case a crash came between an erasure and that."""
        for user_id in await lately_erased(self._db):
            await self._clear(user_id)

    async def _clear(self, user_id: str) -> None:
        for task_id in await open_tasks_of(self._db, user_id):
            with suppress(TaskOver):
                await self._generations.cancel(user_id, task_id)
        for work_id in await work_ids_of(self._db, user_id):
            await self._files.remove_all_of(work_id)
        await self._avatars.remove_all_of(user_id)

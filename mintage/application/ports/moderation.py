"""What is not to be made."""

from typing import Protocol

from mintage.domain.generation.events import TaskType


class Moderation(Protocol):
    async def refuses(self, prompt: str, negative_prompt: str | None, *, task_type: TaskType, user_id: str) -> bool:
        """Whether this is not to be made, for this person. Raises ``Unavailable`` if that has to be known and is not.

        The prompt may be empty. It goes into no log.
        """
        ...

"""What only the surface refuses."""

from mintage.domain.decider import Refusal


class Unauthorized(Refusal):
    """There is no token, or none that counts."""


class Forbidden(Refusal):
    """The caller's role does not allow it, or the link was not given out by us, or its time is over."""


class NoSuchPath(Refusal):
    """The id in the path cannot be anything's."""


class GenerationFailed(Refusal):
    """The task that the request waited for ended without images; ``replayed`` if it was an earlier request's."""

    def __init__(self, *, task_id: str, reason: str, replayed: bool) -> None:
        super().__init__(f"task {task_id}: {reason}")
        self.task_id = task_id
        self.reason = reason
        self.replayed = replayed

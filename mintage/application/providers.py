"""What the pipeline asks of whoever makes pictures and films, and the few ways in which that can go wrong.

The difference that money depends on is whether a create that failed may have been taken: ``NotSent`` is tried again,
``FateUnknown`` never. A provider's id belongs to one attempt of a task.
"""

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

import msgspec

from mintage.domain.generation.events import Parameter, TaskType

Blame: TypeAlias = Literal["user", "policy", "provider"]
"""Whose doing a refusal is: what was asked for, what may be shown, or the provider itself or our account there."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a task, as a provider is asked for it; ``count`` products are wanted.

    ``job_id`` is a UUID of ours that no other attempt has, for providers that let the client choose the id. ``model``
    is the provider's own name for the model. ``source`` is the bytes of a PNG that was checked, if the task has a
    source image. ``customer`` tells one person from another without saying who they are.
    """

    job_id: str
    customer: str
    task_type: TaskType
    model: str
    prompt: str
    parameters: dict[str, Parameter]
    count: int
    negative_prompt: str | None = None
    style: str | None = None
    transparent: bool = False
    source: bytes | None = None


class Running(msgspec.Struct, frozen=True):
    """The provider has the job under ``provider_job``; ``progress`` is 0 to 1, if it says.

    ``again_in_s`` is how soon it wants to be asked again, if it says.
    """

    provider_job: str
    progress: float | None = None
    again_in_s: float | None = None


class Finished(msgspec.Struct, frozen=True):
    """As many files as were wanted, in order; None for one that did not come out. Not all of them are None."""

    products: tuple[bytes | None, ...]


class NotSent(Exception):
    """The create surely had no effect, and may be tried again, not before ``retry_in_s`` if the provider says so."""

    def __init__(self, message: str, retry_in_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


class FateUnknown(Exception):
    """The create may have been taken, and paid for: it is never sent a second time."""


class Unreachable(Exception):
    """The provider did not answer a question that may be asked again, or not in a way that says anything of the job."""

    def __init__(self, message: str, retry_in_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


class JobMissing(Exception):
    """The provider says that it knows no such job. It may be wrong: believed only when it says so again."""


class JobRefused(Exception):
    """The job ended with nothing, or was refused, and asking again would end the same.

    ``code`` is the provider's word for it, for operators; the message may be, too. Neither is shown to people.
    """

    def __init__(self, blame: Blame, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.blame = blame
        self.code = code


Told: TypeAlias = Callable[[float], None]
"""Takes how far a job is, 0 to 1; raises, from any thread, when nobody waits for it any more."""


class Provider(Protocol):
    """One provider at one address under one key. Whatever a method raises beside what it names is a mistake of ours."""

    cancels: bool
    """Whether ``cancel`` can stop a job without touching any other."""
    finds: bool
    """Whether a job can be found by its ``job_id`` after a create whose fate is unknown."""
    repeats: bool
    """Whether a create may be sent again whatever became of the first: it costs nobody anything."""

    async def create(self, job: Job, told: Told) -> Running | Finished:
        """Ask for the job. Raises ``NotSent``, ``FateUnknown``, ``JobRefused``, and whatever ``told`` raises."""
        ...

    async def poll(self, job: Job, provider_job: str) -> Running | Finished:
        """How the job is, and its files once they are there. A status nobody knows is ``Running``.

        Raises ``Unreachable``, ``JobMissing``, ``JobRefused``.
        """
        ...

    async def find(self, job: Job) -> str | None:
        """The id of the job at the provider, None if it surely never took it. Raises ``Unreachable``.

        Whoever asks one that does not find has made a mistake: ``NotImplementedError``. So with ``cancel``.
        """
        ...

    async def cancel(self, provider_job: str) -> bool:
        """Stop this one job; True if it will not go on, False if it was over already. Raises ``Unreachable``."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

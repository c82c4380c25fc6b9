"""What people ask of generation: a task is accepted with its price held, quoted, and cancelled."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import msgspec

from mintage.application.catalogue import Catalogue, Model
from mintage.application.lifecycle import description, give_up, split, work_type_of
from mintage.application.limits import PENDING_MAX, PENDING_RETRY_S
from mintage.application.moderation import NOTHING_REFUSED
from mintage.application.once import Repeatable, Reply, finish, once
from mintage.application.ports.moderation import Moderation
from mintage.application.refusals import ContentRefused, RateLimited
from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, HoldCredits
from mintage.domain.fields import InvalidFields, Reason, is_blank
from mintage.domain.generation.decider import GENERATION, CancelGeneration, RequestGeneration, TaskUnknown
from mintage.domain.generation.events import Document, Parameter, TaskType
from mintage.domain.registration.decider import REGISTRATION, PersonUnknown
from mintage.domain.work.decider import WORK, CreateWork

CANCELLED_MESSAGE: Final = "任务已取消"

HOLD_FOR: Final = timedelta(days=1)
"""How long credits are held for a task that does not end."""
_PICTURE: Final = re.compile(r"../(?P<work_id>[0-9a-f-]{36})-[0-9]+(-thumbnail)?\.(png|jpg|webp)")
_AVATAR: Final = re.compile(r"avatars/[0-9a-f-]{36}/[0-9a-f-]{36}\.webp")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants made; ``parameters`` as sent, to be checked against the model's limits.

    ``source_file`` is the storage key of the source image, if its url is one of ours.
    """

    document: Document
    task_type: TaskType
    prompt: str
    parameters: dict[str, Any]
    model_provider: str | None = None
    model_name: str | None = None
    negative_prompt: str | None = None
    source_image_url: str | None = None
    source_file: str | None = None
    style: str | None = None
    transparent: bool = False


class Accepted(msgspec.Struct, frozen=True):
    """A task was accepted: ``price`` credits are held for it, ``available`` are left."""

    task_id: str
    number: int
    price: int
    available: int


class Quote(msgspec.Struct, frozen=True):
    """What asking for this would cost, in credits: ``price`` in all, ``per_work`` if all works come out.

    ``parameters`` have their defaults filled in; ``available`` is what the person has.
    """

    model: Model
    parameters: dict[str, Parameter]
    price: int
    per_work: list[int]
    available: int

    @property
    def affordable(self) -> bool:
        return self.price <= self.available


class Generations:
    def __init__(
        self,
        journal: Journal,
        catalogue: Catalogue,
        new_id: Callable[[], str],
        pending_max: int | None = PENDING_MAX,
        hold_for: timedelta = HOLD_FOR,
        moderation: Moderation = NOTHING_REFUSED,
    ) -> None:
        self._journal = journal
        self._catalogue = catalogue
        self._new_id = new_id
        self._pending_max = pending_max
        self._hold_for = hold_for
        self._moderation = moderation

    async def request(
        self,
        user_id: str,
        ask: Ask,
        *,
        repeatable: Repeatable | None = None,
    ) -> Reply[Accepted]:
        """Accept a task: hold its price and queue it, together or not at all.

        A repeat brings the receipt of the first time, which names the task and has the final reply if there is one.
        Raises ``UnknownModel``, ``InvalidFields``, ``ContentRefused``, ``InsufficientCredits``, ``KeyReused``,
        ``RateLimited``, and ``Unavailable`` if nobody can say whether the content is to be refused.
        """
        if is_blank(ask.prompt):
            raise InvalidFields({"prompt": Reason("required")})
        model, parameters, count = self._understood(ask)
        refused = await self._refuses(user_id, ask)
        kind = work_type_of(ask.task_type)
        task_id, works = self._new_id(), tuple(self._new_id() for _ in range(count))

        def work(transaction: Transaction) -> Accepted:
            self._admit(transaction, user_id, ask, refused)
            under_way = len(transaction.state(CREDITS, user_id).holds)
            if self._pending_max is not None and under_way >= self._pending_max:
                raise RateLimited(PENDING_RETRY_S)
            hold = HoldCredits(
                hold_id=task_id,
                amount=model.price,
                description=description(kind, count),
                product=f"{model.provider}/{model.name}",
                now=transaction.now,
                expires_at=transaction.now + self._hold_for,
            )
            available = transaction.execute(CREDITS, user_id, hold).available
            number = transaction.number("task")
            transaction.begin(
                GENERATION,
                task_id,
                RequestGeneration(
                    user_id=user_id,
                    number=number,
                    document=ask.document,
                    task_type=ask.task_type,
                    model_provider=model.provider,
                    model_name=model.name,
                    renderer=model.renderer,
                    prompt=ask.prompt,
                    negative_prompt=ask.negative_prompt,
                    source_image_url=ask.source_image_url,
                    parameters=parameters,
                    style=ask.style,
                    transparent=ask.transparent,
                    source_file=ask.source_file,
                    price=model.price,
                    works=works,
                    upstream=model.upstream,
                    priority=model.priority,
                    deadline_at=transaction.now + min(timedelta(seconds=model.deadline_s), self._hold_for),
                ),
            )
            for position, work_id in enumerate(works):
                create = CreateWork(
                    user_id=user_id,
                    task_id=task_id,
                    number=transaction.number("work"),
                    position=position,
                    work_type=kind,
                )
                transaction.begin(WORK, work_id, create)
            return Accepted(task_id, number, model.price, available)

        return await self._journal.transact(once(repeatable, work, lambda _: None, task_id), actor=user_id)

    async def quote(self, user_id: str, ask: Ask) -> Quote:
        """What ``request`` would hold for this now; nothing is held or stored. An empty prompt is still to be written.

        Raises what ``request`` does, too few credits and too many tasks excepted.
        """
        if ask.prompt and is_blank(ask.prompt):
            raise InvalidFields({"prompt": Reason("required")})
        model, parameters, count = self._understood(ask)
        refused = await self._refuses(user_id, ask)

        def work(transaction: Transaction) -> Quote:
            self._admit(transaction, user_id, ask, refused)
            available = transaction.state(CREDITS, user_id).available
            return Quote(model, parameters, model.price, split(model.price, count), available)

        return await self._journal.transact(work, actor=user_id)

    def _understood(self, ask: Ask) -> tuple[Model, dict[str, Parameter], int]:
        """The model, its parameters, and how many works. Raises ``UnknownModel``, ``InvalidFields``."""
        model = self._catalogue.model(ask.task_type, ask.model_provider, ask.model_name)
        parameters = model.checked(ask.parameters)
        count = parameters.get("count", 1)
        assert isinstance(count, int)
        return model, parameters, count

    async def _refuses(self, user_id: str, ask: Ask) -> bool:
        return await self._moderation.refuses(ask.prompt, ask.negative_prompt, task_type=ask.task_type, user_id=user_id)

    def _admit(self, transaction: Transaction, user_id: str, ask: Ask, refused: bool) -> None:
        """Raises what has to be right before credits are looked at.

        What is refused is so only here, where a repeat does not come: it gets the first reply, whatever the list says
        by now.
        """
        if transaction.state(REGISTRATION, user_id).erased:
            raise PersonUnknown
        if refused:
            raise ContentRefused
        if ask.source_file is not None and not _may_use(transaction, user_id, ask.source_file):
            raise InvalidFields({"source_image_url": Reason("unknown")})

    async def keep_reply(self, repeatable: Repeatable, body: bytes) -> bytes:
        """Make ``body`` what a repeat of the request will get, unless another came first; returns what it will be."""
        return await self._journal.transact(finish(repeatable, body), actor=repeatable.user_id)

    async def cancel(self, user_id: str, task_id: str, *, repeatable: Repeatable | None = None) -> Reply[None]:
        """End a task of one's own with nothing, releasing its hold; the reply is still to come from the task.

        Raises ``TaskUnknown``, ``TaskOver``, ``KeyReused``.
        """

        def work(transaction: Transaction) -> None:
            if transaction.state(GENERATION, task_id).user_id != user_id:
                raise TaskUnknown
            task = transaction.execute(GENERATION, task_id, CancelGeneration())
            give_up(transaction, task, task_id, "cancelled", CANCELLED_MESSAGE)

        return await self._journal.transact(once(repeatable, work, lambda _: None, task_id), actor=user_id)


def _may_use(transaction: Transaction, user_id: str, file: str) -> bool:
    """Whether a stored file is a picture that this person may see: somebody's avatar, their own work, a public one."""
    if _AVATAR.fullmatch(file):
        return True
    picture = _PICTURE.fullmatch(file)
    work = transaction.state(WORK, picture["work_id"]) if picture else WORK.initial
    return work.status == "completed" and (work.is_public or work.user_id == user_id)

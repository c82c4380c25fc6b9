"""A request repeated with its Idempotency-Key has one effect and one reply."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from mintage.application.records import Receipt
from mintage.application.transaction import Transaction, Work
from mintage.domain.decider import Refusal

Outcome = TypeVar("Outcome")


class Repeatable(msgspec.Struct, frozen=True):
    """Who asked where under which key, and the digest of what they sent."""

    user_id: str
    path: str
    key: str
    digest: bytes


class KeyReused(Refusal):
    """The Idempotency-Key was used before for a request with another body."""


class Reply(msgspec.Struct, Generic[Outcome], frozen=True):
    """What a work came to: a fresh ``outcome``, or the ``receipt`` of the first time; ``body`` is None if not final."""

    body: bytes | None
    outcome: Outcome | None = None
    receipt: Receipt | None = None


def once(
    asked: Repeatable | None,
    work: Work[Outcome],
    render: Callable[[Outcome], bytes | None],
    task_id: str | None = None,
) -> Work[Reply[Outcome]]:
    """The work with its reply kept in the same transaction, or the reply kept before.

    ``render`` makes the final body, or None if the final reply is still to come from ``task_id``. A refused work keeps
    nothing, so that it may be tried again under the same key.
    """

    def guarded(transaction: Transaction) -> Reply[Outcome]:
        if asked is not None:
            kept = transaction.receipt((asked.user_id, asked.path, asked.key))
            if kept is not None:
                if kept.digest != asked.digest:
                    raise KeyReused
                return Reply(kept.body, receipt=kept)
        outcome = work(transaction)
        body = render(outcome)
        if asked is not None:
            transaction.record(
                Receipt(asked.user_id, asked.path, asked.key, asked.digest, transaction.now, body, task_id)
            )
        return Reply(body, outcome)

    return guarded


def finish(asked: Repeatable, body: bytes) -> Work[bytes]:
    """Keep the final reply to a request whose first reply was not final; whichever came first stands."""

    def work(transaction: Transaction) -> bytes:
        kept = transaction.receipt((asked.user_id, asked.path, asked.key))
        if kept is None:
            return body
        if kept.body is not None:
            return kept.body
        transaction.record(replace(kept, body=body))
        return body

    return work

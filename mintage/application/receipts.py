"""Receipts of transactions: what a person can have checked without this program and without whoever runs it."""

from typing import Literal, Protocol

import msgspec


class ReceiptEvent(msgspec.Struct, frozen=True):
    """An event as it lies in the log; ``state`` is the exact text, ``previous`` the hash before it in its stream."""

    position: int
    stream: str
    version: int
    topic: str
    state: str
    previous: str


class TransactionReceipt(msgspec.Struct, frozen=True):
    """What proves that the event is in the log that the ``checkpoint`` signs for.

    ``proof`` is the way from the event to the signed root, each hash in hexadecimal digits.
    """

    format: Literal["mintage receipt 1"]
    event: ReceiptEvent
    proof: list[str]
    checkpoint: str


class TransactionReceipts(Protocol):
    async def of_transaction(self, user_id: str, transaction_id: str) -> TransactionReceipt:
        """The receipt of a person's transaction, waited for a moment if it is a new one.

        Raises ``TransactionUnknown`` for what is not the person's, and ``Unavailable`` if it is not sealed yet.
        """
        ...

    async def key(self) -> str:
        """The verifier key that receipts are checked with, as text."""
        ...

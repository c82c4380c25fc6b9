"""Asking a gateway for the money of an order."""

from typing import Protocol

import msgspec


class Payment(msgspec.Struct, frozen=True):
    """What a gateway answers to an order: paid already (``reference``), or where to pay (``payment_url``)."""

    reference: str | None = None
    payment_url: str | None = None


class Gateway(Protocol):
    async def create(self, *, recharge_id: str, amount_fen: int, method: str) -> Payment:
        """Ask for the money; safe to repeat with the same order."""
        ...

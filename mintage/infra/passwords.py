"""Passwords are kept as argon2id (19 MiB, t=2, p=1), hashed off the event loop, a few at a time."""

import asyncio
import os
from functools import cache
from typing import Final

from passlib.hash import argon2

from mintage.application.transaction import Unavailable

WAITING_MAX: Final = 64
_HASHER: Final = argon2.using(type="ID", memory_cost=19 * 1024, rounds=2, parallelism=1)


@cache
def _nobodys_hash() -> str:
    """What a sign-in to an account that does not exist is compared with, to take as long."""
    return str(_HASHER.hash("nobody's password"))


class Argon2Hasher:
    """Implements ``ports.identity.PasswordHasher``."""

    def __init__(self) -> None:
        # Each hash keeps one core busy and takes 19 MiB.
        self._slots = asyncio.Semaphore(min(os.cpu_count() or 1, 4))
        self._waiting = 0
        # Made now, so that no sign-in takes longer for it.
        self._nobodys = _nobodys_hash()

    async def hash(self, password: str) -> str:
        return str(await self._in_turn(_HASHER.hash, password))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        right = await self._in_turn(_HASHER.verify, password, password_hash or self._nobodys)
        return bool(right) and password_hash is not None

    async def _in_turn(self, work: object, *args: str) -> object:
        if self._waiting >= WAITING_MAX:
            raise Unavailable("too many passwords are being checked")
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *args)  # type: ignore[arg-type]
        finally:
            self._waiting -= 1

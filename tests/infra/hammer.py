"""One of several processes that spend from the same accounts: says what it was told, as JSON lines.

Run as ``python -m tests.infra.hammer CONNINFO SECONDS USER...``; debits 1 credit at a time from any of the accounts, as
many at once as it can, until the time is over.
"""

import asyncio
import sys
from collections import Counter

import msgspec

from mintage.domain.credits.decider import InsufficientCredits
from tests.infra.kit import consume, journal_on, some_id

CALLERS = 24


class Told(msgspec.Struct):
    """The transactions that were acknowledged, per account, and how many were refused."""

    spent: dict[str, list[str]]
    refused: dict[str, int]


async def hammer(conninfo: str, seconds: float, users: list[str]) -> Told:
    spent: dict[str, list[str]] = {user_id: [] for user_id in users}
    refused: Counter[str] = Counter()
    loop = asyncio.get_running_loop()

    async with journal_on(conninfo) as journal:
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        end = loop.time() + seconds

        async def caller(turn: int) -> None:
            while loop.time() < end:
                user_id = users[turn % len(users)]
                turn += 1
                transaction_id = some_id()
                try:
                    await journal.transact(consume(user_id, 1, transaction_id=transaction_id), actor=user_id)
                except InsufficientCredits:
                    refused[user_id] += 1
                else:
                    spent[user_id].append(transaction_id)

        await asyncio.gather(*(caller(turn) for turn in range(CALLERS)))
    return Told(spent, dict(refused))


if __name__ == "__main__":
    told = asyncio.run(hammer(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")

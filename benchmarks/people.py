"""Who the benchmarks are run as: registered people with more credits than any run spends."""

import asyncio
from typing import Any

from mintage.application.services import Services
from mintage.application.transaction import Transaction
from mintage.domain.credits.decider import CREDITS, GrantCredits
from mintage.domain.registration.decider import REGISTRATION, Register
from mintage.infra.identifiers import new_id

CREDITS_EACH = 100_000_000


async def people(services: Services, count: int) -> tuple[list[str], list[str]]:
    """So many registered people with more credits than any run spends."""
    journal = services.ledger._journal
    users, tokens = [], []

    def arrival(user_id: str, name: str) -> Any:
        ids = (new_id(), new_id())

        def work(transaction: Transaction) -> None:
            command = Register(
                user_id=user_id,
                number=transaction.number("user"),
                document="server",
                username=name,
                referral_code=name,
                email=f"{name}@bench.test",
            )
            transaction.begin(REGISTRATION, user_id, command)
            grant = GrantCredits(
                transaction_id=ids[0],
                amount=CREDITS_EACH,
                source="signup_bonus",
                description="注册赠送",
                now=transaction.now,
            )
            transaction.begin(CREDITS, user_id, grant)

        return work

    for start in range(0, count, 1000):
        portion = [new_id() for _ in range(start, min(start + 1000, count))]
        await asyncio.gather(
            *(
                journal.transact(arrival(user_id, f"b{start + place}"), actor=user_id)
                for place, user_id in enumerate(portion)
            )
        )
        users += portion
    for place, user_id in enumerate(users):
        email = f"b{place}@bench.test"
        tokens.append(services.tokens.issue(user_id=user_id, email=email, session_version=0))
    return users, tokens

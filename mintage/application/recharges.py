"""Buying credits: an order, its payment, and the reward for who brought the buyer."""

from collections.abc import Callable
from typing import Final

import msgspec

from mintage.application.catalogue import Money
from mintage.application.once import Repeatable, Reply, once
from mintage.application.ports import Gateway
from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, GrantCredits
from mintage.domain.recharge.decider import RECHARGE, RecordPayment, RequestRecharge
from mintage.domain.registration.decider import REGISTRATION, RewardReferral

FEN_PER_YUAN: Final = 100


class Recharged(msgspec.Struct, frozen=True):
    """``credits_added`` is 0 and there is a ``payment_url`` while the payment is still to come."""

    transaction_id: str
    credits_added: int
    new_balance: int
    payment_url: str | None = None


class Recharges:
    def __init__(self, journal: Journal, gateway: Gateway, money: Money, new_id: Callable[[], str]) -> None:
        self._journal = journal
        self._gateway = gateway
        self._money = money
        self._new_id = new_id

    async def recharge(
        self,
        user_id: str,
        amount_yuan: int,
        method: str,
        *,
        render: Callable[[Recharged], bytes],
        repeatable: Repeatable | None = None,
    ) -> Reply[Recharged]:
        """Order credits for whole yuan; they are there at once if the gateway settles at once. Raises ``KeyReused``."""
        recharge_id, transaction_id = self._new_id(), self._new_id()
        amount_fen = amount_yuan * FEN_PER_YUAN
        # The gateway that settles at once has no effect of its own, so it may be asked before the order is stored.
        payment = await self._gateway.create(recharge_id=recharge_id, amount_fen=amount_fen, method=method)
        bonus_ids = (self._new_id(), self._new_id())
        bought = amount_yuan * self._money.credits_per_yuan

        def work(transaction: Transaction) -> Recharged:
            transaction.begin(
                RECHARGE,
                recharge_id,
                RequestRecharge(user_id=user_id, amount_fen=amount_fen, credits=bought, payment_method=method),
            )
            if payment.reference is None:
                available = transaction.state(CREDITS, user_id).available
                return Recharged(transaction_id, 0, available, payment.payment_url)
            transaction.execute(
                RECHARGE, recharge_id, RecordPayment(payment_reference=payment.reference, amount_fen=amount_fen)
            )
            grant = GrantCredits(
                transaction_id=transaction_id,
                amount=bought,
                source="recharge",
                description=f"充值{bought}积分",
                paid_fen=amount_fen,
                payment_method=method,
            )
            transaction.execute(CREDITS, user_id, grant)
            self._reward(transaction, user_id, recharge_id, bonus_ids)
            return Recharged(transaction_id, bought, transaction.state(CREDITS, user_id).available)

        return await self._journal.transact(once(repeatable, work, render), actor=user_id)

    def _reward(self, transaction: Transaction, newcomer: str, recharge_id: str, ids: tuple[str, str]) -> None:
        """Pay both sides of a referral at the newcomer's first paid recharge."""
        before = transaction.state(REGISTRATION, newcomer)
        after = transaction.execute(REGISTRATION, newcomer, RewardReferral(recharge_id=recharge_id))
        if before.referral_rewarded or not after.referral_rewarded or after.referred_by is None:
            return
        shares = (
            (newcomer, self._money.referral_bonus_newcomer, "使用推荐码注册奖励"),
            (after.referred_by, self._money.referral_bonus_referrer, "推荐好友奖励"),
        )
        for transaction_id, (user_id, amount, description) in zip(ids, shares, strict=True):
            if amount:
                grant = GrantCredits(
                    transaction_id=transaction_id,
                    amount=amount,
                    source="referral_bonus",
                    description=f"{description}{amount}积分",
                )
                transaction.execute(CREDITS, user_id, grant)

"""Buying credits: an order, its payment, the reward for who brought the buyer, and the payment's going back."""

from collections.abc import Callable
from typing import Final

import msgspec

from mintage.application.catalogue import Money
from mintage.application.once import Repeatable, Reply, once
from mintage.application.ports.payments import Gateway
from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, ClawBack, GrantCredits
from mintage.domain.recharge.decider import RECHARGE, RecordPayment, RecordRefund, RequestRecharge
from mintage.domain.registration.decider import REGISTRATION, RewardReferral

FEN_PER_YUAN: Final = 100
_UNDONE: Final = {"refund": "充值已退款", "chargeback": "充值被拒付"}


class Recharged(msgspec.Struct, frozen=True):
    """``credits_added`` is 0 and there is a ``payment_url`` while the payment is still to come."""

    transaction_id: str
    credits_added: int
    new_balance: int
    payment_url: str | None = None


class Refunded(msgspec.Struct, frozen=True):
    """``credits`` were taken back for this refund, or are owed; ``refunded_fen`` is the sum of the order's refunds.

    ``new_balance`` is what is available now, ``owed`` what later credits pay first.
    """

    recharge_id: str
    user_id: str
    credits: int
    refunded_fen: int
    new_balance: int
    owed: int


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
                reference=recharge_id,
                now=transaction.now,
            )
            transaction.execute(CREDITS, user_id, grant)
            self._reward(transaction, user_id, recharge_id, bonus_ids)
            return Recharged(transaction_id, bought, transaction.state(CREDITS, user_id).available)

        return await self._journal.transact(once(repeatable, work, render), actor=user_id)

    async def refund(
        self,
        recharge_id: str,
        refund: RecordRefund,
        *,
        actor: str,
        render: Callable[[Refunded], bytes],
        repeatable: Repeatable | None = None,
    ) -> Reply[Refunded]:
        """Record that a payment, or a part of it, went back, and take back what it had bought; once for each refund.

        Raises ``RechargeUnknown``, ``NotPaid``, ``RefundDiffers``, ``RefundExceedsPayment``, ``RefundUsed``,
        ``KeyReused``.
        """
        transaction_id = self._new_id()

        def work(transaction: Transaction) -> Refunded:
            before = transaction.state(RECHARGE, recharge_id)
            order = transaction.execute(RECHARGE, recharge_id, refund)
            taken = order.refunds[refund.refund_reference].credits
            if refund.refund_reference not in before.refunds:
                claw_back = ClawBack(
                    transaction_id=transaction_id,
                    recharge_id=recharge_id,
                    reference=refund.refund_reference,
                    reason=refund.reason,
                    amount=taken,
                    refunded_fen=refund.amount_fen,
                    payment_method=order.payment_method,
                    description=f"{_UNDONE[refund.reason]}，收回{taken}积分",
                    now=transaction.now,
                )
                transaction.execute(CREDITS, order.user_id, claw_back)
            account = transaction.state(CREDITS, order.user_id)
            return Refunded(recharge_id, order.user_id, taken, order.refunded_fen, account.available, account.owed)

        return await self._journal.transact(once(repeatable, work, render), actor=actor)

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
                    now=transaction.now,
                )
                transaction.execute(CREDITS, user_id, grant)

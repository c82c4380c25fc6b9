"""Who takes money; the built-in sandbox gateway takes none and settles at once, for development only."""

from typing import Final

from mintage.application.ports.payments import Payment

GATEWAYS: Final = ("wechat", "alipay", "stripe")


class SandboxGateway:
    """Implements ``ports.payments.Gateway``."""

    async def create(self, *, recharge_id: str, amount_fen: int, method: str) -> Payment:  # noqa: ARG002
        return Payment(reference=f"sandbox-{recharge_id}")

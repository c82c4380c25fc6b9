"""The built-in sandbox gateway: takes no money and settles at once, for development only."""

from mintage.application.ports import Payment


class SandboxGateway:
    """Implements ``application.ports.Gateway``."""

    async def create(self, *, recharge_id: str, amount_fen: int, method: str) -> Payment:  # noqa: ARG002
        return Payment(reference=f"sandbox-{recharge_id}")

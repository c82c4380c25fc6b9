"""Messages to webhooks: signed, sent to addresses that were checked, and tried again for a day."""

from mintage.infra.webhooks.courier import Courier
from mintage.infra.webhooks.sender import Sender
from mintage.infra.webhooks.signing import Signing

__all__ = ["Courier", "Sender", "Signing"]

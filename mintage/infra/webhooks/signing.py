"""Signatures by the Standard Webhooks scheme, with secrets that are stored nowhere.

A webhook's secret is derived from the master key, the webhook's id and the number of the secret: a copy of the
database does not hold it, and every process knows it. https://www.standardwebhooks.com has the scheme.
"""

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from hmac import digest
from typing import Final

from mintage.projections.webhooks import Webhook

_PURPOSE: Final = b"mintage webhook secrets 1"


class Signing:
    def __init__(self, master: bytes) -> None:
        self._key = digest(master, _PURPOSE, sha256)

    def secret(self, webhook_id: str, number: int) -> str:
        """Secret number ``number`` of a webhook, as its owner is told it: ``whsec_`` and 32 bytes in base64."""
        return f"whsec_{b64encode(self._secret(webhook_id, number)).decode()}"

    def headers(self, webhook: Webhook, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
        """What a receiver checks a message by; after a rotation there are several signatures: one has to fit."""
        oldest = webhook.secret - len(webhook.replaced(now))
        numbers = range(webhook.secret, oldest - 1, -1)
        timestamp = str(int(now.timestamp()))
        keys = [self._secret(webhook.webhook_id, number) for number in numbers]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
        }

    def _secret(self, webhook_id: str, number: int) -> bytes:
        return digest(self._key, f"{webhook_id}:{number}".encode(), sha256)


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """``v1,`` and the HMAC-SHA256 over id, time and body."""
    signed = digest(key, f"{message_id}.{timestamp}.".encode() + body, sha256)
    return f"v1,{b64encode(signed).decode()}"

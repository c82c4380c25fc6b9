"""What is stored beside the log, in the same database transaction, because it must never be in an event."""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

Purpose: TypeAlias = Literal["verification", "password_reset"]


class PasswordSet(msgspec.Struct, frozen=True):
    """``password_hash`` is a whole argon2id string with its parameters and salt, None for who has no password."""

    user_id: str
    password_hash: str | None


class TokenEnded(msgspec.Struct, frozen=True):
    """One token was signed out before its time."""

    token_id: str
    user_id: str
    ended_at: datetime


class CodeIssued(msgspec.Struct, frozen=True):
    """A mailed code; ``code_hash`` is keyed. It ends every older code of the same address and purpose.

    ``user_id`` is whose address it is, None for nobody's.
    """

    code_id: str
    user_id: str | None
    email: str
    purpose: Purpose
    code_hash: str
    issued_at: datetime
    expires_at: datetime


class Receipt(msgspec.Struct, frozen=True):
    """The first reply to a request that moved or held credits, kept under the caller's ``Idempotency-Key``.

    ``digest`` is the hash of the request's body. A generation that was not ready when it was first answered is
    kept as its ``task_id`` with no body yet: its repeat reports the task as it is then.
    """

    user_id: str
    path: str
    key: str
    digest: bytes
    created_at: datetime
    body: bytes | None = None
    task_id: str | None = None


Record: TypeAlias = PasswordSet | TokenEnded | CodeIssued | Receipt

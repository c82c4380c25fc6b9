"""Everything the two documents are served from, wired by the composition root."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from mintage.application.adjustments import Adjustments
from mintage.application.catalogue import Catalogue
from mintage.application.characters import Characters
from mintage.application.credentials import Credentials
from mintage.application.erasure import Erasure
from mintage.application.generations import Generations
from mintage.application.google import GoogleSignIn
from mintage.application.ledger import Ledger
from mintage.application.limits import Limits
from mintage.application.people import People
from mintage.application.ports.files import Files
from mintage.application.ports.identity import Sessions, Tokens
from mintage.application.ports.news import News
from mintage.application.profiles import Profiles
from mintage.application.receipts import TransactionReceipts
from mintage.application.recharges import Recharges
from mintage.application.reports import Reports
from mintage.application.reversals import Reversals
from mintage.application.webhooks import Webhooks
from mintage.application.works import Works
from mintage.projections.sql import Database


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decides about the surface.

    ``cors_origins`` is a regular expression; ``generation_wait_s`` is how long images/generate waits before it answers
    202; ``body_max`` is in bytes; ``gateways`` are the payment methods on offer; ``secure_cookies`` are for who is
    reached by https alone.
    """

    cors_origins: str = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"
    generation_wait_s: float = 60.0
    body_max: int = 1_048_576
    password_min: int = 6
    gateways: tuple[str, ...] = ("wechat", "alipay", "stripe")
    secure_cookies: bool = False


class Services(msgspec.Struct, frozen=True, kw_only=True):
    people: People
    profiles: Profiles
    credentials: Credentials
    google: GoogleSignIn | None
    """None if no Google client is configured."""
    erasure: Erasure
    works: Works
    characters: Characters
    webhooks: Webhooks
    ledger: Ledger
    adjustments: Adjustments
    reversals: Reversals
    reports: Reports
    recharges: Recharges
    generations: Generations
    catalogue: Catalogue
    db: Database
    tokens: Tokens
    sessions: Sessions
    files: Files
    news: News
    limits: Limits
    receipts: TransactionReceipts
    terms: Terms
    clock: Callable[[], datetime]
    ready: Callable[[], Awaitable[bool]]
    """Whether the schema is there and commands are taken."""

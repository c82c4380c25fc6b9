"""How often what may be done: the rules, in the customer's words. The counting is the ``Limiter``'s."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from mintage.application.ports.limits import Budget, Limiter, Rule
from mintage.application.records import Purpose
from mintage.application.refusals import InvalidCode, InvalidCredentials
from mintage.domain.decider import Refusal

_MINUTE: Final = 60
_QUARTER: Final = 15 * _MINUTE
_HOUR: Final = 60 * _MINUTE

SIGN_INS_OF_ACCOUNT: Final = Rule("sign-in-account", 10, _QUARTER)
SIGN_INS_FROM_ADDRESS: Final = Rule("sign-in-address", 100, _QUARTER)
CODE_PAUSE: Final = Rule("code-pause", 1, _MINUTE, fail_closed=True)
CODES_TO_EMAIL: Final = Rule("code-email", 10, _HOUR, fail_closed=True)
CODES_FROM_ADDRESS: Final = Rule("code-address", 30, _HOUR, fail_closed=True)
TRIES_FROM_ADDRESS: Final = Rule("code-tries", 100, _QUARTER, fail_closed=True)
REGISTRATIONS_FROM_ADDRESS: Final = Rule("register-address", 1_000, _HOUR)
RECHARGES_OF_ACCOUNT: Final = Rule("recharge-account", 60, _MINUTE)
RECHARGES_FROM_ADDRESS: Final = Rule("recharge-address", 600, _MINUTE)
UPLOADS_OF_ACCOUNT: Final = Rule("upload-account", 30, _HOUR)
GENERATIONS_OF_ACCOUNT: Final = Rule("generate-account", 1_200, _MINUTE)
GENERATIONS_FROM_ADDRESS: Final = Rule("generate-address", 6_000, _MINUTE)
WEBHOOK_TESTS_OF_ACCOUNT: Final = Rule("webhook-test-account", 60, _HOUR)
WEBHOOK_RESENDS_OF_ACCOUNT: Final = Rule("webhook-resend-account", 600, _HOUR)
WEBHOOK_ROTATIONS_OF_ACCOUNT: Final = Rule("webhook-rotate-account", 10, _HOUR)

PENDING_MAX: Final = 1_000
"""Tasks of one person that may be under way. Exact: counted where they are accepted, by their open holds."""
PENDING_RETRY_S: Final = 10


class Limits:
    """Each raises ``RateLimited`` when it was too often, those about codes ``Unavailable`` when nobody can tell.

    ``address`` is the client's; see ``origin``.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    @asynccontextmanager
    async def sign_in(self, account: str, address: str) -> AsyncIterator[None]:
        """Around checking a password; only ``InvalidCredentials`` counts.

        ``account`` is the person's id if the login names somebody, otherwise the login in its canonical form: nobody is
        told which. The attempts of an account take turns, so that those that go well are not in each other's way.
        """
        of_account, from_address = Budget(SIGN_INS_OF_ACCOUNT, account), Budget(SIGN_INS_FROM_ADDRESS, origin(address))
        async with (
            self._limiter.turn(of_account),
            self._attempt(InvalidCredentials, of_account, from_address),
        ):
            yield

    def google(self, address: str) -> AbstractAsyncContextManager[None]:
        """Around asking Google about somebody; only ``InvalidCredentials`` counts."""
        return self._attempt(InvalidCredentials, Budget(SIGN_INS_FROM_ADDRESS, origin(address)))

    def code_tried(self, address: str) -> AbstractAsyncContextManager[None]:
        """Around redeeming a code, beside the five tries that every code has; only ``InvalidCode`` counts."""
        return self._attempt(InvalidCode, Budget(TRIES_FROM_ADDRESS, origin(address)))

    async def code_sent(self, email: str, purpose: Purpose, address: str) -> None:
        """Before a code that somebody asked for is mailed, whether or not the address is anybody's."""
        mailbox = f"{purpose}\n{email}"
        await self._limiter.take(
            (
                Budget(CODE_PAUSE, mailbox),
                Budget(CODES_TO_EMAIL, mailbox),
                Budget(CODES_FROM_ADDRESS, origin(address)),
            )
        )

    async def registered(self, address: str) -> None:
        """Before somebody is registered."""
        await self._limiter.take((Budget(REGISTRATIONS_FROM_ADDRESS, origin(address)),))

    async def recharged(self, user_id: str, address: str) -> None:
        """Before credits are ordered."""
        await self._limiter.take(
            (Budget(RECHARGES_OF_ACCOUNT, user_id), Budget(RECHARGES_FROM_ADDRESS, origin(address)))
        )

    @asynccontextmanager
    async def uploading(self, user_id: str) -> AsyncIterator[None]:
        """Around an upload of a picture; those of an account take turns, so that each sees what it replaces."""
        budget = Budget(UPLOADS_OF_ACCOUNT, user_id)
        async with self._limiter.turn(budget):
            await self._limiter.take((budget,))
            yield

    async def generated(self, user_id: str, address: str) -> None:
        """Before a task is accepted."""
        await self._limiter.take(
            (Budget(GENERATIONS_OF_ACCOUNT, user_id), Budget(GENERATIONS_FROM_ADDRESS, origin(address)))
        )

    async def webhook_tested(self, user_id: str) -> None:
        """Before a test message is ordered."""
        await self._limiter.take((Budget(WEBHOOK_TESTS_OF_ACCOUNT, user_id),))

    async def webhook_resent(self, user_id: str) -> None:
        """Before a message is sent again by hand."""
        await self._limiter.take((Budget(WEBHOOK_RESENDS_OF_ACCOUNT, user_id),))

    async def webhook_rotated(self, user_id: str) -> None:
        """Before a webhook's secret is replaced."""
        await self._limiter.take((Budget(WEBHOOK_ROTATIONS_OF_ACCOUNT, user_id),))

    @asynccontextmanager
    async def _attempt(self, failure: type[Refusal], *budgets: Budget) -> AsyncIterator[None]:
        """Count it before it is made, so that a hundred at once are no more than a hundred in turn; undo it unless it
        failed. What is cancelled stays counted, since nobody knows how it would have ended."""
        await self._limiter.take(budgets)
        try:
            yield
        except Exception as error:
            if not isinstance(error, failure):
                await self._limiter.give_back(budgets)
            raise
        await self._limiter.give_back(budgets)


def origin(address: str) -> str:
    """Whom an address stands for: itself, or the /64 that an IPv6 customer has for himself.

    All that are not addresses count as one.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(ip, IPv6Address):
        return str(ip)
    return str(ip.ipv4_mapped or IPv6Network((int(ip), 64), strict=False))

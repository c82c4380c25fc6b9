"""What the use cases refuse besides the domain, for reasons that no aggregate knows of."""

from mintage.domain.decider import Refusal


class InvalidCredentials(Refusal):
    """No such account, or not its password; nobody is told which."""


class EmailNotVerified(Refusal):
    """The password is right, but the address was never proved."""

    def __init__(self, email: str) -> None:
        super().__init__("the e-mail address is not verified")
        self.email = email


class InvalidCode(Refusal):
    """The code is wrong, used, too old, or was guessed at too often."""


class TransactionUnknown(Refusal):
    """There is no such transaction."""


class NotReversible(Refusal):
    """The transaction spent nothing; only what was spent can be given back."""


class ContentRefused(Refusal):
    """What is asked for is not to be made. Carries nothing of the words, so that they get into no log."""


class DeliveryUnknown(Refusal):
    """There is no such message of the webhook, or it is forgotten."""


class RateLimited(Refusal):
    """Too often; it may be tried again after ``retry_after_s``."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too often; again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class SecretsStillCount(Refusal):
    """So many of the webhook's secrets were replaced within a day that the next has to wait until one is over."""

"""What can happen to a person's registration.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from typing import ClassVar, Literal, TypeAlias

from mintage.domain.decider import Event

Document: TypeAlias = Literal["v1", "server"]


class PersonRegistered(Event, frozen=True, tag="registration.registered"):
    """Somebody signed up by one of the two documents. ``number`` is v1's integer id."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("username", "email", "phone", "name")

    user_id: str
    number: int
    document: Document
    username: str
    referral_code: str
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    referred_by: str | None = None


class EmailVerified(Event, frozen=True, tag="registration.email_verified"):
    """The person proved to read the mailbox of the address on record."""

    user_id: str


class ReferralRewarded(Event, frozen=True, tag="registration.referral_rewarded"):
    """The person's first paid recharge paid the referral reward, to them and to who brought them."""

    user_id: str
    recharge_id: str


class PersonErased(Event, frozen=True, tag="registration.erased"):
    """The person's key was destroyed: what the log holds of them in person can no longer be read."""

    user_id: str


RegistrationEvent: TypeAlias = PersonRegistered | EmailVerified | ReferralRewarded | PersonErased

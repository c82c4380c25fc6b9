"""What can happen to a person's registration.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Fields in ``PERSONAL`` are sealed with the person's own key.
"""

from typing import ClassVar, Literal, TypeAlias

from mintage.domain.decider import Event

Document: TypeAlias = Literal["v1", "server"]
Role: TypeAlias = Literal["user", "finance", "admin"]


class PersonRegistered(Event, frozen=True, tag="registration.registered"):
    """Somebody signed up by one of the two documents. ``number`` is v1's integer id.

    ``google_id`` is the subject of a Google account; then ``email_verified`` is what Google says of the address.
    """

    PERSONAL: ClassVar[tuple[str, ...]] = ("username", "email", "phone", "name", "avatar", "google_id")

    user_id: str
    number: int
    document: Document
    username: str
    referral_code: str
    email: str | None = None
    phone: str | None = None
    name: str | None = None
    referred_by: str | None = None
    avatar: str | None = None
    google_id: str | None = None
    email_verified: bool = False


class EmailVerified(Event, frozen=True, tag="registration.email_verified"):
    """The person proved to read the mailbox of the address on record."""

    user_id: str


class EmailChanged(Event, frozen=True, tag="registration.email_changed"):
    """The address on record is another one, unverified, or none; ``address`` counts the person's addresses.

    Who has the address for a username has the new one for a username from now on.
    """

    PERSONAL: ClassVar[tuple[str, ...]] = ("email",)

    user_id: str
    address: int
    email: str | None = None


class PhoneChanged(Event, frozen=True, tag="registration.phone_changed"):
    """The phone number on record is another one, or none."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("phone",)

    user_id: str
    phone: str | None = None


class PersonRenamed(Event, frozen=True, tag="registration.renamed"):
    """The person goes by another name (v1's nickname), or by none."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("name",)

    user_id: str
    name: str | None = None


class AvatarChanged(Event, frozen=True, tag="registration.avatar_changed"):
    """The picture is another one, or none: somebody's url, or the storage key of an upload."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("avatar",)

    user_id: str
    avatar: str | None = None


class PasswordChanged(Event, frozen=True, tag="registration.password_changed"):
    """The password was changed by who knew it, reset by who reads the mailbox, or removed.

    Tokens of an older session version than ``session_version`` have ended.
    """

    user_id: str
    reason: Literal["changed", "reset", "removed"]
    session_version: int


class GoogleLinked(Event, frozen=True, tag="registration.google_linked"):
    """The person signs in with this Google account from now on; ``google_id`` is its subject."""

    PERSONAL: ClassVar[tuple[str, ...]] = ("google_id",)

    user_id: str
    google_id: str


class GoogleUnlinked(Event, frozen=True, tag="registration.google_unlinked"):
    """The person does not sign in with Google any more: the account was linked before its mailbox was proved."""

    user_id: str


class RoleGranted(Event, frozen=True, tag="registration.role_granted"):
    """The person has this role from now on, in place of the one before."""

    user_id: str
    role: Role


class ReferralRewarded(Event, frozen=True, tag="registration.referral_rewarded"):
    """The person's first paid recharge paid the referral reward, to them and to who brought them."""

    user_id: str
    recharge_id: str


class PersonErased(Event, frozen=True, tag="registration.erased"):
    """The person's key was destroyed: what the log holds of them in person can no longer be read."""

    user_id: str


RegistrationEvent: TypeAlias = (
    PersonRegistered
    | EmailVerified
    | EmailChanged
    | PhoneChanged
    | PersonRenamed
    | AvatarChanged
    | PasswordChanged
    | GoogleLinked
    | GoogleUnlinked
    | RoleGranted
    | ReferralRewarded
    | PersonErased
)

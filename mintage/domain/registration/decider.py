"""A person registers once, proves each address once, links one Google account, and is erased once."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.registration.events import (
    AvatarChanged,
    Document,
    EmailChanged,
    EmailVerified,
    GoogleLinked,
    GoogleUnlinked,
    PasswordChanged,
    PersonErased,
    PersonRegistered,
    PersonRenamed,
    PhoneChanged,
    ReferralRewarded,
    RegistrationEvent,
    Role,
    RoleGranted,
)


class Register(Command, frozen=True):
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


class VerifyEmail(Command, frozen=True):
    """The caller has checked the code. ``address`` is which of the person's addresses it was mailed to."""

    address: int


class ChangeProfile(Command, frozen=True):
    """What is unset stays; None clears. Only what differs from before is to be given."""

    name: str | UnsetType | None = UNSET
    avatar: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET


class ChangePassword(Command, frozen=True):
    """The caller has checked the old password; ``session_version`` is that of the token that asks."""

    session_version: int


class ResetPassword(Command, frozen=True):
    """The caller has checked the code mailed to ``address``; reading that mailbox proves it."""

    address: int


class LinkGoogle(Command, frozen=True):
    """The caller knows that the Google account and the ``address`` are one person's.

    ``drop_password`` is for an address that nobody had proved: a stranger may have set the password.
    """

    google_id: str
    address: int
    drop_password: bool


class GrantRole(Command, frozen=True):
    role: Role


class RewardReferral(Command, frozen=True):
    """To be given at a paid recharge; the first one of a referred person counts."""

    recharge_id: str


class Erase(Command, frozen=True):
    pass


RegistrationCommand: TypeAlias = (
    Register
    | VerifyEmail
    | ChangeProfile
    | ChangePassword
    | ResetPassword
    | LinkGoogle
    | GrantRole
    | RewardReferral
    | Erase
)


class PersonUnknown(Refusal):
    """Nobody of that id is registered, or they were erased."""


class PersonExists(Refusal):
    """The id is registered already."""


class AddressChanged(Refusal):
    """The person has another address by now, or none."""


class EmailNeeded(Refusal):
    """Who has their address for a username cannot be without one."""


class SessionEnded(Refusal):
    """The password was changed since the token that asks was issued."""


class UsernameTaken(Refusal):
    """The username belongs to another account."""


class EmailTaken(Refusal):
    """The e-mail address belongs to another account."""


class PhoneTaken(Refusal):
    """The phone number belongs to another account."""


class GoogleTaken(Refusal):
    """The Google account belongs to another account, or the person has one already."""


class ReferralCodeTaken(Refusal):
    """The code drawn for a newcomer is in use; draw another."""


class Registration(msgspec.Struct, frozen=True):
    """Holds nothing personal, so that it can be kept and folded without the person's key.

    ``address`` counts the addresses there have been, so that a code proves the one it was mailed to and no other.
    """

    user_id: str = ""
    address: int = 0
    has_email: bool = False
    email_verified: bool = False
    email_is_username: bool = False
    has_google: bool = False
    role: Role = "user"
    session_version: int = 0
    referred_by: str | None = None
    referral_rewarded: bool = False
    erased: bool = False


def decide(command: RegistrationCommand, person: Registration) -> tuple[RegistrationEvent, ...]:
    if isinstance(command, Register):
        if person.user_id:
            raise PersonExists
        return (PersonRegistered(**asdict(command)),)
    if not person.user_id or person.erased:
        raise PersonUnknown
    match command:
        case VerifyEmail(address=address):
            return _verified(person, address)
        case ChangeProfile():
            return _changed(command, person)
        case ChangePassword(session_version=version):
            return _changed_by(version, person)
        case ResetPassword(address=address):
            return _reset(address, person)
        case LinkGoogle():
            return _linked(command, person)
        case GrantRole(role=role):
            return () if role == person.role else (RoleGranted(user_id=person.user_id, role=role),)
        case RewardReferral(recharge_id=recharge_id):
            due = person.referred_by is not None and not person.referral_rewarded
            return (ReferralRewarded(user_id=person.user_id, recharge_id=recharge_id),) if due else ()
        case Erase():
            return (PersonErased(user_id=person.user_id),)
        case _:
            assert_never(command)


def _verified(person: Registration, address: int) -> tuple[RegistrationEvent, ...]:
    if not person.has_email or address != person.address:
        raise AddressChanged
    return () if person.email_verified else (EmailVerified(user_id=person.user_id),)


def _changed_by(version: int, person: Registration) -> tuple[RegistrationEvent, ...]:
    if version != person.session_version:
        raise SessionEnded
    return (PasswordChanged(user_id=person.user_id, reason="changed", session_version=version + 1),)


def _reset(address: int, person: Registration) -> tuple[RegistrationEvent, ...]:
    events = list(_verified(person, address))
    if events and person.has_google:
        # Whoever linked it never proved that the mailbox was theirs; who resets the password just did.
        events.append(GoogleUnlinked(user_id=person.user_id))
    version = person.session_version + 1
    return *events, PasswordChanged(user_id=person.user_id, reason="reset", session_version=version)


def _changed(command: ChangeProfile, person: Registration) -> tuple[RegistrationEvent, ...]:
    events: list[RegistrationEvent] = []
    if command.name is not UNSET:
        events.append(PersonRenamed(user_id=person.user_id, name=command.name))
    if command.avatar is not UNSET:
        events.append(AvatarChanged(user_id=person.user_id, avatar=command.avatar))
    if command.phone is not UNSET:
        events.append(PhoneChanged(user_id=person.user_id, phone=command.phone))
    if command.email is not UNSET:
        if command.email is None and person.email_is_username:
            raise EmailNeeded
        events.append(EmailChanged(user_id=person.user_id, email=command.email, address=person.address + 1))
    return tuple(events)


def _linked(command: LinkGoogle, person: Registration) -> tuple[RegistrationEvent, ...]:
    if person.has_google:
        raise GoogleTaken
    events = [*_verified(person, command.address), GoogleLinked(user_id=person.user_id, google_id=command.google_id)]
    if command.drop_password:
        version = person.session_version + 1
        events.append(PasswordChanged(user_id=person.user_id, reason="removed", session_version=version))
    return tuple(events)


def evolve(person: Registration, event: RegistrationEvent) -> Registration:
    match event:
        case PersonRegistered():
            return Registration(
                user_id=event.user_id,
                address=0 if event.email is None else 1,
                has_email=event.email is not None,
                email_verified=event.email_verified,
                email_is_username=event.document == "server" and event.email is not None,
                has_google=event.google_id is not None,
                referred_by=event.referred_by,
            )
        case EmailVerified():
            return replace(person, email_verified=True)
        case EmailChanged(email=email, address=address):
            return replace(person, address=address, has_email=email is not None, email_verified=False)
        case PasswordChanged(session_version=version):
            return replace(person, session_version=version)
        case GoogleLinked() | GoogleUnlinked():
            return replace(person, has_google=isinstance(event, GoogleLinked))
        case RoleGranted(role=role):
            return replace(person, role=role)
        case ReferralRewarded():
            return replace(person, referral_rewarded=True)
        case PersonErased():
            return replace(person, erased=True)
        case PersonRenamed() | AvatarChanged() | PhoneChanged():
            return person
        case _:
            assert_never(event)


REGISTRATION: Decider[Registration, RegistrationCommand, RegistrationEvent] = Decider(
    "registration", Registration(), decide, evolve
)

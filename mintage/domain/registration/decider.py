"""A person registers once, verifies once, earns their referrer one reward, and is erased once."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.registration.events import (
    Document,
    EmailVerified,
    PersonErased,
    PersonRegistered,
    ReferralRewarded,
    RegistrationEvent,
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


class VerifyEmail(Command, frozen=True):
    """The caller has checked the code."""


class RewardReferral(Command, frozen=True):
    """To be given at a paid recharge; the first one of a referred person counts."""

    recharge_id: str


class Erase(Command, frozen=True):
    pass


RegistrationCommand: TypeAlias = Register | VerifyEmail | RewardReferral | Erase


class PersonUnknown(Refusal):
    """Nobody of that id is registered, or they were erased."""


class PersonExists(Refusal):
    """The id is registered already."""


class EmailMissing(Refusal):
    """There is no address to verify."""


class UsernameTaken(Refusal):
    """The username belongs to another account."""


class EmailTaken(Refusal):
    """The e-mail address belongs to another account."""


class PhoneTaken(Refusal):
    """The phone number belongs to another account."""


class ReferralCodeTaken(Refusal):
    """The code drawn for a newcomer is in use; draw another."""


class Registration(msgspec.Struct, frozen=True):
    """Holds nothing personal, so that it can be kept and folded without the person's key."""

    user_id: str = ""
    has_email: bool = False
    email_verified: bool = False
    referred_by: str | None = None
    referral_rewarded: bool = False
    erased: bool = False


def decide(command: RegistrationCommand, person: Registration) -> tuple[RegistrationEvent, ...]:
    if isinstance(command, Register):
        if person.user_id:
            raise PersonExists
        return (
            PersonRegistered(
                user_id=command.user_id,
                number=command.number,
                document=command.document,
                username=command.username,
                referral_code=command.referral_code,
                email=command.email,
                phone=command.phone,
                name=command.name,
                referred_by=command.referred_by,
            ),
        )
    if not person.user_id or person.erased:
        raise PersonUnknown
    match command:
        case VerifyEmail():
            if not person.has_email:
                raise EmailMissing
            return () if person.email_verified else (EmailVerified(user_id=person.user_id),)
        case RewardReferral(recharge_id=recharge_id):
            if person.referred_by is None or person.referral_rewarded:
                return ()
            return (ReferralRewarded(user_id=person.user_id, recharge_id=recharge_id),)
        case Erase():
            return (PersonErased(user_id=person.user_id),)
        case _:
            assert_never(command)


def evolve(person: Registration, event: RegistrationEvent) -> Registration:
    match event:
        case PersonRegistered():
            return Registration(
                user_id=event.user_id,
                has_email=event.email is not None,
                referred_by=event.referred_by,
            )
        case EmailVerified():
            return replace(person, email_verified=True)
        case ReferralRewarded():
            return replace(person, referral_rewarded=True)
        case PersonErased():
            return replace(person, erased=True)
        case _:
            assert_never(event)


REGISTRATION: Decider[Registration, RegistrationCommand, RegistrationEvent] = Decider(
    "registration", Registration(), decide, evolve
)

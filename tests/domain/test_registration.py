"""A person registers once, verifies once, earns their referrer one reward, and is erased once."""

import pytest

from mintage.domain.registration.decider import (
    REGISTRATION,
    EmailMissing,
    Erase,
    PersonExists,
    PersonUnknown,
    Register,
    Registration,
    RegistrationCommand,
    RewardReferral,
    VerifyEmail,
)
from mintage.domain.registration.events import (
    Document,
    EmailVerified,
    PersonErased,
    PersonRegistered,
    ReferralRewarded,
    RegistrationEvent,
)
from tests.scenario import Given


def given(*history: RegistrationEvent) -> Given[Registration, RegistrationCommand, RegistrationEvent]:
    return Given(REGISTRATION, *history)


def registered(
    *, email: str | None = "ann@example.com", referred_by: str | None = None, document: Document = "v1"
) -> PersonRegistered:
    return PersonRegistered(
        user_id="ann",
        number=7,
        document=document,
        username="Ann",
        referral_code="ABCD2345",
        email=email,
        phone="13800138000",
        name="Ann Li",
        referred_by=referred_by,
    )


def register(
    *, email: str | None = "ann@example.com", referred_by: str | None = None, document: Document = "v1"
) -> Register:
    return Register(
        user_id="ann",
        number=7,
        document=document,
        username="Ann",
        referral_code="ABCD2345",
        email=email,
        phone="13800138000",
        name="Ann Li",
        referred_by=referred_by,
    )


VERIFIED = EmailVerified(user_id="ann")
ERASED = PersonErased(user_id="ann")
REWARDED = ReferralRewarded(user_id="ann", recharge_id="order-1")

OTHERS = [VerifyEmail(), RewardReferral(recharge_id="order-1"), Erase()]
"""Every command that needs somebody to be there."""


class TestRegistering:
    @pytest.mark.parametrize("document", ["v1", "server"])
    def test_somebody_registers_by_either_document(self, document: Document) -> None:
        after = given().when(register(document=document)).then(registered(document=document)).state()
        assert after == Registration(user_id="ann", has_email=True)

    def test_an_address_is_not_needed(self) -> None:
        after = given().when(register(email=None)).then(registered(email=None)).state()
        assert after == Registration(user_id="ann", has_email=False)

    def test_who_brought_them_is_remembered(self) -> None:
        after = given().when(register(referred_by="bob")).then(registered(referred_by="bob")).state()
        assert after.referred_by == "bob"

    def test_an_id_registers_once(self) -> None:
        given(registered()).when(register()).then_refused(PersonExists)

    def test_an_erased_id_never_registers_again(self) -> None:
        given(registered(), ERASED).when(register()).then_refused(PersonExists)

    def test_the_state_holds_nothing_personal(self) -> None:
        kept = repr(given(registered(referred_by="bob"), VERIFIED).state())
        assert not any(word in kept for word in ("Ann", "example", "13800138000", "ABCD2345"))


class TestWhoIsNotThere:
    @pytest.mark.parametrize("command", OTHERS, ids=lambda command: type(command).__name__)
    def test_nothing_can_be_done_with_a_stranger(self, command: RegistrationCommand) -> None:
        given().when(command).then_refused(PersonUnknown)

    @pytest.mark.parametrize("command", OTHERS, ids=lambda command: type(command).__name__)
    def test_nothing_can_be_done_with_the_erased(self, command: RegistrationCommand) -> None:
        given(registered(referred_by="bob"), ERASED).when(command).then_refused(PersonUnknown)


class TestVerifying:
    def test_an_address_is_verified(self) -> None:
        assert given(registered()).when(VerifyEmail()).then(VERIFIED).state().email_verified

    def test_verifying_again_changes_nothing(self) -> None:
        given(registered(), VERIFIED).when(VerifyEmail()).then_nothing()

    def test_there_must_be_an_address(self) -> None:
        given(registered(email=None)).when(VerifyEmail()).then_refused(EmailMissing)


class TestReferral:
    def test_the_first_paid_recharge_of_somebody_referred_is_rewarded(self) -> None:
        after = given(registered(referred_by="bob")).when(RewardReferral(recharge_id="order-1")).then(REWARDED).state()
        assert after.referral_rewarded

    def test_the_same_recharge_is_not_rewarded_again(self) -> None:
        given(registered(referred_by="bob"), REWARDED).when(RewardReferral(recharge_id="order-1")).then_nothing()

    def test_a_second_recharge_is_not_rewarded(self) -> None:
        given(registered(referred_by="bob"), REWARDED).when(RewardReferral(recharge_id="order-2")).then_nothing()

    def test_who_came_alone_is_not_rewarded(self) -> None:
        given(registered()).when(RewardReferral(recharge_id="order-1")).then_nothing()

    def test_the_address_need_not_be_verified_nor_be_there(self) -> None:
        given(registered(email=None, referred_by="bob")).when(RewardReferral(recharge_id="order-1")).then(REWARDED)


class TestErasing:
    def test_a_person_is_erased(self) -> None:
        assert given(registered()).when(Erase()).then(ERASED).state().erased

    def test_erasing_forgets_nothing_that_the_ledger_needs(self) -> None:
        after = given(registered(referred_by="bob"), VERIFIED, REWARDED).when(Erase()).then(ERASED).state()
        assert after == Registration(
            user_id="ann", has_email=True, email_verified=True, referred_by="bob", referral_rewarded=True, erased=True
        )

"""A person registers once, proves each address once, earns their referrer one reward, and is erased once."""

import pytest

from mintage.domain.registration.decider import (
    REGISTRATION,
    AddressChanged,
    ChangePassword,
    ChangeProfile,
    EmailNeeded,
    Erase,
    GoogleTaken,
    GrantRole,
    LinkGoogle,
    PersonExists,
    PersonUnknown,
    Register,
    Registration,
    RegistrationCommand,
    ResetPassword,
    RewardReferral,
    SessionEnded,
    VerifyEmail,
)
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

MOVED = EmailChanged(user_id="ann", email="ann@example.org", address=2)
LINKED = GoogleLinked(user_id="ann", google_id="google-1")

OTHERS = [
    VerifyEmail(address=1),
    ChangeProfile(name="Bo"),
    ChangePassword(session_version=0),
    ResetPassword(address=1),
    LinkGoogle(google_id="google-1", address=1, drop_password=False),
    GrantRole(role="admin"),
    RewardReferral(recharge_id="order-1"),
    Erase(),
]
"""Every command that needs somebody to be there."""


class TestRegistering:
    @pytest.mark.parametrize("document", ["v1", "server"])
    def test_somebody_registers_by_either_document(self, document: Document) -> None:
        after = given().when(register(document=document)).then(registered(document=document)).state()
        assert after == Registration(user_id="ann", address=1, has_email=True, email_is_username=document == "server")

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
        assert given(registered()).when(VerifyEmail(address=1)).then(VERIFIED).state().email_verified

    def test_verifying_again_changes_nothing(self) -> None:
        given(registered(), VERIFIED).when(VerifyEmail(address=1)).then_nothing()

    def test_there_must_be_an_address(self) -> None:
        given(registered(email=None)).when(VerifyEmail(address=0)).then_refused(AddressChanged)

    def test_a_code_proves_no_other_address_than_it_was_mailed_to(self) -> None:
        given(registered(), MOVED).when(VerifyEmail(address=1)).then_refused(AddressChanged)
        assert given(registered(), MOVED).when(VerifyEmail(address=2)).then(VERIFIED).state().email_verified


class TestChanging:
    def test_only_what_is_given_changes(self) -> None:
        given(registered()).when(ChangeProfile(name="Bo", phone=None)).then(
            PersonRenamed(user_id="ann", name="Bo"), PhoneChanged(user_id="ann")
        )
        given(registered()).when(ChangeProfile(avatar="https://example.com/a.png")).then(
            AvatarChanged(user_id="ann", avatar="https://example.com/a.png")
        )
        given(registered()).when(ChangeProfile()).then_nothing()

    def test_a_new_address_is_not_verified(self) -> None:
        after = given(registered(), VERIFIED).when(ChangeProfile(email="ann@example.org")).then(MOVED).state()
        assert (after.email_verified, after.has_email, after.address) == (False, True, 2)

    def test_an_address_may_go(self) -> None:
        gone = EmailChanged(user_id="ann", address=2)
        assert not given(registered()).when(ChangeProfile(email=None)).then(gone).state().has_email

    def test_who_signs_in_by_it_keeps_an_address(self) -> None:
        given(registered(document="server")).when(ChangeProfile(name="Bo", email=None)).then_refused(EmailNeeded)


class TestPasswords:
    def test_a_change_ends_every_token(self) -> None:
        changed = PasswordChanged(user_id="ann", reason="changed", session_version=1)
        assert given(registered()).when(ChangePassword(session_version=0)).then(changed).state().session_version == 1

    def test_of_two_changes_at_once_the_second_is_by_a_token_that_has_ended(self) -> None:
        changed = PasswordChanged(user_id="ann", reason="changed", session_version=1)
        given(registered(), changed).when(ChangePassword(session_version=0)).then_refused(SessionEnded)

    def test_a_reset_proves_the_address(self) -> None:
        reset = PasswordChanged(user_id="ann", reason="reset", session_version=1)
        given(registered()).when(ResetPassword(address=1)).then(VERIFIED, reset)
        given(registered(), VERIFIED).when(ResetPassword(address=1)).then(reset)

    def test_a_reset_unlinks_google_where_nobody_had_proved_the_mailbox(self) -> None:
        reset = PasswordChanged(user_id="ann", reason="reset", session_version=1)
        unlinked = GoogleUnlinked(user_id="ann")
        after = given(registered(), LINKED).when(ResetPassword(address=1)).then(VERIFIED, unlinked, reset).state()
        assert not after.has_google
        given(registered(), VERIFIED, LINKED).when(ResetPassword(address=1)).then(reset)

    def test_a_reset_by_an_address_that_was_given_up_is_refused(self) -> None:
        given(registered(), MOVED).when(ResetPassword(address=1)).then_refused(AddressChanged)


class TestGoogle:
    def test_an_account_is_linked(self) -> None:
        link = LinkGoogle(google_id="google-1", address=1, drop_password=False)
        after = given(registered(), VERIFIED).when(link).then(LINKED).state()
        assert (after.has_google, after.session_version) == (True, 0)

    def test_a_password_that_a_stranger_may_have_set_goes_with_its_tokens(self) -> None:
        link = LinkGoogle(google_id="google-1", address=1, drop_password=True)
        dropped = PasswordChanged(user_id="ann", reason="removed", session_version=1)
        given(registered()).when(link).then(VERIFIED, LINKED, dropped)

    def test_there_is_one_to_a_person(self) -> None:
        link = LinkGoogle(google_id="google-2", address=1, drop_password=False)
        given(registered(), VERIFIED, LINKED).when(link).then_refused(GoogleTaken)

    def test_the_address_must_still_be_theirs(self) -> None:
        link = LinkGoogle(google_id="google-1", address=1, drop_password=True)
        given(registered(), MOVED).when(link).then_refused(AddressChanged)


class TestRoles:
    @pytest.mark.parametrize("role", ["finance", "admin"])
    def test_a_role_takes_the_place_of_the_one_before(self, role: Role) -> None:
        granted = RoleGranted(user_id="ann", role=role)
        assert given(registered()).when(GrantRole(role=role)).then(granted).state().role == role
        given(registered(), granted).when(GrantRole(role=role)).then_nothing()
        given(registered(), granted).when(GrantRole(role="user")).then(RoleGranted(user_id="ann", role="user"))


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
            user_id="ann",
            address=1,
            has_email=True,
            email_verified=True,
            referred_by="bob",
            referral_rewarded=True,
            erased=True,
        )

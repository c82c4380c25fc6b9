"""Whoever implements Standard Webhooks can verify what we sign, with either secret for as long as both count."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from mintage.infra.webhooks.signing import Signing, signature
from mintage.projections.webhooks import Webhook

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
BODY = '{"type": "ping", "data": "小猫"}'.encode()
SIGNING = Signing(b"the master key of all the tests.")
HOOK = Webhook(
    webhook_id="0199b1c0-0000-7000-8000-0000000000f2",
    number=1,
    user_id="0199b1c0-0000-7000-8000-00000000000a",
    url="https://hooks.example",
    event_types=[],
    enabled=True,
    disabled_reason=None,
    secret=1,
    rotations=[],
    created_at=LONG_AGO,
    updated_at=LONG_AGO,
)


def now() -> datetime:
    """The scheme's library knows no other clock than the machine's."""
    return datetime.now(UTC)


def verified(secret: str, headers: dict[str, str], body: bytes = BODY) -> bool:
    """What the scheme's own library says."""
    try:
        Verifier(secret).verify(body.decode(), headers)
    except WebhookVerificationError:
        return False
    return True


def test_the_schemes_own_example_is_signed_as_it_says() -> None:
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_is_signed_is_verified_and_nothing_else_is() -> None:
    secret = SIGNING.secret(HOOK.webhook_id, 1)
    at = now()
    headers = SIGNING.headers(HOOK, "m", BODY, at)
    assert verified(secret, headers)
    assert not verified(secret, headers, BODY + b" ")
    assert not verified(secret, {**headers, "webhook-id": "n"})
    assert not verified(secret, {**headers, "webhook-timestamp": str(int(at.timestamp()) - 1)})
    assert not verified(SIGNING.secret(HOOK.webhook_id, 2), headers)


@pytest.mark.parametrize("hours", [0, 23.9])
def test_for_a_day_after_a_rotation_both_secrets_count(hours: float) -> None:
    at = now()
    rotated = replace(HOOK, secret=3, rotations=[at - timedelta(days=1), at - timedelta(hours=hours)])
    headers = SIGNING.headers(rotated, "m", BODY, at)
    counts = [verified(SIGNING.secret(HOOK.webhook_id, number), headers) for number in (1, 2, 3)]
    assert counts == [False, True, True]


def test_what_a_receiver_has_installed_counts_however_often_it_is_replaced_that_day() -> None:
    at = now()
    rotated = replace(HOOK, secret=4, rotations=[at - timedelta(hours=hours) for hours in (23.9, 1, 0)])
    headers = SIGNING.headers(rotated, "m", BODY, at)
    assert all(verified(SIGNING.secret(HOOK.webhook_id, number), headers) for number in (1, 2, 3, 4))
    assert len(headers["webhook-signature"].split(" ")) == 4


def test_after_that_day_only_the_newest_counts() -> None:
    at = now()
    rotated = replace(HOOK, secret=2, rotations=[at - timedelta(days=1)])
    headers = SIGNING.headers(rotated, "m", BODY, at)
    assert [verified(SIGNING.secret(HOOK.webhook_id, number), headers) for number in (1, 2)] == [False, True]


def test_secrets_are_the_same_everywhere_and_each_its_own() -> None:
    other = HOOK.webhook_id[:-1] + "3"
    secrets = [SIGNING.secret(HOOK.webhook_id, 1), SIGNING.secret(HOOK.webhook_id, 2), SIGNING.secret(other, 1)]
    assert len(set(secrets)) == 3
    assert all(len(b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)
    assert Signing(b"the master key of all the tests.").secret(HOOK.webhook_id, 1) == secrets[0]
    assert Signing(b"another master key, of nobody's.").secret(HOOK.webhook_id, 1) != secrets[0]

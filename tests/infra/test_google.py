"""Nothing but a fresh id token, signed by the provider for us and for this very sign-in, says who somebody is."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from mintage.application.google import HANDSHAKE_S
from mintage.application.ports.google import GoogleIdentity, Handshake
from mintage.application.refusals import InvalidCredentials
from mintage.application.transaction import Unavailable
from mintage.infra import google
from mintage.infra.database import Pool
from mintage.infra.google import KEPT_S, LEEWAY_S, REFETCH_S, OpenIdClient
from mintage.infra.handshakes import SealedHandshakes
from mintage.infra.housekeeping import tidy

ISSUER = "https://issuer.example"
CLIENT_ID = "our-client"
REDIRECT_URI = "https://mint.example/back?from=google"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
HANDSHAKE = Handshake("state", "binding", "the nonce", "v" * 43)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def public(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    described = {**json.loads(algorithm.to_jwk(key.public_key())), **more}
    return {**described, "kid": kid} if kid is not None else described


def unpadded(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


class Provider:
    """An OpenID provider that does whatever a test wants of it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.issuer = ISSUER
        self.keys = [public(RSA_KEY, "one")]
        self.signing: Any = RSA_KEY
        self.header: dict[str, Any] = {"kid": "one"}
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {}
        self.without: set[str] = set()
        self.answers: dict[str, httpx.Response | Exception] = {}
        self.held: asyncio.Event | None = None
        self.asked: list[str] = []
        self.form: dict[str, list[str]] = {}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.get(path)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        if path == "/discovery":
            return httpx.Response(
                200,
                json={
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
                    "token_endpoint": f"{ISSUER}/token",
                    "jwks_uri": f"{ISSUER}/keys",
                },
            )
        if path == "/keys":
            return httpx.Response(200, json={"keys": self.keys})
        self.form = parse_qs(request.content.decode())
        return httpx.Response(200, json={"access_token": "x", "id_token": self.token()})

    def token(self) -> str:
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "1234567890",
            "exp": now + 3600,
            "iat": now,
            "nonce": HANDSHAKE.nonce,
            **self.claims,
        }
        left = {name: value for name, value in claims.items() if name not in self.without}
        if isinstance(self.signing, bytes):
            # By hand: the library does not lend itself to signing with a public key for a secret.
            parts = [{"alg": self.algorithm, "typ": "JWT", **self.header}, left]
            signed = b".".join(unpadded(json.dumps(part).encode()) for part in parts)
            return (signed + b"." + unpadded(hmac.digest(self.signing, signed, "sha256"))).decode()
        return jwt.encode(left, self.signing, algorithm=self.algorithm, headers=self.header)


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
async def client(provider: Provider, clock: Clock) -> AsyncIterator[OpenIdClient]:
    ours = OpenIdClient(
        client_id=CLIENT_ID,
        client_secret="our secret",
        redirect_uri=REDIRECT_URI,
        discovery_url=f"{ISSUER}/discovery",
        clock=clock,
        transport=httpx.MockTransport(provider),
    )
    yield ours
    await ours.close()


# -- what is asked


async def test_the_person_is_sent_away_with_everything_that_has_to_come_back(client: OpenIdClient) -> None:
    url = urlsplit(await client.authorization_url(HANDSHAKE))
    challenge = unpadded(sha256(HANDSHAKE.verifier.encode()).digest()).decode()
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{ISSUER}/authorize"
    assert {name: value for name, (value,) in parse_qs(url.query, strict_parsing=True).items()} == {
        "tenant": "1",
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid email profile",
        "state": HANDSHAKE.state,
        "nonce": HANDSHAKE.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }


async def test_a_code_is_exchanged_with_secret_and_verifier(client: OpenIdClient, provider: Provider) -> None:
    await client.identity("4/0the+code", HANDSHAKE)
    assert {name: value for name, (value,) in provider.form.items()} == {
        "grant_type": "authorization_code",
        "code": "4/0the+code",
        "client_id": CLIENT_ID,
        "client_secret": "our secret",
        "redirect_uri": REDIRECT_URI,
        "code_verifier": HANDSHAKE.verifier,
    }


# -- what is believed


async def test_an_id_token_says_who_it_is(client: OpenIdClient, provider: Provider) -> None:
    assert await client.identity("code", HANDSHAKE) == GoogleIdentity("1234567890", None, False, False, None, None)
    provider.claims = {
        "email": "Ann@Gmail.com",
        "email_verified": True,
        "name": "Ann",
        "picture": "https://x.example/a.png",
        "azp": CLIENT_ID,
        "aud": [CLIENT_ID],
        "more": {"than": "we know"},
    }
    assert await client.identity("code", HANDSHAKE) == GoogleIdentity(
        "1234567890", "ann@gmail.com", True, True, "Ann", "https://x.example/a.png"
    )


@pytest.mark.parametrize(
    ("claims", "authoritative"),
    [
        ({"email": "ann@gmail.com"}, True),
        ({"email": "ann@googlemail.com"}, True),
        ({"email": "ann@firm.example", "hd": "firm.example"}, True),
        ({"email": "ann@firm.example"}, False),
        ({"email": "ann@firm.example", "hd": ""}, False),
        ({"email": "ann@notgmail.com"}, False),
        ({"email": "ann@gmail.com.example"}, False),
        ({}, False),
    ],
)
async def test_which_mailboxes_google_runs_itself(
    client: OpenIdClient, provider: Provider, claims: dict[str, str], authoritative: bool
) -> None:
    provider.claims = claims
    assert (await client.identity("code", HANDSHAKE)).authoritative is authoritative


@pytest.mark.parametrize("said", ["true", 1, None, False, [True]])
async def test_only_true_is_verified(client: OpenIdClient, provider: Provider, said: Any) -> None:
    provider.claims = {"email": "ann@gmail.com", "email_verified": said}
    assert not (await client.identity("code", HANDSHAKE)).email_verified


@pytest.mark.parametrize("name", ["https://accounts.google.com", "accounts.google.com"])
async def test_google_goes_by_two_names(client: OpenIdClient, provider: Provider, name: str) -> None:
    provider.issuer = "https://accounts.google.com"
    provider.claims = {"iss": name}
    assert (await client.identity("code", HANDSHAKE)).sub == "1234567890"


def _set(**values: Any) -> Callable[[Provider], None]:
    def change(provider: Provider) -> None:
        for name, value in values.items():
            setattr(provider, name, value)

    return change


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_set(signing=OTHER_KEY), id="another's signature"),
        pytest.param(_set(signing=OTHER_KEY, header={}), id="another's signature, no kid"),
        pytest.param(_set(header={"kid": "two"}), id="unknown kid"),
        pytest.param(_set(header={}, keys=[public(RSA_KEY, "one"), public(EC_KEY, "two")]), id="no kid, two keys"),
        pytest.param(_set(keys=[]), id="no keys"),
        pytest.param(_set(keys=[public(RSA_KEY, "one", use="enc")]), id="key for another use"),
        pytest.param(_set(keys=[public(RSA_KEY, "one", alg="RS512")], algorithm="RS512"), id="RS512"),
        pytest.param(_set(algorithm="RS512"), id="RS512 under a key for RS256"),
        pytest.param(_set(algorithm="PS256"), id="PS256"),
        pytest.param(_set(algorithm="none", signing=None), id="alg none"),
        pytest.param(_set(algorithm="HS256", signing=PUBLIC_PEM), id="public key as HMAC secret"),
        pytest.param(
            _set(
                algorithm="HS256",
                signing=b"k" * 32,
                keys=[{"kty": "oct", "kid": "one", "k": urlsafe_b64encode(b"k" * 32).decode()}],
            ),
            id="shared secret among the keys",
        ),
        pytest.param(_set(claims={"iss": "https://evil.example"}), id="other issuer"),
        pytest.param(_set(claims={"iss": "accounts.google.com"}), id="Google's name, not Google"),
        pytest.param(_set(without={"iss"}), id="no issuer"),
        pytest.param(_set(claims={"aud": "another-client"}), id="other audience"),
        pytest.param(_set(claims={"aud": [CLIENT_ID, "another-client"]}), id="two audiences"),
        pytest.param(_set(claims={"aud": []}), id="empty audience"),
        pytest.param(_set(without={"aud"}), id="no audience"),
        pytest.param(_set(claims={"azp": "another-client"}), id="other authorised party"),
        pytest.param(_set(claims={"nonce": "another"}), id="other nonce"),
        pytest.param(_set(without={"nonce"}), id="no nonce"),
        pytest.param(_set(claims={"exp": NOW - LEEWAY_S}), id="expired"),
        pytest.param(_set(claims={"exp": "never"}), id="expiry is no number"),
        pytest.param(_set(without={"exp"}), id="no expiry"),
        pytest.param(_set(claims={"iat": NOW + LEEWAY_S + 1}), id="issued in the future"),
        pytest.param(_set(without={"iat"}), id="no time of issue"),
        pytest.param(_set(without={"sub"}), id="no sub"),
        pytest.param(_set(claims={"sub": ""}), id="empty sub"),
        pytest.param(_set(claims={"sub": "1" * 256}), id="long sub"),
        pytest.param(_set(claims={"sub": "1\x00"}), id="NUL in sub"),
        pytest.param(_set(claims={"sub": "1\n"}), id="newline in sub"),
        pytest.param(_set(claims={"sub": "１２３"}), id="sub beyond ASCII"),
        pytest.param(_set(answers={"/token": httpx.Response(200, json={"access_token": "x"})}), id="no id token"),
        pytest.param(_set(answers={"/token": httpx.Response(200, json={"id_token": 7})}), id="id token is a number"),
        pytest.param(_set(answers={"/token": httpx.Response(200, json={"id_token": "a.b"})}), id="id token is no JWT"),
        pytest.param(
            _set(answers={"/token": httpx.Response(400, json={"error": "invalid_grant"})}), id="invalid_grant"
        ),
        pytest.param(_set(answers={"/token": httpx.Response(401, text="<html>")}), id="401 without JSON"),
    ],
)
async def test_anything_else_is_no(
    client: OpenIdClient, provider: Provider, change: Callable[[Provider], None]
) -> None:
    change(provider)
    with pytest.raises(InvalidCredentials):
        await client.identity("code", HANDSHAKE)


async def test_a_changed_token_is_no(client: OpenIdClient, provider: Provider) -> None:
    header, payload, signature = provider.token().split(".")
    claims = {**json.loads(urlsafe_b64decode(payload + "==")), "sub": "somebody else"}
    forged = unpadded(json.dumps(claims).encode()).decode()
    for token in (f"{header}.{forged}.{signature}", f"{header}.{payload}.", f"{header}.{payload}.{signature[:-8]}"):
        provider.answers = {"/token": httpx.Response(200, json={"id_token": token})}
        with pytest.raises(InvalidCredentials):
            await client.identity("code", HANDSHAKE)


@pytest.mark.parametrize("claims", [{"exp": NOW - LEEWAY_S + 1}, {"iat": NOW + LEEWAY_S}])
async def test_clocks_may_differ_by_a_minute(client: OpenIdClient, provider: Provider, claims: dict[str, int]) -> None:
    provider.claims = claims
    assert await client.identity("code", HANDSHAKE)


async def test_es256_counts_too_and_a_single_key_needs_no_id(client: OpenIdClient, provider: Provider) -> None:
    provider.keys, provider.signing, provider.algorithm = [{"kty": "odd"}, public(EC_KEY, None)], EC_KEY, "ES256"
    provider.header = {}
    assert await client.identity("code", HANDSHAKE)


# -- what is remembered


async def test_addresses_and_keys_are_fetched_once_an_hour(
    client: OpenIdClient, provider: Provider, clock: Clock
) -> None:
    await asyncio.gather(*(client.authorization_url(HANDSHAKE) for _ in range(5)))
    for _ in range(3):
        await client.identity("code", HANDSHAKE)
    assert provider.asked == ["/discovery", "/token", "/keys", "/token", "/token"]
    clock.pass_by(KEPT_S)
    await client.identity("code", HANDSHAKE)
    assert provider.asked[5:] == ["/discovery", "/token", "/keys"]


async def test_a_new_key_is_found_and_a_flood_of_unknown_ones_fetches_nothing(
    client: OpenIdClient, provider: Provider, clock: Clock
) -> None:
    await client.identity("code", HANDSHAKE)
    provider.header = {"kid": "unheard of"}
    for _ in range(20):
        with pytest.raises(InvalidCredentials):
            await client.identity("code", HANDSHAKE)
    assert provider.asked.count("/keys") == 1

    clock.pass_by(REFETCH_S)
    provider.header, provider.keys = {"kid": "two"}, [public(OTHER_KEY, "two")]
    provider.signing = OTHER_KEY
    await client.identity("code", HANDSHAKE)
    assert provider.asked.count("/keys") == 2
    provider.header, provider.signing = {"kid": "one"}, RSA_KEY
    with pytest.raises(InvalidCredentials):
        await client.identity("code", HANDSHAKE)


# -- who is away


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/discovery", httpx.Response(500)),
        ("/discovery", httpx.Response(200, text="<html>")),
        ("/discovery", httpx.Response(200, json={"issuer": ISSUER})),
        ("/discovery", httpx.Response(302, headers={"location": f"{ISSUER}/elsewhere"})),
        ("/discovery", httpx.ConnectError("no")),
        ("/token", httpx.Response(503)),
        ("/token", httpx.Response(429)),
        ("/token", httpx.Response(200, text="<html>")),
        ("/token", httpx.ReadError("no")),
        ("/token", httpx.Response(200, content=b" " * 1_100_000)),
        ("/keys", httpx.Response(500)),
        ("/keys", httpx.Response(200, json={"keys": "none"})),
        ("/keys", httpx.ConnectTimeout("no")),
    ],
)
async def test_a_provider_that_does_not_answer_is_unavailable_until_it_does(
    client: OpenIdClient, provider: Provider, path: str, answer: httpx.Response | Exception
) -> None:
    provider.answers = {path: answer}
    with pytest.raises(Unavailable) as caught:
        await client.identity("code", HANDSHAKE)
    assert caught.value.retry_after_s > 0
    provider.answers = {}
    assert await client.identity("code", HANDSHAKE)


async def test_a_provider_that_takes_its_time_is_unavailable(
    client: OpenIdClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google, "ANSWER_S", 0.05)
    provider.held = asyncio.Event()
    with pytest.raises(Unavailable):
        await client.authorization_url(HANDSHAKE)


# -- handshakes


@pytest.fixture
async def handshakes(conninfo: str, clock: Clock) -> AsyncIterator[SealedHandshakes]:
    db = Pool(conninfo, size=4)
    await db.open()
    yield SealedHandshakes(db, b"k" * 32, clock)
    await db.close()


async def test_a_handshake_comes_back_whole_and_once(handshakes: SealedHandshakes) -> None:
    begun, other = handshakes.begin(), handshakes.begin()
    assert len({begun.state, begun.binding, begun.nonce, begun.verifier, other.state, other.nonce, other.verifier}) == 7
    assert 43 <= len(begun.verifier) <= 128
    found = await asyncio.gather(*(handshakes.redeem(begun.state, begun.binding) for _ in range(8)))
    assert [one for one in found if one is not None] == [begun]
    assert await handshakes.redeem(begun.state, begun.binding) is None
    assert await handshakes.redeem(other.state, other.binding) == other


async def test_another_process_redeems_it_another_secret_does_not(
    handshakes: SealedHandshakes, conninfo: str, clock: Clock
) -> None:
    begun = handshakes.begin()
    db = Pool(conninfo, size=1)
    await db.open()
    try:
        assert await SealedHandshakes(db, b"x" * 32, clock).redeem(begun.state, begun.binding) is None
        assert await SealedHandshakes(db, b"k" * 32, clock).redeem(begun.state, begun.binding) == begun
        assert await handshakes.redeem(begun.state, begun.binding) is None
    finally:
        await db.close()


async def test_a_handshake_is_the_browsers_that_began_it(handshakes: SealedHandshakes) -> None:
    begun, other = handshakes.begin(), handshakes.begin()
    for binding in (None, "", other.binding, begun.binding[:-1], f"{begun.binding}=", "é"):
        assert await handshakes.redeem(begun.state, binding) is None
    assert await handshakes.redeem(begun.state, begun.binding) == begun


async def test_no_state_can_be_made_up_or_changed(handshakes: SealedHandshakes) -> None:
    begun = handshakes.begin()
    for position in range(len(begun.state)):
        changed = "A" if begun.state[position] != "A" else "B"
        state = begun.state[:position] + changed + begun.state[position + 1 :]
        assert await handshakes.redeem(state, begun.binding) is None
    for state in ("", "a", "é", "=", begun.state[:-4], f"{begun.state}AAAA", f" {begun.state}", "A" * 100_000):
        assert await handshakes.redeem(state, begun.binding) is None


async def test_a_handshake_lasts_ten_minutes(handshakes: SealedHandshakes, clock: Clock) -> None:
    early, late = handshakes.begin(), handshakes.begin()
    clock.pass_by(HANDSHAKE_S - 1)
    assert await handshakes.redeem(early.state, early.binding) == early
    clock.pass_by(1)
    assert await handshakes.redeem(late.state, late.binding) is None


async def test_what_was_used_is_forgotten_only_after_it_expired(
    handshakes: SealedHandshakes, conninfo: str, clock: Clock
) -> None:
    db = Pool(conninfo, size=1)
    await db.open()
    try:
        begun = handshakes.begin()
        assert await handshakes.redeem(begun.state, begun.binding) == begun
        clock.pass_by(HANDSHAKE_S - 1)
        await tidy(db, clock())
        assert await handshakes.redeem(begun.state, begun.binding) is None
        clock.pass_by(3_600)
        await tidy(db, clock())
        assert await db.execute("select 1 from google_states") == 0
    finally:
        await db.close()

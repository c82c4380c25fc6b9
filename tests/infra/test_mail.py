"""A mail says who it is for and one code, nothing that anybody else put into it, and arrives if it can."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mintage.application.codes import CODE_S
from mintage.application.ports.mail import Mail, Notice
from mintage.infra.identifiers import new_id
from mintage.infra.mail import Composer, Delivery, Outbox, SmtpServer, carriers
from mintage.infra.mail.carriers import ANSWER_S, Carrier, Deferred, Refused
from mintage.infra.mail.delivery import DELAYS_S
from mintage.infra.mail.letters import Letter
from mintage.infra.mail.wording import WORDINGS
from tests.conftest import until

NOW = datetime(2026, 1, 1, 8, 30, tzinfo=UTC)
SENDER = "薄荷 <no-reply@mint.example>"
COMPOSER = Composer(SENDER, "Mint & Co")
CODE = Mail("ann@example.com", "verification", "012345", "Ann", "en", CODE_S)
NOTICE = Notice("ann@example.com", "password_changed", "Ann", "en")
ALL: list[Mail | Notice] = [
    mail
    for language in ("zh", "en")
    for mail in (
        Mail("ann@example.com", "verification", "012345", "小明", language, CODE_S),
        Mail("ann@example.com", "password_reset", "012345", "小明", language, CODE_S),
        Notice("ann@example.com", "password_changed", "小明", language),
        Notice("ann@example.com", "email_changed", "小明", language),
        Notice("ann@example.com", "google_linked", "小明", language),
    )
]
CODES = [mail for mail in ALL if isinstance(mail, Mail)]


def named(mail: Mail | Notice) -> str:
    return f"{mail.language}-{mail.purpose if isinstance(mail, Mail) else mail.kind}"


def composed(mail: Mail | Notice, composer: Composer = COMPOSER) -> Letter:
    return composer.compose(mail, new_id(), NOW)


def read(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def part(content: bytes, kind: str) -> str:
    body = read(content).get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


# -- what a mail says


@pytest.mark.parametrize("mail", ALL, ids=named)
def test_a_mail_has_the_headers_that_mail_programs_want(mail: Mail | Notice) -> None:
    message = read(composed(mail).content)
    assert (message["From"], message["To"]) == (SENDER, "ann@example.com")
    assert "Mint & Co" in message["Subject"]
    assert message["Date"].datetime == NOW
    assert re.fullmatch(r"<[a-z-]+@mint\.example>", message["Message-ID"])
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    assert [inner.get_content_type() for inner in message.iter_parts()] == ["text/plain", "text/html"]


def test_every_mail_has_an_id_of_its_own() -> None:
    assert len({read(composed(CODE).content)["Message-ID"] for _ in range(50)}) == 50


@pytest.mark.parametrize("mail", ALL, ids=named)
def test_both_parts_say_the_same(mail: Mail | Notice) -> None:
    content = composed(mail).content
    plain, page = part(content, "plain"), part(content, "html")
    assert "小明" in plain
    assert "&" not in re.sub(r"&(amp|nbsp|#39);", "", page)
    text = re.sub(r"<[^>]*>", "", page).replace("&amp;", "&").replace("&#39;", "'")
    for sentence in filter(None, plain.splitlines()):
        assert sentence in text


@pytest.mark.parametrize("mail", CODES, ids=named)
def test_the_code_stands_alone_and_nothing_else_looks_like_one(mail: Mail) -> None:
    for _ in range(50):  # with ids of all kinds
        content = composed(mail).content
        assert re.findall(rb"^\d{6}", content, re.MULTILINE) == [b"012345"]
        assert re.findall(rb"\d{6,}", content) == [b"012345", b"012345"]
    assert "\n012345\n" in part(content, "plain")
    assert "10" in part(content, "plain")


@pytest.mark.parametrize("mail", ALL, ids=named)
def test_a_mail_fetches_nothing_and_leads_nowhere(mail: Mail | Notice) -> None:
    content = composed(mail).content
    for text in (part(content, "plain"), part(content, "html")):
        assert not re.search(r"https?:|//|www\.|<a\b|<img\b|url\(|@import|<link\b|<script\b", text)


def test_every_kind_of_mail_has_its_words_in_both_languages() -> None:
    assert {named(mail) for mail in ALL} == {f"{language}-{kind}" for language, kind in WORDINGS}
    for (language, kind), wording in WORDINGS.items():
        said = "".join((wording.subject, wording.glance, wording.opening, *wording.advice))
        assert bool(re.search("[一-鿿]", said)) == (language == "zh"), kind


def test_a_notice_says_when_it_happened() -> None:
    assert "2026-01-01 08:30 UTC" in part(composed(NOTICE).content, "plain")


@pytest.mark.parametrize(
    ("name", "language", "greeting"),
    [
        ("小明", "zh", "小明，您好："),
        (None, "zh", "您好："),
        ("Ann-Marie O'Neill", "en", "Hello Ann-Marie O'Neill,"),
        (None, "en", "Hello,"),
    ],
)
def test_a_name_is_greeted(name: str | None, language: Any, greeting: str) -> None:
    mail = Mail("ann@example.com", "verification", "012345", name, language, CODE_S)
    assert part(composed(mail).content, "plain").startswith(f"{greeting}\n")


@pytest.mark.parametrize(
    "name",
    [
        "654321",
        "Bob 999999",
        "your code is 1\nhttp://evil.example",
        "a.example/x",
        "<b>Bob</b>",
        "Bob\r\nBcc: eve@example.com",
        "{code}",
        "{{ code }}",
    ],
)
def test_what_is_no_name_stays_out(name: str) -> None:
    content = composed(Mail("123456@qq.com", "verification", "012345", name, "zh", CODE_S)).content
    text = part(content, "plain")
    assert text.startswith("您好：")
    assert name not in text
    assert name not in part(content, "html")
    assert re.findall(r"\d{6,}", text) == ["012345"]
    assert read(content)["Bcc"] is None


def test_the_name_of_the_product_is_text_and_no_markup() -> None:
    page = part(composed(CODE, Composer(SENDER, "<script>{code}")).content, "html")
    assert "&lt;script&gt;{code}" in page
    assert "<script>" not in page


@pytest.mark.parametrize(
    ("address", "envelope", "utf8"),
    [
        ("o'neill+x=1/2@example.com", "o'neill+x=1/2@example.com", False),
        ("ann@例子.中国", "ann@xn--fsqu00a.xn--fiqs8s", False),
        ("小明@例子.中国", "小明@xn--fsqu00a.xn--fiqs8s", True),
        (f"{'a' * 64}@{'b' * 60}.{'c' * 60}.example", f"{'a' * 64}@{'b' * 60}.{'c' * 60}.example", False),
    ],
)
def test_unusual_addresses(address: str, envelope: str, utf8: bool) -> None:
    letter = composed(Mail(address, "verification", "012345", None, "zh", CODE_S))
    assert (letter.to, letter.utf8) == (envelope, utf8)
    to = next(line for line in letter.content.decode().replace("\r\n ", "").split("\r\n") if line.startswith("To:"))
    assert to == f"To: {envelope}"


# -- the outbox


async def test_without_a_server_mail_is_a_file_in_the_outbox(tmp_path: Path) -> None:
    delivery = delivering(Outbox(tmp_path / "outbox"))
    delivery.send(CODE)
    await delivery.drain()
    (file,) = (tmp_path / "outbox").iterdir()
    assert re.fullmatch(r"20260101T083000-[0-9a-f-]{36}\.eml", file.name)
    # What the README reads the code with.
    assert re.findall(r"(?m)^[0-9]{6}", file.read_text(encoding="utf-8"))[-1] == "012345"


# -- SMTP


class Post:
    """A server's handler that keeps what it takes; ``replies`` are given first, one to each mail."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.taken: asyncio.Queue[Envelope] = asyncio.Queue()
        self.secured: list[bool] = []
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.secured.append(session.ssl is not None)
        if self.replies:
            return self.replies.pop(0)
        self.taken.put_nowait(envelope)
        return "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data == (b"mint@example.com", b"p@ss:word/"), handled=False)


@asynccontextmanager
async def smtp(post: Post, *, port: int = 0, implicit: ssl.SSLContext | None = None, **kind: Any) -> AsyncIterator[int]:
    """A server on loopback; gives its port."""
    made: list[SMTP] = []

    def protocol() -> SMTP:
        made.append(SMTP(post, hostname="mail.example", enable_SMTPUTF8=True, **kind))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port, ssl=implicit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in made:
            if one.transport is not None:
                one.transport.close()
        await server.wait_closed()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(encoding))
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def delivering(carrier: Carrier, **kind: Any) -> Delivery:
    return Delivery(COMPOSER, carrier, new_id, lambda: NOW, **kind)


@pytest.mark.parametrize("mail", ALL, ids=named)
async def test_a_server_gets_the_very_bytes_that_were_composed(mail: Mail | Notice) -> None:
    post, letter = Post(), composed(mail)
    async with smtp(post) as port:
        await SmtpServer(f"smtp://127.0.0.1:{port}").carry(letter)
        envelope = post.taken.get_nowait()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@mint.example", ["ann@example.com"])
    assert envelope.content == letter.content
    assert post.secured == [False]


async def test_an_address_beyond_ascii_travels_as_smtputf8() -> None:
    post = Post()
    async with smtp(post) as port:
        letter = composed(Mail("小明@例子.中国", "verification", "012345", None, "zh", CODE_S))
        await SmtpServer(f"smtp://127.0.0.1:{port}").carry(letter)
        assert post.taken.get_nowait().rcpt_tos == ["小明@xn--fsqu00a.xn--fiqs8s"]


async def test_starttls_is_used_whenever_it_is_offered_and_the_url_says_who_signs_in(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    post = Post()
    async with smtp(post, tls_context=server_tls, authenticator=post.authenticate, auth_required=True) as port:
        server = SmtpServer(f"smtp://mint%40example.com:p%40ss%3Aword%2F@127.0.0.1:{port}", tls=client_tls)
        await server.carry(composed(CODE))
        anonymous = SmtpServer(f"smtp://127.0.0.1:{port}", tls=client_tls)
        with pytest.raises(Refused, match="530"):
            await anonymous.carry(composed(CODE))
    assert post.logins == [(b"mint@example.com", b"p@ss:word/")]
    assert post.secured == [True]
    assert post.taken.qsize() == 1


async def test_tls_from_the_start(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    post = Post()
    async with smtp(post, implicit=server_tls) as port:
        await SmtpServer(f"smtps://127.0.0.1:{port}", tls=client_tls).carry(composed(CODE))
    assert post.taken.qsize() == 1


async def test_a_wrong_password_is_refused_for_good(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    post = Post()
    async with smtp(post, tls_context=server_tls, authenticator=post.authenticate) as port:
        with pytest.raises(Refused, match="535"):
            await SmtpServer(f"smtp://mint:wrong@127.0.0.1:{port}", tls=client_tls).carry(composed(CODE))


async def test_nobody_signs_in_elsewhere_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "_is_loopback", lambda _: False)
    post = Post()
    async with smtp(post, authenticator=post.authenticate, auth_require_tls=False) as port:
        with pytest.raises(Refused, match="cannot do"):
            await SmtpServer(f"smtp://mint:secret@127.0.0.1:{port}").carry(composed(CODE))
    assert post.logins == []


async def test_elsewhere_a_certificate_has_to_be_genuine(
    server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post()
    async with smtp(post, tls_context=server_tls) as port:
        server = SmtpServer(f"smtp://127.0.0.1:{port}")
        await server.carry(composed(CODE))
        monkeypatch.setattr(carriers, "_is_loopback", lambda _: False)
        with pytest.raises(Deferred):
            await server.carry(composed(CODE))
    assert post.secured == [True]


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("mail.example", False)],
)
def test_which_host_is_this_machine(host: str, here: bool) -> None:
    assert carriers._is_loopback(host) is here


# -- delivery


async def test_what_the_server_puts_off_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    post = Post("451 later", "421 much later")
    async with smtp(post) as port:
        delivery = delivering(SmtpServer(f"smtp://127.0.0.1:{port}"), delays_s=[0.0] * 2)
        delivery.send(CODE)
        await delivery.drain(30)
    assert post.taken.qsize() == 1
    assert [record.levelname for record in caplog.records if "mintage" in record.name] == ["WARNING"] * 2


async def test_what_the_server_refuses_is_tried_once_and_told_without_code_or_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    post = Post("554 ann@example.com does not want 012345")
    async with smtp(post) as port:
        delivery = delivering(SmtpServer(f"smtp://127.0.0.1:{port}"), delays_s=[0.0] * 5)
        delivery.send(CODE)
        await delivery.drain(30)
    assert post.taken.empty()
    (told,) = [record.getMessage() for record in caplog.records if "mintage" in record.name]
    assert told == "a mail (verification) to somebody at 'example.com' was refused: SMTPDataError 554"


async def test_a_recipient_nobody_knows_is_refused_for_good() -> None:
    class Strict(Post):
        async def handle_RCPT(self, *_: Any) -> str:
            return "550 unknown"

    async with smtp(Strict()) as port:
        with pytest.raises(Refused, match="550"):
            await SmtpServer(f"smtp://127.0.0.1:{port}").carry(composed(CODE))


async def test_a_server_that_is_down_gets_the_mail_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    async with smtp(Post()) as port:
        pass
    delivery = delivering(SmtpServer(f"smtp://127.0.0.1:{port}"), delays_s=[0.05] * 500)
    delivery.send(CODE)

    async def tried() -> bool:
        return "has to wait" in caplog.text

    await until(tried)
    post = Post()
    async with smtp(post, port=port):
        await delivery.drain(30)
    assert post.taken.qsize() == 1


async def test_a_server_that_never_comes_back_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with smtp(Post()) as port:
        pass
    delivery = delivering(SmtpServer(f"smtp://127.0.0.1:{port}"), delays_s=[0.0] * 2)
    delivery.send(CODE)
    await delivery.drain(30)
    assert caplog.text.count("has to wait") == 2
    assert caplog.text.count("gave up") == 1
    assert "ann@" not in caplog.text
    assert "012345" not in caplog.text


def test_all_tries_fit_into_the_life_of_a_code() -> None:
    assert sum(DELAYS_S) + ANSWER_S * (len(DELAYS_S) + 1) < CODE_S


class Gate:
    """A carrier that takes letters only when it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = 0
        self.carried: list[str] = []

    async def carry(self, letter: Letter) -> None:
        self.asked += 1
        await self.open.wait()
        self.carried.append(letter.to)


async def test_a_full_queue_drops_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    delivery = delivering(gate, waiting_max=3)
    for number in range(5):
        delivery.send(Mail(f"{number}@example.com", "verification", "012345", None, "zh", CODE_S))
    gate.open.set()
    await delivery.drain(30)
    assert sorted(gate.carried) == ["0@example.com", "1@example.com", "2@example.com"]
    assert caplog.text.count("dropped a mail (verification)") == 2
    delivery.send(CODE)
    await delivery.drain(30)
    assert gate.carried[-1] == CODE.to


async def test_stopping_waits_for_what_is_under_way_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    delivery = delivering(gate)
    delivery.send(CODE)

    async def asked() -> bool:
        return gate.asked == 1

    await until(asked)
    stopping = asyncio.create_task(delivery.drain(30))
    gate.open.set()
    await stopping
    assert gate.carried == [CODE.to]

    gate.open.clear()
    delivery.send(NOTICE)
    await delivery.drain(0)
    assert "gave up 1 mails" in caplog.text
    await delivery.drain()


async def test_stopping_gives_up_a_mail_whose_server_answers_as_it_is_given_up() -> None:
    """Python 3.11 forgets a cancellation that comes with what is waited for, and the mail would wait its turn again."""

    class Forgetful(Gate):
        async def carry(self, letter: Letter) -> None:
            try:
                await super().carry(letter)
            except asyncio.CancelledError:
                raise Deferred("421 try later") from None

    gate = Forgetful()
    delivery = delivering(gate, delays_s=(600.0,))
    delivery.send(CODE)

    async def asked() -> bool:
        return gate.asked == 1

    await until(asked)
    await asyncio.wait_for(delivery.drain(0), 30)


async def test_one_recipient_who_is_put_off_does_not_keep_the_others_waiting() -> None:
    class Picky(Gate):
        async def carry(self, letter: Letter) -> None:
            if letter.to == CODE.to:
                raise Deferred("not now")
            self.carried.append(letter.to)
            if len(self.carried) == 20:
                self.open.set()

    picky = Picky()
    delivery = delivering(picky, delays_s=[3600.0])
    for _ in range(10):
        delivery.send(CODE)
    for number in range(20):
        delivery.send(Mail(f"{number}@example.com", "verification", "012345", None, "zh", CODE_S))
    await asyncio.wait_for(picky.open.wait(), 30)
    await delivery.drain(0)


async def test_an_address_that_cannot_be_hurts_nobody_else(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    delivery = delivering(Outbox(tmp_path))
    delivery.send(Mail(f"ann@{'ä' * 64}.example", "verification", "012345", None, "zh", CODE_S))
    delivery.send(CODE)
    await delivery.drain(30)
    assert len(list(tmp_path.iterdir())) == 1
    assert "could not be sent: Unicode" in caplog.text

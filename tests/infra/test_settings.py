"""Settings come from the environment only, and whatever is wrong with them is named before anything starts."""

import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from mintage.infra.s3 import Bucket, bucket_of
from mintage.infra.settings import Secrets, Settings, SettingsRefused, read_settings, s3_of, secrets_of

KEY = b64encode(bytes(32)).decode()
PRODUCTION = {
    "MINTAGE_ENV": "production",
    "MINTAGE_SECRET_KEY": KEY,
    "MINTAGE_MASTER_KEY": KEY,
    "MINTAGE_SEAL_KEY": KEY,
    "MINTAGE_PUBLIC_URL": "https://example.org",
    "MINTAGE_SANDBOX_GATEWAY": "off",
    "MINTAGE_PASSWORD_MIN": "8",
    "MINTAGE_SMTP_URL": "smtps://mail.example.org",
    "MINTAGE_MAIL_FROM": "Example <hello@example.org>",
}

ONLY_SET = [name.removeprefix("MINTAGE_") for name in PRODUCTION if name != "MINTAGE_ENV"]


def refused(environ: dict[str, str]) -> list[str]:
    """What is wrong, a line each."""
    with pytest.raises(SettingsRefused) as caught:
        read_settings(environ)
    return str(caught.value).splitlines()


def test_nothing_has_to_be_set() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({"PATH": "/bin", "HOME": "/", "NOT_MINTAGE_PORT": "1"}) == Settings()


def test_every_kind_of_setting_is_read(tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue.toml"
    catalogue.touch()
    found = read_settings(
        {
            "MINTAGE_PORT": "8080",
            "MINTAGE_DEADLINE_S": "2.5",
            "MINTAGE_SANDBOX_GATEWAY": "off",
            "MINTAGE_DATA_DIR": str(tmp_path),
            "MINTAGE_CATALOGUE": str(catalogue),
            "MINTAGE_HOST": "0.0.0.0",
        }
    )
    assert (found.port, found.deadline_s, found.sandbox_gateway) == (8080, 2.5, False)
    assert (found.data_dir, found.catalogue, found.host) == (tmp_path, catalogue, "0.0.0.0")


BUCKET = {
    "MINTAGE_S3_URL": "s3://pictures/mintage",
    "MINTAGE_S3_KEY_ID": "key",
    "MINTAGE_S3_SECRET": "a secret that nobody knows",
}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (
            {},
            Bucket(
                "pictures",
                "mintage",
                "https://s3.us-east-1.amazonaws.com",
                "us-east-1",
                "key",
                "a secret that nobody knows",
            ),
        ),
        (
            {
                "MINTAGE_S3_URL": "s3://pictures/",
                "MINTAGE_S3_ENDPOINT": "http://minio:9000/",
                "MINTAGE_S3_REGION": "auto",
            },
            Bucket("pictures", "", "http://minio:9000", "auto", "key", "a secret that nobody knows"),
        ),
    ],
)
def test_a_bucket(given: dict[str, str], found: Bucket) -> None:
    for environ in (BUCKET, PRODUCTION | BUCKET):
        assert bucket_of(*s3_of(read_settings({**environ, **given}))) == found


def test_no_bucket() -> None:
    assert bucket_of(*s3_of(Settings())) is None


def test_the_secret_of_a_bucket_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    given = {name: value for name, value in BUCKET.items() if name != "MINTAGE_S3_SECRET"}
    assert read_settings({**given, "MINTAGE_S3_SECRET_FILE": str(tmp_path / "secret")}).s3_secret == "from a file"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        *(
            ({"MINTAGE_S3_URL": url}, "MINTAGE_S3_URL: has to be s3://bucket or s3://bucket/prefix")
            for url in (
                "pictures",
                "s3://",
                "s3:///pictures",
                "s3://pics/../y",
                "s3://pics//x",
                "https://s3.example",
                "s3://pics/a?b",
            )
        ),
        *(
            (
                {"MINTAGE_S3_URL": f"s3://{name}/x"},
                f"MINTAGE_S3_URL: {name!r} is no name of a bucket: 3 to 63 small letters, digits, dots and hyphens, "
                "with a letter or digit at both ends",
            )
            for name in ("b", "Pictures", "-pics", "pics.", "my_pics", "p" * 64, "pics?x=1", "a:b@pics")
        ),
        ({"MINTAGE_S3_KEY_ID": ""}, "MINTAGE_S3_KEY_ID: has to be set with MINTAGE_S3_URL"),
        ({"MINTAGE_S3_SECRET": ""}, "MINTAGE_S3_SECRET: has to be set with MINTAGE_S3_URL"),
        ({"MINTAGE_S3_REGION": "the moon"}, "MINTAGE_S3_REGION: 'the moon' is no region"),
        *(
            (
                {"MINTAGE_S3_ENDPOINT": endpoint},
                "MINTAGE_S3_ENDPOINT: has to be http:// or https:// and an address, without a path",
            )
            for endpoint in (
                "minio:9000",
                "ftp://minio",
                "https://",
                "https://key:secret@minio",
                "https://minio/pictures",
                "https://minio:x",
                "https://[minio",
                "https://minio?x=1",
            )
        ),
    ],
)
def test_a_bucket_that_cannot_be(given: dict[str, str], wrong: str) -> None:
    assert refused({**BUCKET, **given}) == [wrong]


@pytest.mark.parametrize("path", ["/v1", "/v1/moderations", "?key=x", "#x"])
def test_the_moderations_are_asked_at_the_address_of_a_server(path: str) -> None:
    address = "https://api.openai.com"
    assert read_settings({"MINTAGE_MODERATION_URL": f"{address}/", "MINTAGE_MODERATION_KEY": "x"}).moderation_url
    assert refused({"MINTAGE_MODERATION_URL": f"{address}{path}"}) == [
        "MINTAGE_MODERATION_URL: has to be an address without a path; /v1/moderations is asked there"
    ]


def test_a_key_for_moderations_that_nobody_asks_is_refused() -> None:
    said = refused({"MINTAGE_MODERATION_KEY": "S3cret"})
    assert said == ["MINTAGE_MODERATION_KEY: means nothing without MINTAGE_MODERATION_URL"]


@pytest.mark.parametrize("name", ["ENDPOINT", "KEY_ID", "SECRET"])
def test_half_of_a_bucket_is_none(name: str) -> None:
    assert refused({f"MINTAGE_S3_{name}": "x"}) == [f"MINTAGE_S3_{name}: means nothing without MINTAGE_S3_URL"]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (
            {"MINTAGE_S3_ENDPOINT": "http://s3.example.org"},
            "MINTAGE_S3_ENDPOINT: has to be https in production, but for an address of the same network",
        ),
        ({"MINTAGE_S3_SECRET": "minioadmin"}, "MINTAGE_S3_SECRET: is one that everybody knows"),
    ],
)
def test_in_production_a_bucket_is_not_open_to_others(given: dict[str, str], wrong: str) -> None:
    assert read_settings({**BUCKET, **given}).s3_url
    assert refused({**PRODUCTION, **BUCKET, **given}) == [wrong]


@pytest.mark.parametrize(
    "endpoint", ["http://minio:9000", "http://10.0.0.7:9000", "http://127.0.0.1", "http://[fd00::7]"]
)
def test_a_store_of_the_same_network_may_do_without_tls(endpoint: str) -> None:
    assert read_settings({**PRODUCTION, **BUCKET, "MINTAGE_S3_ENDPOINT": endpoint}).s3_endpoint == endpoint


@pytest.mark.parametrize("days", ["-1", "36501"])
def test_how_long_files_are_kept_is_bounded(days: str) -> None:
    assert refused({"MINTAGE_RETENTION_DAYS": days}) == ["MINTAGE_RETENTION_DAYS: has to be 0 to 36500"]


@pytest.mark.parametrize(("text", "value"), [("on", True), ("TRUE", True), ("1", True), ("off", False), ("0", False)])
def test_switches(text: str, value: bool) -> None:
    assert read_settings({"MINTAGE_SANDBOX_GATEWAY": text}).sandbox_gateway is value


def test_options_come_before_the_environment() -> None:
    found = read_settings({"MINTAGE_PORT": "1", "MINTAGE_HOST": "a"}, port=2, host=None)
    assert (found.port, found.host) == (2, "a")


def test_a_variable_nobody_knows_is_refused_by_name() -> None:
    wrong = refused({"MINTAGE_DATABSE_URL": "postgresql://x", "MINTAGE_": "", "MINTAGE_PORT": "1"})
    assert [line.partition(":")[0] for line in wrong] == ["MINTAGE_DATABSE_URL", "MINTAGE_"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "http"),
        ("PORT", ""),
        ("PORT", "1.5"),
        ("QUEUE_MAX", "many"),
        ("DEADLINE_S", "soon"),
        ("GENERATION_WAIT_S", ""),
        ("SANDBOX_GATEWAY", "perhaps"),
        ("ENV", "staging"),
        ("SECRET_KEY", "not base64!"),
        ("SECRET_KEY", b64encode(bytes(31)).decode()),
        ("MASTER_KEY", b64encode(bytes(33)).decode()),
        ("MASTER_KEY", b64encode(bytes(31)).decode()),
        ("SEAL_KEY", b64encode(bytes(64)).decode()),
        ("CHECKPOINT_DIR", ""),
        ("CORS_ORIGINS", "("),
        ("CATALOGUE", "/nowhere/catalogue.toml"),
        ("PASSWORD_MIN", "129"),
        ("HOLD_S", "0"),
        ("HOLD_S", "31536001"),
        ("ADJUSTMENT_LIMIT", "-1"),
        ("WORKER_SLOTS", "-1"),
        ("USER_CONCURRENCY", "0"),
        ("BUILTIN_CONCURRENCY", "-1"),
        ("PORT", "65536"),
        ("LOG_LEVEL", "LOUD"),
        ("HOST", ""),
        ("PUBLIC_URL", "example.org"),
        ("RATE_LIMIT", "sometimes"),
        ("TRUSTED_PROXIES", "10.0.0.1, proxy.example.org"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("DATABASE_URL", "mysql://localhost/mintage"),
        ("DATABASE_URL", "postgresql://localhost:port/mintage"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://localhost:port"),
        ("SMTP_URL", "http://localhost"),
        ("SMTP_URL", "smtp://localhost:99999"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_FROM", "mintage <a@example.org>\nBcc: b@example.org"),
        ("GOOGLE_DISCOVERY_URL", "accounts.google.com"),
        ("GOOGLE_REDIRECT_URI", "example.org/back"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, text: str) -> None:
    (line,) = refused({f"MINTAGE_{name}": text})
    assert line.startswith(f"MINTAGE_{name}: ")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = refused({"MINTAGE_PORT": "x", "MINTAGE_QUEUE_MAX": "y", "MINTAGE_ENV": "z", "MINTAGE_NOPE": ""})
    names = {line.partition(":")[0] for line in wrong}
    assert names == {"MINTAGE_PORT", "MINTAGE_QUEUE_MAX", "MINTAGE_ENV", "MINTAGE_NOPE"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "postgresql://127.0.0.1,127.0.0.2:5433/mintage?target_session_attrs=read-write"),
        ("DATABASE_URL", "host=/run/postgresql dbname=mintage"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "rediss://:word@redis.example.org:6380/1"),
        ("SMTP_URL", "smtp://user%40example.org:p%40ss@mail.example.org:587"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7, fd00::/8,"),
    ],
)
def test_what_can_be_used_is_taken_as_it_is(name: str, text: str) -> None:
    assert getattr(read_settings({f"MINTAGE_{name}": text}), name.lower()) == text


def test_sign_in_with_google_needs_all_three() -> None:
    client = {"MINTAGE_GOOGLE_CLIENT_ID": "client"}
    wrong = refused(client)
    assert [line.partition(":")[0] for line in wrong] == ["MINTAGE_GOOGLE_CLIENT_SECRET", "MINTAGE_GOOGLE_REDIRECT_URI"]
    rest = {"MINTAGE_GOOGLE_CLIENT_SECRET": "s", "MINTAGE_GOOGLE_REDIRECT_URI": "https://example.org/back"}
    assert read_settings({**client, **rest}).google_client_id == "client"


class TestFiles:
    """``MINTAGE_<NAME>_FILE`` names a file with the value."""

    def test_every_kind_of_setting_may_be_in_one(self, tmp_path: Path) -> None:
        for name, text in (("key", f"{KEY}\n"), ("port", " 8080 "), ("limit", "off\n"), ("url", "")):
            (tmp_path / name).write_text(text, encoding="utf-8")
        found = read_settings(
            {
                "MINTAGE_SECRET_KEY_FILE": str(tmp_path / "key"),
                "MINTAGE_PORT_FILE": str(tmp_path / "port"),
                "MINTAGE_RATE_LIMIT_FILE": str(tmp_path / "limit"),
                "MINTAGE_SMTP_URL_FILE": str(tmp_path / "url"),
            }
        )
        assert (found.secret_key, found.port, found.rate_limit, found.smtp_url) == (KEY, 8080, False, "")

    def test_one_that_is_not_there_or_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "bytes").write_bytes(b"\xff\xfe")
        for path in (tmp_path / "nowhere", tmp_path, tmp_path / "bytes"):
            (line,) = refused({"MINTAGE_SECRET_KEY_FILE": str(path)})
            assert line.startswith("MINTAGE_SECRET_KEY_FILE: ")

    def test_the_value_and_its_file_together_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "port").write_text("1", encoding="utf-8")
        (line,) = refused({"MINTAGE_PORT": "1", "MINTAGE_PORT_FILE": str(tmp_path / "port")})
        assert line == "MINTAGE_PORT_FILE: MINTAGE_PORT is set as well"

    def test_there_is_none_for_what_is_no_setting(self, tmp_path: Path) -> None:
        (line,) = refused({"MINTAGE_SECRET_FILE": str(tmp_path)})
        assert line == "MINTAGE_SECRET_FILE: there is no such setting"


SECRETS = [
    ("MASTER_KEY", "S3cret"),
    ("SECRET_KEY", "S3cret"),
    ("SEAL_KEY", "S3cret"),
    # The password has to be percent-encoded, and is not.
    ("DATABASE_URL", "postgresql://mintage:100%S3cret@localhost/mintage"),
    ("DATABASE_URL", "postgresql://mintage:S3cret/S3cret@localhost/mintage"),
    ("DATABASE_URL", "postgresql://mintage:a@S3cret@localhost/mintage"),
    ("DATABASE_URL", "mysql://mintage:S3cret@localhost/mintage"),
    ("REDIS_URL", "http://:S3cret@localhost"),
    ("REDIS_URL", "redis://:S3cret#x@localhost"),
    ("SMTP_URL", "smtp://user:S3cret/x@localhost"),
    ("SMTP_URL", "user:S3cret@localhost"),
]


@pytest.mark.parametrize(("name", "text"), SECRETS)
def test_a_secret_is_never_repeated_in_a_complaint(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(text, encoding="utf-8")
    for environ in ({f"MINTAGE_{name}": text}, {f"MINTAGE_{name}_FILE": str(tmp_path / "secret")}):
        (line,) = refused(environ)
        assert line.startswith(f"MINTAGE_{name}: ")
        assert "S3cret" not in line


@pytest.mark.parametrize("value", ["1", "y", "yes", "TRUE", "on"])
def test_the_librarys_lossy_mode_is_refused(value: str) -> None:
    (line,) = refused({"POSTGRES_ENABLE_DB_FUNCTIONS": value})
    assert line.startswith("POSTGRES_ENABLE_DB_FUNCTIONS: ")
    assert read_settings({"POSTGRES_ENABLE_DB_FUNCTIONS": "no"}) == Settings()


class TestProduction:
    def test_starts_when_everything_is_set(self) -> None:
        assert read_settings(PRODUCTION).env == "production"

    @pytest.mark.parametrize("name", ONLY_SET)
    def test_refuses_what_only_development_may_use(self, name: str) -> None:
        environ = {key: value for key, value in PRODUCTION.items() if key != f"MINTAGE_{name}"}
        (line,) = refused(environ)
        assert line.startswith(f"MINTAGE_{name}: ")

    def test_names_all_of_it_at_once(self) -> None:
        wrong = refused({"MINTAGE_ENV": "production"})
        assert {line.partition(":")[0].removeprefix("MINTAGE_") for line in wrong} == set(ONLY_SET)

    def test_makes_no_secrets_of_its_own(self, tmp_path: Path) -> None:
        settings = read_settings(PRODUCTION, data_dir=tmp_path)
        assert secrets_of(settings) == Secrets(bytes(32), bytes(32), bytes(32))
        assert list(tmp_path.iterdir()) == []


class TestDevelopmentSecrets:
    def test_are_made_once_and_kept_for_the_owner_only(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "data")
        made = secrets_of(settings)
        assert secrets_of(settings) == made
        assert len(made.signing) == len(made.master) == len(made.seal) == 32
        assert len({made.signing, made.master, made.seal}) == 3
        assert secrets_of(Settings(data_dir=tmp_path / "other")) != made
        folder = tmp_path / "data" / "secrets"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
            "secret.key": 0o600,
            "master.key": 0o600,
            "seal.key": 0o600,
        }

    def test_are_the_same_for_processes_that_start_at_once(self, tmp_path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from mintage.infra.settings import Settings, secrets_of\n"
            "print('ready', flush=True); sys.stdin.readline()\n"
            "made = secrets_of(Settings(data_dir=Path(sys.argv[1])))\n"
            "print(made.signing.hex(), made.master.hex(), made.seal.hex())"
        )
        starting = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(6)
        ]
        try:
            for process in starting:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in starting:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            printed = {process.communicate(timeout=30)[0] for process in starting}
        finally:
            for process in starting:
                process.kill()
                process.wait()
        assert len(printed) == 1
        assert len(printed.pop().split()) == 3
        made = sorted(path.name for path in (tmp_path / "secrets").iterdir())
        assert made == ["master.key", "seal.key", "secret.key"]

    def test_one_that_was_set_is_used(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path, master_key=KEY, seal_key=KEY)
        assert secrets_of(settings).master == secrets_of(settings).seal == bytes(32)
        assert [path.name for path in (tmp_path / "secrets").iterdir()] == ["secret.key"]

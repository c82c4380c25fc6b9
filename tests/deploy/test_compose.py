"""The files for containers agree with the program and keep to what they promise."""

import re
from pathlib import Path

import msgspec
import pytest

from mintage import cli
from mintage.infra.settings import IN_FILE, PREFIX, Settings, read_settings
from tests.deploy.compose import (
    COMPOSE,
    DOCKERFILE,
    OURS,
    ROOT,
    SERVICES,
    env_file,
    example,
    health_check,
    image,
    service,
)

KNOWN = {f"{PREFIX}{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
KEYS = ("SECRET_KEY", "MASTER_KEY", "SEAL_KEY")
EVERY = pytest.mark.parametrize("name", SERVICES)


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def setting(name: str) -> str:
    return name.removesuffix(IN_FILE.upper()) if name not in KNOWN else name


class TestServices:
    def test_there_are_two_of_each_that_share_the_work(self) -> None:
        assert {name: service(name).replicas for name in OURS} == {"migrate": 1, "api": 2, "worker": 2}
        (published,) = SERVICES["api"]["ports"]
        assert published == "127.0.0.1:3001-3002:3001"
        assert image().environment["MINTAGE_PORT"] == "3001"

    @EVERY
    def test_each_is_confined(self, name: str) -> None:
        said = SERVICES[name]
        assert said["user"].partition(":")[0] not in {"root", "0"}
        assert said["read_only"] is True
        assert said["cap_drop"] == ["ALL"]
        assert said["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid", "ipc"} & said.keys()
        assert all(not volume.startswith((".", "/", "~")) for volume in said.get("volumes", []))

    @EVERY
    def test_each_that_goes_on_is_watched_started_again_and_given_time_to_stop(self, name: str) -> None:
        said = SERVICES[name]
        if name == "migrate":
            assert (said["healthcheck"], said["restart"]) == ({"disable": True}, "no")
        else:
            assert health_check(name)
            assert {"interval", "timeout", "retries"} <= said["healthcheck"].keys()
            assert said["restart"] == "unless-stopped"
            assert said["stop_grace_period"]

    def test_each_waits_for_what_it_needs(self) -> None:
        ready, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
        assert SERVICES["migrate"]["depends_on"] == {"postgres": ready}
        for name in ("api", "worker"):
            assert SERVICES[name]["depends_on"] == {"postgres": ready, "redis": ready, "migrate": done}

    def test_only_the_api_can_be_reached_and_the_stores_reach_nothing(self) -> None:
        assert [name for name, said in SERVICES.items() if "ports" in said] == ["api"]
        assert COMPOSE["networks"]["inside"] == {"internal": True}
        for name in ("postgres", "redis", "migrate"):
            assert SERVICES[name]["networks"] == ["inside"]

    def test_all_of_ours_see_the_same_files(self) -> None:
        assert {tuple(SERVICES[name]["volumes"]) for name in OURS} == {("data:/data",)}
        assert image().environment["MINTAGE_DATA_DIR"] == "/data"

    @EVERY
    def test_what_is_named_is_declared(self, name: str) -> None:
        said = SERVICES[name]
        assert set(said["networks"]) <= COMPOSE["networks"].keys()
        assert {volume.partition(":")[0] for volume in said.get("volumes", [])} <= COMPOSE["volumes"].keys()
        assert set(said.get("secrets", [])) <= COMPOSE["secrets"].keys()
        read = {value for value in said.get("environment", {}).values() if value.startswith("/run/secrets/")}
        assert read == {f"/run/secrets/{secret}" for secret in said.get("secrets", [])}

    @pytest.mark.parametrize("name", OURS)
    def test_the_commands_are_commands(self, name: str) -> None:
        program, *words = service(name).command
        assert program == "mintage"
        assert callable(cli._parser().parse_args(words).run)


class TestSettings:
    @pytest.mark.parametrize("name", OURS)
    def test_every_variable_is_a_setting_and_nobody_gets_the_embedded_database(self, name: str) -> None:
        ours = {variable for variable in service(name).environment if variable.startswith(PREFIX)}
        assert {setting(variable) for variable in ours} <= KNOWN
        assert f"{PREFIX}DATABASE_URL_FILE" in ours

    def test_the_example_names_every_setting_once(self) -> None:
        commented = env_file(re.sub(r"^# (?=[A-Z0-9_]+=)", "", example(), flags=re.MULTILINE))
        elsewhere = set(re.findall(rf"{PREFIX}[A-Z0-9_]+", example().rpartition("# Not for here.")[2]))
        assert commented.keys() | elsewhere == KNOWN
        assert not commented.keys() & elsewhere
        said = {setting(name) for name in (image().environment | SERVICES["api"]["environment"]) if PREFIX in name}
        assert elsewhere == said | {f"{PREFIX}PG_BIN"}

    def test_what_the_example_comments_out_is_what_holds_without_it(self) -> None:
        shown = env_file("\n".join(re.findall(r"^# ([A-Z0-9_]+=.*)$", example(), re.MULTILINE)))
        assert read_settings({name: value for name, value in shown.items() if value}) == Settings()
        unset = [name.removeprefix(PREFIX).lower() for name, value in shown.items() if not value]
        assert not any(getattr(Settings(), name) for name in unset)

    def test_the_example_is_accepted_as_it_stands(self) -> None:
        found = read_settings(env_file(example()))
        assert (found.env, found.sandbox_gateway) == ("development", True)


class TestSecrets:
    def test_none_is_in_the_files(self) -> None:
        for said in COMPOSE["secrets"].values():
            assert re.fullmatch(r"secrets/\w+", said["file"])
        kept_out = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
        assert {"/secrets/", "/.env"} <= set(kept_out)

    def test_the_image_is_built_from_what_it_needs_and_nothing_else(self) -> None:
        first, *let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert first == "*"
        copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))
        assert {f"!{name}" for names in copied for name in names.split()} == set(let_in) - {"**/__pycache__"}


class TestImage:
    def test_what_is_installed_is_pinned_by_hash_and_is_what_was_tested(self) -> None:
        run, tested = pins("requirements-run.lock"), pins("requirements.lock")
        assert run.items() <= tested.items()
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        wanted = re.findall(r'^    "([\w-]+)', project.partition("[project.optional-dependencies]")[0], re.MULTILINE)
        assert set(wanted) <= run.keys()
        assert not {"pytest", "mypy", "ruff", "hatchling"} & run.keys()
        for line in re.findall(r"pip install [^&\n]+-r [^&\n]+", DOCKERFILE):
            assert "--require-hashes --only-binary=:all:" in line

    def test_it_runs_as_nobody_in_particular_and_says_how_it_is(self) -> None:
        user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1]
        assert {SERVICES[name]["user"] for name in OURS} == {user} == {"10001:10001"}
        assert image().health_check == health_check("api")
        assert (image().entrypoint, image().command) == (["mintage"], ["serve"])

    def test_its_python_is_one_that_the_project_supports(self) -> None:
        assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"python:3.13-slim-bookworm"}


def test_the_secrets_are_made_once_for_their_owner_only(tmp_path: Path) -> None:
    from tests.deploy.servers import make_secrets

    folder = make_secrets(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    made = {path.name: path.read_text(encoding="ascii") for path in folder.iterdir()}
    assert made.keys() == {Path(said["file"]).name for said in COMPOSE["secrets"].values()}
    assert made["database_url"] == f"postgresql://mintage:{made['database_password'].strip()}@postgres:5432/mintage\n"
    environ = {f"{PREFIX}{name}_FILE": str(folder / name.lower()) for name in (*KEYS, "SMTP_URL")}
    found = read_settings(environ)
    assert len({found.secret_key, found.master_key, found.seal_key}) == 3
    assert found.smtp_url == ""
    assert make_secrets(tmp_path) == folder
    assert {path.name: path.read_text(encoding="ascii") for path in folder.iterdir()} == made

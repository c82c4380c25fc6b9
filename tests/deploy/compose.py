"""What the Dockerfile, docker-compose.yml and .env.example say, put together as Docker would."""

import re
import shlex
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

ROOT: Final = Path(__file__).parent.parent.parent
DOCKERFILE: Final = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = [name for name, service in SERVICES.items() if "build" in service]


class Image(msgspec.Struct, frozen=True):
    environment: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    health_check: list[str]


class Service(msgspec.Struct, frozen=True):
    """``health_check`` is ready to be executed, empty if there is none."""

    name: str
    command: list[str]
    environment: dict[str, str]
    health_check: list[str]
    replicas: int


def image() -> Image:
    """What the last stage of the Dockerfile leaves in the image."""
    last = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-1]

    def words(instruction: str) -> list[str]:
        found = re.findall(rf"^{instruction}\b[^\[\n]*(\[.*\])$", last, re.MULTILINE)
        return msgspec.json.decode(found[-1], type=list[str])

    pairs = [pair for line in re.findall(r"^ENV (.+)$", last, re.MULTILINE) for pair in shlex.split(line)]
    environment = dict(pair.split("=", 1) for pair in pairs)
    return Image(environment, words("ENTRYPOINT"), words("CMD"), words("HEALTHCHECK"))


def env_file(text: str) -> dict[str, str]:
    """The lines ``NAME=value``, without quotes."""
    return {
        name: " ".join(shlex.split(value)) if value[:1] in {"'", '"'} else value
        for name, value in re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    }


def example() -> str:
    return (ROOT / ".env.example").read_text(encoding="utf-8")


def service(name: str, *command: str) -> Service:
    """One of ours as it runs after ``cp .env.example .env``, or as `docker compose run NAME COMMAND` would run it."""
    said, built = SERVICES[name], image()
    environment = built.environment | env_file(example()) | said["environment"]
    return Service(
        name,
        [*built.entrypoint, *(command or _interpolated(said["command"]))],
        environment,
        health_check(name),
        said.get("deploy", {}).get("replicas", 1),
    )


def health_check(name: str) -> list[str]:
    test = _interpolated(SERVICES[name]["healthcheck"].get("test", ["NONE"]))
    match test[0]:
        case "CMD":
            return test[1:]
        case "CMD-SHELL":
            return ["/bin/sh", "-c", *test[1:]]
        case _:
            return []


def _interpolated(words: list[str]) -> list[str]:
    """Compose reads ``$$`` as a dollar sign; variables of its own we do not use."""
    assert not re.search(r"\$\{?\w", "".join(words).replace("$$", ""))
    return [word.replace("$$", "$") for word in words]

"""``docs/webhooks.md`` is true: its examples verify what we sign, its tables and messages are those of the program."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from msgspec.structs import replace

from mintage.application.announcements import Billing, Result, TaskTold
from mintage.domain.webhook.decider import WEBHOOKS_MAX
from mintage.http import api_v1
from mintage.http.operations import endpoints
from mintage.infra.webhooks.courier import ATTEMPTS_MAX
from mintage.infra.webhooks.schedule import DELAYS_S
from mintage.infra.webhooks.sender import TOTAL_S, Answer
from mintage.projections.outbox import KEPT, PING, EventType
from tests.infra.test_webhook_signing import BODY, HOOK, SIGNING
from tests.programs import lacks

PAGE: Final = (Path(__file__).parents[1] / "docs" / "webhooks.md").read_text(encoding="utf-8")
SECRET: Final = SIGNING.secret(HOOK.webhook_id, 1)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def table(header: str) -> list[list[str]]:
    assert PAGE.count(f"{header}\n") == 1, header
    lines = PAGE.partition(f"{header}\n")[2].splitlines()[1:]
    rows = lines[: next(turn for turn, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def cases() -> list[tuple[bool, dict[str, str], bytes]]:
    """Whether a message is to be believed, its headers and its body."""
    # The examples know no other clock than the machine's.
    now = datetime.now(UTC)
    good = SIGNING.headers(HOOK, "m", BODY, now)
    rotated = SIGNING.headers(replace(HOOK, secret=2, rotations=[now]), "m", BODY, now)
    return [
        (True, good, BODY),
        (True, rotated, BODY),
        (False, good, BODY + b" "),
        (False, {**good, "webhook-id": "n"}, BODY),
        (False, {**good, "webhook-signature": "v1,AAAA"}, BODY),
        (False, SIGNING.headers(replace(HOOK, secret=3), "m", BODY, now), BODY),
        *((False, SIGNING.headers(HOOK, "m", BODY, now + timedelta(minutes=by)), BODY) for by in (-10, 10)),
    ]


def test_the_python_example_believes_what_is_ours_and_nothing_else() -> None:
    (code,) = blocks("python")
    made: dict[str, Any] = {}
    exec(code, made)
    assert [made["verify"](SECRET, headers, body) for _, headers, body in cases()] == [good for good, *_ in cases()]


@pytest.mark.skipif(lacks("node"), reason="there is no node (Debian: apt-get install nodejs)")
def test_the_node_example_does_too(tmp_path: Path) -> None:
    (code,) = blocks("js")
    given = [[headers, body.decode()] for _, headers, body in cases()]
    asked = f"console.log(JSON.stringify({json.dumps(given)}.map(([h, b]) => verify({SECRET!r}, h, b))));\n"
    script = tmp_path / "verify.mjs"
    script.write_text(code + asked, encoding="utf-8")
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [good for good, *_ in cases()]


def test_every_type_of_message_is_listed() -> None:
    assert [kind for kind, _ in table("| type | when |")] == [*get_args(EventType), PING]


def test_every_request_is_listed() -> None:
    served = {
        f"{endpoint.method} {endpoint.path}"
        for endpoint in endpoints(api_v1.router())
        if endpoint.path.startswith("/api/v1/webhooks")
    }
    assert {request for request, _ in table("| request | does |")} == served


def test_the_example_of_a_task_has_the_fields_of_one() -> None:
    task, recharge = (json.loads(block) for block in blocks("json"))
    data = task["data"]
    assert sorted(data) == sorted(TaskTold.__struct_fields__)
    assert sorted(data["results"][0]) == sorted(Result.__struct_fields__)
    assert sorted(data["billing"]) == sorted(Billing.__struct_fields__)
    assert msgspec.convert(data, TaskTold).billing.captured == data["computing_power_used"]
    assert {task["type"], recharge["type"]} < set(get_args(EventType))


def test_the_pauses_are_those_of_the_program() -> None:
    units = {"seconds": 1, "minutes": 60, "hour": 3_600, "hours": 3_600}
    said = [(int(tries), when.split()) for tries, when in table("| after try | the next one comes |")]
    assert [(tries, int(number) * units[unit]) for tries, (number, unit, _) in said] == list(enumerate(DELAYS_S, 1))


def test_every_error_is_listed() -> None:
    assert Answer.__doc__ is not None
    told = Answer.__doc__.rpartition("``error`` is")[2]
    assert [error for error, _ in table("| error | means |")] == re.findall("``([a-z_]+)``", told)


def test_the_numbers_in_the_text_are_those_of_the_program() -> None:
    assert (WEBHOOKS_MAX, TOTAL_S, KEPT.days, ATTEMPTS_MAX) == (5, 10, 30, 20)
    for words in ("may have five webhooks", "within ten seconds", "the last 30 days", "latest 20 tries"):
        assert words in PAGE, words

"""Nothing that schemathesis thinks of makes the server break what its OpenAPI documents promise.

``SCHEMATHESIS_SEED`` chooses other requests than the usual ones, ``SCHEMATHESIS_EXAMPLES`` more of them.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.served import served

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = Path(__file__).with_name("schemathesis.toml").read_text(encoding="utf-8")
SEED: Final = os.environ.get("SCHEMATHESIS_SEED", "1")
EXAMPLES: Final = os.environ.get("SCHEMATHESIS_EXAMPLES", "30")
PEERS: Final = ("ann", "bob")


def somebody(http: httpx.Client, name: str) -> dict[str, Any]:
    """Somebody with credits, a character, a webhook and a task, as schemathesis wants to hear of them."""
    account = {"username": name, "password": "123456"}
    token = http.post("/api/v1/auth/register", json=account).json()["data"]["token"]
    me = {"Authorization": f"Bearer {token}"}
    for path, body in (
        ("/api/credits/recharge", {"amount": 100_000, "payment_method": "wechat"}),
        ("/api/v1/characters", {"name": name}),
        ("/api/v1/webhooks", {"url": f"https://{name}.invalid/"}),
        ("/api/v1/generate/text-to-image", {"prompt": name, "parameters": {"width": 64, "height": 64}}),
    ):
        assert http.post(path, json=body, headers=me).status_code == 200
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": me["Authorization"]}]}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", ["v1", "server"])
def test_no_request_breaks_a_promise(document: str, tmp_path: Path, record_property: Any) -> None:
    data = tmp_path / "data"
    with served(data, MINTAGE_RATE_LIMIT="off", MINTAGE_GENERATION_WAIT_S="0.2") as (address, log):
        with httpx.Client(base_url=address, timeout=60) as http:
            people = [somebody(http, name) for name in PEERS]
        finance = ["admin", "grant-role", PEERS[0], "finance", "--data-dir", str(data)]
        assert subprocess.run([sys.executable, "-m", "mintage", *finance], check=False).returncode == 0
        (tmp_path / "auth.json").write_text(json.dumps({"auth": people}), encoding="utf-8")
        config = tmp_path / "schemathesis.toml"
        peers = f'\n[auth.wfc]\npath = "{tmp_path / "auth.json"}"\nuser = "{PEERS[0]}"\npeers = {list(PEERS)}\n'
        config.write_text(CONFIG + peers, encoding="utf-8")
        url = f"{address}/docs/{document}/openapi.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", url),
                *("--seed", SEED, "--max-examples", EXAMPLES, "--no-color"),
            ],
            cwd=tmp_path,  # it leaves a folder behind
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [line for line in log if " ERROR " in line]
    counted = re.search(r"(\d+) generated", done.stdout)
    assert counted is not None, done.stdout
    record_property("tried", f"schemathesis, {document}: {counted.group(1)} requests (seed {SEED})")
    audit = [sys.executable, "-m", "mintage", "audit", "verify", "--data-dir", str(data)]
    assert subprocess.run(audit, capture_output=True, check=False).returncode == 0

"""A person can fetch a receipt of each of their transactions, and nobody else can; it says nothing personal."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from mintage.application.services import Services
from mintage.infra.seal import receipts as module
from mintage.infra.settings import Settings
from tests.conftest import Token
from tests.infra.kit import run_sql
from tests.infra.seal.test_receipt_tool import holds, run


async def spend(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
    body = {"amount": 1, "description": "生成AI图片"}
    return str((await client.post("/api/credits/consume", json=body, headers=headers)).json()["data"]["transaction_id"])


async def receipt_of(client: httpx.AsyncClient, transaction: str, headers: dict[str, str]) -> httpx.Response:
    return await client.get(f"/api/credits/transactions/{transaction}/receipt", headers=headers)


async def key_of(client: httpx.AsyncClient) -> str:
    return str((await client.get("/api/credits/receipt-key")).json()["data"]["key"])


async def test_a_new_transaction_has_one_at_once(client: httpx.AsyncClient, token: Token, tmp_path: Path) -> None:
    user, me = await token()
    transaction = await spend(client, me)
    reply = await receipt_of(client, transaction, me)
    assert reply.status_code == 200
    receipt: dict[str, Any] = reply.json()["data"]
    key = await key_of(client)
    assert receipt["event"]["stream"] == f"credits-{user['uuid']}"
    assert json.loads(receipt["event"]["state"])["data"]["transaction_id"] == transaction
    assert holds(receipt, key)
    # The reply as it came, as a person would keep it.
    done = await asyncio.to_thread(run, tmp_path, reply.content, key)
    assert (done.returncode, done.stderr) == (0, "")
    assert transaction in done.stdout


async def test_every_line_of_a_statement_has_one(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    await client.post("/api/credits/recharge", json={"amount": 5, "payment_method": "wechat"}, headers=me)
    await spend(client, me)
    generate = {"prompt": "kitten-canary", "style": "cartoon"}
    assert (await client.post("/api/images/generate", json=generate, headers=me)).status_code == 200
    lines = (await client.get("/api/credits/transactions", headers=me)).json()["data"]["transactions"]
    assert {"recharge", "consume", "generation"} <= {line["kind"] for line in lines}
    key = await key_of(client)
    for line in lines:
        reply = await receipt_of(client, line["id"], me)
        assert holds(reply.json()["data"], key)
        assert json.loads(reply.json()["data"]["event"]["state"])["data"]["amount"] == line["amount"]
        assert "canary" not in reply.text


async def test_nobody_else_can_fetch_it(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    _, other = await token()
    transaction = await spend(client, me)
    refused = [
        await receipt_of(client, one, who)
        for one, who in ((transaction, other), (str(uuid4()), me), ("7", me), ("nothing", me))
    ]
    assert {(reply.status_code, reply.content) for reply in refused} == {(404, refused[1].content)}
    assert refused[0].json()["error"] == "NOT_FOUND"
    assert (await receipt_of(client, transaction, {})).status_code == 401


async def test_one_that_is_not_sealed_in_time_is_to_be_asked_for_again(
    client: httpx.AsyncClient, token: Token, conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, me = await token()
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    run_sql(
        conninfo,
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$",
        "create trigger refusing before insert on seals for each row execute function refuse()",
    )
    transaction = await spend(client, me)
    reply = await receipt_of(client, transaction, me)
    assert (reply.status_code, reply.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(reply.headers["Retry-After"]) >= 1
    run_sql(conninfo, "drop trigger refusing on seals")
    monkeypatch.setattr(module, "WAIT_S", 10.0)
    assert (await receipt_of(client, transaction, me)).status_code == 200


async def test_the_key_is_everybodys_and_the_checkpoints_are_in_the_data_directory(
    client: httpx.AsyncClient, token: Token, settings: Settings, services: Services
) -> None:
    _, me = await token()
    reply = await receipt_of(client, await spend(client, me), me)
    assert await key_of(client) == await services.receipts.key()
    written = "".join(file.read_text("utf-8") for file in (settings.data_dir / "checkpoints").glob("*.txt"))
    assert reply.json()["data"]["checkpoint"] in written

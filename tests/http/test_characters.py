"""/api/v1/characters: five endpoints, everybody's own."""

from typing import Any

import httpx
import psycopg
import pytest

from mintage.application.services import Services
from mintage.infra.audit import verify
from tests.conftest import VAULT, Token

PATH = "/api/v1/characters"
BODY = {"name": "角色名称", "avatar_url": "https://example.com/avatar.jpg", "type": "sora"}
FIELDS = ["id", "uuid", "name", "avatar_url", "type", "created_at", "updated_at"]


async def create(client: httpx.AsyncClient, me: dict[str, str], **body: object) -> dict[str, Any]:
    reply = await client.post(PATH, json={"name": "Fox", **body}, headers=me)
    assert (reply.status_code, reply.json()["code"], reply.json()["message"]) == (200, 0, "创建成功")
    created: dict[str, Any] = reply.json()["data"]
    return created


async def test_the_documents_own_requests(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    created = await create(client, me, **BODY)
    assert list(created) == FIELDS
    assert {name: created[name] for name in BODY} == BODY
    assert created["id"] == 1
    for name in (created["id"], created["uuid"], created["uuid"].upper()):
        shown = (await client.get(f"{PATH}/{name}", headers=me)).json()
        assert shown == {"code": 0, "message": "success", "data": created}
    listed = (await client.get(f"{PATH}?type=sora", headers=me)).json()["data"]
    assert listed == {"list": [created], "total": 1, "page": 1, "pageSize": 20}
    change = {"name": "新名称", "avatar_url": "https://example.com/new-avatar.jpg"}
    changed = (await client.put(f"{PATH}/1", json=change, headers=me)).json()
    assert (changed["code"], changed["message"]) == (0, "更新成功")
    assert changed["data"] == {**created, **change, "updated_at": changed["data"]["updated_at"]}
    deleted = await client.delete(f"{PATH}/{created['uuid']}", headers=me)
    assert (deleted.status_code, deleted.json()) == (200, {"code": 0, "message": "删除成功", "data": None})
    for method, body in (("GET", None), ("PUT", change), ("DELETE", None)):
        again = await client.request(method, f"{PATH}/1", json=body, headers=me)
        assert (again.status_code, again.json()["data"]) == (404, {"error": "NOT_FOUND"})
    assert (await client.get(PATH, headers=me)).json()["data"]["list"] == []


async def test_what_need_not_be_said(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    created = await create(client, me, name="  Fox ")
    assert (created["name"], created["avatar_url"], created["type"]) == ("Fox", None, "sora")


async def test_what_is_absent_stays_and_null_clears_the_picture(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    created = await create(client, me, **BODY)
    steps: list[tuple[dict[str, object], dict[str, object]]] = [
        ({}, {}),
        ({"name": "x" * 50}, {"name": "x" * 50}),
        ({"avatar_url": None}, {"avatar_url": None}),
        ({"avatar_url": "http://localhost/a", "type": "other"}, {"avatar_url": "http://localhost/a"}),
    ]
    expected = dict(created)
    for body, difference in steps:
        shown = (await client.put(f"{PATH}/{created['id']}", json=body, headers=me)).json()["data"]
        expected |= difference | {"updated_at": shown["updated_at"]}
        assert shown == expected


WRONG: list[tuple[dict[str, object], str]] = [
    ({"name": ""}, "name"),
    ({"name": " \t"}, "name"),
    ({"name": "x" * 51}, "name"),
    ({"name": None}, "name"),
    ({"name": 7}, "name"),
    ({"name": "a\u0000b"}, "name"),
    ({"avatar_url": ""}, "avatar_url"),
    ({"avatar_url": "javascript:alert(1)"}, "avatar_url"),
    ({"avatar_url": "https://ann:secret@example.com/"}, "avatar_url"),
    ({"avatar_url": "https://example.com/" + "x" * 2_048}, "avatar_url"),
    ({"avatar_url": 7}, "avatar_url"),
]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *WRONG,
        *(({"type": kind}, "type") for kind in ("", "Sora", "a b", "a" * 21, "sora\n", "角色", None, 7)),
    ],
)
async def test_a_wrong_character_is_not_made(
    client: httpx.AsyncClient, token: Token, body: dict[str, object], field: str
) -> None:
    _, me = await token()
    reply = await client.post(PATH, json={"name": "Fox", **body}, headers=me)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [field])
    assert (await client.get(PATH, headers=me)).json()["data"]["total"] == 0


async def test_a_character_has_a_name(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    reply = await client.post(PATH, json={"type": "sora"}, headers=me)
    assert reply.json()["data"] == {"error": "VALIDATION_ERROR", "fields": {"name": "必填"}}


@pytest.mark.parametrize(("body", "field"), WRONG)
async def test_a_wrong_change_changes_nothing(
    client: httpx.AsyncClient, token: Token, body: dict[str, object], field: str
) -> None:
    _, me = await token()
    created = await create(client, me, **BODY)
    reply = await client.put(f"{PATH}/{created['id']}", json=body, headers=me)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [field])
    assert (await client.get(f"{PATH}/{created['id']}", headers=me)).json()["data"] == created


async def test_the_list_is_newest_first_in_pages_by_type(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    _, other = await token()
    await create(client, other)
    for turn in range(5):
        await create(client, me, name=f"{turn}", type="sora" if turn % 2 else "a_b-1")

    async def names(query: str) -> tuple[list[str], int]:
        listed = (await client.get(f"{PATH}?{query}", headers=me)).json()["data"]
        return [one["name"] for one in listed["list"]], listed["total"]

    assert await names("") == (["4", "3", "2", "1", "0"], 5)
    assert await names("page=2&pageSize=2") == (["2", "1"], 5)
    assert await names("page=4&pageSize=2") == ([], 5)
    assert await names("type=sora") == (["3", "1"], 2)
    assert await names("type=a_b-1&pageSize=1") == (["4"], 3)
    assert await names("type=nobody") == ([], 0)


@pytest.mark.parametrize(
    "query", ["type=Sora", "type=", "type=a%20b", "type=sora%0a", "type=a&type=b", "page=0", "pageSize=101", "page=x"]
)
async def test_a_wrong_query_is_refused(client: httpx.AsyncClient, token: Token, query: str) -> None:
    _, me = await token()
    reply = await client.get(f"{PATH}?{query}", headers=me)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [query.partition("=")[0]])


async def test_anothers_does_not_exist(client: httpx.AsyncClient, token: Token) -> None:
    _, mine = await token()
    _, other = await token()
    created = await create(client, mine)
    for name in (created["id"], created["uuid"], created["id"] + 1, "0", "x"):
        for method, body in (("GET", None), ("PUT", {"name": "Mine"}), ("PUT", {}), ("DELETE", None)):
            reply = await client.request(method, f"{PATH}/{name}", json=body, headers=other)
            assert (reply.status_code, reply.json()["data"]) == (404, {"error": "NOT_FOUND"})
    assert (await client.get(f"{PATH}/{created['id']}", headers=mine)).json()["data"] == created
    for method, path in (("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/1"), ("PUT", f"{PATH}/1")):
        assert (await client.request(method, path, json=BODY if method != "GET" else None)).status_code == 401


async def test_an_erased_persons_characters_are_gone_and_sealed(
    client: httpx.AsyncClient, services: Services, token: Token, conninfo: str
) -> None:
    user, me = await token()
    _, other = await token()
    await create(client, me, name="canary", avatar_url="https://canary.example/")
    changed = await create(client, me)
    await client.put(f"{PATH}/{changed['id']}", json={"name": "canary"}, headers=me)
    kept = await create(client, other)
    with psycopg.connect(conninfo) as connection:
        log = connection.execute("select convert_from(state, 'utf8') from stored_events").fetchall()
    assert not [state for (state,) in log if "canary" in state]
    await services.erasure.erase(str(user["uuid"]), actor="operator")
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select character_id::text from characters").fetchall() == [(kept["uuid"],)]
    assert verify(conninfo, VAULT).differences == []

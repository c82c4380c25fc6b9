"""/api/v1/works: a work is its owner's to name, to show and to delete, and is gone when it is deleted."""

from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from mintage.application.services import Services
from mintage.bootstrap import running
from mintage.infra.audit import verify
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from tests.conftest import BASE_URL, VAULT, Mailbox, Token, until
from tests.http.pictures import pictures


async def change(client: httpx.AsyncClient, me: dict[str, str], work: Any, **body: object) -> dict[str, Any]:
    reply = await client.put(f"/api/v1/works/{work['id']}", json=body, headers=me)
    assert (reply.status_code, reply.json()["code"], reply.json()["message"]) == (200, 0, "更新成功")
    changed: dict[str, Any] = reply.json()["data"]
    assert (await client.get(f"/api/v1/works/{work['uuid']}", headers=me)).json()["data"]["title"] == changed["title"]
    return changed


async def test_the_documents_own_change(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    (work,) = await pictures(client, me)
    assert (work["title"], work["is_public"]) == (None, False)
    changed = await change(client, me, work, is_public=True, title="新标题")
    assert (changed["title"], changed["is_public"]) == ("新标题", True)
    urls = {
        "result_url": work["result_url"].partition("?")[0],
        "thumbnail_url": work["thumbnail_url"].partition("?")[0],
    }
    assert changed == {**work, **urls, "title": "新标题", "is_public": True, "updated_at": changed["updated_at"]}


async def test_what_is_absent_stays_and_null_clears(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    (work,) = await pictures(client, me)
    steps: list[tuple[dict[str, object], tuple[str | None, bool]]] = [
        ({"title": " Cat "}, ("Cat", False)),
        ({"is_public": True}, ("Cat", True)),
        ({}, ("Cat", True)),
        ({"is_public": False, "unknown": 1}, ("Cat", False)),
        ({"title": None}, (None, False)),
        ({"title": "x" * 200}, ("x" * 200, False)),
    ]
    for body, outcome in steps:
        changed = await change(client, me, work, **body)
        assert (changed["title"], changed["is_public"]) == outcome


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "  "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": 7}, "title"),
        ({"title": "a\u0000b"}, "title"),
        ({"is_public": None}, "is_public"),
        ({"is_public": "true"}, "is_public"),
        ({"is_public": 1, "title": "Cat"}, "is_public"),
        ([], "body"),
    ],
)
async def test_a_wrong_change_changes_nothing(client: httpx.AsyncClient, token: Token, body: Any, field: str) -> None:
    _, me = await token()
    (work,) = await pictures(client, me)
    reply = await client.put(f"/api/v1/works/{work['id']}", json=body, headers=me)
    assert (reply.status_code, reply.json()["data"]["error"]) == (400, "VALIDATION_ERROR")
    assert list(reply.json()["data"]["fields"]) == [field]
    shown = (await client.get(f"/api/v1/works/{work['id']}", headers=me)).json()["data"]
    assert (shown["title"], shown["is_public"]) == (None, False)


async def test_a_public_work_may_be_seen_and_not_touched(
    client: httpx.AsyncClient, token: Token, conninfo: str
) -> None:
    _, mine = await token()
    _, other = await token()
    (work,) = await pictures(client, mine)

    async def tries() -> list[int]:
        statuses = []
        for name in (work["id"], work["uuid"]):
            path = f"/api/v1/works/{name}"
            for method, body in (("GET", None), ("PUT", {"title": "mine"}), ("PUT", {}), ("DELETE", None)):
                reply = await client.request(method, path, json=body, headers=other)
                assert reply.json()["code"] in {0, reply.status_code}
                statuses.append(reply.status_code)
        return statuses

    assert await tries() == [404] * 8
    await change(client, mine, work, is_public=True, title="Cat")
    # What img2img was made from may be a private upload of the owner's.
    with psycopg.connect(conninfo) as connection:
        connection.execute("update tasks set source_image_url = 'https://example.com/?signature=x'")
    assert await tries() == [200, 403, 403, 403] * 2
    seen = (await client.get(f"/api/v1/works/{work['id']}", headers=other)).json()["data"]
    assert (seen["title"], seen["prompt"], seen["source_image_url"]) == ("Cat", "a kitten in a garden", None)
    assert (await client.get("/api/v1/works", headers=other)).json()["data"]["list"] == []
    own = (await client.get(f"/api/v1/works/{work['id']}", headers=mine)).json()["data"]
    assert own["source_image_url"] == "https://example.com/?signature=x"
    await change(client, mine, work, is_public=False)
    assert await tries() == [404] * 8
    assert (await client.get(f"/api/v1/works/{work['id']}")).status_code == 401


async def test_a_deleted_work_is_gone_and_what_it_cost_is_not(
    client: httpx.AsyncClient, token: Token, conninfo: str, settings: Settings
) -> None:
    _, me = await token()
    body = {"prompt": "a kitten", "style": "cartoon", "count": 2}
    made = (await client.post("/api/images/generate", json=body, headers=me)).json()["data"]
    kept, gone = (image["id"] for image in made["images"])
    works = {work["uuid"]: work for work in (await client.get("/api/v1/works", headers=me)).json()["data"]["list"]}
    task = f"/api/v1/generate/tasks/{works[gone]['task_id']}"
    await change(client, me, works[gone], is_public=True, title="Cat")

    reply = await client.delete(f"/api/v1/works/{works[gone]['id']}", headers=me)
    assert (reply.status_code, reply.json()) == (200, {"code": 0, "message": "删除成功", "data": None})

    listed = (await client.get("/api/v1/works", headers=me)).json()["data"]
    assert ([work["uuid"] for work in listed["list"]], listed["total"]) == ([kept], 1)
    for name in (works[gone]["id"], gone):
        for method, change_to in (("GET", None), ("PUT", {"title": "x"}), ("DELETE", None)):
            again = await client.request(method, f"/api/v1/works/{name}", json=change_to, headers=me)
            assert (again.status_code, again.json()["data"]) == (404, {"error": "NOT_FOUND"})
    past = (await client.get("/api/images/history", headers=me)).json()["data"]["history"][0]
    assert ([image["id"] for image in past["images"]], past["credits_used"]) == ([kept], 10)
    shown = (await client.get(task, headers=me)).json()["data"]
    assert [result["work_uuid"] for result in shown["results"]] == [kept]
    assert (shown["result_url"], shown["computing_power_used"]) == (shown["results"][0]["url"], 10)
    for url in (works[gone]["result_url"], works[gone]["thumbnail_url"]):
        assert (await client.get(url)).status_code == 404
        assert (await client.get(url.partition("?")[0])).status_code == 404
    assert not list(Path(settings.data_dir / "media").rglob(f"{gone}*"))
    assert (await client.get(works[kept]["result_url"])).status_code == 200
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select id::text from images").fetchall() == [(kept,)]
    assert (await client.get("/api/credits/balance", headers=me)).json()["data"]["balance"] == 90

    assert (await client.delete(f"/api/v1/works/{kept}", headers=me)).status_code == 200
    shown = (await client.get(task, headers=me)).json()["data"]
    assert (shown["results"], shown["result_url"], shown["billing"]["captured"]) == ([], None, 10)
    past = (await client.get("/api/images/history", headers=me)).json()["data"]["history"][0]
    assert (past["images"], past["credits_used"]) == ([], 10)
    assert verify(conninfo, VAULT).differences == []


async def test_a_work_in_the_making_is_deleted_by_cancelling_first(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    body = {"prompt": "x", "parameters": {"width": 1024, "height": 1024}}
    # The worker takes one at a time, so of several the last one is still waiting.
    tasks = [
        (await client.post("/api/v1/generate/text-to-image", json=body, headers=me)).json()["data"] for _ in range(3)
    ]
    newest = (await client.get("/api/v1/works?status=processing", headers=me)).json()["data"]["list"][0]
    assert newest["task_id"] == tasks[-1]["id"]
    assert (await change(client, me, newest, title="soon"))["status"] == "processing"
    reply = await client.delete(f"/api/v1/works/{newest['id']}", headers=me)
    assert (reply.status_code, reply.json()["message"]) == (400, "作品正在生成，请先取消任务")
    assert reply.json()["data"] == {"error": "CONFLICT"}
    await client.post(f"/api/v1/generate/tasks/{tasks[-1]['id']}/cancel", headers=me)
    assert (await client.delete(f"/api/v1/works/{newest['id']}", headers=me)).status_code == 200
    assert (await client.get("/api/v1/works?status=failed", headers=me)).json()["data"]["total"] == 0


async def dies(*_: object, **__: object) -> None:
    raise OSError("the power failed")


async def test_what_a_crash_left_of_a_deleted_work_goes_with_the_next_start(
    client: httpx.AsyncClient,
    services: Services,
    token: Token,
    conninfo: str,
    settings: Settings,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, me = await token()
    gone, kept = await pictures(client, me, 2)
    with monkeypatch.context() as patch:
        patch.setattr(services.files, "remove_all_of", dies)
        assert (await client.delete(f"/api/v1/works/{gone['id']}", headers=me)).status_code == 200
    media = Path(settings.data_dir / "media")
    assert len(list(media.rglob(f"{gone['uuid']}*"))) == 2
    place = Site(conninfo, VAULT, None)
    async with running(settings, place, base_url=lambda: BASE_URL, worker=False, mailer=mailbox):

        async def removed() -> bool:
            return not list(media.rglob(f"{gone['uuid']}*"))

        await until(removed)
    assert len(list(media.rglob(f"{kept['uuid']}*"))) == 2


async def test_a_file_that_cannot_be_removed_keeps_no_other(
    client: httpx.AsyncClient,
    services: Services,
    token: Token,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, me = await token()
    works = await pictures(client, me, 3)
    with monkeypatch.context() as patch:
        patch.setattr(services.files, "remove_all_of", dies)
        for work in works:
            assert (await client.delete(f"/api/v1/works/{work['id']}", headers=me)).status_code == 200
    stuck, remove = works[1]["uuid"], services.files.remove_all_of

    async def but_one(work_id: str) -> None:
        await (dies() if work_id == stuck else remove(work_id))

    media = Path(settings.data_dir / "media")
    with monkeypatch.context() as patch:
        patch.setattr(services.files, "remove_all_of", but_one)
        with pytest.raises(OSError, match="the power failed"):
            await services.works.finish()
    left = {path.name for path in media.rglob("*") if path.is_file()}
    assert len(left) == 2
    assert all(name.startswith(stuck) for name in left)
    await services.works.finish()
    assert not [path for path in media.rglob("*") if path.is_file()]


async def test_what_a_crash_left_of_an_erased_person_goes_with_the_next_start(
    client: httpx.AsyncClient,
    services: Services,
    token: Token,
    conninfo: str,
    settings: Settings,
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user, me = await token()
    await pictures(client, me)
    media = Path(settings.data_dir / "media")
    avatar = media / "avatars" / str(user["uuid"]) / f"{user['uuid']}.webp"
    avatar.parent.mkdir(parents=True)
    avatar.touch()
    with monkeypatch.context() as patch:
        patch.setattr(services.files, "remove_all_of", dies)
        with pytest.raises(OSError, match="the power failed"):
            await services.erasure.erase(str(user["uuid"]), actor="operator")
    assert len([path for path in media.rglob("*") if path.is_file()]) == 3
    place = Site(conninfo, VAULT, None)
    async with running(settings, place, base_url=lambda: BASE_URL, worker=False, mailer=mailbox):

        async def removed() -> bool:
            return not [path for path in media.rglob("*") if path.is_file()]

        await until(removed)


async def test_what_an_erased_person_showed_to_everybody_is_gone(
    client: httpx.AsyncClient, services: Services, token: Token
) -> None:
    user, mine = await token()
    _, other = await token()
    (work,) = await pictures(client, mine)
    public = (await change(client, mine, work, is_public=True, title="Cat"))["result_url"]
    assert (await client.get(public)).status_code == 200
    await services.erasure.erase(str(user["uuid"]), actor="operator")
    assert (await client.get(public)).status_code == 404
    for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
        reply = await client.request(method, f"/api/v1/works/{work['id']}", json=body, headers=other)
        assert reply.status_code == 404

"""The four generation endpoints of document v1 through the real worker: what is accepted, made, refused and charged."""

import io
from collections.abc import Sequence
from itertools import count
from typing import Any

import av
import httpcore
import httpx
import pytest
from PIL import Image

from mintage.application.services import Services
from mintage.infra import guard
from mintage.infra.renderer import film
from tests.conftest import BASE_URL, Token, until

IMAGE_TO_IMAGE = {
    "task_type": "img2img",
    "model_provider": "stability",
    "model_name": "stable-diffusion-xl",
    "prompt": "transform this image",
    "source_image_url": "https://example.com/image.jpg",
    "parameters": {"strength": 0.7},
}
TEXT_TO_VIDEO = {
    "task_type": "text2video",
    "model_provider": "openai",
    "model_name": "sora",
    "prompt": "a cat playing with a ball",
    "parameters": {"duration": 5, "resolution": "1080p"},
}
IMAGE_TO_VIDEO = {
    "task_type": "img2video",
    "model_provider": "openai",
    "model_name": "sora",
    "prompt": "animate this image",
    "source_image_url": "https://example.com/image.jpg",
    "parameters": {"duration": 5},
}
PATHS = {"img2img": "image-to-image", "text2video": "text-to-video", "img2video": "image-to-video"}
SMALL_FILM = {"duration": 1, "resolution": "480p"}

Headers = dict[str, str]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the internet for anything."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        raise httpcore.ConnectError(f"{host} is not asked for in tests")

    monkeypatch.setattr(guard, "addresses_of", resolve)


async def generate(client: httpx.AsyncClient, me: Headers, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post(f"/api/v1/generate/{path}", json=body, headers=me)
    assert reply.status_code == 200, reply.text
    envelope = reply.json()
    assert (envelope["code"], envelope["message"]) == (0, "任务已创建，正在后台处理中...")
    return envelope["data"]  # type: ignore[no-any-return]


async def ended(client: httpx.AsyncClient, me: Headers, task: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}

    async def over() -> bool:
        shown.update((await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"])
        return shown["status"] in {"completed", "failed", "cancelled"}

    await until(over, timeout_s=90)
    return shown


async def made(client: httpx.AsyncClient, me: Headers, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The work of a task that completed."""
    task = await ended(client, me, await generate(client, me, path, body))
    assert (task["status"], task["error_code"]) == ("completed", None)
    return (await client.get(f"/api/v1/works/{task['results'][0]['work_id']}", headers=me)).json()["data"]  # type: ignore[no-any-return]


async def picture(client: httpx.AsyncClient, me: Headers, **parameters: object) -> dict[str, Any]:
    body = {"prompt": "a fox in a forest", "parameters": {"width": 160, "height": 96, **parameters}}
    return await made(client, me, "text-to-image", body)


async def enough(client: httpx.AsyncClient, me: Headers) -> None:
    body = {"amount": 100, "payment_method": "alipay"}
    assert (await client.post("/api/credits/recharge", json=body, headers=me)).status_code == 200


async def balance(client: httpx.AsyncClient, me: Headers) -> tuple[int, int]:
    user = (await client.get("/api/v1/auth/me", headers=me)).json()["data"]
    return user["computing_power"], user["held_computing_power"]


async def refused(client: httpx.AsyncClient, me: Headers, path: str, body: dict[str, Any]) -> list[str]:
    """Which fields of a body are refused; nothing is held or made."""
    before = await balance(client, me)
    reply = await client.post(f"/api/v1/generate/{path}", json=body, headers=me)
    assert (reply.status_code, reply.json()["code"]) == (400, 400), reply.text
    assert await balance(client, me) == before
    return list(reply.json()["data"]["fields"])


@pytest.mark.parametrize(("body", "price"), [(IMAGE_TO_IMAGE, 10), (TEXT_TO_VIDEO, 50), (IMAGE_TO_VIDEO, 50)])
async def test_the_documents_own_bodies_are_accepted(
    client: httpx.AsyncClient, token: Token, body: dict[str, Any], price: int
) -> None:
    _, me = await token()
    task = await generate(client, me, PATHS[body["task_type"]], body)
    assert {name: task[name] for name in body if name != "parameters"} == {
        name: value for name, value in body.items() if name != "parameters"
    }
    assert body["parameters"].items() <= task["parameters"].items()
    assert (task["status"], task["progress"], task["renderer"]) == ("pending", 0, "builtin")
    assert task["billing"] == {"state": "held", "held": price, "captured": 0, "released": 0}
    await client.post(f"/api/v1/generate/tasks/{task['id']}/cancel", headers=me)
    await ended(client, me, task)
    assert await balance(client, me) == (100, 0)


async def test_defaults_are_the_catalogues(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    task = await generate(client, me, "text-to-video", {"prompt": "[fail] a cat", "parameters": {"count": 3}})
    assert (task["model_provider"], task["model_name"]) == ("openai", "sora")
    assert task["parameters"] == {"duration": 5, "resolution": "720p", "aspect_ratio": "16:9"}
    failed = await ended(client, me, task)
    assert (failed["status"], failed["error_code"]) == ("failed", "GENERATION_FAILED")
    assert failed["billing"] == {"state": "released", "held": 50, "captured": 0, "released": 50}
    assert await balance(client, me) == (100, 0)


@pytest.mark.parametrize("path", ["image-to-image", "image-to-video"])
async def test_a_source_that_is_not_to_be_had_costs_nothing(client: httpx.AsyncClient, token: Token, path: str) -> None:
    _, me = await token()
    body = {"prompt": "x", "source_image_url": "https://example.com/image.jpg"}
    task = await ended(client, me, await generate(client, me, path, body))
    assert (task["status"], task["error_code"]) == ("failed", "SOURCE_UNAVAILABLE")
    assert task["error_message"] == "无法获取源图片，未扣除积分"
    assert task["billing"]["state"] == "released"
    assert await balance(client, me) == (100, 0)
    work = (await client.get("/api/v1/works?status=failed", headers=me)).json()["data"]["list"][0]
    assert work["error_message"] == task["error_message"]
    assert work["source_image_url"] == body["source_image_url"]


@pytest.mark.parametrize("url", ["http://example.com:22/", f"{BASE_URL}:6379/files/x.png"])
async def test_a_source_where_nobody_is_sent_costs_nothing(client: httpx.AsyncClient, token: Token, url: str) -> None:
    _, me = await token()
    body = {"prompt": "x", "source_image_url": url}
    task = await ended(client, me, await generate(client, me, "image-to-image", body))
    assert (task["status"], task["error_code"]) == ("failed", "SOURCE_REFUSED")
    assert await balance(client, me) == (100, 0)


async def test_ones_own_picture_repainted(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    source = await picture(client, me)
    body = {"prompt": "sunset", "source_image_url": source["result_url"], "parameters": {"strength": 1, "count": 2}}
    task = await ended(client, me, await generate(client, me, "image-to-image", body))
    assert (task["status"], task["progress"], len(task["results"])) == ("completed", 100, 2)
    for result in task["results"]:
        assert (result["width"], result["height"], result["content_type"]) == (160, 96, "image/png")
        content = (await client.get(result["url"])).content
        assert len(content) == result["file_size"]
        assert content != (await client.get(source["result_url"])).content
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size) == ("PNG", (160, 96))
    assert await balance(client, me) == (80, 0)
    expired = source["thumbnail_url"].replace("expires=", "expires=1")
    repainted = await made(client, me, "image-to-image", {"prompt": "snow", "source_image_url": expired})
    assert repainted["source_image_url"] == expired
    assert repainted["work_type"] == "image"


async def test_a_film_of_words(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    work = await made(client, me, "text-to-video", {"prompt": "a cat in the snow", "parameters": SMALL_FILM})
    assert (work["work_type"], work["content_type"], work["duration"]) == ("video", "video/mp4", 1)
    assert (work["width"], work["height"], work["computing_power_used"]) == (854, 480, 50)
    assert await balance(client, me) == (50, 0)
    file = await client.get(work["result_url"])
    assert (file.headers["content-type"], len(file.content)) == ("video/mp4", work["file_size"])
    with av.open(io.BytesIO(file.content), "r") as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, container.format.name.split(",")[1]) == ("h264", "mp4")
        frames = list(container.decode(stream))
    assert len(frames) == 24
    assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {(854, 480, "yuv420p")}
    with Image.open(io.BytesIO((await client.get(work["thumbnail_url"])).content)) as small:
        assert (small.format, small.size) == ("WEBP", (320, 180))
    for kind, expected in (("video", [work["id"]]), ("image", [])):
        listed = (await client.get(f"/api/v1/works?work_type={kind}", headers=me)).json()["data"]["list"]
        assert [one["id"] for one in listed] == expected


async def test_a_film_of_ones_own_picture_has_its_shape(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    source = await picture(client, me, width=128, height=192)
    body = {"prompt": "animate this", "source_image_url": source["result_url"], "parameters": SMALL_FILM}
    work = await made(client, me, "image-to-video", body)
    assert (work["width"], work["height"], work["duration"]) == (480, 720, 1)
    assert await balance(client, me) == (40, 0)


async def test_anothers_picture_is_a_source_only_once_it_is_public(client: httpx.AsyncClient, token: Token) -> None:
    _, mine = await token()
    _, other = await token()
    source = await picture(client, mine)
    body = {"prompt": "sunset", "source_image_url": source["result_url"]}
    for path in ("image-to-image", "image-to-video"):
        assert await refused(client, other, path, body) == ["source_image_url"]
    await client.put(f"/api/v1/works/{source['id']}", json={"is_public": True}, headers=mine)
    shown = (await client.get(f"/api/v1/works/{source['id']}", headers=other)).json()["data"]
    body["source_image_url"] = shown["result_url"]
    assert (await made(client, other, "image-to-image", body))["status"] == "completed"
    await client.delete(f"/api/v1/works/{source['id']}", headers=mine)
    for headers in (mine, other):
        assert await refused(client, headers, "image-to-image", body) == ["source_image_url"]


async def test_of_our_own_files_only_finished_pictures_are_sources(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    film = await made(client, me, "text-to-video", {"prompt": "the sea", "parameters": SMALL_FILM})
    missing = film["result_url"].replace(film["uuid"], f"00000000-0000-7000-8000-0000000000{film['uuid'][-2:]}")
    shouted = film["result_url"].replace("http://mintage.test", "HTTP://MINTAGE.test:80")
    nothing = [f"{BASE_URL}/files/{rest}" for rest in ("", "x.png", "avatars/x.webp", "..%2Fsecrets%2Fmaster.key")]
    for url in (film["result_url"], shouted, missing.replace(".mp4", ".png"), *nothing):
        body = {"prompt": "x", "source_image_url": url}
        assert await refused(client, me, "image-to-image", body) == ["source_image_url"]


async def test_a_repeat_gets_the_first_reply_even_if_the_source_is_gone(
    client: httpx.AsyncClient, token: Token
) -> None:
    _, me = await token()
    source = await picture(client, me)
    body = {"prompt": "sunset", "source_image_url": source["result_url"]}
    keyed = {**me, "Idempotency-Key": "once"}
    first = await client.post("/api/v1/generate/image-to-image", json=body, headers=keyed)
    await ended(client, me, first.json()["data"])
    await client.delete(f"/api/v1/works/{source['id']}", headers=me)
    again = await client.post("/api/v1/generate/image-to-image", json=body, headers=keyed)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert await balance(client, me) == (80, 0)
    elsewhere = await client.post("/api/v1/generate/image-to-video", json=body, headers=keyed)
    assert elsewhere.status_code == 400
    assert "idempotency-replayed" not in elsewhere.headers


@pytest.mark.parametrize("path", list(PATHS.values()))
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_type", "text2img"),
        ("prompt", ""),
        ("prompt", " \n\t　"),
        ("prompt", "x" * 4001),
        ("negative_prompt", "x" * 4001),
        ("parameters", []),
        ("parameters.seed", -1),
        ("model_name", "dall-e"),
        ("model_provider", "nobody"),
    ],
)
async def test_what_no_task_takes(client: httpx.AsyncClient, token: Token, path: str, field: str, value: Any) -> None:
    _, me = await token()
    whole, _, part = field.partition(".")
    body = {"prompt": "x", "source_image_url": "https://example.com/x", whole: {part: value} if part else value}
    assert await refused(client, me, path, body) == [field]


WRONG: dict[tuple[str, str], tuple[object, ...]] = {
    ("image-to-image", "strength"): (-0.01, 1.01, 2, "0.5", True, None, []),
    ("image-to-image", "width"): (63, 2049, 100.0, None),
    ("text-to-video", "duration"): (0, 21, 5.0, "5", True, None),
    ("text-to-video", "resolution"): ("4k", "1080P", 1080),
    ("image-to-video", "aspect_ratio"): ("4:3", "16/9", 1, None),
}


@pytest.mark.parametrize(("path", "name"), WRONG)
async def test_parameters_keep_the_models_limits(client: httpx.AsyncClient, token: Token, path: str, name: str) -> None:
    _, me = await token()
    for value in WRONG[path, name]:
        body = {"prompt": "x", "source_image_url": "https://example.com/x", "parameters": {name: value}}
        assert await refused(client, me, path, body) == [f"parameters.{name}"]


async def test_a_model_that_cannot_do_the_task(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    body = {"prompt": "x", "model_provider": "stability", "model_name": "stable-diffusion-xl"}
    assert await refused(client, me, "text-to-video", body) == ["model_provider"]
    assert await refused(client, me, "text-to-image", {"prompt": "x", "model_name": "sora"}) == ["model_name"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            None,
            1,
            "",
            "image.jpg",
            "//example.com/x",
            "ftp://example.com/x",
            "file:///etc/passwd",
            "https://",
            "http:/x",
        ),
        *("https://user@example.com/x", "https://u:p@example.com/x", "https://example.com/a b", "https://e.com:x/"),
        *("data:image/png;base64,AAAA", "https://example.com/" + "x" * 2048, "https://example.com\\@127.0.0.1/"),
    ],
)
async def test_source_urls(client: httpx.AsyncClient, token: Token, url: Any) -> None:
    _, me = await token()
    for path in ("image-to-image", "image-to-video"):
        assert await refused(client, me, path, {"prompt": "x", "source_image_url": url}) == ["source_image_url"]


async def test_a_source_is_required_where_there_must_be_one(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    for path in ("image-to-image", "image-to-video"):
        assert await refused(client, me, path, {"prompt": "x"}) == ["source_image_url"]


async def test_a_source_is_of_no_interest_where_there_is_none(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    task = await generate(client, me, "text-to-image", {"prompt": "[fail]", "source_image_url": 7})
    assert task["source_image_url"] is None


async def test_a_blank_prompt_is_refused_on_server_too(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    reply = await client.post("/api/images/generate", json={"prompt": "  ", "style": "cartoon"}, headers=me)
    assert (reply.status_code, list(reply.json()["details"]["fields"])) == (400, ["prompt"])


async def test_a_film_shows_how_far_it_is_and_stops_when_it_is_cancelled(
    client: httpx.AsyncClient, token: Token, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = count()

    def counted(*args: Any) -> Image.Image:
        next(frames)
        return drawn(*args)

    drawn = film._frame
    monkeypatch.setattr(film, "_frame", counted)
    _, me = await token()
    long = {"prompt": "rain in the city", "parameters": {"duration": 20, "resolution": "480p"}}
    task = await generate(client, me, "text-to-video", long)
    progress: list[int] = []

    async def under_way() -> bool:
        shown = (await client.get(f"/api/v1/generate/tasks/{task['id']}", headers=me)).json()["data"]
        progress.append(shown["progress"])
        return bool(shown["progress"] > 0)

    await until(under_way)
    assert progress == sorted(progress)
    assert 0 < progress[-1] < 100
    cancelled = await client.post(f"/api/v1/generate/tasks/{task['id']}/cancel", headers=me)
    assert cancelled.json()["data"]["status"] == "cancelled"
    # There is room again, and the film is not finished.
    assert (await picture(client, me))["status"] == "completed"
    assert next(frames) < 20 * film.FPS
    assert await balance(client, me) == (90, 0)
    (work,) = (await client.get("/api/v1/works?work_type=video", headers=me)).json()["data"]["list"]
    assert (work["status"], work["error_message"]) == ("failed", "任务已取消")
    assert await services.files.stat(f"{work['uuid'][-2:]}/{work['uuid']}.mp4") is None

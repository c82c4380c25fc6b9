"""A price is told before anything is bought: what is quoted is what is then held, and a quote itself does nothing."""

import tomllib
from collections.abc import Sequence
from typing import Any, cast

import httpcore
import httpx
import msgspec
import pytest

from mintage.application.catalogue import Catalogue
from mintage.application.services import Services
from mintage.http.app import create_app
from mintage.infra import guard
from tests.conftest import BASE_URL, Token
from tests.contract import Checked
from tests.http.pictures import pictures
from tests.infra.kit import one, rows

Headers = dict[str, str]
SOURCE = {"source_image_url": "https://example.com/image.jpg"}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "one image": ("text-to-image", {"task_type": "text2img"}),
    "four images": ("text-to-image", {"task_type": "text2img", "parameters": {"count": 4, "width": 64}}),
    "an image anew": ("image-to-image", {"task_type": "img2img", **SOURCE, "parameters": {"strength": 0, "count": 3}}),
    "a film": ("text-to-video", {"task_type": "text2video", "parameters": {"duration": 7}}),
    "a film of an image": ("image-to-video", {"task_type": "img2video", **SOURCE}),
}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the internet for anything."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        raise httpcore.ConnectError(f"{host} is not asked for in tests")

    monkeypatch.setattr(guard, "addresses_of", resolve)


async def quoted(client: httpx.AsyncClient, me: Headers, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post("/api/v1/generate/quote", json=body, headers=me)
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", BODIES)
async def test_what_is_quoted_is_what_is_held(client: httpx.AsyncClient, token: Token, name: str) -> None:
    _, me = await token()
    path, body = BODIES[name]
    quote = await quoted(client, me, body)
    whole = {**body, "prompt": "[fail] a cat"}
    assert await quoted(client, me, whole) == quote
    task = (await client.post(f"/api/v1/generate/{path}", json=whole, headers=me)).json()["data"]
    assert quote["price"] == task["billing"]["held"]
    for field in ("task_type", "model_provider", "model_name", "renderer", "parameters"):
        assert quote[field] == task[field]
    assert sum(quote["per_work"]) == quote["price"]
    assert len(quote["per_work"]) == task["parameters"].get("count", 1)
    assert (quote["available"], quote["affordable"], quote["estimated_seconds"]) == (100, True, None)


async def test_an_image_request_costs_the_same_whatever_its_count(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    for count, shares in ((1, [10]), (2, [5, 5]), (3, [4, 3, 3]), (4, [3, 3, 2, 2])):
        quote = await quoted(client, me, {"task_type": "text2img", "parameters": {"count": count}})
        assert (quote["price"], quote["per_work"]) == (10, shares)


async def test_a_quote_holds_and_stores_nothing(client: httpx.AsyncClient, token: Token, conninfo: str) -> None:
    user, me = await token()
    events = one(conninfo, "select count(*) from stored_events")
    await quoted(client, me, {"task_type": "text2video", "prompt": "a cat"})
    assert one(conninfo, "select count(*) from stored_events") == events
    account = rows(conninfo, "select available, held from credit_accounts where user_id = %s", (user["uuid"],))
    assert account == [(100, 0)]


async def test_what_cannot_be_paid_is_quoted_and_said(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    for spend, affordable in ((50, True), (1, False)):
        body = {"amount": spend, "description": "x"}
        assert (await client.post("/api/credits/consume", json=body, headers=me)).status_code == 200
        quote = await quoted(client, me, {"task_type": "text2video"})
        assert (quote["affordable"], quote["price"]) == (affordable, 50)
    assert quote["available"] == 49
    refused = await client.post("/api/v1/generate/text-to-video", json={"prompt": "a cat"}, headers=me)
    assert refused.json()["data"]["error"] == "INSUFFICIENT_CREDITS"


async def test_the_time_is_told_once_there_is_something_to_tell_from(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    await pictures(client, me)
    quote = await quoted(client, me, {"task_type": "text2img"})
    assert quote["estimated_seconds"] >= 1
    assert (await quoted(client, me, {"task_type": "text2video"}))["estimated_seconds"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "task_type"),
        ({"task_type": "image"}, "task_type"),
        ({"task_type": "text2img", "prompt": ""}, "prompt"),
        ({"task_type": "text2img", "prompt": " \n"}, "prompt"),
        ({"task_type": "text2img", "prompt": "x" * 4001}, "prompt"),
        ({"task_type": "text2img", "negative_prompt": "x" * 4001}, "negative_prompt"),
        ({"task_type": "text2img", "parameters": {"count": 5}}, "parameters.count"),
        ({"task_type": "text2img", "parameters": {"count": 1.0}}, "parameters.count"),
        ({"task_type": "text2img", "parameters": []}, "parameters"),
        ({"task_type": "text2img", "model_name": "dall-e"}, "model_name"),
        ({"task_type": "text2img", "model_provider": "openai"}, "model_provider"),
        ({"task_type": "img2img", "source_image_url": "ftp://example.com/x"}, "source_image_url"),
        ({"task_type": "img2img", "source_image_url": "http://mintage.test/files/x.png"}, "source_image_url"),
    ],
)
async def test_what_is_given_is_checked_alike(
    client: httpx.AsyncClient, token: Token, body: dict[str, Any], field: str
) -> None:
    _, me = await token()
    reply = await client.post("/api/v1/generate/quote", json=body, headers=me)
    assert (reply.status_code, list(reply.json()["data"]["fields"])) == (400, [field])


async def test_nobody_unknown_is_quoted_anything(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/generate/quote", json={"task_type": "text2img"})).status_code == 401
    assert (await client.get("/api/v1/models")).status_code == 401


CATALOGUE = """
[money]
credits_per_yuan = 10
signup_bonus = 100
referral_bonus_referrer = 0
referral_bonus_newcomer = 0

[providers.cloud]
kind = "stability"
base_url = "https://canary-base.example"
key = "CANARY_KEY"
options = { canary = "canary-option" }

[[models]]
provider = "stability"
name = "core"
renderer = "cloud"
upstream = "canary-upstream"
tasks = ["text2img", "img2img"]
price = 7

[models.parameters]
seed = { type = "integer", min = 0, max = 9 }
strength = { type = "number", min = 0.5, default = 0.7 }
style = { type = "string", choices = ["a", "b"], default = "a" }

[[models]]
provider = "house"
name = "films"
renderer = "builtin"
tasks = ["text2video"]
price = 50
"""


async def test_every_model_is_told_with_all_that_a_request_may_say(
    client: httpx.AsyncClient, token: Token, services: Services
) -> None:
    _, me = await token()
    models = (await client.get("/api/v1/models", headers=me)).json()["data"]["list"]
    assert [(model["provider"], model["name"], model["price"]) for model in models] == [
        (model.provider, model.name, model.price) for model in services.catalogue.models
    ]
    assert {(model["renderer"], model["builtin"]) for model in models} == {("builtin", True)}
    for model in models:
        bounds = model["parameters"]
        defaults = {name: one["default"] for name, one in bounds.items() if one["default"] is not None}
        for task_type in model["task_types"]:
            named = {"model_provider": model["provider"], "model_name": model["name"]}
            quote = await quoted(client, me, {"task_type": task_type, **named})
            assert (quote["price"], quote["parameters"]) == (model["price"], defaults)


async def test_where_a_model_is_served_and_with_whose_key_stays_with_us(
    client: httpx.AsyncClient, token: Token, services: Services
) -> None:
    _, me = await token()
    catalogue = msgspec.convert(tomllib.loads(CATALOGUE), Catalogue)
    app = cast(Any, create_app(msgspec.structs.replace(services, catalogue=catalogue)))
    async with httpx.AsyncClient(transport=Checked(httpx.ASGITransport(app=app)), base_url=BASE_URL) as other:
        reply = await other.get("/api/v1/models", headers=me)
    assert "canary" not in reply.text.lower()
    none = {"min": None, "max": None, "choices": None, "default": None}
    assert reply.json()["data"]["list"] == [
        {
            "provider": "stability",
            "name": "core",
            "task_types": ["text2img", "img2img"],
            "price": 7,
            "renderer": "cloud",
            "builtin": False,
            "parameters": {
                "seed": {**none, "type": "integer", "min": 0, "max": 9},
                "strength": {**none, "type": "number", "min": 0.5, "default": 0.7},
                "style": {**none, "type": "string", "choices": ["a", "b"], "default": "a"},
            },
        },
        {
            "provider": "house",
            "name": "films",
            "task_types": ["text2video"],
            "price": 50,
            "renderer": "builtin",
            "builtin": True,
            "parameters": {},
        },
    ]

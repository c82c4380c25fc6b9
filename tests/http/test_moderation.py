"""A refused prompt is named in both documents, holds nothing, is stored nowhere and is in no log."""

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from mintage.infra.settings import Settings, SettingsRefused, read_settings
from tests.conftest import Token
from tests.infra.kit import one, rows

REFUSED = "a Honey-Badger, 小獾 canary"
ASKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/v1/generate/text-to-image", {}),
    ("/api/v1/generate/image-to-image", {"source_image_url": "https://example.com/x.png"}),
    ("/api/v1/generate/text-to-video", {}),
    ("/api/v1/generate/image-to-video", {"source_image_url": "https://example.com/x.png"}),
    ("/api/v1/generate/quote", {"task_type": "text2img"}),
    ("/api/images/generate", {"style": "watercolor"}),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    words = tmp_path / "words.txt"
    words.write_text("# no badgers\nhoney badger\n獾子\n", encoding="utf-8")
    return Settings(data_dir=tmp_path / "data", moderation_words=words)


@pytest.mark.parametrize(("path", "more"), ASKS, ids=[path for path, _ in ASKS])
async def test_it_holds_nothing_and_is_kept_nowhere(
    client: httpx.AsyncClient, token: Token, conninfo: str, caplog: pytest.LogCaptureFixture, path: str, more: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    user, me = await token()
    before = one(conninfo, "select count(*) from stored_events")
    keyed = {**me, "Idempotency-Key": "once"}
    reply = await client.post(path, json={"prompt": REFUSED, **more}, headers=keyed)
    assert reply.status_code == 400, reply.text
    told = reply.json()["data"] if path.startswith("/api/v1") else reply.json()
    assert told["error"] == "CONTENT_REFUSED"
    fields = told["fields"] if path.startswith("/api/v1") else told["details"]["fields"]
    assert fields == {"prompt": "含有不允许的内容"}
    assert reply.json()["message"] == "提示词含有不允许的内容"
    english = await client.post(path, json={"prompt": REFUSED, **more}, headers={**me, "Accept-Language": "en"})
    assert english.json()["message"] == "The prompt asks for what is not made here"
    assert one(conninfo, "select count(*) from stored_events") == before
    for table in ("tasks", "works", "queue", "receipts"):
        assert rows(conninfo, f"select 1 from {table}") == []
    account = rows(conninfo, "select available, held from credit_accounts where user_id = %s", (user["uuid"],))
    assert account == [(100, 0)]
    assert "anary" not in caplog.text + reply.text
    # The key is as good as new.
    allowed = await client.post(path, json={"prompt": "[fail] a cat", **more}, headers=keyed)
    assert allowed.status_code in {200, 502}, allowed.text


async def test_what_is_not_to_be_seen_may_be_named(client: httpx.AsyncClient, token: Token) -> None:
    _, me = await token()
    body = {"prompt": "[fail] a cat", "negative_prompt": "honey badger"}
    assert (await client.post("/api/v1/generate/text-to-image", json=body, headers=me)).status_code == 200


def test_a_list_that_is_not_there_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused, match="MINTAGE_MODERATION_WORDS: there is no file"):
        read_settings({"MINTAGE_MODERATION_WORDS": str(tmp_path / "none.txt")})
    with pytest.raises(SettingsRefused, match="MINTAGE_MODERATION_URL: has to begin with"):
        read_settings({"MINTAGE_MODERATION_URL": "api.openai.com"})

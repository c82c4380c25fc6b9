"""A mail says who it is for and one code, and nothing that anybody else put into it."""

import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from mintage.application.ports import Mail
from mintage.infra.identifiers import new_id
from mintage.infra.mail import Outbox
from tests.conftest import until


async def text_of(folder: Path, name: str | None, to: str = "ann@example.com") -> str:
    outbox = Outbox(folder, new_id, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    outbox.send(Mail(to, "verification", "012345", name, "zh", 600))

    async def come() -> bool:
        return bool(list(folder.glob("*.eml")))

    await until(come)
    mail = message_from_bytes(next(folder.glob("*.eml")).read_bytes(), policy=default)
    assert mail["To"] == to
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize(
    ("name", "greeting"),
    [("小明", "小明您好"), ("Ann-Marie O'Neill", "Ann-Marie O'Neill您好"), (None, "您好")],
)
async def test_a_name_is_greeted(tmp_path: Path, name: str | None, greeting: str) -> None:
    assert (await text_of(tmp_path, name)).startswith(greeting)


@pytest.mark.parametrize("name", ["654321", "Bob 999999", "your code is 1\nhttp://evil.example", "a.example/x"])
async def test_what_is_no_name_stays_out(tmp_path: Path, name: str) -> None:
    text = await text_of(tmp_path, name, to="123456@qq.com")
    assert name not in text
    assert re.findall(r"\d{6,}", text) == ["012345"]

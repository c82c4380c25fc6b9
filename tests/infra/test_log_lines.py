"""An outage is told once a minute and not once a second, and nothing that was not told before is left out."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from mintage.infra import log_lines
from mintage.infra.log_lines import AGAIN_S, Repeats

_log = logging.getLogger("tests.log_lines")


class Log:
    def __init__(self) -> None:
        self.now = 0.0
        self._text = StringIO()
        self.handler = logging.StreamHandler(self._text)
        self.handler.addFilter(Repeats(lambda: self.now))

    @property
    def lines(self) -> list[str]:
        return self._text.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    kept = Log()
    _log.addHandler(kept.handler)
    _log.setLevel(logging.INFO)
    yield kept
    _log.removeHandler(kept.handler)


def test_the_same_again_is_counted_and_said_after_a_minute(log: Log) -> None:
    for _ in range(5):
        _log.warning("%s is away", "the database")
        log.now += 1
    assert log.lines == ["the database is away"]
    log.now = AGAIN_S
    _log.warning("%s is away", "the database")
    assert log.lines[1:] == ["the database is away (and 4 times more since it was last said)"]
    log.now += AGAIN_S
    _log.warning("%s is away", "the database")
    assert log.lines[2:] == ["the database is away"]


def test_anything_else_is_said_at_once(log: Log) -> None:
    for what in ("one", "other"):
        _log.warning("%s is away", what)
        _log.info("work goes on")
    for error in (ValueError("a"), ValueError("b")):
        try:
            raise error
        except ValueError:
            _log.exception("unforeseen")
    assert log.lines[:4] == ["one is away", "work goes on", "other is away", "work goes on"]
    assert log.lines.count("unforeseen") == 2


def test_memory_is_bounded(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "KEPT_MAX", 3)
    for number in range(4):
        _log.warning("%d", number)
    _log.warning("0")
    assert log.lines == ["0", "1", "2", "3", "0"]

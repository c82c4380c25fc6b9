"""Words that nobody may ask for, found however they are written."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from mintage.application.ports.moderation import Moderation
from mintage.domain.generation.events import TaskType

# Scripts that put no spaces between words: there a word is found wherever it stands.
_UNSPACED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOGETHER: Final = re.compile(rf"[{_UNSPACED}]{{2}}")
_GAP: Final = re.compile(rf"(?<=[{_UNSPACED}])\s+(?=[{_UNSPACED}])")
"""Blanks where none need be: a prompt is looked at without them."""
# What Unicode calls default ignorable, beside what only formats.
_UNSEEN: Final = re.compile(
    r"[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_LETTER: Final = rf"[^\W_{_UNSPACED}]"
"""A letter or digit of a script in which words stand apart."""


def words_in(text: str) -> list[str]:
    """The words and phrases of a list, one a line; ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


class WordList:
    """Implements ``ports.moderation.Moderation``: a prompt is refused that has one of the words.

    The negative prompt says what is not to be seen, and may name anything.
    """

    def __init__(self, words: Iterable[str]) -> None:
        patterns = [_pattern(plain) for word in words if (plain := _plain(word))]
        self._found = re.compile("|".join(patterns)).search if patterns else None

    async def refuses(
        self,
        prompt: str,
        negative_prompt: str | None,  # noqa: ARG002
        *,
        task_type: TaskType,  # noqa: ARG002
        user_id: str,  # noqa: ARG002
    ) -> bool:
        return self._found is not None and self._found(_GAP.sub("", _plain(prompt))) is not None


class Each:
    """Implements ``ports.moderation.Moderation``: refuses what the first of several does that refuses anything."""

    def __init__(self, several: Sequence[Moderation]) -> None:
        self._several = several

    async def refuses(self, prompt: str, negative_prompt: str | None, *, task_type: TaskType, user_id: str) -> bool:
        for one in self._several:
            if await one.refuses(prompt, negative_prompt, task_type=task_type, user_id=user_id):
                return True
        return False


NOTHING_REFUSED: Final = WordList(())


def _plain(text: str) -> str:
    """The same without what looks alike or cannot be seen: widths, cases, and characters that show nothing."""
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    seen = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", seen.casefold()).strip()


def _pattern(word: str) -> str:
    """A whole word where words stand apart; between the words of a phrase may be anything but letters, or nothing where
    nothing need be."""
    first, *others = word.split()
    phrase = re.escape(first)
    for last, part in pairwise((first, *others)):
        between = "*" if _TOGETHER.fullmatch(last[-1] + part[0]) else "+"
        phrase += rf"[\W_]{between}{re.escape(part)}"
    before = rf"(?<!{_LETTER})" if re.match(_LETTER, word) else ""
    after = rf"(?!{_LETTER})" if re.match(_LETTER, word[-1]) else ""
    return f"{before}{phrase}{after}"

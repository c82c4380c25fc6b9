"""Every message is said in Chinese, or in English to who prefers it."""

from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

Language: TypeAlias = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")


class Text(NamedTuple):
    """One message in both languages; ``{name}`` stands for a value."""

    zh: str
    en: str

    def to(self, language: Language, **values: object) -> str:
        text = self.en if language == "en" else self.zh
        return text.format(**values) if values else text


@lru_cache(maxsize=256)
def language_of(accept_language: bytes) -> Language:
    """Whichever of the two the header likes better, the first of equals; Chinese if it names neither."""
    best: Language = "zh"
    best_quality = 0.0
    for part in accept_language.decode("latin-1").lower().split(","):
        tag, _, parameter = part.partition(";")
        primary = tag.strip().partition("-")[0]
        quality = _quality(parameter)
        if quality > best_quality and (primary in {"zh", "en"}):
            best, best_quality = ("en" if primary == "en" else "zh"), quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0

"""The customer's two documents as they were written, read as data."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

FOLDER: Final = Path(__file__).parent
Kind = Literal["body", "reply", "failure"]

_KINDS: Final[dict[str, Kind]] = {
    "请求体": "body",
    "请求包": "body",
    "响应": "reply",
    "回包": "reply",
    "错误回包": "failure",
}
_HEADING: Final = re.compile(r"^#{3,4} (?:[\d.]+ )?(.+)$")
_ENDPOINT: Final = re.compile(r"^(?:- \*\*)?(GET|POST|PUT|DELETE)(?:\*\*)? `?(/api\S*?)`?$")
_LABEL: Final = re.compile(r"^(?:- )?\*\*(\w+).*?\*\*[:：]?\s*$")
_COMMENT: Final = re.compile(r"\s*// (.*)$", re.MULTILINE)
_OPTIONAL: Final = re.compile(r'^\s*"(\w+)":.*// .*可选', re.MULTILINE)
_CODE: Final = re.compile(r"^- `(\w+)`(?:: | - )(.+)$", re.MULTILINE)


class Endpoint(NamedTuple):
    """One heading that names a method and a path; ``optional`` are the fields that the examples call so."""

    document: str
    heading: str
    method: str
    path: str
    examples: dict[Kind, Any]
    optional: frozenset[str]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


def text(document: str) -> str:
    return (FOLDER / f"document-{document}.md").read_text(encoding="utf-8")


def endpoints(document: str) -> Iterator[Endpoint]:
    """Every heading that describes an endpoint, in the document's order."""
    for section in re.split(r"(?=^#{2,4} )", text(document), flags=re.MULTILINE):
        lines = section.splitlines()
        heading = _HEADING.match(lines[0])
        calls = [found for line in lines if (found := _ENDPOINT.match(line))]
        if heading is not None and calls:
            method, path = calls[0].groups()
            optional = frozenset(_OPTIONAL.findall(section))
            yield Endpoint(document, heading.group(1), method, path, dict(_examples(lines)), optional)


def _examples(lines: list[str]) -> Iterator[tuple[Kind, Any]]:
    label = ""
    block: list[str] | None = None
    for line in lines:
        if line == "```json":
            block = []
        elif line == "```" and block is not None:
            if label in _KINDS:
                yield _KINDS[label], parsed("\n".join(block))
            block = None
        elif block is not None:
            block.append(line)
        elif found := _LABEL.match(line):
            label = found.group(1)


def parsed(block: str) -> Any:
    """An example as JSON, without its comments."""
    return json.loads(_COMMENT.sub("", block))


def block(document: str, after: str, language: str) -> str:
    """The first block in this language below a heading."""
    _, _, below = text(document).partition(after)
    found = re.search(rf"^```{language}\n(.*?)^```", below, re.MULTILINE | re.DOTALL)
    assert found is not None, after
    return found.group(1)


def codes(document: str, after: str) -> dict[str, str]:
    """The list of codes below a heading, each with its meaning."""
    _, _, below = text(document).partition(after)
    return dict(_CODE.findall(below.partition("\n##")[0]))

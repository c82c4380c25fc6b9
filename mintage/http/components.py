"""The parts of an OpenAPI document that are the same whatever it describes."""

from typing import Any, Final, TypeAlias

from mintage.http.calls import KEY, KEY_PATTERN

Schema: TypeAlias = dict[str, Any]

IDEMPOTENCY_KEY: Final[Schema] = {
    "name": KEY,
    "in": "header",
    "description": "重复请求的标识：同一标识只生效一次。The repeat of a request with its key has no further effect.",
    "schema": {"type": "string", "pattern": f"^{KEY_PATTERN}$"},
}
EVENT_ID: Final = "Last-Event-ID"
EVENT_ID_PATTERN: Final = "(0|[1-9][0-9]{0,8})-(100|[1-9]?[0-9])"
LAST_EVENT: Final[Schema] = {
    "name": EVENT_ID,
    "in": "header",
    "description": (
        "上次收到的事件的 id，从其后继续；`0-0` 为从头。"
        "The id of the last event that was seen, to go on after it; `0-0` is from the beginning."
    ),
    "schema": {"type": "string", "pattern": f"^{EVENT_ID_PATTERN}$"},
}
FORM: Final[Schema] = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}
FILE: Final[Schema] = {"schema": {"type": "string", "format": "binary"}}
HEADERS: Final[Schema] = {
    "IdempotencyReplayed": {
        "description": "这是首次请求的回复。This is the reply to the first request with the key.",
        "schema": {"const": "true"},
    },
    "RetryAfter": {
        "description": "请在若干秒后重试。Seconds to wait.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWWAuthenticate": {"required": True, "schema": {"const": "Bearer"}},
    "ContentDisposition": {
        "description": "文件名，JSON 没有。The name of a file; JSON has none.",
        "schema": {"type": "string", "pattern": '^attachment; filename="[a-z0-9.-]+"$'},
    },
}
STATUS_HEADERS: Final = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}

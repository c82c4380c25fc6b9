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

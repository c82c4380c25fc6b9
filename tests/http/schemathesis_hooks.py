"""What schemathesis loads beside its configuration."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    """JSON Schema calls 10.0 an integer and cannot say otherwise; the documents' integers are written without a dot."""
    match body:
        case float() if body.is_integer():
            return int(body)
        case list():
            return [map_body(_, one) for one in body]
        case dict():
            return {name: map_body(_, one) for name, one in body.items()}
        case _:
            return body

"""The envelope of document-server."""

from typing import Any, Final

import msgspec
from litestar import Response

from mintage.http.calls import Call
from mintage.http.components import Schema
from mintage.http.failures import Answer, Problem
from mintage.http.languages import Language, Text
from mintage.http.openapi import object_of
from mintage.http.replies import Json

_encode: Final = msgspec.json.Encoder().encode


class Shown(msgspec.Struct, frozen=True):
    success: bool
    data: Any


class Done(msgspec.Struct, frozen=True):
    """``data`` may be unset: the document shows some replies without."""

    success: bool
    data: Any
    message: str


def body(data: object, language: Language, message: Text) -> bytes:
    return _encode(Done(True, data, message.to(language)))


def shown(data: object) -> Json:
    """What a GET brings; those carry no message."""
    return Json(_encode(Shown(True, data)))


def done(call: Call, data: object, message: Text, *, status: int = 200) -> Json:
    return Json(body(data, call.language, message), status)


def success_schema(method: str, data: Schema | None) -> Schema:
    properties: Schema = {"success": {"const": True}}
    if data is not None:
        properties["data"] = data
    if method != "GET":
        properties["message"] = {"type": "string"}
    return object_of(properties)


def failure_schema(answer: Answer, details: Schema) -> Schema:
    schema = object_of(
        {
            "success": {"const": False},
            "error": {"const": answer.error},
            "message": {"type": "string", "examples": list(answer.message)},
        }
    )
    if "properties" in details:
        schema["properties"][_details(answer)] = details
        schema["required"] += [_details(answer)] if details.get("required") else []
    return schema


def _details(answer: Answer) -> str:
    # The document shows its one failure with ``data`` beside all those with ``details``.
    return "data" if answer.error == "EMAIL_NOT_VERIFIED" else "details"


def failure(problem: Problem) -> Response[bytes]:
    answer = problem.answer
    content: dict[str, Any] = {"success": False, "error": answer.error, "message": problem.message}
    if problem.details:
        content[_details(answer)] = problem.details
    headers = dict(problem.headers)
    if answer.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_encode(content), status_code=answer.status, headers=headers, media_type="application/json")

"""The envelope of document-v1."""

from typing import Any, Final

import msgspec
from litestar import Response

from mintage.http import messages
from mintage.http.calls import Call
from mintage.http.components import Schema
from mintage.http.failures import Answer, Problem
from mintage.http.languages import Language, Text
from mintage.http.openapi import object_of
from mintage.http.replies import Json

_encode: Final = msgspec.json.Encoder().encode


class Envelope(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: Any


def body(data: object, language: Language, message: Text = messages.SUCCESS) -> bytes:
    return _encode(Envelope(0, message.to(language), data))


def ok(call: Call, data: object, message: Text = messages.SUCCESS) -> Json:
    return Json(body(data, call.language, message))


def success_schema(_: str, data: Schema | None) -> Schema:
    return object_of({"code": {"const": 0}, "message": {"type": "string"}, "data": data or {"type": "null"}})


def message_of(answer: Answer) -> Text:
    return answer.v1_message or answer.message


def failure_schema(answer: Answer, details: Schema) -> Schema:
    data = object_of({"error": {"const": answer.error}})
    data["properties"] |= details.get("properties", {})
    data["required"] += details.get("required", [])
    return object_of(
        {
            "code": {"const": answer.v1},
            "message": {"type": "string", "examples": list(message_of(answer))},
            "data": data,
        }
    )


def failure(problem: Problem) -> Response[bytes]:
    answer = problem.answer
    content = _encode(Envelope(answer.v1, problem.v1_message, {"error": answer.error, **problem.details}))
    headers = dict(problem.headers)
    if answer.v1 == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(content, status_code=answer.v1, headers=headers, media_type="application/json")

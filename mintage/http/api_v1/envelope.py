"""The envelope of document-v1."""

from typing import Any, Final

import msgspec
from litestar import Response

from mintage.http import messages
from mintage.http.calls import Call
from mintage.http.failures import Problem
from mintage.http.languages import Language, Text
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


def failure(problem: Problem) -> Response[bytes]:
    answer = problem.answer
    content = _encode(Envelope(answer.v1, problem.v1_message, {"error": answer.error, **problem.details}))
    headers = dict(problem.headers)
    if answer.v1 == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(content, status_code=answer.v1, headers=headers, media_type="application/json")

"""The envelope of document-server."""

from typing import Any, Final

import msgspec
from litestar import Response

from mintage.http.calls import Call
from mintage.http.failures import Problem
from mintage.http.languages import Language, Text
from mintage.http.replies import Json

_encode: Final = msgspec.json.Encoder().encode


class Shown(msgspec.Struct, frozen=True):
    success: bool
    data: Any


class Done(msgspec.Struct, frozen=True):
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


def failure(problem: Problem) -> Response[bytes]:
    answer = problem.answer
    content: dict[str, Any] = {"success": False, "error": answer.error, "message": problem.message}
    if problem.details:
        # The document shows its one failure with ``data`` beside all those with ``details``.
        content["data" if answer.error == "EMAIL_NOT_VERIFIED" else "details"] = problem.details
    headers = dict(problem.headers)
    if answer.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_encode(content), status_code=answer.status, headers=headers, media_type="application/json")

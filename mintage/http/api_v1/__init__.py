"""document-v1.md, served under /api/v1: ``{code, message, data}``, where a failure's code is its HTTP status."""

from typing import Final

from litestar import Router

from mintage.http.api_v1.auth import AuthController
from mintage.http.api_v1.characters import CharacterController
from mintage.http.api_v1.envelope import failure_schema, message_of, success_schema
from mintage.http.api_v1.generate import GenerateController
from mintage.http.api_v1.models import ModelController
from mintage.http.api_v1.users import UserController
from mintage.http.api_v1.webhooks import WebhookController
from mintage.http.api_v1.works import WorkController
from mintage.http.openapi import Dialect, examples_of

PREFIX: Final = "/api/v1"
DIALECT: Final = Dialect(
    title="后端API接口文档",
    description=(
        "成功为 HTTP 200 与 `code` 0；失败时 HTTP 状态等于 `code`，`data.error` 供程序判断。"
        "`Accept-Language: en` 得到英文消息。未知字段被忽略。\n\n"
        "Success is HTTP 200 with `code` 0. A failure's HTTP status is its `code`, and `data.error` is for programs. "
        "Messages are English with `Accept-Language: en`. Unknown fields are ignored."
    ),
    success=success_schema,
    failure=failure_schema,
    status=lambda answer: answer.v1,
    message=message_of,
    examples=examples_of(__package__),
)


def router() -> Router:
    return Router(
        PREFIX,
        route_handlers=[
            AuthController,
            UserController,
            WorkController,
            CharacterController,
            ModelController,
            GenerateController,
            WebhookController,
        ],
    )

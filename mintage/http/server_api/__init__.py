"""document-server.md, served under /api: ``{success, data, message}`` or ``{success, error, message, details}``."""

from typing import Final

from litestar import Router

from mintage.http.openapi import Dialect, examples_of
from mintage.http.server_api.admin import AdminController
from mintage.http.server_api.auth import AuthController
from mintage.http.server_api.credits import CreditController
from mintage.http.server_api.envelope import failure_schema, success_schema
from mintage.http.server_api.finance import FinanceController
from mintage.http.server_api.finance_acts import FinanceActController
from mintage.http.server_api.google import GoogleController
from mintage.http.server_api.images import ImageController
from mintage.http.server_api.user import UserController

DIALECT: Final = Dialect(
    title="服务器接口规范文档",
    description=(
        "成功为 HTTP 200 与 `success` true，202 表示仍在处理；失败时 `error` 供程序判断，`details` 为详细错误信息。"
        "`Accept-Language: en` 得到英文消息。未知字段被忽略。\n\n"
        "Success is HTTP 200 with `success` true, or 202 where work goes on. A failure's `error` is for programs. "
        "Messages are English with `Accept-Language: en`. Unknown fields are ignored."
    ),
    success=success_schema,
    failure=failure_schema,
    status=lambda answer: answer.status,
    message=lambda answer: answer.message,
    examples=examples_of(__package__),
)


def router() -> Router:
    return Router(
        "/api",
        route_handlers=[
            AuthController,
            GoogleController,
            CreditController,
            ImageController,
            UserController,
            AdminController,
            FinanceController,
            FinanceActController,
        ],
    )

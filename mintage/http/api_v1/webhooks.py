"""/api/v1/webhooks: where people want to hear what happens, and what became of each message."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from mintage.application.refusals import DeliveryUnknown, RateLimited, SecretsStillCount
from mintage.application.services import Services
from mintage.domain.urls import URL_MAX, public_https_url_of
from mintage.domain.webhook.decider import TooManyWebhooks, WebhookOff
from mintage.http import messages
from mintage.http.api_v1.envelope import ok
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import Form
from mintage.http.kinds import HTTPS_PATTERN, Moment, Uuid
from mintage.http.operations import Operation
from mintage.http.queries import Choice, Paging, id_of
from mintage.http.replies import Json
from mintage.http.times import whole, whole_or_none
from mintage.projections.deliveries import STATUSES, Delivery, deliveries_of
from mintage.projections.outbox import EventType
from mintage.projections.webhooks import Webhook, webhooks_of

PAGE: Final = Paging("pageSize")
STATUS: Final = Choice("status", STATUSES)

HttpsUrl = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": HTTPS_PATTERN, "maxLength": URL_MAX})]

DeliveryStatus = Annotated[str, msgspec.Meta(extra_json_schema={"enum": STATUSES})]


class NewWebhook(msgspec.Struct, frozen=True):
    url: HttpsUrl
    event_types: list[EventType] = []


class WebhookChange(msgspec.Struct, frozen=True):
    """What is absent stays."""

    url: HttpsUrl | UnsetType = UNSET
    event_types: list[EventType] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """``event_types`` are what it is told of, everything there is if none is named; ``secret`` is shown once."""

    id: int
    uuid: Uuid
    url: Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^[Hh][Tt][Tt][Pp][Ss]:"})]
    event_types: list[str]
    enabled: bool
    disabled_reason: str | None
    secret: str | None
    created_at: Moment
    updated_at: Moment


class WebhookList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[WebhookView]
    total: int
    page: int
    page_size: int


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One try: the HTTP ``status`` that was answered, or the ``error`` in place of an answer."""

    at: Moment
    status: int | None
    error: str | None
    duration_ms: int


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """``id`` is the message's ``webhook-id``, the same in every try; ``attempts`` are the latest, oldest first."""

    id: Uuid
    event_type: str
    task_uuid: Uuid | None
    status: DeliveryStatus
    happened_at: Moment
    next_attempt_at: Moment | None
    attempts: list[AttemptView]


class DeliveryList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[DeliveryView]
    total: int
    page: int
    page_size: int


NEW_WEBHOOK: Final = Body(NewWebhook)
WEBHOOK_CHANGE: Final = Body(WebhookChange)


class WebhookController(Controller):
    path = "/webhooks"
    tags = ("Webhook 接口",)

    @get()
    @Operation("获取 Webhook 列表", WebhookList, query=(PAGE,))
    async def list_webhooks(self, request: Call) -> Json:
        """Newest first."""
        caller, page, services = await request.caller(), request.query.page(PAGE), request.services
        webhooks, total = await webhooks_of(services.db, caller.user_id, limit=page.size, offset=page.offset)
        return ok(request, WebhookList([_view(webhook) for webhook in webhooks], total, page.number, page.size))

    @post(status_code=200)
    @Operation("创建 Webhook", WebhookView, body=NEW_WEBHOOK, refusals=(TooManyWebhooks,))
    async def create(self, request: Call) -> Json:
        """``secret`` is what messages are signed with (Standard Webhooks). It is never shown again."""
        caller, asked, services = await request.caller(), await request.read(NEW_WEBHOOK), request.services
        url = _url(asked.url)
        webhook_id = await services.webhooks.register(
            caller.user_id, url=url, event_types=tuple(dict.fromkeys(asked.event_types))
        )
        return ok(request, await _with_secret(services, caller.user_id, webhook_id), messages.CREATED)

    @get("/{webhook_id:str}")
    @Operation("获取 Webhook 详情", WebhookView)
    async def show(self, request: Call, webhook_id: FromPath[str]) -> Json:
        caller = await request.caller()
        return ok(request, _view(await request.services.webhooks.one(caller.user_id, id_of(webhook_id))))

    @put("/{webhook_id:str}")
    @Operation("更新 Webhook", WebhookView, body=WEBHOOK_CHANGE)
    async def change(self, request: Call, webhook_id: FromPath[str]) -> Json:
        """What is absent stays. A webhook that was disabled is told again with ``enabled`` true."""
        caller, asked, services = await request.caller(), await request.read(WEBHOOK_CHANGE), request.services
        url = _url(asked.url) if isinstance(asked.url, str) else UNSET
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        wanted = asked.event_types
        await services.webhooks.change(
            caller.user_id,
            webhook.webhook_id,
            url=url,
            event_types=UNSET if isinstance(wanted, UnsetType) else tuple(dict.fromkeys(wanted)),
            enabled=asked.enabled,
        )
        changed = await services.webhooks.one(caller.user_id, webhook.webhook_id)
        return ok(request, _view(changed), messages.CHANGED)

    @delete("/{webhook_id:str}", status_code=200)
    @Operation("删除 Webhook")
    async def delete(self, request: Call, webhook_id: FromPath[str]) -> Json:
        """For good, and with whatever was still to be sent there."""
        caller, services = await request.caller(), request.services
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        await services.webhooks.delete(caller.user_id, webhook.webhook_id)
        return ok(request, None, messages.DELETED)

    @post("/{webhook_id:str}/rotate", status_code=200)
    @Operation("更换 Webhook 密钥", WebhookView, refusals=(SecretsStillCount, RateLimited))
    async def rotate(self, request: Call, webhook_id: FromPath[str]) -> Json:
        """The new ``secret`` is shown once. For 24 hours messages carry the signature of the one before, too."""
        caller, services = await request.caller(), request.services
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        await services.limits.webhook_rotated(caller.user_id)
        await services.webhooks.rotate(caller.user_id, webhook.webhook_id)
        return ok(request, await _with_secret(services, caller.user_id, webhook.webhook_id), messages.SECRET_ROTATED)

    @post("/{webhook_id:str}/test", status_code=200)
    @Operation("发送测试消息", refusals=(WebhookOff, RateLimited))
    async def ping(self, request: Call, webhook_id: FromPath[str]) -> Json:
        """Sends a ``ping``, which is among the deliveries a moment later."""
        caller, services = await request.caller(), request.services
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        await services.limits.webhook_tested(caller.user_id)
        await services.webhooks.ping(caller.user_id, webhook.webhook_id)
        return ok(request, None, messages.PING_SENT)

    @get("/{webhook_id:str}/deliveries")
    @Operation("获取消息列表", DeliveryList, query=(PAGE, STATUS))
    async def list_deliveries(self, request: Call, webhook_id: FromPath[str]) -> Json:
        """Newest first, of the last 30 days."""
        caller, query, services = await request.caller(), request.query, request.services
        page, status = query.page(PAGE), query.choice(STATUS)
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        deliveries, total = await deliveries_of(
            services.db, webhook.webhook_id, status=status, limit=page.size, offset=page.offset
        )
        views = [_delivery_view(delivery) for delivery in deliveries]
        return ok(request, DeliveryList(views, total, page.number, page.size))

    @get("/{webhook_id:str}/deliveries/{delivery_id:str}")
    @Operation("获取消息详情", DeliveryView)
    async def show_delivery(self, request: Call, webhook_id: FromPath[str], delivery_id: FromPath[str]) -> Json:
        caller, services = await request.caller(), request.services
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        return ok(request, _delivery_view(await services.webhooks.delivery(webhook, _uuid_of(delivery_id))))

    @post("/{webhook_id:str}/deliveries/{delivery_id:str}/resend", status_code=200)
    @Operation("重新发送消息", DeliveryView, refusals=(WebhookOff, RateLimited))
    async def resend(self, request: Call, webhook_id: FromPath[str], delivery_id: FromPath[str]) -> Json:
        """Under the id it had, whatever became of it, and with a whole day of tries before it."""
        caller, services = await request.caller(), request.services
        webhook = await services.webhooks.one(caller.user_id, id_of(webhook_id))
        wanted = _uuid_of(delivery_id)
        await services.limits.webhook_resent(caller.user_id)
        delivery = await services.webhooks.resend(webhook, wanted)
        return ok(request, _delivery_view(delivery), messages.RESENT)


def _url(given: str) -> str:
    """The field ``url``. Raises ``InvalidFields``."""
    form = Form()
    url = form.canonical("url", given, public_https_url_of, rule="https")
    form.done()
    return url


def _uuid_of(delivery_id: str) -> str:
    """Messages have no integer ids. Raises ``DeliveryUnknown``, ``NoSuchPath``."""
    given = id_of(delivery_id)
    if isinstance(given, int):
        raise DeliveryUnknown
    return given


async def _with_secret(services: Services, user_id: str, webhook_id: str) -> WebhookView:
    webhook = await services.webhooks.one(user_id, webhook_id)
    return _view(webhook, services.webhooks.secret_of(webhook))


def _view(webhook: Webhook, secret: str | None = None) -> WebhookView:
    return WebhookView(
        id=webhook.number,
        uuid=webhook.webhook_id,
        url=webhook.url,
        event_types=webhook.event_types,
        enabled=webhook.enabled,
        disabled_reason=webhook.disabled_reason,
        secret=secret,
        created_at=whole(webhook.created_at),
        updated_at=whole(webhook.updated_at),
    )


def _delivery_view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        id=delivery.delivery_id,
        event_type=delivery.event_type,
        task_uuid=delivery.subject,
        status=delivery.status,
        happened_at=whole(delivery.at),
        next_attempt_at=whole_or_none(delivery.due_at if delivery.status == "pending" else None),
        attempts=[
            AttemptView(at=whole(one.at), status=one.status, error=one.error, duration_ms=one.duration_ms)
            for one in delivery.latest
        ],
    )

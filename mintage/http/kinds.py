"""Kinds of text that JSON has no type for, as the OpenAPI documents describe them; decoding and encoding ignore it."""

from datetime import datetime
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from mintage.application.people import PASSWORD_MAX
from mintage.domain.fields import UNSEEN
from mintage.domain.urls import URL_MAX
from mintage.http.bodies import CONTROLS

TASK_STATUSES: Final = ("pending", "processing", "completed", "failed", "cancelled")
TASK_TYPES: Final = ("text2img", "img2img", "text2video", "img2video")
WORK_STATUSES: Final = ("processing", "completed", "failed")
WORK_TYPES: Final = ("image", "video")
ADJUSTMENT_STATUSES: Final = ("pending", "applied", "rejected")
DIRECTIONS: Final = ("recharge", "consume")
GATEWAYS: Final = ("wechat", "alipay", "stripe")
URL_PATTERN: Final = r"^https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,4})?(/[!-\[\]-~]*)?$"
"""Without those in other alphabets, which are taken too."""
HTTPS_PATTERN: Final = (
    r"^https://([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(:[1-9][0-9]{0,3})?(/[!-\[\]-~]*)?$"
)
"""Without names in other alphabets and public addresses, which are taken too."""
SEEN: Final = {"pattern": f"^[^{CONTROLS[1:]}*[^{UNSEEN}][^{CONTROLS[1:]}*$"}
"""For texts that have to show something."""
PASSWORD_LEAST: Final = 6
"""An operator may ask for more."""

Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Uuid: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Url: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": "^https?://"})]
TaskStatus: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": TASK_STATUSES})]
TaskType: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": TASK_TYPES})]
WorkStatus: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": WORK_STATUSES})]
WorkType: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": WORK_TYPES})]
AdjustmentStatus: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": ADJUSTMENT_STATUSES})]
Direction: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": DIRECTIONS})]

GivenUuid: TypeAlias = Annotated[
    str, Meta(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", extra_json_schema={"format": "uuid"})
]
"""One that somebody else gave out and that is checked to look like one."""

# What is asked for; the rules are checked field by field where the body is understood.
Email: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "email", "maxLength": 254})]
Phone: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": r"^(\+86)? *1[3-9]( *[0-9]){9}$"})]
NewPassword: TypeAlias = Annotated[
    str, Meta(extra_json_schema={"minLength": PASSWORD_LEAST, "maxLength": PASSWORD_MAX, "format": "password"})
]
PaymentMethod: TypeAlias = Annotated[str, Meta(extra_json_schema={"enum": GATEWAYS})]
WebUrl: TypeAlias = Annotated[str, Meta(extra_json_schema={"pattern": URL_PATTERN, "maxLength": URL_MAX})]

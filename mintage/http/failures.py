"""One table says what every refusal is called, in both documents."""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from litestar.exceptions import HTTPException

from mintage.application.catalogue import UnknownModel
from mintage.application.credentials import WrongOldPassword
from mintage.application.google import NotLinked
from mintage.application.once import KeyReused
from mintage.application.refusals import (
    ContentRefused,
    DeliveryUnknown,
    EmailNotVerified,
    InvalidCode,
    InvalidCredentials,
    NotReversible,
    RateLimited,
    SecretsStillCount,
    TransactionUnknown,
)
from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.adjustment.decider import (
    AdjustmentDecided,
    AdjustmentExists,
    AdjustmentUnknown,
    OwnAccount,
    SecondPersonNeeded,
)
from mintage.domain.character.decider import CharacterExists, CharacterUnknown
from mintage.domain.credits.decider import (
    AlreadyReversed,
    CaptureExceedsHold,
    HoldExists,
    HoldNotOpen,
    InsufficientCredits,
)
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.generation.decider import (
    AttemptSent,
    LeaseLost,
    NothingSent,
    TaskExists,
    TaskOver,
    TaskUnknown,
)
from mintage.domain.recharge.decider import (
    NotPaid,
    PaymentDiffers,
    PaymentUsed,
    RechargeExists,
    RechargeUnknown,
    RefundDiffers,
    RefundExceedsPayment,
    RefundUsed,
)
from mintage.domain.registration.decider import (
    AddressChanged,
    EmailNeeded,
    EmailTaken,
    GoogleTaken,
    PersonExists,
    PersonUnknown,
    PhoneTaken,
    ReferralCodeTaken,
    SessionEnded,
    UsernameTaken,
)
from mintage.domain.webhook.decider import TooManyWebhooks, WebhookExists, WebhookOff, WebhookUnknown
from mintage.domain.work.decider import WorkExists, WorkInTheMaking, WorkNotYours, WorkOver, WorkUnknown
from mintage.http import messages
from mintage.http.languages import Language, Text
from mintage.http.messages import sentence
from mintage.http.refusals import Forbidden, GenerationFailed, NoSuchPath, Unauthorized

_log = logging.getLogger(__name__)

Details = Callable[[Any, Language], dict[str, Any]]


class Answer(msgspec.Struct, frozen=True):
    """What a refusal is answered with: the server document's code and status, v1's code, which is its status too."""

    error: str
    status: int
    v1: int
    message: Text
    details: Details = lambda _, __: {}
    v1_message: Text | None = None


class Problem(msgspec.Struct, frozen=True):
    """A refusal as it is about to be told, in the caller's language."""

    answer: Answer
    language: Language
    details: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        return self.answer.message.to(self.language)

    @property
    def v1_message(self) -> str:
        return (self.answer.v1_message or self.answer.message).to(self.language)


def _fields(refusal: InvalidFields, language: Language) -> dict[str, Any]:
    return {"fields": {name: sentence(reason, language) for name, reason in refusal.fields.items()}}


def _field(name: str, reason: Reason | Callable[[Any], Reason]) -> Details:
    """For a refusal that is always about the same field; the reason may depend on what it carries."""
    reason_of = reason if callable(reason) else lambda _: reason
    return lambda refusal, language: {"fields": {name: sentence(reason_of(refusal), language)}}


_TAKEN: Final = Reason("taken")

_VALIDATION: Final = Answer("VALIDATION_ERROR", 400, 400, messages.VALIDATION, _fields, messages.V1_VALIDATION)
_UNAUTHORIZED: Final = Answer("UNAUTHORIZED", 401, 401, messages.UNAUTHORIZED, v1_message=messages.V1_UNAUTHORIZED)
_FORBIDDEN: Final = Answer("FORBIDDEN", 403, 403, messages.FORBIDDEN)
_NOT_FOUND: Final = Answer("NOT_FOUND", 404, 404, messages.NOT_FOUND)
_CONFLICT: Final = Answer("CONFLICT", 409, 400, messages.CONFLICT)
_UNAVAILABLE: Final = Answer("SERVICE_UNAVAILABLE", 503, 503, messages.UNAVAILABLE)
INTERNAL: Final = Answer("INTERNAL_ERROR", 500, 500, messages.INTERNAL, v1_message=messages.V1_INTERNAL)
TOO_LARGE: Final = Answer("PAYLOAD_TOO_LARGE", 413, 413, messages.TOO_LARGE)

ANSWERS: Final[dict[type[Exception], Answer]] = {
    InvalidFields: _VALIDATION,
    UnknownModel: msgspec.structs.replace(
        _VALIDATION,
        details=lambda refusal, language: {"fields": {refusal.field: sentence(Reason("unknown"), language)}},
    ),
    Unauthorized: _UNAUTHORIZED,
    SessionEnded: _UNAUTHORIZED,
    Forbidden: _FORBIDDEN,
    PersonUnknown: Answer("USER_NOT_FOUND", 404, 401, messages.USER_NOT_FOUND),
    InvalidCredentials: Answer("INVALID_CREDENTIALS", 401, 401, messages.INVALID_CREDENTIALS),
    EmailNotVerified: Answer(
        "EMAIL_NOT_VERIFIED", 403, 403, messages.EMAIL_NOT_VERIFIED, lambda refusal, _: {"email": refusal.email}
    ),
    InvalidCode: Answer("INVALID_VERIFICATION_CODE", 400, 400, messages.INVALID_CODE),
    EmailTaken: Answer("EMAIL_ALREADY_EXISTS", 409, 400, messages.EMAIL_EXISTS, _field("email", _TAKEN)),
    UsernameTaken: Answer("CONFLICT", 409, 400, messages.USERNAME_EXISTS, _field("username", _TAKEN)),
    PhoneTaken: Answer("CONFLICT", 409, 400, messages.PHONE_EXISTS, _field("phone", _TAKEN)),
    NotLinked: Answer("CONFLICT", 409, 400, messages.NOT_LINKED),
    GoogleTaken: Answer("CONFLICT", 409, 400, messages.GOOGLE_TAKEN),
    EmailNeeded: msgspec.structs.replace(_VALIDATION, details=_field("email", Reason("login"))),
    AddressChanged: _CONFLICT,
    WrongOldPassword: Answer(
        "VALIDATION_ERROR", 400, 400, messages.WRONG_OLD_PASSWORD, _field("oldPassword", Reason("wrong"))
    ),
    InsufficientCredits: Answer(
        "INSUFFICIENT_CREDITS",
        402,
        400,
        messages.INSUFFICIENT,
        lambda refusal, _: {"required": refusal.required, "available": refusal.available},
    ),
    ContentRefused: Answer("CONTENT_REFUSED", 400, 400, messages.CONTENT_REFUSED, _field("prompt", Reason("refused"))),
    RateLimited: Answer("RATE_LIMITED", 429, 429, messages.RATE_LIMITED),
    KeyReused: Answer("IDEMPOTENCY_KEY_REUSED", 409, 400, messages.KEY_REUSED),
    TaskUnknown: _NOT_FOUND,
    TaskOver: Answer("CONFLICT", 409, 400, messages.TASK_OVER, lambda refusal, _: {"status": refusal.status}),
    GenerationFailed: Answer(
        "GENERATION_FAILED",
        502,
        500,
        messages.GENERATION_FAILED,
        lambda refusal, _: {"task_id": refusal.task_id, "reason": refusal.reason},
    ),
    WorkUnknown: _NOT_FOUND,
    WorkOver: _CONFLICT,
    WorkNotYours: _FORBIDDEN,
    WorkInTheMaking: Answer("CONFLICT", 409, 400, messages.WORK_IN_THE_MAKING),
    CharacterUnknown: _NOT_FOUND,
    WebhookUnknown: _NOT_FOUND,
    DeliveryUnknown: _NOT_FOUND,
    TooManyWebhooks: Answer("CONFLICT", 409, 400, messages.WEBHOOKS_FULL),
    SecretsStillCount: Answer("CONFLICT", 409, 400, messages.SECRETS_STILL_COUNT),
    WebhookOff: Answer("CONFLICT", 409, 400, messages.WEBHOOK_OFF),
    RechargeUnknown: _NOT_FOUND,
    PaymentDiffers: _CONFLICT,
    PaymentUsed: _CONFLICT,
    NotPaid: Answer("CONFLICT", 409, 400, messages.NOT_PAID),
    RefundDiffers: Answer(
        "CONFLICT",
        409,
        400,
        messages.REFUND_DIFFERS,
        lambda refusal, language: {
            "fields": {
                name: sentence(Reason("recorded", choices=(str(value),)), language)
                for name, value in refusal.recorded.items()
            }
        },
    ),
    RefundExceedsPayment: Answer(
        "CONFLICT",
        409,
        400,
        messages.REFUND_EXCEEDS,
        _field("amount_fen", lambda refusal: Reason("between", high=refusal.refundable_fen)),
    ),
    RefundUsed: Answer("CONFLICT", 409, 400, messages.REFUND_USED, _field("refund_reference", _TAKEN)),
    HoldExists: _CONFLICT,
    TransactionUnknown: _NOT_FOUND,
    NotReversible: Answer("CONFLICT", 409, 400, messages.NOT_REVERSIBLE),
    AlreadyReversed: Answer("CONFLICT", 409, 400, messages.ALREADY_REVERSED),
    AdjustmentUnknown: _NOT_FOUND,
    AdjustmentDecided: Answer(
        "CONFLICT", 409, 400, messages.ADJUSTMENT_DECIDED, lambda refusal, _: {"status": refusal.status}
    ),
    OwnAccount: Answer("FORBIDDEN", 403, 403, messages.OWN_ACCOUNT),
    SecondPersonNeeded: Answer("FORBIDDEN", 403, 403, messages.SECOND_PERSON),
    NoSuchPath: _NOT_FOUND,
    ReferralCodeTaken: _UNAVAILABLE,
    Unavailable: _UNAVAILABLE,
    OutcomeUnknown: Answer("SERVICE_UNAVAILABLE", 503, 503, messages.OUTCOME_UNKNOWN),
    # Nothing that a client sends leads here; if it happens it is our mistake, and logged as one.
    PersonExists: INTERNAL,
    TaskExists: INTERNAL,
    WorkExists: INTERNAL,
    CharacterExists: INTERNAL,
    WebhookExists: INTERNAL,
    RechargeExists: INTERNAL,
    AdjustmentExists: INTERNAL,
    HoldNotOpen: INTERNAL,
    CaptureExceedsHold: INTERNAL,
    LeaseLost: INTERNAL,
    AttemptSent: INTERNAL,
    NothingSent: INTERNAL,
}

_HTTP: Final = {
    404: _NOT_FOUND,
    405: Answer("METHOD_NOT_ALLOWED", 405, 405, messages.METHOD_NOT_ALLOWED),
    413: TOO_LARGE,
}
"""What litestar and ``Call`` refuse before any use case; the rest of the 4xx is a request nobody can read."""


class WrongFields(msgspec.Struct):
    """What is wrong with each field, in words; without it where no field can be named."""

    fields: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Conflicting(WrongFields):
    status: str | msgspec.UnsetType = msgspec.UNSET


class Unverified(msgspec.Struct):
    email: str


class Shortage(msgspec.Struct):
    required: int
    available: int


class Failed(msgspec.Struct):
    task_id: str
    reason: str


class Logged(msgspec.Struct):
    request_id: str


DETAILS: Final[dict[str, type[msgspec.Struct]]] = {
    "VALIDATION_ERROR": WrongFields,
    "CONTENT_REFUSED": WrongFields,
    "EMAIL_ALREADY_EXISTS": WrongFields,
    "CONFLICT": Conflicting,
    "EMAIL_NOT_VERIFIED": Unverified,
    "INSUFFICIENT_CREDITS": Shortage,
    "GENERATION_FAILED": Failed,
    "INTERNAL_ERROR": Logged,
}
"""What the details of an error consist of, for who describes them; the others have none."""


def problem_of(error: Exception, language: Language, unavailable: tuple[type[Exception], ...]) -> Problem:
    """How to answer an exception; what is not foreseen says a request id and nothing else, and is logged with it."""
    answer = _answer(error, unavailable)
    details = answer.details(error, language)
    headers: dict[str, str] = {}
    if answer is INTERNAL:
        request_id = secrets.token_hex(8)
        _log.error("request %s failed", request_id, exc_info=error)
        details = {"request_id": request_id}
    elif isinstance(error, HTTPException):
        headers = dict(error.headers or {})
    elif isinstance(error, GenerationFailed) and error.replayed:
        headers = {"Idempotency-Replayed": "true"}
    elif answer.status in {429, 503}:
        headers = {"Retry-After": str(getattr(error, "retry_after_s", 1))}
    return Problem(answer, language, details, headers)


def _answer(error: Exception, unavailable: tuple[type[Exception], ...]) -> Answer:
    if isinstance(error, HTTPException):
        if error.status_code >= 500:
            return INTERNAL
        return _HTTP.get(error.status_code, msgspec.structs.replace(_VALIDATION, details=lambda _, __: {}))
    if isinstance(error, unavailable):
        return _UNAVAILABLE
    return ANSWERS.get(type(error), INTERNAL)

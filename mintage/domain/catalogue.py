"""Every event the log may hold, and the aggregate that a stream's name says it belongs to."""

from typing import Any, Final, TypeAlias, get_args

from mintage.domain.adjustment.decider import ADJUSTMENT
from mintage.domain.adjustment.events import AdjustmentEvent
from mintage.domain.character.decider import CHARACTER
from mintage.domain.character.events import CharacterCreated, CharacterEvent
from mintage.domain.credits.decider import CREDITS
from mintage.domain.credits.events import CreditEvent
from mintage.domain.decider import Decider, Event
from mintage.domain.generation.decider import GENERATION
from mintage.domain.generation.events import GenerationEvent, GenerationRequested
from mintage.domain.recharge.decider import RECHARGE
from mintage.domain.recharge.events import RechargeEvent
from mintage.domain.registration.decider import REGISTRATION
from mintage.domain.registration.events import PersonRegistered, RegistrationEvent
from mintage.domain.webhook.decider import WEBHOOK
from mintage.domain.webhook.events import WebhookEvent, WebhookRegistered
from mintage.domain.work.decider import WORK
from mintage.domain.work.events import WorkCreated, WorkEvent

AnyEvent: TypeAlias = (
    CreditEvent
    | RegistrationEvent
    | GenerationEvent
    | WorkEvent
    | RechargeEvent
    | CharacterEvent
    | AdjustmentEvent
    | WebhookEvent
)

EVENT_TYPES: Final[tuple[type[Event], ...]] = get_args(AnyEvent)
TAGS: Final[dict[type[Event], str]] = {kind: str(kind.__struct_config__.tag) for kind in EVENT_TYPES}
DECIDERS: Final[dict[str, Decider[Any, Any, Any]]] = {
    decider.category: decider
    for decider in (CREDITS, REGISTRATION, GENERATION, WORK, RECHARGE, CHARACTER, ADJUSTMENT, WEBHOOK)
}


def decider_of(stream: str) -> Decider[Any, Any, Any]:
    """The aggregate of a stream; a category is a single word, so the first dash ends it."""
    return DECIDERS[stream.partition("-")[0]]


def numbered(event: Event) -> tuple[str, int] | None:
    """The kind and the integer id of what an event created, if v1 shows one: given out in order, for ever."""
    match event:
        case PersonRegistered(number=number):
            return "user", number
        case GenerationRequested(number=number):
            return "task", number
        case WorkCreated(number=number):
            return "work", number
        case CharacterCreated(number=number):
            return "character", number
        case WebhookRegistered(number=number):
            return "webhook", number
    return None

"""What the stored samples in this folder say, field by field.

Each ``<tag>.json`` is the exact row content that was written when its event type was new, and is never written again:
``python -m tests.golden.samples`` adds the files that are missing and leaves the others alone. Every field of every
sample differs from its default, so that a field which is renamed or dropped does not go unnoticed. Personal fields
are sealed with ``KEY``.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mintage.domain.adjustment.events import AdjustmentApproved, AdjustmentRejected, AdjustmentRequested
from mintage.domain.catalogue import TAGS, AnyEvent
from mintage.domain.character.events import (
    CharacterAvatarChanged,
    CharacterCreated,
    CharacterDeleted,
    CharacterRenamed,
)
from mintage.domain.credits.events import (
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    Lot,
    Slice,
    SpendingReversed,
    Terms,
)
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationClosed,
    GenerationCompleted,
    GenerationDeferred,
    GenerationDeliveredLate,
    GenerationDispatched,
    GenerationFailed,
    GenerationRequested,
    GenerationResumed,
    GenerationStarted,
    GenerationSubmitted,
)
from mintage.domain.recharge.events import RechargePaid, RechargeRefunded, RechargeRequested
from mintage.domain.recorded import Recorded
from mintage.domain.registration.events import (
    AvatarChanged,
    EmailChanged,
    EmailVerified,
    GoogleLinked,
    GoogleUnlinked,
    PasswordChanged,
    PersonErased,
    PersonRegistered,
    PersonRenamed,
    PhoneChanged,
    ReferralRewarded,
    RoleGranted,
)
from mintage.domain.webhook.events import (
    WebhookChanged,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookPinged,
    WebhookRegistered,
    WebhookRotated,
)
from mintage.domain.work.events import (
    WorkCompleted,
    WorkCreated,
    WorkDeleted,
    WorkExpired,
    WorkFailed,
    WorkPublished,
    WorkRenamed,
    WorkUnpublished,
)
from mintage.infra.codec import encode

FOLDER: Final = Path(__file__).parent
KEY: Final = AESGCM(bytes(range(32)))

ANN: Final = "0199b1c0-0000-7000-8000-00000000000a"
BOB: Final = "0199b1c0-0000-7000-8000-00000000000b"
TASK: Final = "0199b1c0-0000-7000-8000-0000000000a1"
CAT: Final = "0199b1c0-0000-7000-8000-0000000000b1"
DOG: Final = "0199b1c0-0000-7000-8000-0000000000b2"
FOX: Final = "0199b1c0-0000-7000-8000-0000000000f1"
ORDER: Final = "0199b1c0-0000-7000-8000-0000000000c1"
MONEY: Final = "0199b1c0-0000-7000-8000-0000000000d1"
OTHER_MONEY: Final = "0199b1c0-0000-7000-8000-0000000000d2"
HOOK: Final = "0199b1c0-0000-7000-8000-0000000000f2"
CHANGE: Final = "0199b1c0-0000-7000-8000-0000000000d3"
COMMAND: Final = "0199b1c0-0000-7000-8000-0000000000e1"
AT: Final = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)


def _at(version: int, key: str, actor: str, event: AnyEvent) -> Recorded:
    category = TAGS[type(event)].partition(".")[0]
    return Recorded(1, f"{category}-{key}", version, AT, actor, COMMAND, event)


SAMPLES: Final[tuple[Recorded, ...]] = (
    _at(
        1,
        ANN,
        ANN,
        PersonRegistered(
            user_id=ANN,
            number=1001,
            document="server",
            username="安妮",
            referral_code="AB23CD45",
            email="ann@example.com",
            phone="13800138000",
            name='Ann "安" Li',
            referred_by=BOB,
            avatar="https://example.com/ann.png",
            google_id="110169484474386276334",
            email_verified=True,
        ),
    ),
    _at(2, ANN, ANN, EmailVerified(user_id=ANN)),
    _at(3, ANN, ANN, ReferralRewarded(user_id=ANN, recharge_id=ORDER)),
    _at(4, ANN, "system", PersonErased(user_id=ANN)),
    _at(5, ANN, ANN, EmailChanged(user_id=ANN, email="ann@example.org", address=2)),
    _at(6, ANN, ANN, PhoneChanged(user_id=ANN, phone="13900139000")),
    _at(7, ANN, ANN, PersonRenamed(user_id=ANN, name="新昵称")),
    _at(8, ANN, ANN, AvatarChanged(user_id=ANN, avatar="avatars/0199b1c0/1.webp")),
    _at(9, ANN, ANN, PasswordChanged(user_id=ANN, reason="reset", session_version=3)),
    _at(10, ANN, ANN, GoogleLinked(user_id=ANN, google_id="110169484474386276334")),
    _at(12, ANN, ANN, GoogleUnlinked(user_id=ANN)),
    _at(11, ANN, "operator", RoleGranted(user_id=ANN, role="finance")),
    _at(
        1,
        ANN,
        ANN,
        CreditsGranted(
            transaction_id=MONEY,
            lot=1,
            amount=100,
            source="recharge",
            description="充值100积分",
            paid_fen=1_000,
            payment_method="alipay",
            expires_at=datetime(2027, 2, 3, tzinfo=UTC),
            priority=10,
            reference=ORDER,
        ),
    ),
    _at(
        4,
        ANN,
        ANN,
        CreditsConsumed(
            transaction_id=MONEY,
            amount=7,
            description="消费",
            taken=(Slice(lot=1, amount=3, fen=30), Slice(lot=2, amount=4)),
        ),
    ),
    _at(
        5,
        ANN,
        ANN,
        CreditsHeld(
            hold_id=TASK,
            amount=10,
            description="生成AI图片 x4",
            taken=(Slice(lot=2, amount=10),),
            product="stability/stable-diffusion-xl",
            expires_at=datetime(2026, 2, 4, tzinfo=UTC),
        ),
    ),
    _at(
        6,
        ANN,
        "worker-1",
        HoldCaptured(
            hold_id=TASK,
            transaction_id=MONEY,
            amount=7,
            taken=(Slice(lot=2, amount=7),),
            description="生成AI图片 x3",
            product="stability/stable-diffusion-xl",
            returned=(Slice(lot=2, amount=3),),
        ),
    ),
    _at(
        7,
        ANN,
        "worker-1",
        HoldReleased(hold_id=TASK, amount=10, returned=(Slice(lot=2, amount=10),), reason="timed_out"),
    ),
    _at(8, ANN, "system", CreditsExpired(lot=1, amount=93, fen=930)),
    _at(
        9,
        ANN,
        BOB,
        SpendingReversed(
            transaction_id=OTHER_MONEY,
            reverses=MONEY,
            amount=7,
            description="误扣返还",
            returned=(Lot(number=2, amount=7, fen=0, terms=Terms(amount=200, priority=10, reference=ORDER)),),
            product="stability/stable-diffusion-xl",
        ),
    ),
    _at(
        10,
        ANN,
        BOB,
        CreditsRemoved(
            transaction_id=MONEY,
            amount=5,
            description="重复赠送",
            taken=(Slice(lot=2, amount=5),),
            reference=OTHER_MONEY,
        ),
    ),
    _at(
        11,
        ANN,
        BOB,
        CreditsClawedBack(
            transaction_id=MONEY,
            recharge_id=ORDER,
            reference="4200001234",
            reason="chargeback",
            amount=100,
            refunded_fen=1_000,
            payment_method="alipay",
            description="充值退款收回100积分",
            taken=(Slice(lot=1, amount=30, fen=300),),
            owed=70,
        ),
    ),
    _at(12, ANN, ANN, DebtPaid(amount=70, taken=(Slice(lot=3, amount=70, fen=700),))),
    _at(
        1,
        TASK,
        ANN,
        GenerationRequested(
            user_id=ANN,
            number=2002,
            document="v1",
            task_type="img2img",
            model_provider="stability",
            model_name="stable-diffusion-xl",
            renderer="builtin",
            prompt="一只可爱的小猫在花园里玩耍",
            parameters={"width": 512, "style": "cartoon", "strength": 0.5, "tile": True},
            price=10,
            works=(CAT, DOG),
            negative_prompt="dogs",
            source_image_url="https://example.com/cat.png",
            style="cartoon",
            transparent=True,
            source_file="b2/0199b1c0-0000-7000-8000-0000000000b2.png",
            upstream="sd3.5-large",
            priority=7,
            deadline_at=datetime(2026, 2, 3, 5, 5, 5, 700_000, tzinfo=UTC),
        ),
    ),
    _at(2, TASK, "worker-1", GenerationStarted(attempt=1, fence=1, worker="worker-1")),
    _at(3, TASK, "worker-1", GenerationDispatched(attempt=1, job_id=CAT)),
    _at(4, TASK, "worker-1", GenerationSubmitted(attempt=1, provider_job="video_68d7", cancels=True)),
    _at(5, TASK, "worker-2", GenerationResumed(fence=2, worker="worker-2")),
    _at(
        4,
        TASK,
        "worker-1",
        GenerationDeferred(
            attempt=1,
            deferrals=1,
            error_code="PROVIDER_UNAVAILABLE",
            retry_at=datetime(2026, 2, 3, 4, 5, 9, 500_000, tzinfo=UTC),
        ),
    ),
    _at(3, TASK, "worker-1", GenerationCompleted(delivered=1, charged=5)),
    _at(
        3,
        TASK,
        "worker-1",
        GenerationFailed(error_code="provider_error", error_message="生成失败", aftermath="watch"),
    ),
    _at(2, TASK, ANN, GenerationCancelled(aftermath="cancel")),
    _at(6, TASK, "worker-2", GenerationDeliveredLate(delivered=1)),
    _at(6, TASK, "worker-2", GenerationClosed(outcome="stopped")),
    _at(1, CAT, ANN, WorkCreated(user_id=ANN, task_id=TASK, number=3003, position=1, work_type="video")),
    _at(
        2,
        CAT,
        "worker-1",
        WorkCompleted(
            file="works/cat.mp4",
            thumbnail="works/cat.webp",
            content_type="video/mp4",
            file_size=123_456,
            width=640,
            height=480,
            credits=5,
            duration_s=4,
        ),
    ),
    _at(2, DOG, "worker-1", WorkFailed(error_message="此作品未生成")),
    _at(3, CAT, ANN, WorkRenamed(user_id=ANN, title="花园里的猫")),
    _at(4, CAT, ANN, WorkPublished()),
    _at(5, CAT, ANN, WorkUnpublished()),
    _at(6, CAT, ANN, WorkDeleted()),
    _at(4, DOG, "system", WorkExpired(retention_days=30)),
    _at(
        1,
        FOX,
        ANN,
        CharacterCreated(
            user_id=ANN,
            number=4004,
            character_type="sora",
            name="小狐狸",
            avatar_url="https://example.com/fox.png",
        ),
    ),
    _at(2, FOX, ANN, CharacterRenamed(user_id=ANN, name="Fox")),
    _at(3, FOX, ANN, CharacterAvatarChanged(user_id=ANN, avatar_url="https://example.com/red-fox.png")),
    _at(4, FOX, ANN, CharacterDeleted()),
    _at(
        1,
        ANN,
        ANN,
        WebhookRegistered(
            user_id=ANN,
            webhook_id=HOOK,
            number=5,
            url="https://example.com/hooks",
            event_types=("task.completed", "task.failed"),
        ),
    ),
    _at(
        2,
        ANN,
        ANN,
        WebhookChanged(
            user_id=ANN, webhook_id=HOOK, url="https://example.com/hooks/2", event_types=("credits.recharged",)
        ),
    ),
    _at(3, ANN, ANN, WebhookRotated(webhook_id=HOOK)),
    _at(4, ANN, "system", WebhookDisabled(webhook_id=HOOK, reason="gone")),
    _at(5, ANN, ANN, WebhookEnabled(webhook_id=HOOK)),
    _at(6, ANN, ANN, WebhookPinged(webhook_id=HOOK)),
    _at(7, ANN, ANN, WebhookDeleted(webhook_id=HOOK)),
    _at(1, ORDER, ANN, RechargeRequested(user_id=ANN, amount_fen=1_000, credits=100, payment_method="alipay")),
    _at(2, ORDER, "system", RechargePaid(payment_reference="2026020322001", amount_fen=1_000)),
    _at(
        3,
        ORDER,
        BOB,
        RechargeRefunded(refund_reference="4200001234", amount_fen=505, credits=50, reason="chargeback"),
    ),
    _at(
        1,
        CHANGE,
        BOB,
        AdjustmentRequested(
            user_id=ANN,
            amount=-1_500,
            reason="活动重复发放",
            requested_by=BOB,
            priority=7,
            limit=1_000,
            needs_approval=True,
            expires_at=datetime(2027, 2, 3, tzinfo=UTC),
        ),
    ),
    _at(2, CHANGE, CAT, AdjustmentApproved(approved_by=CAT)),
    _at(2, CHANGE, CAT, AdjustmentRejected(rejected_by=CAT)),
)
BY_TAG: Final[dict[str, Recorded]] = {TAGS[type(sample.event)]: sample for sample in SAMPLES}


def stored(tag: str) -> bytes:
    return (FOLDER / f"{tag}.json").read_bytes()


def older() -> list[str]:
    """The tags of which an older program's sample is kept, too: one that lacks the fields added since."""
    return sorted(path.stem for path in (FOLDER / "older").glob("*.json"))


def add_missing() -> None:
    for tag, sample in BY_TAG.items():
        path = FOLDER / f"{tag}.json"
        if not path.exists():
            path.write_bytes(encode(sample, KEY))


if __name__ == "__main__":
    add_missing()

"""What document-v1 shows of people, works and characters."""

import msgspec

from mintage.application.ports.files import Files
from mintage.http.files import avatar_url
from mintage.http.kinds import Moment, Url, Uuid, WorkStatus, WorkType
from mintage.http.languages import Language
from mintage.http.messages import WORK_EXPIRED, stored
from mintage.http.times import whole, whole_or_none
from mintage.projections.characters import Character
from mintage.projections.ledger import Balance
from mintage.projections.people import Person
from mintage.projections.works import Work


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    uuid: Uuid
    username: str
    nickname: str | None
    email: str | None
    email_verified: bool
    phone: str | None
    avatar_url: str | None
    computing_power: int
    held_computing_power: int
    referral_code: str
    role: str
    created_at: Moment
    updated_at: Moment


class SignedIn(msgspec.Struct, frozen=True):
    token: str
    user: UserView


class WorkView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    uuid: Uuid
    task_id: int
    title: str | None
    work_type: WorkType
    content_type: str | None
    model_provider: str
    model_name: str
    prompt: str
    negative_prompt: str | None
    source_image_url: Url | None
    result_url: Url | None
    thumbnail_url: Url | None
    file_size: int | None
    width: int | None
    height: int | None
    duration: int | None
    status: WorkStatus
    error_message: str | None
    expired_at: Moment | None
    is_public: bool
    computing_power_used: int
    created_at: Moment
    updated_at: Moment


class CharacterView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    uuid: Uuid
    name: str
    avatar_url: Url | None
    type: str
    created_at: Moment
    updated_at: Moment


class CharacterList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[CharacterView]
    total: int
    page: int
    page_size: int


class WorkList(msgspec.Struct, frozen=True, rename={"page_size": "pageSize"}):
    list: list[WorkView]
    total: int
    page: int
    page_size: int


def user_view(person: Person, balance: Balance, files: Files) -> UserView:
    return UserView(
        id=person.number,
        uuid=person.user_id,
        username=person.username,
        nickname=person.name,
        email=person.email,
        email_verified=person.email_verified,
        phone=person.phone,
        avatar_url=avatar_url(files, person.avatar),
        computing_power=balance.available,
        held_computing_power=balance.held,
        referral_code=person.referral_code,
        role=person.role,
        created_at=whole(person.created_at),
        updated_at=whole(person.updated_at),
    )


def work_view(work: Work, files: Files, reader: str, language: Language) -> WorkView:
    """What somebody is shown who may see the work; the image it was made from stays its owner's."""
    return WorkView(
        id=work.number,
        uuid=work.work_id,
        task_id=work.task_number,
        title=work.title,
        work_type=work.work_type,
        content_type=work.content_type,
        model_provider=work.model_provider,
        model_name=work.model_name,
        prompt=work.prompt,
        negative_prompt=work.negative_prompt,
        source_image_url=work.source_image_url if reader == work.user_id else None,
        result_url=file_url(work.file, work, files),
        thumbnail_url=file_url(work.thumbnail, work, files),
        file_size=work.file_size,
        width=work.width,
        height=work.height,
        duration=work.duration_s,
        status=work.status,
        error_message=stored(work.error_message, language) if work.expired_at is None else WORK_EXPIRED.to(language),
        expired_at=whole_or_none(work.expired_at),
        is_public=work.is_public,
        computing_power_used=work.credits,
        created_at=whole(work.created_at),
        updated_at=whole(work.updated_at),
    )


def character_view(character: Character) -> CharacterView:
    return CharacterView(
        id=character.number,
        uuid=character.character_id,
        name=character.name,
        avatar_url=character.avatar_url,
        type=character.character_type,
        created_at=whole(character.created_at),
        updated_at=whole(character.updated_at),
    )


def file_url(key: str | None, work: Work, files: Files) -> str | None:
    """Where a file of a work is to be had: by anybody if the work is public, for a day otherwise."""
    return None if key is None else files.url(key, public=work.is_public)

"""/api/v1/characters: the characters that a person keeps."""

from typing import Annotated, Final

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from mintage.application.services import Services
from mintage.domain.character.decider import CharacterUnknown
from mintage.domain.urls import url_of
from mintage.http import messages
from mintage.http.api_v1.envelope import ok
from mintage.http.api_v1.views import CharacterList, CharacterView, character_view
from mintage.http.bodies import Body
from mintage.http.calls import Call
from mintage.http.forms import Form, name_of
from mintage.http.kinds import SEEN, WebUrl
from mintage.http.operations import Operation
from mintage.http.queries import Matching, Paging, id_of
from mintage.http.replies import Json
from mintage.projections.characters import Character, character_of, characters_of

TYPE_PATTERN: Final = "[a-z0-9_-]{1,20}"
PAGE: Final = Paging("pageSize")
TYPE: Final = Matching("type", TYPE_PATTERN)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=50, extra_json_schema=SEEN)]


class NewCharacter(msgspec.Struct, frozen=True):
    name: Name
    avatar_url: WebUrl | None = None
    # Nothing may follow: a bare $ would let a line break pass.
    type: Annotated[str, msgspec.Meta(pattern=rf"^{TYPE_PATTERN}$(?!\n)")] = "sora"


class CharacterChange(msgspec.Struct, frozen=True):
    """What is absent stays; an ``avatar_url`` of null takes the picture away."""

    name: Name | UnsetType = UNSET
    avatar_url: WebUrl | UnsetType | None = UNSET


NEW_CHARACTER: Final = Body(NewCharacter)
CHARACTER_CHANGE: Final = Body(CharacterChange)


class CharacterController(Controller):
    path = "/characters"
    tags = ("角色接口",)

    @get()
    @Operation("获取角色列表", CharacterList, query=(PAGE, TYPE))
    async def list_characters(self, request: Call) -> Json:
        """Newest first."""
        caller, query, services = await request.caller(), request.query, request.services
        page, kind = query.page(PAGE), query.matching(TYPE)
        characters, total = await characters_of(
            services.db, caller.user_id, character_type=kind, limit=page.size, offset=page.offset
        )
        views = [character_view(character) for character in characters]
        return ok(request, CharacterList(views, total, page.number, page.size))

    @get("/{character_id:str}")
    @Operation("获取角色详情", CharacterView)
    async def show(self, request: Call, character_id: FromPath[str]) -> Json:
        caller = await request.caller()
        return ok(request, character_view(await _character(request.services, caller.user_id, id_of(character_id))))

    @post(status_code=200)
    @Operation("创建角色", CharacterView, body=NEW_CHARACTER)
    async def create(self, request: Call) -> Json:
        caller, asked, services = await request.caller(), await request.read(NEW_CHARACTER), request.services
        form = Form()
        name = form.canonical("name", asked.name, name_of)
        avatar_url = form.canonical("avatar_url", asked.avatar_url, url_of)
        form.done()
        character_id = await services.characters.create(
            caller.user_id, name=name, avatar_url=avatar_url, character_type=asked.type
        )
        created = await _character(services, caller.user_id, character_id)
        return ok(request, character_view(created), messages.CREATED)

    @put("/{character_id:str}")
    @Operation("更新角色", CharacterView, body=CHARACTER_CHANGE)
    async def change(self, request: Call, character_id: FromPath[str]) -> Json:
        """What is absent stays; an ``avatar_url`` of null takes the picture away."""
        caller, asked, services = await request.caller(), await request.read(CHARACTER_CHANGE), request.services
        form = Form()
        name = form.canonical("name", asked.name, name_of)
        avatar_url = form.canonical("avatar_url", asked.avatar_url, url_of)
        form.done()
        character = await _character(services, caller.user_id, id_of(character_id))
        await services.characters.change(caller.user_id, character.character_id, name=name, avatar_url=avatar_url)
        changed = await _character(services, caller.user_id, character.character_id)
        return ok(request, character_view(changed), messages.CHANGED)

    @delete("/{character_id:str}", status_code=200)
    @Operation("删除角色")
    async def delete(self, request: Call, character_id: FromPath[str]) -> Json:
        caller, services = await request.caller(), request.services
        character = await _character(services, caller.user_id, id_of(character_id))
        await services.characters.delete(caller.user_id, character.character_id)
        return ok(request, None, messages.DELETED)


async def _character(services: Services, user_id: str, character_id: int | str) -> Character:
    character = await character_of(services.db, user_id, character_id)
    if character is None:
        raise CharacterUnknown
    return character

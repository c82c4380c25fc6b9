"""A word that nobody may ask for is found however it is written, and in no other word; what has it holds nothing."""

from collections.abc import Sequence
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mintage.application.generations import Generations
from mintage.application.moderation import Each, WordList, words_in
from mintage.application.once import KeyReused, Repeatable
from mintage.application.refusals import ContentRefused
from mintage.application.transaction import Unavailable
from mintage.domain.generation.events import TaskType
from tests.application.test_generations import ASK, CATALOGUE
from tests.application.world import World

BUILT_IN = words_in((resources.files("mintage") / "moderation.txt").read_text(encoding="utf-8"))


async def refuses(words: Sequence[str], prompt: str, negative: str | None = None) -> bool:
    return await WordList(words).refuses(prompt, negative, task_type="text2img", user_id="ann")


@pytest.mark.parametrize(
    "prompt",
    [
        "badger",
        "a BADGER",
        "Badger, at night",
        "ｂａｄｇｅｒ",
        "bad\u200bger",
        "b\u00ada\u2060d\ufeffger",
        *(f"bad{char}ger" for char in "\u034f\u061c\u115f\u3164\u17b4\u180b\u180e\u2065\ufe0f\uffa0\ufff0\U000e0100"),
        "(badger)",
        "badger_badger",
        "画badger图",
        "一只badger",
        "ＢＡＤＧＥＲ！",
        "two\nbadger",
    ],
)
async def test_a_word_is_found_however_it_is_written(prompt: str) -> None:
    assert await refuses(["Badger"], prompt)


@pytest.mark.parametrize("prompt", ["badgers", "honeybadger", "badger2", "bad ger", "bädger", "b a d g e r", ""])
async def test_in_another_word_it_is_not_found(prompt: str) -> None:
    assert not await refuses(["badger"], prompt)


async def test_where_words_do_not_stand_apart_it_is_found_anywhere() -> None:
    for word, prompt in (
        ("獾子", "一只獾子在跑"),
        ("獾子", "a獾子b"),
        ("獾子", "獾\u200b子"),
        ("獾子", "獾\ufe00子"),
        ("獾子", "獾 子"),
        ("獾子", "獾\n\u3000子"),
        ("蜜 獾子", "一只蜜獾子"),
        ("蜜 獾子", "蜜，獾 子"),
        ("蜜獾子", "蜜 獾 子"),
        ("アナグマ", "小さなｱﾅｸﾞﾏです"),
        ("오소리", "오소리를"),
    ):
        assert await refuses([word], prompt), prompt
    assert not await refuses(["獾子"], "獾和子")
    assert not await refuses(["蜜 獾子"], "蜜和獾子")
    assert not await refuses(["a 獾子"], "a獾子")
    assert not await refuses(["honey badger"], "蜜 honeybadger")


async def test_a_phrase_is_found_with_anything_but_letters_between_its_words() -> None:
    for prompt in ("honey badger", "honey  badger", "honey-badger", "Honey,\nbadger", "honey_badger!"):
        assert await refuses(["honey badger"], prompt), prompt
    for prompt in ("honeybadger", "honey and badger", "honey", "badger honey", "honey badgers"):
        assert not await refuses(["honey badger"], prompt), prompt


async def test_what_is_not_to_be_seen_may_be_named() -> None:
    assert not await refuses(["badger"], "a cat", "badger")


async def test_an_empty_list_refuses_nothing() -> None:
    assert words_in("# badger\n\n   \n#\n") == []
    assert words_in("  badger # and not a cat \nhoney badger\n") == ["badger", "honey badger"]
    assert not await refuses([], "badger")
    assert not await refuses(["\u200b", ""], "badger")


@given(st.text(max_size=60), st.text(min_size=1, max_size=12))
async def test_no_word_and_no_prompt_is_too_strange(prompt: str, word: str) -> None:
    for listed in words_in(word):
        await refuses([listed], prompt)
        if any(map(str.isalnum, listed)):
            assert await refuses([listed], f"{prompt}. {listed} .{prompt}")


async def test_the_built_in_list_finds_its_own_words_and_lets_the_documents_prompts_pass() -> None:
    built_in = WordList(BUILT_IN)
    for word in BUILT_IN:
        assert await built_in.refuses(f"a picture, {word.upper()}", None, task_type="text2img", user_id="ann"), word
    for prompt in (
        "a beautiful landscape",
        "transform this image",
        "a cat playing with a ball",
        "可爱的小猫",
        "children playing in a garden",
        "儿童在花园里玩耍",
        "a cornchild popcorn",
    ):
        assert not await built_in.refuses(prompt, None, task_type="text2img", user_id="ann"), prompt


class Asked:
    """Implements ``ports.moderation.Moderation``: says what it is told to say, and remembers what it was asked."""

    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str | None, str, str]] = []

    async def refuses(self, prompt: str, negative_prompt: str | None, *, task_type: TaskType, user_id: str) -> bool:
        self.asked.append((prompt, negative_prompt, task_type, user_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_of_several_the_first_that_refuses_is_enough() -> None:
    lets, refusing, unasked = Asked(False), Asked(True), Asked(True)
    each = Each((lets, refusing, unasked))
    assert await each.refuses("a cat", None, task_type="img2img", user_id="ann")
    assert lets.asked == refusing.asked == [("a cat", None, "img2img", "ann")]
    assert unasked.asked == []
    assert not await Each((lets, lets)).refuses("a cat", None, task_type="img2img", user_id="ann")


@pytest.mark.parametrize("answer", [True, Unavailable("away")])
async def test_what_is_refused_leaves_nothing(world: World, answer: bool | Exception) -> None:
    await world.register("ann", having=100)
    moderation = Asked(answer)
    generations = Generations(world.journal, CATALOGUE, world.new_id, moderation=moderation)
    before = list(world.entries)
    ask = replace(ASK, negative_prompt="a dog")
    kind = ContentRefused if answer is True else Unavailable
    with pytest.raises(kind) as refused:
        await generations.request("ann", ask)
    assert "cat" not in str(refused.value)
    with pytest.raises(kind):
        await generations.quote("ann", ask)
    assert moderation.asked == [("a cat", "a dog", "text2img", "ann")] * 2
    assert world.entries == before
    assert world.account("ann").available == 100


async def test_a_repeat_gets_its_first_reply_whatever_is_refused_by_now(world: World) -> None:
    await world.register("ann", having=100)
    moderation = Asked(False)
    generations = Generations(world.journal, CATALOGUE, world.new_id, moderation=moderation)
    key = Repeatable("ann", "/generate", "key", b"digest")
    first = await generations.request("ann", ASK, repeatable=key)
    moderation.answer = True
    again = await generations.request("ann", ASK, repeatable=key)
    assert first.outcome is not None
    assert again.receipt is not None
    assert again.receipt.task_id == first.outcome.task_id
    # And what was refused binds no key.
    other = Repeatable("ann", "/generate", "other", b"digest")
    with pytest.raises(ContentRefused):
        await generations.request("ann", ASK, repeatable=other)
    moderation.answer = False
    with pytest.raises(KeyReused):
        await generations.request("ann", ASK, repeatable=replace(key, digest=b"x"))
    assert (await generations.request("ann", ASK, repeatable=other)).outcome is not None

"""A task's hold is opened with it and settled by its one ending, in the same transaction."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mintage.application.catalogue import Bounds, Catalogue, Model, Money, UnknownModel
from mintage.application.generations import (
    CANCELLED_MESSAGE,
    HOLD_FOR,
    Accepted,
    Ask,
    Generations,
)
from mintage.application.lifecycle import Lifecycle, Output, split
from mintage.application.once import KeyReused, Repeatable
from mintage.application.transaction import Transaction
from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.credits.events import CreditsHeld, HoldCaptured, HoldReleased, Slice
from mintage.domain.fields import InvalidFields
from mintage.domain.generation.decider import LeaseLost, TaskOver, TaskUnknown
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
    GenerationStarted,
)
from mintage.domain.registration.decider import REGISTRATION, Erase, PersonUnknown
from mintage.domain.work.decider import WORK, ChangeWork, DeleteWork
from mintage.domain.work.events import WorkCompleted, WorkCreated, WorkFailed
from tests.application.world import World

PRICE = 10
CATALOGUE = Catalogue(
    money=Money(credits_per_yuan=10, signup_bonus=0, referral_bonus_referrer=0, referral_bonus_newcomer=0),
    models=(
        Model(
            provider="stability",
            name="xl",
            renderer="builtin",
            tasks=("text2img", "img2img"),
            price=PRICE,
            parameters={"count": Bounds(type="integer", min=1, max=4, default=1)},
        ),
        Model(
            provider="cheap",
            name="one",
            renderer="builtin",
            tasks=("text2img",),
            price=1,
            parameters={"count": Bounds(type="integer", min=1, max=4, default=1)},
        ),
        Model(provider="moving", name="pictures", renderer="builtin", tasks=("text2video",), price=50),
    ),
)
ASK = Ask(document="v1", task_type="text2img", prompt="a cat", parameters={})
ASKED = Repeatable("ann", "/generate", "key-1", b"digest")


class Studio:
    def __init__(self, world: World) -> None:
        self.world = world
        self.generations = Generations(world.journal, CATALOGUE, world.new_id)
        self.lifecycle = Lifecycle(world.journal, world.new_id)

    async def request(self, count: int = 1, *, user_id: str = "ann", model: str | None = None) -> str:
        """A task of so many works; returns its id."""
        reply = await self.generations.request(user_id, replace(ASK, parameters={"count": count}, model_provider=model))
        assert reply.outcome is not None
        return reply.outcome.task_id

    async def start(self, task_id: str, fence: int = 1) -> None:
        await self.lifecycle.start(task_id, fence=fence, worker=f"worker-{fence}")

    async def succeed(self, task_id: str, outputs: Sequence[Output | None], fence: int = 1) -> None:
        await self.lifecycle.succeed(task_id, outputs, kind="image", fence=fence, worker=f"worker-{fence}")

    async def fail(self, task_id: str, fence: int | None = 1) -> None:
        await self.lifecycle.fail(
            task_id, error_code="provider_error", error_message="no luck", fence=fence, worker="worker"
        )

    async def cancel(self, task_id: str, user_id: str = "ann") -> None:
        await self.generations.cancel(user_id, task_id)

    def works(self, task_id: str) -> tuple[str, ...]:
        (requested, *_) = self.world.events(f"generation-{task_id}")
        assert isinstance(requested, GenerationRequested)
        return requested.works

    def endings(self) -> list[object]:
        return [
            entry.event
            for entry in self.world.entries
            if isinstance(entry.event, GenerationCompleted | GenerationFailed | GenerationCancelled)
        ]

    def settlements(self) -> list[object]:
        return [entry.event for entry in self.world.entries if isinstance(entry.event, HoldCaptured | HoldReleased)]


@pytest.fixture
async def studio(world: World) -> Studio:
    await world.register("ann", having=100)
    return Studio(world)


def output(name: str = "cat", duration_s: int | None = None) -> Output:
    return Output(
        file=f"{name}.png",
        thumbnail=f"{name}.webp",
        content_type="image/png",
        file_size=1_234,
        width=64,
        height=32,
        duration_s=duration_s,
    )


class TestRequesting:
    async def test_hold_task_and_works_come_together(self, world: World, studio: Studio) -> None:
        before = len(world.entries)
        reply = await studio.generations.request("ann", replace(ASK, parameters={"count": 2}))
        assert reply.outcome == Accepted(reply.outcome.task_id if reply.outcome else "", 1, PRICE, 90)
        task_id = reply.outcome.task_id
        new = world.entries[before:]
        assert len({entry.command_id for entry in new}) == 1
        held, requested, first, second = (entry.event for entry in new)
        assert held == CreditsHeld(
            hold_id=task_id,
            amount=PRICE,
            description="生成AI图片 x2",
            taken=(Slice(1, PRICE),),
            product="stability/xl",
            expires_at=new[0].at + HOLD_FOR,
        )
        assert isinstance(requested, GenerationRequested)
        assert (requested.user_id, requested.number, requested.prompt) == ("ann", 1, "a cat")
        assert (requested.model_provider, requested.model_name, requested.renderer) == ("stability", "xl", "builtin")
        assert (requested.price, requested.parameters) == (PRICE, {"count": 2})
        works = [
            WorkCreated(user_id="ann", task_id=task_id, number=n + 1, position=n, work_type="image") for n in (0, 1)
        ]
        assert [first, second] == works
        assert [entry.key for entry in new[2:]] == list(requested.works)

    async def test_numbers_of_tasks_and_works_go_up_without_a_gap(self, world: World, studio: Studio) -> None:
        await asyncio.gather(*(studio.request(2) for _ in range(3)))
        assert [event.number for event in world.all_of(GenerationRequested)] == [1, 2, 3]
        assert [event.number for event in world.all_of(WorkCreated)] == [1, 2, 3, 4, 5, 6]

    async def test_a_refused_task_uses_up_no_number(self, world: World, studio: Studio) -> None:
        await world.register("bob", having=PRICE - 1)
        first, refused, second = await asyncio.gather(
            studio.request(), studio.request(user_id="bob"), studio.request(), return_exceptions=True
        )
        assert isinstance(refused, InsufficientCredits)
        assert not isinstance(first, BaseException)
        assert not isinstance(second, BaseException)
        assert [event.number for event in world.all_of(GenerationRequested)] == [1, 2]

    async def test_without_the_credits_there_is_no_task(self, world: World, studio: Studio) -> None:
        await world.register("bob", having=PRICE - 1)
        before = len(world.entries)
        with pytest.raises(InsufficientCredits) as refused:
            await studio.request(user_id="bob")
        assert (refused.value.required, refused.value.available) == (PRICE, PRICE - 1)
        assert len(world.entries) == before

    async def test_a_model_nobody_has_is_refused(self, studio: Studio) -> None:
        with pytest.raises(UnknownModel):
            await studio.generations.request("ann", replace(ASK, model_name="nobody"))

    async def test_parameters_out_of_bounds_are_refused(self, world: World, studio: Studio) -> None:
        with pytest.raises(InvalidFields) as refused:
            await studio.request(5)
        assert list(refused.value.fields) == ["parameters.count"]
        assert world.account("ann").held == 0

    async def test_the_erased_ask_for_nothing(self, world: World, studio: Studio) -> None:
        def erase(transaction: Transaction) -> None:
            transaction.execute(REGISTRATION, "ann", Erase())

        await world.journal.transact(erase, actor="ann")
        with pytest.raises(PersonUnknown):
            await studio.request()

    async def test_the_prompt_of_the_erased_is_gone_but_their_task_ends_and_their_ledger_stays(
        self, world: World, studio: Studio
    ) -> None:
        task_id = await studio.request()
        await studio.start(task_id)
        await world.journal.transact(lambda transaction: transaction.execute(REGISTRATION, "ann", Erase()), actor="ann")
        await studio.succeed(task_id, [output()])
        assert [event.prompt for event in world.all_of(GenerationRequested)] == ["[erased]"]
        assert (world.account("ann").available, world.account("ann").held) == (90, 0)

    @pytest.mark.parametrize("prompt", ["", " ", "\n\t", "\u3000"])
    async def test_a_prompt_that_says_nothing_is_refused(self, world: World, studio: Studio, prompt: str) -> None:
        before = len(world.entries)
        with pytest.raises(InvalidFields) as refused:
            await studio.generations.request("ann", replace(ASK, prompt=prompt))
        assert list(refused.value.fields) == ["prompt"]
        assert len(world.entries) == before

    async def test_a_source_of_ours_is_a_picture_one_may_see(self, world: World, studio: Studio) -> None:
        await world.register("bob", having=100)
        task_id = await studio.request()
        (work_id,) = studio.works(task_id)

        async def usable(user_id: str, suffix: str = "-1.png") -> bool:
            ask = replace(ASK, task_type="img2img", source_image_url="x", source_file=f"ab/{work_id}{suffix}")
            before = len(world.entries)
            try:
                await studio.generations.request(user_id, ask)
            except InvalidFields as refused:
                return list(refused.fields) != ["source_image_url"] or len(world.entries) != before
            return True

        async def change(command: ChangeWork | DeleteWork) -> None:
            await world.journal.transact(
                lambda transaction: transaction.execute(WORK, work_id, command), actor=command.user_id
            )

        assert not await usable("ann"), "it is not finished"
        await studio.start(task_id)
        await studio.succeed(task_id, [output()])
        assert await usable("ann")
        assert await usable("ann", "-1-thumbnail.webp")
        assert not await usable("ann", "-1.mp4")
        assert not await usable("bob")
        await change(ChangeWork(user_id="ann", is_public=True))
        assert await usable("bob")
        await change(DeleteWork(user_id="ann"))
        assert not await usable("ann")
        some_id = "0199b1c0-0000-7000-8000-00000000000a"
        for file, fine in ((f"avatars/{some_id}/{some_id}.webp", True), ("avatars/../x", False), ("", False)):
            ask = replace(ASK, task_type="img2img", source_image_url="x", source_file=file)
            with nullcontext() if fine else pytest.raises(InvalidFields):
                await studio.generations.request("ann", ask)

    async def test_a_video_makes_a_video(self, world: World, studio: Studio) -> None:
        await studio.generations.request("ann", replace(ASK, task_type="text2video"))
        assert [event.work_type for event in world.all_of(WorkCreated)] == ["video"]
        assert [event.description for event in world.all_of(CreditsHeld)] == ["生成AI视频 x1"]


class TestRepeating:
    async def test_a_repeat_names_the_first_task_and_makes_no_other(self, world: World, studio: Studio) -> None:
        first = await studio.generations.request("ann", ASK, repeatable=ASKED)
        assert first.outcome is not None
        assert first.body is None
        again = await studio.generations.request("ann", ASK, repeatable=ASKED)
        assert again.receipt is not None
        assert (again.outcome, again.body, again.receipt.task_id) == (None, None, first.outcome.task_id)
        assert len(world.all_of(GenerationRequested)) == 1
        assert world.account("ann").held == PRICE

    async def test_a_repeat_after_the_final_reply_gets_its_bytes(self, world: World, studio: Studio) -> None:
        await studio.generations.request("ann", ASK, repeatable=ASKED)
        assert await studio.generations.keep_reply(ASKED, b"final") == b"final"
        assert await studio.generations.keep_reply(ASKED, b"later") == b"final"
        assert (await studio.generations.request("ann", ASK, repeatable=ASKED)).body == b"final"

    async def test_the_same_key_twice_in_one_batch_makes_one_task(self, world: World, studio: Studio) -> None:
        one, other = await asyncio.gather(*(studio.generations.request("ann", ASK, repeatable=ASKED) for _ in range(2)))
        assert one.outcome is not None
        assert other.receipt is not None
        assert other.receipt.task_id == one.outcome.task_id
        assert len(world.all_of(CreditsHeld)) == 1

    async def test_the_same_key_for_something_else_is_refused(self, world: World, studio: Studio) -> None:
        await studio.generations.request("ann", ASK, repeatable=ASKED)
        with pytest.raises(KeyReused):
            await studio.generations.request("ann", ASK, repeatable=replace(ASKED, digest=b"other"))
        assert len(world.all_of(GenerationRequested)) == 1

    async def test_a_refused_task_leaves_its_key_free(self, world: World, studio: Studio) -> None:
        await world.register("bob")
        bobs = replace(ASKED, user_id="bob")
        with pytest.raises(InsufficientCredits):
            await studio.generations.request("bob", ASK, repeatable=bobs)
        assert world.receipt(bobs) is None
        await world.grant("bob", PRICE)
        reply = await studio.generations.request("bob", ASK, repeatable=bobs)
        assert reply.outcome is not None


class TestSucceeding:
    async def test_the_whole_price_is_captured_once(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id)
        before = len(world.entries)
        await studio.succeed(task_id, [output()])
        new = world.entries[before:]
        assert len({entry.command_id for entry in new}) == 1
        completed, captured, work = (entry.event for entry in new)
        assert completed == GenerationCompleted(delivered=1, charged=PRICE)
        assert isinstance(captured, HoldCaptured)
        assert (captured.hold_id, captured.amount, captured.returned) == (task_id, PRICE, ())
        assert captured.description == "生成AI图片 x1"
        assert work == WorkCompleted(
            file="cat.png",
            thumbnail="cat.webp",
            content_type="image/png",
            file_size=1_234,
            width=64,
            height=32,
            credits=PRICE,
        )
        assert world.account("ann") == CreditAccount(90, 0, world.account("ann").lots, {}, 1)

    @pytest.mark.parametrize(
        ("outputs", "charged", "shares"),
        [
            ("oooo", 10, [3, 3, 2, 2]),
            ("ooo.", 7, [3, 2, 2]),
            (".ooo", 7, [3, 2, 2]),
            ("o.o.", 5, [3, 2]),
            ("...o", 2, [2]),
            ("oo.", 6, [3, 3]),
            ("o..", 3, [3]),
        ],
    )
    async def test_only_the_share_of_what_came_out_is_captured_and_the_rest_returned(
        self, world: World, studio: Studio, outputs: str, charged: int, shares: list[int]
    ) -> None:
        task_id = await studio.request(len(outputs))
        await studio.start(task_id)
        await studio.succeed(task_id, [output(str(n)) if mark == "o" else None for n, mark in enumerate(outputs)])
        assert studio.endings() == [GenerationCompleted(delivered=len(shares), charged=charged)]
        (captured,) = world.all_of(HoldCaptured)
        assert (captured.amount, sum(part.amount for part in captured.returned)) == (charged, PRICE - charged)
        account = world.account("ann")
        assert (account.available, account.held) == (100 - charged, 0)
        completed = world.all_of(WorkCompleted)
        assert [work.credits for work in completed] == shares
        assert [work.file for work in completed] == [f"{n}.png" for n, mark in enumerate(outputs) if mark == "o"]
        for work_id, mark in zip(studio.works(task_id), outputs, strict=True):
            *_, last = world.events(f"work-{work_id}")
            assert isinstance(last, WorkCompleted if mark == "o" else WorkFailed)

    async def test_a_share_below_one_credit_is_not_charged(self, world: World, studio: Studio) -> None:
        task_id = await studio.request(4, model="cheap")
        await studio.start(task_id)
        await studio.succeed(task_id, [output(), None, None, None])
        assert studio.endings() == [GenerationCompleted(delivered=1, charged=0)]
        assert world.all_of(HoldCaptured) == []
        assert len(world.all_of(HoldReleased)) == 1
        assert (world.account("ann").available, world.account("ann").held) == (100, 0)
        assert [work.credits for work in world.all_of(WorkCompleted)] == [0]

    async def test_a_task_succeeds_once(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id)
        await studio.succeed(task_id, [output()])
        with pytest.raises(TaskOver):
            await studio.succeed(task_id, [output()])
        assert len(studio.settlements()) == 1
        assert world.account("ann").available == 90

    async def test_outputs_that_do_not_match_the_works_settle_nothing(self, world: World, studio: Studio) -> None:
        task_id = await studio.request(2)
        await studio.start(task_id)
        with pytest.raises(ValueError):
            await studio.succeed(task_id, [output()])
        assert (studio.endings(), studio.settlements()) == ([], [])
        assert world.account("ann").held == PRICE


class TestFailing:
    async def test_the_hold_is_released_and_every_work_fails(self, world: World, studio: Studio) -> None:
        task_id = await studio.request(2)
        await studio.start(task_id)
        before = len(world.entries)
        await studio.fail(task_id)
        new = world.entries[before:]
        assert [entry.event for entry in new] == [
            GenerationFailed(error_code="provider_error", error_message="no luck"),
            HoldReleased(hold_id=task_id, amount=PRICE, returned=(Slice(1, PRICE),), reason="failed"),
            WorkFailed(error_message="no luck"),
            WorkFailed(error_message="no luck"),
        ]
        assert len({entry.command_id for entry in new}) == 1
        assert (world.account("ann").available, world.account("ann").held) == (100, 0)

    async def test_a_task_fails_once(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id)
        await studio.fail(task_id)
        with pytest.raises(TaskOver):
            await studio.fail(task_id)
        with pytest.raises(TaskOver):
            await studio.succeed(task_id, [output()])
        assert len(studio.settlements()) == 1

    async def test_the_system_ends_a_task_that_nobody_works_on(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.fail(task_id, fence=None)
        assert world.account("ann").held == 0


class TestCancelling:
    async def test_the_hold_is_released_and_every_work_fails(self, world: World, studio: Studio) -> None:
        task_id = await studio.request(2)
        await studio.cancel(task_id)
        assert studio.endings() == [GenerationCancelled()]
        assert [event.reason for event in world.all_of(HoldReleased)] == ["cancelled"]
        assert [event.error_message for event in world.all_of(WorkFailed)] == [CANCELLED_MESSAGE] * 2
        assert (world.account("ann").available, world.account("ann").held) == (100, 0)

    async def test_nobody_cancels_what_belongs_to_another(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        for stranger in ("bob", ""):
            with pytest.raises(TaskUnknown):
                await studio.cancel(task_id, stranger)
        assert studio.endings() == []

    @pytest.mark.parametrize("user_id", ["ann", ""])
    async def test_what_never_was_cannot_be_cancelled(self, studio: Studio, user_id: str) -> None:
        with pytest.raises(TaskUnknown):
            await studio.cancel("nothing", user_id)

    async def test_cancelling_after_success_changes_nothing(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id)
        await studio.succeed(task_id, [output()])
        with pytest.raises(TaskOver) as refused:
            await studio.cancel(task_id)
        assert refused.value.status == "completed"
        assert world.account("ann").available == 90

    async def test_success_after_cancelling_changes_nothing(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id)
        await studio.cancel(task_id)
        with pytest.raises(TaskOver) as refused:
            await studio.succeed(task_id, [output()])
        assert refused.value.status == "cancelled"
        assert world.account("ann").available == 100
        assert world.all_of(WorkCompleted) == []

    async def test_of_cancelling_and_success_in_one_batch_exactly_one_counts(
        self, world: World, studio: Studio
    ) -> None:
        for order in (0, 1):
            task_id = await studio.request()
            await studio.start(task_id)
            both = [studio.cancel(task_id), studio.succeed(task_id, [output()])]
            results = await asyncio.gather(*(both if order else reversed(both)), return_exceptions=True)
            assert sum(isinstance(result, TaskOver) for result in results) == 1
        assert (len(studio.endings()), len(studio.settlements())) == (2, 2)
        assert world.account("ann").held == 0


class TestClaims:
    async def test_attempts_are_counted_and_say_who(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id, 1)
        await studio.start(task_id, 3)
        assert world.all_of(GenerationStarted) == [
            GenerationStarted(attempt=1, fence=1, worker="worker-1"),
            GenerationStarted(attempt=2, fence=3, worker="worker-3"),
        ]

    async def test_a_worker_that_lost_its_lease_writes_nothing(self, world: World, studio: Studio) -> None:
        task_id = await studio.request()
        await studio.start(task_id, 1)
        await studio.start(task_id, 2)
        before = len(world.entries)
        for late in (
            studio.start(task_id, 1),
            studio.succeed(task_id, [output()], fence=1),
            studio.fail(task_id, fence=1),
        ):
            with pytest.raises(LeaseLost) as refused:
                await late
            assert (refused.value.fence, refused.value.newest) == (1, 2)
        assert len(world.entries) == before
        await studio.succeed(task_id, [output()], fence=2)
        assert len(studio.settlements()) == 1

    async def test_of_two_workers_with_one_claim_in_one_batch_one_starts(self, studio: Studio) -> None:
        task_id = await studio.request()
        results = await asyncio.gather(studio.start(task_id), studio.start(task_id), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["LeaseLost", "NoneType"]

    async def test_what_never_was_cannot_be_started(self, studio: Studio) -> None:
        with pytest.raises(TaskUnknown):
            await studio.start("nothing")


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 50))
def test_shares_are_whole_add_up_and_the_first_ones_are_larger(total: int, parts: int) -> None:
    shares = split(total, parts)
    assert len(shares) == parts
    assert sum(shares) == total
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] <= 1

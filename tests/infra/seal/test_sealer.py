"""The sealer signs for the whole log, once and in order, whatever is killed; for a log that was changed it does not."""

import asyncio
import logging
import shutil
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mintage.bootstrap import sealer_of
from mintage.infra.database import connect_sync
from mintage.infra.postgres_store import LOG_LOCK
from mintage.infra.seal import sealer as module
from mintage.infra.seal.checkpoint_files import append_note
from mintage.infra.seal.merkle import Accumulator, Edge
from mintage.infra.seal.notes import Checkpoint, NoteInvalid, Signer, read_notes
from mintage.infra.seal.sealer import Contradicted, Sealer, Sealing, signer_of
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from tests.conftest import VAULT, until
from tests.infra.kit import TERMINATE, consume, grant, journal_on, one, outcomes, rows, run_sql, some_id

SEED = bytes(range(32))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def spend(conninfo: str, times: int) -> str:
    """A grant and so many debits of somebody new."""
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100_000), actor="test")
        for start in range(0, times, 2_000):
            await outcomes([consume(user_id, 2) for _ in range(start, min(times, start + 2_000))], journal)
    return user_id


@contextmanager
def connected(conninfo: str) -> Iterator[psycopg.Connection[Any]]:
    with connect_sync(conninfo) as connection:
        yield connection


def seal(conninfo: str, folder: Path, at: datetime = NOW, seed: bytes = SEED) -> int:
    with connected(conninfo) as connection:
        return Sealing(seed, folder).once(connection, at)


def signer(conninfo: str) -> Signer:
    with connected(conninfo) as connection:
        return signer_of(connection, SEED)


def root_of(conninfo: str, size: int) -> bytes:
    """By nothing but the log."""
    tree = Accumulator()
    for (event_hash,) in rows(
        conninfo, "select hash from stored_events where notification_id <= %s order by notification_id", (size,)
    ):
        tree.append(event_hash)
    assert tree.size == size
    return tree.root()


def seals(conninfo: str) -> list[Checkpoint]:
    by = signer(conninfo)
    kept = rows(conninfo, "select size, root, note from seals order by size")
    assert all((by.checkpoint(note).size, by.checkpoint(note).root) == (size, root) for size, root, note in kept)
    return [by.checkpoint(note) for _, _, note in kept]


def hold(conninfo: str, folder: Path) -> list[int]:
    """The sizes that were sealed, in the files and in the database alike, each with the root of the log."""
    written = read_notes(folder, signer(conninfo))
    assert written == seals(conninfo)
    assert all(one.root == root_of(conninfo, one.size) for one in written)
    return [one.size for one in written]


def change_log(conninfo: str, *statements: str) -> None:
    """What only somebody with power over the database can do."""
    run_sql(conninfo, "alter table stored_events disable trigger user", *statements)


class TestSealing:
    async def test_each_portion_is_signed_for_in_the_file_and_in_the_database(
        self, conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PORTION", 400)
        await spend(conninfo, 699)
        assert [seal(conninfo, tmp_path) for _ in range(3)] == [400, 300, 0]
        await spend(conninfo, 0)
        assert [seal(conninfo, tmp_path) for _ in range(2)] == [1, 0]
        assert hold(conninfo, tmp_path) == [400, 700, 701]

    async def test_an_empty_log_is_not_signed_for(self, conninfo: str, tmp_path: Path) -> None:
        assert seal(conninfo, tmp_path) == 0
        assert hold(conninfo, tmp_path) == []

    async def test_ten_thousand_events_are_caught_up_with(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 10_499)
        assert [seal(conninfo, tmp_path) for _ in range(3)] == [10_000, 500, 0]
        assert hold(conninfo, tmp_path) == [10_000, 10_500]
        full = "select level, count(*), max(length(hashes)) from seal_tiles group by level order by level"
        assert rows(conninfo, full) == [(0, 42, 8192), (1, 1, 41 * 32)]

    async def test_every_day_has_its_file(self, conninfo: str, tmp_path: Path) -> None:
        for day in range(3):
            await spend(conninfo, 1)
            seal(conninfo, tmp_path, NOW + timedelta(days=day))
        assert sorted(file.name for file in tmp_path.iterdir()) == [f"2026-01-0{day}.txt" for day in (2, 3, 4)]
        assert hold(conninfo, tmp_path) == [2, 4, 6]

    async def test_of_several_at_once_one_seals(
        self, conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PORTION", 25)
        await spend(conninfo, 999)

        def run(_: int) -> int:
            with connected(conninfo) as connection:
                sealed = 0
                while one(conninfo, "select coalesce(max(size), 0) from seals") < 1_000:
                    sealed += Sealing(SEED, tmp_path).once(connection, NOW)
                return sealed

        with ThreadPoolExecutor(3) as pool:
            assert sum(pool.map(run, range(3))) == 1_000
        assert hold(conninfo, tmp_path) == list(range(25, 1_001, 25))

    async def test_sealing_waits_for_no_writer(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        with connected(conninfo) as writer, connected(conninfo) as connection, writer.transaction():
            writer.execute("select pg_advisory_xact_lock(%s)", (LOG_LOCK,))
            writer.execute(
                """insert into stored_events (originator_id, originator_version, topic, state, notification_id, hash)
                values ('credits-x', 1, 'credits.consumed', '{}', 11, sha256(''))"""
            )
            assert Sealing(SEED, tmp_path).once(connection, NOW) == 10
        assert seal(conninfo, tmp_path) == 1

    async def test_no_writer_waits_for_the_sealing(
        self, conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await spend(conninfo, 9)
        reached, on = threading.Event(), threading.Event()

        def slow(*given: Any) -> None:
            reached.set()
            assert on.wait(30)
            append_note(*given)

        monkeypatch.setattr(module, "append_note", slow)
        sealing = asyncio.create_task(asyncio.to_thread(seal, conninfo, tmp_path))
        assert await asyncio.to_thread(reached.wait, 30)
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path) == 0
        on.set()
        assert await sealing == 10

    async def test_the_duty_keeps_up_and_outlives_its_connection(self, conninfo: str, tmp_path: Path) -> None:
        duties = [
            asyncio.create_task(Sealer(conninfo, SEED, tmp_path / "checkpoints", lambda: NOW).run()) for _ in range(2)
        ]
        try:
            for turn in range(1, 4):
                await spend(conninfo, 99)
                run_sql(conninfo, TERMINATE)

                async def sealed(turn: int = turn) -> bool:
                    newest = "select coalesce(max(size), 0) from seals"
                    return bool(await asyncio.to_thread(one, conninfo, newest) == 100 * turn)

                await until(sealed)
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
        assert hold(conninfo, tmp_path / "checkpoints")[-1] == 300

    async def test_each_machine_has_a_folder_of_its_own(self, conninfo: str, tmp_path: Path) -> None:
        """What one of them does not know of is no contradiction."""
        for turn in range(4):
            await spend(conninfo, 149)
            assert seal(conninfo, tmp_path / f"machine{turn % 2}") == 150
        by = signer(conninfo)
        sizes = [[one.size for one in read_notes(tmp_path / f"machine{number}", by)] for number in range(2)]
        assert sizes == [[150, 450], [300, 600]]
        assert [one.root for one in seals(conninfo)] == [root_of(conninfo, size) for size in (150, 300, 450, 600)]

    async def test_the_settings_say_where_and_by_which_key(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        place = Site(conninfo, VAULT, None)
        for data_dir, chosen, folder in (
            (tmp_path / "data", None, tmp_path / "data" / "checkpoints"),
            (tmp_path / "data", tmp_path / "far" / "away", tmp_path / "far" / "away"),
        ):
            settings = Settings(data_dir=data_dir, checkpoint_dir=chosen, seal_key=b64encode(SEED).decode())
            await spend(conninfo, 0)
            duty = asyncio.create_task(sealer_of(settings, place).run())
            await until(lambda folder=folder: asyncio.to_thread(lambda: any(folder.glob("*.txt"))))  # type: ignore[misc]
            duty.cancel()
            await asyncio.gather(duty, return_exceptions=True)
            assert read_notes(folder, signer(conninfo))


class TestWhatIsKilled:
    DIE = """create function die() returns trigger language plpgsql as
        $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$"""

    async def test_between_the_file_and_the_commit(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path) == 10
        await spend(conninfo, 9)
        run_sql(conninfo, self.DIE, "create trigger dying before insert on seals for each row execute function die()")
        with pytest.raises(psycopg.OperationalError):
            seal(conninfo, tmp_path)
        run_sql(conninfo, "drop trigger dying on seals")
        assert [one.size for one in read_notes(tmp_path, signer(conninfo))] == [10, 20]
        assert [one.size for one in seals(conninfo)] == [10]
        # What was said stays said, and is not said twice.
        assert seal(conninfo, tmp_path) == 10
        assert hold(conninfo, tmp_path) == [10, 20]

    async def test_and_the_log_has_grown_meanwhile(
        self, conninfo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await spend(conninfo, 99)
        other = tmp_path / "ahead"
        assert seal(conninfo, other) == 100
        forget = ("alter table seals disable trigger user", "delete from seals", "delete from seal_tiles")
        run_sql(conninfo, *forget)
        await spend(conninfo, 99)
        monkeypatch.setattr(module, "PORTION", 30)
        # Past what the file says in portions, and one further.
        assert seal(conninfo, other) == 130
        assert [one.size for one in read_notes(other, signer(conninfo))] == [100, 130]
        assert seals(conninfo)[-1].root == root_of(conninfo, 130)

    async def test_in_the_middle_of_a_note(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        seal(conninfo, tmp_path)
        await spend(conninfo, 9)
        (file,) = tmp_path.iterdir()
        file.write_bytes(file.read_bytes() + b"\n" + file.read_bytes()[:60])
        assert seal(conninfo, tmp_path) == 10
        assert hold(conninfo, tmp_path) == [10, 20]

    async def test_in_the_middle_of_the_first_note(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        (tmp_path / f"{NOW:%Y-%m-%d}.txt").write_text("mintage/01", encoding="utf-8")
        assert seal(conninfo, tmp_path) == 10
        assert hold(conninfo, tmp_path) == [10]

    async def test_a_folder_that_cannot_be_written_leaves_nothing_signed(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        in_the_way = tmp_path / "checkpoints"
        in_the_way.touch()
        with pytest.raises(OSError, match="checkpoints"):
            seal(conninfo, in_the_way)
        assert seals(conninfo) == []


def truncated(conninfo: str) -> None:
    change_log(conninfo, "delete from stored_events where notification_id > 15")


def truncated_and_written_anew(conninfo: str) -> None:
    hashed = "update stored_events set hash = sha256(hash) where notification_id >= 18"
    change_log(conninfo, hashed)


def rolled_back(conninfo: str) -> None:
    """As when an older backup is restored."""
    change_log(conninfo, "delete from stored_events where notification_id > 10")
    run_sql(
        conninfo,
        "alter table seals disable trigger user",
        "delete from seals where size > 10",
        "update seal_tiles set hashes = substring(hashes for 320)",
    )


def rolled_back_and_written_anew(conninfo: str) -> None:
    rolled_back(conninfo)
    insert = """insert into stored_events (originator_id, originator_version, topic, state, notification_id, hash)
        select 'credits-x', n, 'credits.consumed', '{}', 10 + n, sha256(n::text::bytea) from generate_series(1, 30) n"""
    run_sql(conninfo, insert)


def with_a_hole(conninfo: str) -> None:
    insert = """insert into stored_events (originator_id, originator_version, topic, state, notification_id, hash)
        select 'credits-x', n, 'credits.consumed', '{}', 20 + n, sha256(n::text::bytea) from generate_series(1, 9) n
        where n <> 4"""
    run_sql(conninfo, insert)


def with_other_tiles(conninfo: str) -> None:
    run_sql(conninfo, "update seal_tiles set hashes = sha256('x') || substring(hashes from 33)")


def without_tiles(conninfo: str) -> None:
    run_sql(conninfo, "delete from seal_tiles")


def with_a_forged_seal(conninfo: str) -> None:
    """A log, a tree and a seal that agree with each other: only the key is missing."""
    name = signer(conninfo).name
    change_log(conninfo, "update stored_events set hash = sha256(hash)")
    forged = [event_hash for (event_hash,) in rows(conninfo, "select hash from stored_events order by notification_id")]
    run_sql(conninfo, "alter table seals disable trigger user", "delete from seals", "delete from seal_tiles")
    with connected(conninfo) as connection:
        tree = Edge()
        tiles = tree.extend(forged)
        module._store(connection, tiles, Signer(name, bytes(32)).sign(tree.size, tree.root()), NOW)


def with_a_seal_that_is_not_its_note(conninfo: str) -> None:
    run_sql(conninfo, "alter table seals disable trigger user", "update seals set size = 19 where size = 20")


def with_another_root(conninfo: str) -> None:
    run_sql(conninfo, "alter table seals disable trigger user", "update seals set root = sha256('x') where size = 20")


CHANGES: Sequence[tuple[Callable[[str], None], str]] = [
    (truncated, "no event 20"),
    (truncated_and_written_anew, "event 20 is not the one"),
    (rolled_back, "ends at event 10"),
    (rolled_back_and_written_anew, "the first 20 events are not those"),
    (with_a_hole, "missing between 20 and 29"),
    (with_other_tiles, "does not have the root"),
    (without_tiles, "not there"),
    (with_a_forged_seal, "not signed with the key"),
    (with_a_seal_that_is_not_its_note, "not what its note says"),
    (with_another_root, "not what its note says"),
]


class TestWhatWasChanged:
    @pytest.mark.parametrize(("change", "complaint"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
    async def test_is_not_signed_for_and_said_aloud_each_time(
        self,
        conninfo: str,
        tmp_path: Path,
        change: Callable[[str], None],
        complaint: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for _ in range(2):
            await spend(conninfo, 9)
            assert seal(conninfo, tmp_path) == 10
        before = read_notes(tmp_path, signer(conninfo))
        change(conninfo)
        with pytest.raises((Contradicted, NoteInvalid), match=complaint):
            seal(conninfo, tmp_path)

        monkeypatch.setattr("mintage.infra.follower.IDLE_S", 0.02)
        duty = asyncio.create_task(Sealer(conninfo, SEED, tmp_path, lambda: NOW).run())

        async def said_aloud() -> bool:
            said = [record for record in caplog.records if "NOT BEING SEALED" in record.message]
            return len([one for one in said if one.levelno == logging.ERROR and complaint in one.message]) >= 3

        await until(said_aloud)
        duty.cancel()
        await asyncio.gather(duty, return_exceptions=True)
        assert read_notes(tmp_path, signer(conninfo)) == before

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [one for one in CHANGES if one[0] not in {with_other_tiles, without_tiles}],
        ids=lambda given: getattr(given, "__name__", ""),
    )
    async def test_is_noticed_by_who_remembers_what_was_sealed(
        self, conninfo: str, tmp_path: Path, change: Callable[[str], None], complaint: str
    ) -> None:
        sealing = Sealing(SEED, tmp_path)
        with connected(conninfo) as connection:
            for _ in range(2):
                await spend(conninfo, 9)
                assert [sealing.once(connection, NOW) for _ in range(2)] == [10, 0]
            change(conninfo)
            for _ in range(2):
                with pytest.raises((Contradicted, NoteInvalid), match=complaint):
                    sealing.once(connection, NOW)

    async def test_a_note_that_says_otherwise_is_noticed_though_nothing_happens(
        self, conninfo: str, tmp_path: Path
    ) -> None:
        sealing = Sealing(SEED, tmp_path)
        await spend(conninfo, 9)
        with connected(conninfo) as connection:
            assert [sealing.once(connection, NOW) for _ in range(2)] == [10, 0]
            append_note(tmp_path, signer(conninfo).sign(11, bytes(32)), NOW)
            with pytest.raises(Contradicted, match="the log ends at event 10"):
                sealing.once(connection, NOW)

    async def test_who_remembers_the_tree_goes_on_without_its_tiles(self, conninfo: str, tmp_path: Path) -> None:
        sealing = Sealing(SEED, tmp_path)
        with connected(conninfo) as connection:
            for change in (with_other_tiles, without_tiles):
                await spend(conninfo, 9)
                assert sealing.once(connection, NOW) == 10
                change(conninfo)
            await spend(conninfo, 9)
            assert sealing.once(connection, NOW) == 10
        # And they are as they are to be again: who remembers nothing goes on from them.
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path) == 10
        assert hold(conninfo, tmp_path) == [10, 20, 30, 40]

    async def test_what_could_not_be_stored_is_not_remembered(self, conninfo: str, tmp_path: Path) -> None:
        sealing = Sealing(SEED, tmp_path)
        await spend(conninfo, 9)
        with connected(conninfo) as connection:
            assert sealing.once(connection, NOW) == 10
            await spend(conninfo, 9)
            run_sql(conninfo, "alter table seals add constraint none_more check (size < 20)")
            with pytest.raises(psycopg.errors.CheckViolation):
                sealing.once(connection, NOW)
            run_sql(conninfo, "alter table seals drop constraint none_more")
            await spend(conninfo, 9)
            assert sealing.once(connection, NOW) == 20
        assert read_notes(tmp_path, signer(conninfo))[-1].root == root_of(conninfo, 30)

    async def test_machines_take_turns(self, conninfo: str, tmp_path: Path) -> None:
        """What each remembers the other has gone on from."""
        both = [Sealing(SEED, tmp_path / "one"), Sealing(SEED, tmp_path / "other")]
        with connected(conninfo) as connection:
            for turn in range(6):
                await spend(conninfo, 99)
                assert both[turn % 2].once(connection, NOW) == 100
                assert both[(turn + 1) % 2].once(connection, NOW) == 0
        assert [one.root for one in seals(conninfo)] == [root_of(conninfo, 100 * turn) for turn in range(1, 7)]

    async def test_a_file_that_says_otherwise_than_the_database_is_believed(
        self, conninfo: str, tmp_path: Path
    ) -> None:
        """An older note of the file, and a tree that was made anew over a changed log with the stolen key."""
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path) == 10
        change_log(conninfo, "update stored_events set hash = sha256(hash)")
        run_sql(conninfo, "alter table seals disable trigger user", "delete from seals", "delete from seal_tiles")
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path / "elsewhere") == 20
        with pytest.raises(Contradicted, match="the first 10 events are not those"):
            seal(conninfo, tmp_path)

    @pytest.mark.parametrize("days", [-1, 400])
    async def test_no_second_history_is_signed_after_the_clock_was_wrong(
        self, conninfo: str, tmp_path: Path, days: int
    ) -> None:
        """Put back for a while, or once too far ahead: the newest note is not in the last file."""
        wrong = NOW + timedelta(days=days)
        for at in (NOW, wrong) if days < 0 else (wrong, NOW):
            await spend(conninfo, 9)
            assert seal(conninfo, tmp_path, at) == 10
        rolled_back_and_written_anew(conninfo)
        with pytest.raises(Contradicted, match="the first 20 events are not those"):
            seal(conninfo, tmp_path)

    async def test_under_another_key_nothing_is_signed(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        seal(conninfo, tmp_path)
        await spend(conninfo, 9)
        with pytest.raises(NoteInvalid, match="not signed with the key"):
            seal(conninfo, tmp_path, seed=bytes(32))

    async def test_checkpoints_of_another_log_in_the_folder_do_not_matter(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        other = Signer("mintage/another", SEED)
        file = tmp_path / f"{NOW:%Y-%m-%d}.txt"
        file.write_text(other.sign(99, bytes(32)).note, encoding="utf-8")
        assert seal(conninfo, tmp_path) == 10
        with file.open("a", encoding="utf-8") as more:
            more.write("\n" + other.sign(100, bytes(32)).note)
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path) == 10
        assert hold(conninfo, tmp_path) == [10, 20]

    async def test_what_is_no_file_of_checkpoints_is_left_alone(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        file = tmp_path / f"{NOW:%Y-%m-%d}.txt"
        file.write_text("notes of mine\n" * 100, encoding="utf-8")
        with pytest.raises(NoteInvalid, match="no checkpoint"):
            seal(conninfo, tmp_path)
        assert file.read_text(encoding="utf-8") == "notes of mine\n" * 100

    async def test_a_long_file_is_read_from_its_end(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        by, file = signer(conninfo), tmp_path / f"{NOW:%Y-%m-%d}.txt"
        assert seal(conninfo, tmp_path) == 10
        # An older note over and over is nothing that a sealer would write, and nothing that contradicts it.
        file.write_text("\n".join([by.sign(10, root_of(conninfo, 10)).note] * 600), encoding="utf-8")
        await spend(conninfo, 9)
        assert seal(conninfo, tmp_path) == 10
        assert [one.size for one in read_notes(file, by)] == [10] * 600 + [20]

    async def test_seals_and_the_logs_name_are_never_changed(self, conninfo: str, tmp_path: Path) -> None:
        await spend(conninfo, 9)
        seal(conninfo, tmp_path)
        for statement in (
            "update seals set size = 1",
            "delete from seals",
            "truncate seals",
            "update log_identity set id = gen_random_uuid()",
            "delete from log_identity",
        ):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                run_sql(conninfo, statement)
        with pytest.raises(psycopg.errors.UniqueViolation):
            run_sql(conninfo, "insert into log_identity default values")

    async def test_losing_the_folder_is_no_contradiction(self, conninfo: str, tmp_path: Path) -> None:
        folder = tmp_path / "checkpoints"
        await spend(conninfo, 9)
        seal(conninfo, folder)
        shutil.rmtree(folder)
        await spend(conninfo, 9)
        assert seal(conninfo, folder) == 10
        assert [one.size for one in read_notes(folder, signer(conninfo))] == [20]

"""Every event of a sealed log has a receipt that holds, however far the log has gone on and whoever was erased."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from mintage.application.receipts import TransactionReceipt
from mintage.application.refusals import TransactionUnknown
from mintage.application.transaction import Unavailable
from mintage.infra.database import Pool
from mintage.infra.seal import receipts as module
from mintage.infra.seal.merkle import proven_root
from mintage.infra.seal.receipts import SealedReceipts
from tests.infra.kit import (
    a_day,
    consume,
    erase,
    grant,
    journal_on,
    one,
    outcomes,
    register,
    rows,
    run_sql,
    some_id,
    the_log,
)
from tests.infra.seal.test_receipt_tool import holds, run
from tests.infra.seal.test_sealer import SEED, seal, signer


@pytest.fixture
async def receipts(conninfo: str) -> AsyncIterator[SealedReceipts]:
    pool = Pool(conninfo)
    await pool.open()
    yield SealedReceipts(pool, SEED)
    await pool.close()


def json_of(receipt: TransactionReceipt | None) -> bytes:
    assert receipt is not None
    return msgspec.json.encode(receipt)


async def test_every_event_of_a_day_has_one(conninfo: str, receipts: SealedReceipts, tmp_path: Path) -> None:
    async with journal_on(conninfo) as journal:
        await a_day(journal)
    seal(conninfo, tmp_path)
    key = await receipts.key()
    assert key == signer(conninfo).text
    log = the_log(conninfo)
    assert len(log) > 50
    for entry in log:
        receipt = await receipts.of_event(entry.position)
        assert receipt is not None
        assert (receipt.event.position, receipt.event.stream) == (entry.position, entry.stream)
        assert holds(json_of(receipt), key)
    assert await receipts.of_event(len(log) + 1) is None


async def test_old_ones_hold_for_ever_and_new_ones_by_each_checkpoint(
    conninfo: str, receipts: SealedReceipts, tmp_path: Path
) -> None:
    """Also where a tile of the tree is just full, or just begun."""
    user_id, kept = some_id(), []
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 10_000), actor="test")
        for more in (1, 253, 1, 1, 256, 300):
            await outcomes([consume(user_id, 1) for _ in range(more)], journal)
            seal(conninfo, tmp_path)
            for position in (1, 2, 255, 256, 257, 512, 513, 800):
                receipt = await receipts.of_event(position)
                kept += [json_of(receipt)] if receipt else []
    assert len(kept) > 25
    key = await receipts.key()
    assert all(holds(receipt, key) for receipt in kept)


async def test_erasing_a_person_leaves_theirs_holding(conninfo: str, receipts: SealedReceipts, tmp_path: Path) -> None:
    user_id, transaction_id = some_id(), some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(register(user_id, "canary", email="canary@example.org"), actor=user_id)
        await journal.transact(grant(user_id, 100), actor=user_id)
        await journal.transact(consume(user_id, 1, transaction_id=transaction_id), actor=user_id)
        seal(conninfo, tmp_path)
        registration = json_of(await receipts.of_event(1))
        spending = json_of(await receipts.of_transaction(user_id, transaction_id))
        await journal.transact(erase(user_id), actor="system")
    seal(conninfo, tmp_path)
    key = await receipts.key()
    assert one(conninfo, "select count(*) from person_keys") == 0
    for receipt in (registration, spending):
        assert b"canary" not in receipt
        assert holds(receipt, key)
    again = await receipts.of_event(1), await receipts.of_transaction(user_id, transaction_id)
    for late in map(json_of, again):
        assert late not in {registration, spending}
        assert holds(late, key)


async def test_what_was_changed_since_has_none_that_holds(
    conninfo: str, receipts: SealedReceipts, tmp_path: Path
) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100), actor="test")
        await outcomes([consume(user_id, 1) for _ in range(9)], journal)
    seal(conninfo, tmp_path)
    key, before = await receipts.key(), json_of(await receipts.of_event(5))
    run_sql(
        conninfo,
        "alter table stored_events disable trigger user",
        """update stored_events set state = replace(convert_from(state, 'UTF8'), '"amount":1', '"amount":9')::bytea
        where notification_id = 5""",
    )
    assert not holds(json_of(await receipts.of_event(5)), key)
    assert holds(before, key)
    run_sql(conninfo, "delete from stored_events where notification_id = 5")
    with pytest.raises(Unavailable):
        await receipts.of_event(5)


async def test_a_new_one_is_waited_for(
    conninfo: str, receipts: SealedReceipts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id, transaction_id = some_id(), some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100), actor="test")
        await journal.transact(consume(user_id, 1, transaction_id=transaction_id), actor="test")
    monkeypatch.setattr(module, "WAIT_S", 0.3)
    with pytest.raises(Unavailable, match="not sealed yet"):
        await receipts.of_transaction(user_id, transaction_id)
    seal(conninfo, tmp_path)
    assert holds(json_of(await receipts.of_transaction(user_id, transaction_id)), await receipts.key())
    for whose, which in ((some_id(), transaction_id), (user_id, some_id())):
        with pytest.raises(TransactionUnknown):
            await receipts.of_transaction(whose, which)


async def test_a_proof_reads_a_few_tiles_of_a_large_tree(
    conninfo: str, receipts: SealedReceipts, tmp_path: Path
) -> None:
    run_sql(
        conninfo,
        """insert into stored_events (originator_id, originator_version, topic, state, notification_id, hash)
        select 'credits-x', n, 'credits.consumed', '{}', n, sha256(n::text::bytea) from generate_series(1, 70000) n""",
    )
    while seal(conninfo, tmp_path):
        pass
    assert rows(conninfo, "select level, count(*) from seal_tiles group by level order by level") == [
        (0, 274),
        (1, 2),
        (2, 1),
    ]
    for position in (1, 256, 257, 65_536, 65_537, 69_888, 70_000):
        receipt = await receipts.of_event(position)
        assert receipt is not None
        assert len(receipt.proof) <= 17
        # These hashes are not those of events, so only the way to the root is looked at.
        (event_hash,) = rows(conninfo, "select hash from stored_events where notification_id = %s", (position,))[0]
        proof = [bytes.fromhex(node) for node in receipt.proof]
        root = one(conninfo, "select root from seals where size = 70000")
        assert proven_root(event_hash, position - 1, 70_000, proof) == root


async def test_one_in_a_file_is_verified_by_the_tool_alone(
    conninfo: str, receipts: SealedReceipts, tmp_path: Path
) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100), actor="test")
    seal(conninfo, tmp_path / "checkpoints")
    receipt = json_of(await receipts.of_event(1))
    done = await asyncio.to_thread(run, tmp_path, receipt, await receipts.key())
    assert (done.returncode, done.stderr) == (0, "")
    assert f"number 1 of 1, number 1 of credits-{user_id}" in done.stdout

"""Receipts: an event as it is stored, the way from it to a signed root, and the checkpoint that says so."""

import asyncio
from typing import Final

import msgspec

from mintage.application.receipts import ReceiptEvent, TransactionReceipt
from mintage.application.refusals import TransactionUnknown
from mintage.application.transaction import Unavailable
from mintage.infra.chain import GENESIS
from mintage.infra.seal.merkle import TileId, proof, tiles_of_proof
from mintage.infra.seal.notes import Signer
from mintage.infra.seal.sealer import NEWEST, TILES, named
from mintage.projections.sql import Database

WAIT_S: Final = 3.0
"""The longest that a receipt is waited for: the sealer comes by each second."""
_LOOK_S: Final = 0.2

_POSITION: Final = "select position from transactions where id = %s and user_id = %s"
_EVENT: Final = f"""
select e.notification_id as position, e.originator_id as stream, e.originator_version as version, e.topic,
    convert_from(e.state, 'UTF8') as state, coalesce(encode(before.hash, 'hex'), '{GENESIS.hex()}') as previous
from stored_events e
left join stored_events before
    on before.originator_id = e.originator_id and before.originator_version = e.originator_version - 1
where e.notification_id = %s"""


class _Position(msgspec.Struct):
    position: int


class _Identity(msgspec.Struct):
    id: str


class _Seal(msgspec.Struct):
    size: int
    root: bytes
    note: str


class _Tile(msgspec.Struct):
    level: int
    number: int
    hashes: bytes


class SealedReceipts:
    """Implements ``application.receipts.TransactionReceipts``; ``seed`` is the key that the log is sealed with."""

    def __init__(self, db: Database, seed: bytes) -> None:
        self._db = db
        self._seed = seed

    async def key(self) -> str:
        identity = await self._db.fetch_one(_Identity, "select id::text from log_identity")
        assert identity is not None
        return Signer(named(identity.id), self._seed).text

    async def of_transaction(self, user_id: str, transaction_id: str) -> TransactionReceipt:
        found = await self._db.fetch_one(_Position, _POSITION, (transaction_id, user_id))
        if found is None:
            raise TransactionUnknown
        end = asyncio.get_running_loop().time() + WAIT_S
        while (receipt := await self.of_event(found.position)) is None:
            if asyncio.get_running_loop().time() > end:
                raise Unavailable("the transaction is not sealed yet")
            await asyncio.sleep(_LOOK_S)
        return receipt

    async def of_event(self, position: int) -> TransactionReceipt | None:
        """The receipt of any event of the log by the newest checkpoint, None if that does not cover it."""
        seal = await self._db.fetch_one(_Seal, NEWEST)
        if seal is None or seal.size < position:
            return None
        event = await self._db.fetch_one(ReceiptEvent, _EVENT, (position,))
        if event is None:
            raise Unavailable(f"event {position} was sealed and is not in the log")
        index = position - 1
        tiles = await self._tiles(tiles_of_proof(index, seal.size))
        path = [node.hex() for node in proof(index, seal.size, tiles)]
        return TransactionReceipt("mintage receipt 1", event, path, seal.note)

    async def _tiles(self, wanted: set[TileId]) -> dict[TileId, bytes]:
        levels, numbers = zip(*wanted, strict=True) if wanted else ((), ())
        rows = await self._db.fetch(_Tile, TILES, (list(levels), list(numbers)))
        return {(row.level, row.number): row.hashes for row in rows}

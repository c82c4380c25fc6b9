"""The Merkle tree of RFC 6962 over the events' hashes, kept in tiles so that any proof reads little of it."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

import msgspec

HASH: Final = 32
"""The length of every hash, in bytes."""
TILE: Final = 256
"""The hashes of a full tile."""
_HEIGHT: Final = 8
"""The levels of the tree that a tile spans."""

TileId: TypeAlias = tuple[int, int]
"""The tile's level (0 holds leaves, 1 the roots of full tiles of level 0, ...) and its number from the left."""
Tiles: TypeAlias = Mapping[TileId, bytes]
"""The hashes of each tile, one after the other."""
_Node: TypeAlias = tuple[int, int]
"""The level of a node above the leaves and its number from the left; of full subtrees only."""


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class Accumulator(msgspec.Struct):
    """A tree of ``size`` leaves, of which only the roots of its full subtrees are kept, the largest first."""

    size: int = 0
    peaks: list[bytes] = []

    @classmethod
    def of_chunk(cls, event_hashes: Sequence[bytes]) -> "Accumulator":
        """The tree of a run of events, made faster than by appending; to be merged where the run is aligned."""
        return cls(len(event_hashes), _peaks(list(event_hashes)))

    def append(self, event_hash: bytes) -> None:
        self._push(event_hash, 0)

    def merge(self, right: "Accumulator") -> None:
        """Append a whole tree. Its largest full subtree must divide the size of this one, or ``ValueError``."""
        if right.peaks and self.size % (1 << right.size.bit_length() - 1):
            raise ValueError(f"a tree of {right.size} leaves does not fit after {self.size}")
        levels = [level for level in reversed(range(right.size.bit_length())) if right.size >> level & 1]
        for level, peak in zip(levels, right.peaks, strict=True):
            self._push(peak, level)

    def root(self) -> bytes:
        return _folded(self.peaks) if self.peaks else sha256().digest()

    def _push(self, node: bytes, level: int) -> None:
        count = self.size >> level
        while count & 1:
            node = node_hash(self.peaks.pop(), node)
            count >>= 1
        self.peaks.append(node)
        self.size += 1 << level


class Edge(msgspec.Struct):
    """A tree of ``size`` leaves by its unfinished tiles, level by level: enough to tell its root and to let it grow."""

    size: int = 0
    unfinished: list[list[bytes]] = []

    @staticmethod
    def tiles_of(size: int) -> list[TileId]:
        """The tiles that the edge of a tree consists of; those of a tree that has grown since will do."""
        return [(level, count // TILE) for level, count in enumerate(_counts(size)) if count % TILE]

    @classmethod
    def of(cls, size: int, tiles: Tiles) -> "Edge":
        """Raises ``LookupError`` if a tile is not there or too short."""
        unfinished = []
        for level, count in enumerate(_counts(size)):
            hashes = _entries(tiles[level, count // TILE], 0, count % TILE) if count % TILE else []
            unfinished.append(hashes)
        return cls(size, unfinished)

    def root(self) -> bytes:
        return Accumulator(self.size, [peak for tile in reversed(self.unfinished) for peak in _peaks(tile)]).root()

    def extend(self, event_hashes: Iterable[bytes]) -> dict[TileId, bytes]:
        """Append events; returns every tile that changed, whole."""
        changed: dict[TileId, bytes] = {}
        new = list(event_hashes)
        size, level = self.size + len(new), 0
        while new:
            if level == len(self.unfinished):
                self.unfinished.append([])
            first = (self.size >> _HEIGHT * level) // TILE
            hashes = self.unfinished[level] + new
            new = []
            for number, start in enumerate(range(0, len(hashes), TILE), first):
                tile = hashes[start : start + TILE]
                changed[level, number] = b"".join(tile)
                if len(tile) == TILE:
                    new += _peaks(tile)
            self.unfinished[level] = hashes[len(new) * TILE :]
            level += 1
        self.size = size
        return changed


def tiles_of_proof(index: int, size: int) -> set[TileId]:
    """The tiles that ``proof`` needs."""
    return {_place(node)[0] for sibling in _siblings(index, size) for node in sibling}


def proof(index: int, size: int, tiles: Tiles) -> list[bytes]:
    """The audit path of a leaf (from 0) in the tree of this size, from the leaf's sibling upwards.

    Raises ``LookupError`` if a tile is not there or too short.
    """
    return [_folded([_hash_of(node, tiles) for node in sibling]) for sibling in _siblings(index, size)]


def proven_root(event_hash: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of the tree in which the path proves the event to be leaf ``index``; ``ValueError`` if none has it."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    node, last = event_hash, size - 1
    for sibling in path:
        if last == 0:
            raise ValueError("the proof is too long")
        if index & 1 or index == last:
            node = node_hash(sibling, node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return node


def _peaks(hashes: list[bytes]) -> list[bytes]:
    """The roots of the full subtrees over a run of equal nodes, the largest first."""
    peaks = []
    while hashes:
        if len(hashes) & 1:
            peaks.append(hashes[-1])
        pairs = iter(hashes)
        hashes = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    return peaks[::-1]


def _folded(peaks: Sequence[bytes]) -> bytes:
    *others, root = peaks
    for peak in reversed(others):
        root = node_hash(peak, root)
    return root


def _counts(size: int) -> list[int]:
    """How many hashes there are in the tiles of each level."""
    counts = []
    while size:
        counts.append(size)
        size >>= _HEIGHT
    return counts


def _siblings(index: int, size: int) -> list[list[_Node]]:
    """What stands beside the way from a leaf to the root, each as the full subtrees it consists of."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    siblings: list[list[_Node]] = []
    start, end = 0, size
    while end - start > 1:
        level = (end - start - 1).bit_length() - 1
        middle = start + (1 << level)
        if index < middle:
            siblings.append(_full_subtrees(middle, end))
            end = middle
        else:
            siblings.append([(level, start >> level)])
            start = middle
    return siblings[::-1]


def _full_subtrees(start: int, end: int) -> list[_Node]:
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _place(node: _Node) -> tuple[TileId, int, int]:
    """The tile that a node is made of, the first of its hashes there, and how many they are."""
    level, number = node
    within = level % _HEIGHT
    first = number << within
    return (level // _HEIGHT, first // TILE), first % TILE, 1 << within


def _hash_of(node: _Node, tiles: Tiles) -> bytes:
    tile, first, count = _place(node)
    (root,) = _peaks(_entries(tiles[tile], first, count))
    return root


def _entries(tile: bytes, first: int, count: int) -> list[bytes]:
    end = HASH * (first + count)
    if len(tile) < end:
        raise IndexError("a tile is too short")
    return [tile[start : start + HASH] for start in range(HASH * first, end, HASH)]

"""The tree is that of RFC 6962, however it is grown; every leaf of every size can be proven from a few tiles."""

from contextlib import suppress
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintage.infra.seal.merkle import (
    TILE,
    Accumulator,
    Edge,
    TileId,
    node_hash,
    proof,
    proven_root,
    tiles_of_proof,
)


def event(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    n = len(leaves)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return leaves[0]
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1, word for word."""
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def leaves(size: int) -> list[bytes]:
    return [event(number) for number in range(size)]


def grown(size: int, *stops: int) -> tuple[Edge, dict[TileId, bytes]]:
    """A tree that was extended in portions, the tiles stored after each."""
    edge, tiles = Edge(), dict[TileId, bytes]()
    for start, end in pairwise([0, *sorted(stops), size]):
        tiles |= edge.extend(event(number) for number in range(start, end))
        edge = Edge.of(end, tiles)
    return edge, tiles


def appended(size: int) -> Accumulator:
    tree = Accumulator()
    for number in range(size):
        tree.append(event(number))
    return tree


def test_by_hand() -> None:
    a, b, c = (event(number) for number in range(3))
    ab = sha256(b"\x01" + a + b).digest()
    assert node_hash(a, b) == ab
    assert appended(0).root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert appended(1).root() == a
    assert appended(3).root() == sha256(b"\x01" + ab + c).digest()
    _, tiles = grown(3)
    assert [proof(number, 3, tiles) for number in range(3)] == [[b, c], [a, c], [ab]]


def test_the_vectors_of_certificate_transparency() -> None:
    """Certificate Transparency's own: eight inputs hashed as leaves, and the roots after each."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    tree = Accumulator()
    for data, root in zip(inputs, roots, strict=True):
        tree.append(sha256(b"\0" + bytes.fromhex(data)).digest())
        assert tree.root().hex() == root


@given(st.integers(0, 3 * TILE), st.data())
def test_the_root_is_the_same_however_the_tree_was_grown(size: int, data: st.DataObject) -> None:
    root = naive_root(leaves(size))
    assert appended(size).root() == root
    assert Accumulator.of_chunk([event(number) for number in range(size)]).root() == root
    stops = data.draw(st.lists(st.integers(0, size), max_size=4))
    edge, tiles = grown(size, *stops)
    assert edge.root() == root
    older = data.draw(st.integers(0, size))
    assert Edge.of(older, tiles).root() == naive_root(leaves(older))
    assert set(Edge.tiles_of(older)) <= set(tiles)


@given(st.integers(0, 600), st.integers(0, 6))
def test_chunks_that_are_aligned_are_merged(size: int, k: int) -> None:
    tree = Accumulator()
    for start in range(0, size, 1 << k):
        tree.merge(Accumulator.of_chunk([event(number) for number in range(start, min(size, start + (1 << k)))]))
    assert (tree.size, tree.root()) == (size, naive_root(leaves(size)))
    assert tree == appended(size)


def test_a_chunk_that_is_not_aligned_is_refused() -> None:
    tree = appended(3)
    with pytest.raises(ValueError, match="does not fit"):
        tree.merge(appended(2))
    tree.merge(appended(0))
    assert tree == appended(3)


@pytest.mark.parametrize("size", range(1, 71))
def test_every_leaf_of_a_small_tree_is_proven(size: int) -> None:
    _, tiles = grown(size, size // 3, size // 2)
    all_leaves = leaves(size)
    root = naive_root(all_leaves)
    for index in range(size):
        path = proof(index, size, tiles)
        assert path == naive_path(index, all_leaves)
        assert proven_root(event(index), index, size, path) == root


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_793, 70_001])
def test_leaves_of_large_trees_are_proven_from_a_few_tiles(size: int) -> None:
    grown_further, tiles = grown(size + 300, size)
    assert grown_further.root() == appended(size + 300).root()
    root = appended(size).root()
    candidates = {0, 1, 254, 255, 256, 257, size // 2, 65_535, 65_536, size - 257, size - 2, size - 1}
    for index in (one for one in candidates if 0 <= one < size):
        wanted = tiles_of_proof(index, size)
        assert len(wanted) <= 6
        path = proof(index, size, {tile: tiles[tile] for tile in wanted})
        assert len(path) <= 17
        assert proven_root(event(index), index, size, path) == root


@given(st.integers(1, 400), st.data())
def test_a_proof_proves_nothing_else(size: int, data: st.DataObject) -> None:
    _, tiles = grown(size)
    root = appended(size).root()
    index = data.draw(st.integers(0, size - 1))
    path = proof(index, size, tiles)
    tampered = list(path)
    what = data.draw(st.sampled_from(["event", "index", "longer", *(["sibling", "shorter", "order"] if path else [])]))
    given_event, given_index = event(index), index
    if what == "event":
        given_event = event(size)
    elif what == "index":
        given_index = data.draw(st.integers(-1, size).filter(lambda other: other != index))
    elif what == "longer":
        tampered.append(root)
    elif what == "shorter":
        tampered.pop()
    elif what == "order":
        tampered = tampered[::-1]
        if tampered == path:
            return
    else:
        tampered[data.draw(st.integers(0, len(path) - 1))] = event(size + 1)
    with suppress(ValueError):
        assert proven_root(given_event, given_index, size, tampered) != root


def test_a_tile_that_is_not_there_or_too_short_is_noticed() -> None:
    _, tiles = grown(600)
    for broken in ({**tiles, (0, 2): tiles[0, 2][:-1]}, {tile: tiles[tile] for tile in tiles if tile != (0, 2)}):
        with pytest.raises(LookupError):
            proof(3, 600, broken)
        with pytest.raises(LookupError):
            Edge.of(600, broken)
    with pytest.raises(ValueError, match="no leaf"):
        proof(600, 600, tiles)

"""Tops and paths built leaf by leaf are those of the plain tree, and a path leads from one leaf to one top."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tip_exchange.commitments import keccak, merkle_leaf, merkle_proof, merkle_root
from tip_exchange.delivery.tree import TreeTop, cipher_leaf, data_root, path, path_holds, top_of

SELLER = "0x" + "5e" * 20
OTHER_SELLER = "0x" + "07" * 20


def leaves_of(count: int) -> list[bytes]:
    return [keccak(b"leaf" + index.to_bytes(8, "big")) for index in range(count)]


def levels_of(hashes: list[bytes]) -> list[list[bytes]]:
    """The rule, level by level."""
    levels = [hashes]
    while len(level := levels[-1]) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        levels.append([keccak(b"\x01" + pair[0] + pair[1]) if len(pair) == 2 else pair[0] for pair in pairs])
    return levels


def plain_path(levels: list[list[bytes]], index: int) -> tuple[bytes, ...]:
    siblings = [(level, (index >> height) ^ 1) for height, level in enumerate(levels)]
    return tuple(level[sibling] for level, sibling in siblings if sibling < len(level))


def streamed_top(hashes: list[bytes]) -> bytes:
    built = TreeTop()
    for leaf in hashes:
        built.add(leaf)
    assert built.leaves == len(hashes)
    return built.top()


def test_a_top_built_leaf_by_leaf_is_the_plain_trees_at_every_width() -> None:
    built, hashes = TreeTop(), leaves_of(300)
    for count in range(1, 301):
        built.add(hashes[count - 1])
        assert built.top() == levels_of(hashes[:count])[-1][0], count


@settings(max_examples=10)
@given(st.integers(1, 3000))
def test_a_top_built_leaf_by_leaf_is_the_plain_trees(count: int) -> None:
    hashes = leaves_of(count)
    assert streamed_top(hashes) == levels_of(hashes)[-1][0]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 37, 70])
def test_tops_and_paths_are_those_of_the_commitments(count: int) -> None:
    data = [index.to_bytes(3, "big") * 7 for index in range(count)]
    hashes = [merkle_leaf(index, piece) for index, piece in enumerate(data)]
    top = streamed_top(hashes)
    assert keccak(b"\x02" + count.to_bytes(8, "big") + top) == merkle_root(data)
    for index in {0, count // 2, count - 1}:
        assert list(path(hashes, index)) == merkle_proof(data, index)


def test_a_path_built_in_one_pass_is_the_plain_trees_at_every_width_and_index() -> None:
    hashes = leaves_of(40)
    for count in range(1, 41):
        levels = levels_of(hashes[:count])
        for index in range(count):
            siblings = path(iter(hashes[:count]), index)
            assert siblings == plain_path(levels, index), (count, index)
            assert path_holds(levels[-1][0], count, index, hashes[index], siblings)


def test_a_tree_without_leaves_has_no_top_and_no_path() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        TreeTop().top()
    for count, index in ((0, 0), (3, 3), (3, -1)):
        with pytest.raises(ValueError, match="leaf"):
            path(leaves_of(count), index)


@settings(max_examples=300)
@given(st.data())
def test_a_path_leads_from_its_own_leaf_and_index_alone(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, count - 1))
    hashes = leaves_of(count)
    top, leaf, siblings = streamed_top(hashes), hashes[index], path(hashes, index)
    flipped = bytes([leaf[0] ^ 1]) + leaf[1:]
    assert path_holds(top, count, index, leaf, siblings)
    assert not path_holds(flipped, count, index, leaf, siblings)
    assert not path_holds(top, count, index, flipped, siblings)
    other = data.draw(st.integers(-5, 2 * count + 5).filter(lambda other: other != index) | st.just(2**64 - 1))
    assert not path_holds(top, count, other, leaf, siblings)
    assert not path_holds(top, count, index, leaf, [*siblings, leaf])
    assert not path_holds(top, count, index, leaf, [*siblings, b""])
    if siblings:
        place = data.draw(st.integers(0, len(siblings) - 1))
        without = siblings[:place] + siblings[place + 1 :]
        assert not path_holds(top, count, index, leaf, without)
        assert not path_holds(top, count, index, leaf, [*siblings[:place], flipped, *siblings[place + 1 :]])
        joined = [*siblings[:place], siblings[place] + b"\0", *siblings[place + 1 :]]
        assert not path_holds(top, count, index, leaf, joined)


def test_a_node_is_no_leaf() -> None:
    """A path that starts at a node is too short for every leaf of the tree."""
    hashes = leaves_of(8)
    levels = levels_of(hashes)
    for index in range(8):
        assert not path_holds(levels[-1][0], 8, index, levels[1][index // 2], plain_path(levels, index)[1:])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_leaf_of_another_size_has_no_top(size: int) -> None:
    assert top_of(1, 0, bytes(size), []) is None
    assert top_of(1, 0, bytes(32), []) == bytes(32)


def test_a_data_root_binds_top_number_and_seller() -> None:
    top = keccak(b"top")
    root = data_root(SELLER, 7, top)
    assert root == keccak(b"\x02" + (7).to_bytes(8, "big") + bytes.fromhex("5e" * 20) + top)
    assert len({root, data_root(OTHER_SELLER, 7, top), data_root(SELLER, 8, top), data_root(SELLER, 7, root)}) == 4


@pytest.mark.parametrize("seller", ["", "0x", SELLER[:-2], SELLER + "00"])
def test_a_seller_is_an_address(seller: str) -> None:
    with pytest.raises(ValueError, match="an address has 20 bytes"):
        data_root(seller, 1, bytes(32))


def test_a_cipher_leaf_binds_index_and_cipher_and_is_no_data_leaf() -> None:
    cipher = b"cipher" * 9
    assert cipher_leaf(5, cipher) == keccak(bytes([0]) + (5).to_bytes(8, "big") + bytes([5]) + keccak(cipher))
    others = [cipher_leaf(6, cipher), cipher_leaf(5, cipher + b"\0"), merkle_leaf(5, cipher)]
    assert len({cipher_leaf(5, cipher), *others}) == 4

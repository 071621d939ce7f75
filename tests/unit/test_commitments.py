"""Laws of the hashes an order commits to."""

from dataclasses import astuple, fields, replace
from pathlib import Path

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from tip_exchange import commitments
from tip_exchange.commitments import data_digest, file_digest, keccak, projection_seed
from tip_exchange.errors import IntegrityError
from tip_exchange.types import NATIVE_COIN, Commitments, File, Opening, Terms

SELLERS = [f"0x{i:040x}" for i in range(1, 9)]
TERMS = Terms(
    SELLERS[0], NATIVE_COIN, 10**18, 10**15, 10**17, 10**15, 10**14, 10**16, SELLERS[4], b"\x01" * 32, 10**15, 1250,
    2500, 10**18, 2**20, 2**34, 1000, 8, 3600, 3600, 86400, 86400, 86400, 86400, 86400, 16, 1,
    *(bytes([i]) * 32 for i in range(1, 9)), 2**30,
)  # fmt: skip
COMMITTED = Commitments(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
FILE = File(*(bytes([i]) * 32 for i in range(1, 5)))
OPENING = Opening(5, 7, 50, b"\x0c" * 32)


def changed(value: object) -> object:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    return SELLERS[5]


@pytest.mark.parametrize("field", [field.name for field in fields(Terms)])
def test_order_hash_covers_every_field(field: str) -> None:
    other = replace(TERMS, **{field: changed(getattr(TERMS, field))})
    assert commitments.order_hash(other) != commitments.order_hash(TERMS)


def test_order_id_binds_chain_contract_buyer_and_nonce() -> None:
    ids = {
        commitments.order_id(chain, escrow, replace(TERMS, buyer=buyer), nonce)
        for chain in (1, 31337)
        for escrow in SELLERS[:2]
        for buyer in SELLERS[2:4]
        for nonce in (0, 1)
    }
    assert len(ids) == 16


def test_order_hash_is_the_plain_abi_encoding_of_the_struct() -> None:
    flat = encode(commitments.TERMS_TYPE.strip("()").split(","), astuple(TERMS))
    assert commitments.order_hash(TERMS) == keccak(flat)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=40), st.data())
def test_a_merkle_proof_opens_its_leaf_and_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = commitments.merkle_root(leaves), commitments.merkle_proof(leaves, index)
    assert commitments.merkle_verify(root, len(leaves), index, leaves[index], proof)
    assert not commitments.merkle_verify(root, len(leaves), index, leaves[index] + b"x", proof)
    assert not commitments.merkle_verify(root, len(leaves) + 1, index, leaves[index], proof)
    assert not commitments.merkle_verify(root, len(leaves), index, leaves[index], [*proof, bytes(32)])
    assert not commitments.merkle_verify(root, len(leaves), len(leaves), leaves[index], proof)
    other = data.draw(st.integers(0, len(leaves) - 1))
    if other != index:
        assert not commitments.merkle_verify(root, len(leaves), other, leaves[index], proof)


def test_a_merkle_node_cannot_pass_as_a_leaf() -> None:
    left, right = (commitments.merkle_leaf(i, bytes([i])) for i in range(2))
    inner = keccak(b"\x01" + left + right)
    root = commitments.merkle_root([b"\x00", b"\x01"])
    assert root == keccak(b"\x02" + (2).to_bytes(8, "big") + inner)
    assert not commitments.merkle_verify(root, 1, 0, left + right, [])
    assert not commitments.merkle_verify(inner, 2, 0, b"\x00", [right])


def test_an_empty_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        commitments.merkle_root([])


def test_the_allow_list_root_is_openzeppelins_standard_merkle_tree() -> None:
    """Vector made with @openzeppelin/merkle-tree's algorithm written out for three leaves."""
    leaves = sorted(keccak(keccak(encode(["address"], [seller]))) for seller in SELLERS[:3])
    pair = keccak(b"".join(sorted(leaves[:2])))
    assert commitments.sellers_root(SELLERS[:3]) == keccak(b"".join(sorted([pair, leaves[2]])))


@given(st.sets(st.sampled_from(SELLERS), min_size=1), st.data())
def test_an_allow_list_proof_leads_to_the_root(sellers: set[str], data: st.DataObject) -> None:
    chosen = sorted(sellers)
    seller = data.draw(st.sampled_from(chosen))
    node = keccak(keccak(encode(["address"], [seller])))
    for sibling in commitments.sellers_proof(chosen, seller):
        node = keccak(b"".join(sorted([node, sibling])))
    assert node == commitments.sellers_root(chosen)


def test_a_stranger_has_no_allow_list_proof() -> None:
    with pytest.raises(ValueError, match="not in list"):
        commitments.sellers_proof(SELLERS[:3], SELLERS[4])
    assert commitments.sellers_root([]) == bytes(32)
    assert commitments.sellers_proof([], SELLERS[4]) == []


def test_equal_records_have_unequal_leaves() -> None:
    salt = bytes(range(32))
    assert commitments.record_leaf(salt, 0, b"same") != commitments.record_leaf(salt, 1, b"same")
    assert commitments.record_leaf(salt, 0, b"same") != commitments.record_leaf(bytes(32), 0, b"same")


def words(*values: bytes | int | str) -> bytes:
    """What abi.encode gives of values without length: each right-aligned in 32 bytes."""
    raw = [
        value.to_bytes(32, "big")
        if isinstance(value, int)
        else bytes.fromhex(value[2:])
        if isinstance(value, str)
        else value
        for value in values
    ]
    return b"".join(value.rjust(32, b"\0") for value in raw)


def test_commitments_are_the_plain_abi_encoding_of_their_parts() -> None:
    order, seller = b"\x11" * 32, SELLERS[1]
    committed = keccak(words(*astuple(COMMITTED)))
    assert commitments.commitments_hash(COMMITTED) == committed
    assert commitments.file_commitment(FILE) == keccak(words(*astuple(FILE)))
    assert commitments.submissions_link(order, seller, COMMITTED) == keccak(words(order, seller, committed))
    assert commitments.key_commitment(order, bytes(32)) == keccak(words(order, bytes(32)))
    opened = keccak(words(order, seller, OPENING.pad, OPENING.factor, OPENING.records, OPENING.salt))
    assert commitments.pad_commitment(order, seller, OPENING) == opened


@pytest.mark.parametrize("field", [field.name for field in fields(Opening)])
def test_a_pad_commitment_binds_every_part_of_its_opening(field: str) -> None:
    other = replace(OPENING, **{field: changed(getattr(OPENING, field))})
    order = b"\x11" * 32
    made = commitments.pad_commitment(order, SELLERS[1], OPENING)
    assert made != commitments.pad_commitment(order, SELLERS[1], other)
    assert made != commitments.pad_commitment(order, SELLERS[2], OPENING)
    assert made != commitments.pad_commitment(b"\x12" * 32, SELLERS[1], OPENING)


def test_a_chain_of_submissions_binds_their_order() -> None:
    start, other = b"\x11" * 32, replace(COMMITTED, data_root=bytes(32))
    one = commitments.submissions_link(commitments.submissions_link(start, SELLERS[1], COMMITTED), SELLERS[2], other)
    turned = commitments.submissions_link(commitments.submissions_link(start, SELLERS[2], other), SELLERS[1], COMMITTED)
    assert one != turned


def test_a_reply_commitment_splits_off_the_last_cell() -> None:
    assert commitments.reply_commitment(b"c1" + b"7 bytes") == keccak(keccak(b"c1") + b"7 bytes")
    assert commitments.reply_commitment(b"short") == keccak(keccak(b"") + b"short")


def test_check_names_the_object_and_both_hashes() -> None:
    commitments.check("query", b"\x01" * 32, b"\x01" * 32)
    with pytest.raises(IntegrityError, match=r"query blob: its hash is 0x02.*committed was 0x01"):
        commitments.check("query blob", b"\x01" * 32, b"\x02" * 32)


def test_canonical_json_has_one_form() -> None:
    assert commitments.canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        commitments.canonical_json(float("nan"))


def test_data_in_a_folder_is_its_files_by_name_and_content(tmp_path: Path) -> None:
    def folder(name: str, **files: bytes) -> Path:
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
        return tmp_path / name

    one = data_digest(folder("one", a=b"1", b=b"2"))
    assert one == data_digest(folder("turned", b=b"2", a=b"1"))
    others = [folder("swapped", a=b"2", b=b"1"), folder("renamed", a=b"1", c=b"2"), folder("less", a=b"1")]
    assert len({one, *map(data_digest, others)}) == 4
    assert data_digest(tmp_path / "one" / "a") == file_digest(tmp_path / "one" / "a")


def test_the_projection_seed_follows_from_the_model_and_from_nothing_else() -> None:
    assert projection_seed(b"\x01" * 32) == projection_seed(b"\x01" * 32) != projection_seed(b"\x02" * 32)
    assert len(projection_seed(bytes(32))) == 32

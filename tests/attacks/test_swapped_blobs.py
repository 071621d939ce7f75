"""Storage that hands out another blob fools whoever does not check hashes, and nobody who does."""

from itertools import product

import pytest
from naive import (
    KNOWN,
    random_gradient,
    unpadded,
)
from vectors import Published, published_query

from tip_exchange.commitments import check, keccak, pad_commitment, reply_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import zero_block_hash
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import Query, decode_query, encode_query, encode_reply
from tip_exchange.errors import IntegrityError
from tip_exchange.types import Opening

DIMENSION = 64
SELLERS = [f"0x{i:040x}" for i in (1, 2)]


@pytest.fixture(scope="module")
def orders() -> list[Published]:
    """Two orders: the buyer's, and a thief's with a query of its own choice."""
    return [published_query(random_gradient(DIMENSION, seed)) for seed in (1, 2)]


def reply_to(blob: bytes, gradient_seed: int) -> bytes:
    query = decode_query(blob, parameters=WIDE, dimension=DIMENSION)
    return encode_reply(value_data_set(query, random_gradient(DIMENSION, gradient_seed), KNOWN))


def test_a_query_of_another_order_is_refused_by_its_hash(orders: list[Published]) -> None:
    buyer, thief = orders
    reply = reply_to(thief.blob, 3)
    stolen = unpadded(decrypt(reply, thief.secret_key, WIDE))
    assert stolen == int(random_gradient(DIMENSION, 2) @ random_gradient(DIMENSION, 3)), (
        "the attack must work, unchecked"
    )

    check("query of order A", buyer.query_hash, keccak(buyer.blob))
    with pytest.raises(IntegrityError, match=r"query of order A: its hash is .* do not use it"):
        check("query of order A", buyer.query_hash, keccak(thief.blob))


def test_a_mixed_query_passes_no_hash(orders: list[Published]) -> None:
    """The buyer's zero block before the thief's query block parses, and keeps the zero block hash: not the query's."""
    buyer, thief = (decode_query(each.blob, parameters=WIDE, dimension=DIMENSION) for each in orders)
    mixed = Query(WIDE, QueryKind.DATA_SET, DIMENSION, WIDE.N, buyer.zero_blocks, thief.blocks)
    blob = encode_query(mixed)
    assert zero_block_hash(decode_query(blob, parameters=WIDE, dimension=DIMENSION)) == zero_block_hash(buyer)
    with pytest.raises(IntegrityError):
        check("query", orders[0].query_hash, keccak(blob))


def test_a_reply_of_another_seller_or_order_is_refused_by_its_hash(orders: list[Published]) -> None:
    buyer, thief = orders
    mine, theirs, elsewhere = (
        reply_to(blob, seed) for blob, seed in ((buyer.blob, 3), (buyer.blob, 4), (thief.blob, 3))
    )
    values = [unpadded(decrypt(reply, buyer.secret_key, WIDE)) for reply in (mine, theirs)]
    query = random_gradient(DIMENSION, 1)
    assert values == [int(query @ random_gradient(DIMENSION, seed)) for seed in (3, 4)]
    assert values[0] != values[1], "unchecked, the swap changes who is paid"
    for swapped in (theirs, elsewhere, mine[:-1], mine + b"\0", mine[:-7] + theirs[-7:], theirs[:-7] + mine[-7:]):
        with pytest.raises(IntegrityError, match="reply of seller 1"):
            check("reply of seller 1", reply_commitment(mine), reply_commitment(swapped))


def test_a_reply_replayed_in_another_order_decrypts_to_noise(orders: list[Published]) -> None:
    buyer, thief = orders
    gradient = random_gradient(DIMENSION, 3)
    replayed = decrypt(reply_to(thief.blob, 3), buyer.secret_key, WIDE)
    for entries in (random_gradient(DIMENSION, 1), random_gradient(DIMENSION, 2)):
        assert unpadded(replayed) != int(entries @ gradient)


def test_a_pad_opens_only_for_its_order_and_seller() -> None:
    """One commitment, committed by one seller in one order: copied into another place it opens to nothing."""
    places = product((bytes(32), b"\1" * 32), SELLERS)
    opening = Opening(pad=5, factor=7, records=100, salt=b"\2" * 32)
    commitments = {pad_commitment(order, seller, opening) for order, seller in places}
    assert len(commitments) == 4

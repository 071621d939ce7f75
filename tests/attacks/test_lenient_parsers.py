"""A parser that reduces, pads and skips takes bytes for what they are not; ours has one encoding for one meaning.

The lenient parser below is the one that is written first: it reads what is there, believes the header, reduces every
cell modulo its prime, takes missing cells for zeros and does not look at what follows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from naive import (
    DELTA,
    Buyer,
    N,
    answer,
    attested,
    buyer_of,
    centred,
    divide,
    encryption,
    evaluate,
    forged,
    honest_buyer,
    integers,
    parsed,
    q0,
    q1,
    random_gradient,
    residues,
    unpadded,
)
from vectors import gradient_blocks

from tip_exchange.commitments import keccak, reply_commitment
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import expand_a
from tip_exchange.encryption.wire import Block, Query, block_bytes, decode_reply, encode_query
from tip_exchange.errors import WireError
from tip_exchange.types import INVALID

DIMENSION = 64
HEADER, SEED = 17, 64
BLOCK = block_bytes(WIDE)


def lenient_cells(data: bytes, width: int, prime: int, count: int) -> Any:
    chunks = (data[width * i : width * i + width] for i in range(count))
    return np.array([int.from_bytes(chunk.ljust(width, b"\0"), "big") % prime for chunk in chunks], np.uint64)


def lenient_query(data: bytes) -> Query:
    dimension, blocks = int.from_bytes(data[9:17], "big"), []
    needed = -(-dimension // N)
    zeros = max(0, round((len(data) - HEADER) / BLOCK) - needed)
    for k in range(zeros + needed):
        block = data[HEADER + k * BLOCK :][:BLOCK]
        low = lenient_cells(block[SEED:], 7, q0, N)
        high = lenient_cells(block[SEED + 7 * N :], 8, q1, N)
        blocks.append(Block(block[:SEED].ljust(SEED, b"\0"), np.stack([low, high])))
    return Query(WIDE, QueryKind.DATA_SET, dimension, N, tuple(blocks[:zeros]), tuple(blocks[zeros:]))


def lenient_value(data: bytes, buyer: Buyer) -> int:
    """What a buyer with a lenient parser attests."""
    read = lenient_cells(data, 7, q0, N + 1).astype(object)
    return attested(forged(read[:-1], int(read[-1])), buyer.key)


@pytest.fixture(scope="module")
def buyer() -> Buyer:
    return honest_buyer(DIMENSION, 1)


def test_an_unreduced_cell_is_a_second_encoding_to_a_lenient_parser_and_invalid_to_ours(buyer: Buyer) -> None:
    """One value under two commitments, of which the contract takes one: whoever reduces is framed for a lie."""
    reply = answer(buyer.query, random_gradient(DIMENSION, 2))
    start, cell = reply[:-7], int.from_bytes(reply[-7:], "big")
    # The seller's pad moves the cell of c0 in steps of q0/t: just above 0, where it has a second encoding below 2^56.
    steps = (q0 - cell) * WIDE.t // q0 + 1
    small = (cell + steps * q0 // WIDE.t) % q0
    reply, unreduced = (start + number.to_bytes(7, "big") for number in (small, small + q0))
    assert lenient_value(unreduced, buyer) == lenient_value(reply, buyer) == attested(reply, buyer.key), "must work"
    assert reply_commitment(unreduced) != reply_commitment(reply)
    with pytest.raises(WireError, match=f"cell {N} is {small + q0}, not below the prime"):
        decode_reply(unreduced, WIDE)
    assert attested(unreduced, buyer.key) == INVALID


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: reply + b"\0",
        lambda reply: reply + reply[-7:],
        lambda reply: reply + reply,
    ],
    ids=["a byte", "a cell", "a reply"],
)
def test_bytes_behind_a_reply_are_skipped_by_a_lenient_parser_and_refused_by_ours(
    buyer: Buyer, change: Callable[[bytes], bytes]
) -> None:
    reply = answer(buyer.query, random_gradient(DIMENSION, 3))
    longer = change(reply)
    assert lenient_value(longer, buyer) == attested(reply, buyer.key), "the attack must work"
    assert reply_commitment(longer) != reply_commitment(reply)
    with pytest.raises(WireError, match=f"{len(longer)} bytes"):
        decode_reply(longer, WIDE)
    assert attested(longer, buyer.key) == INVALID


@pytest.mark.parametrize("kept", [0, 7 * N // 2, 7 * N, 7 * N + 6])
def test_a_truncated_reply_has_a_value_to_a_lenient_parser_and_none_to_ours(buyer: Buyer, kept: int) -> None:
    """Nothing at all reads as an encryption of zero, worth whatever pad its sender opens."""
    truncated = answer(buyer.query, random_gradient(DIMENSION, 3))[:kept]
    value = lenient_value(truncated, buyer)
    assert 0 <= value < WIDE.t, "the attack must work"
    if not kept:
        assert unpadded(value, AffinePad(WIDE.t - WIDE.S, 1)) == WIDE.S
    with pytest.raises(WireError, match=f"^reply: {kept} bytes"):
        decode_reply(truncated, WIDE)
    assert attested(truncated, buyer.key) == INVALID


def unreduced(blob: bytes) -> bytes:
    """The last cell, modulo the 60-bit prime: 2^64 leaves it sixteen encodings."""
    return blob[:-8] + (int.from_bytes(blob[-8:], "big") + q1).to_bytes(8, "big")


SAME_MEANING: dict[str, Callable[[bytes], bytes]] = {
    "unreduced cell": unreduced,
    "trailing byte": lambda blob: blob + b"\0",
    "magic": lambda blob: b"QPIT" + blob[4:],
    "version": lambda blob: blob[:4] + b"\1" + blob[5:],
    "width": lambda blob: blob[:7] + b"\0\x10" + blob[9:],
}


@pytest.mark.parametrize("name", SAME_MEANING)
def test_a_query_has_further_encodings_to_a_lenient_parser_and_one_to_ours(name: str, buyer: Buyer) -> None:
    """Each has a hash of its own, so a ledger of answered queries that goes by hashes answers the same query again."""
    blob = encode_query(buyer.query)
    other = SAME_MEANING[name](blob)
    read = lenient_query(other)
    pairs = zip((*buyer.query.zero_blocks, *buyer.query.blocks), (*read.zero_blocks, *read.blocks), strict=True)
    for ours, theirs in pairs:
        assert ours.seed == theirs.seed, "the attack must work"
        assert (ours.b == theirs.b).all()
    assert keccak(other) != keccak(blob)
    with pytest.raises(WireError, match=r"^query"):
        parsed(other, DIMENSION)


OTHER_MEANING: dict[str, Callable[[bytes], bytes]] = {
    "truncated in the query block": lambda blob: blob[:-1000],
    "without a query block": lambda blob: blob[:-BLOCK],
    "a seed used twice": lambda blob: blob[: HEADER + BLOCK] + blob[HEADER : HEADER + SEED] + blob[-BLOCK + SEED :],
    "a dimension of more blocks": lambda blob: blob[:9] + (3 * N).to_bytes(8, "big") + blob[17:],
    "two zero blocks": lambda blob: blob + blob[-BLOCK:],
}


@pytest.mark.parametrize("name", OTHER_MEANING)
def test_a_lenient_parser_answers_what_was_never_asked_and_ours_refuses(name: str, buyer: Buyer) -> None:
    other = OTHER_MEANING[name](encode_query(buyer.query))
    read = lenient_query(other)
    gradient = np.resize(random_gradient(DIMENSION, 4), read.dimension)
    assert len(answer(read, gradient)) == 57351, "the attack must work: a seller that reads so answers"
    assert encode_query(read) != encode_query(buyer.query)
    with pytest.raises(WireError, match=r"^query"):
        parsed(other, DIMENSION)


def test_a_query_without_a_zero_block_gets_an_unprotected_reply_from_a_lenient_parser_and_none_from_ours() -> None:
    """Whoever re-randomises with the blocks that happen to be there lets the buyer leave them out."""
    buyer = honest_buyer(N, 5)
    gradient = random_gradient(N, 6)
    blob = encode_query(buyer.query)
    bare = blob[:HEADER] + blob[-BLOCK:]
    read = lenient_query(bare)
    assert read.zero_blocks == ()
    ((b, a),) = [(integers(block.b), integers(expand_a(block, WIDE))) for block in read.blocks]
    _, c1 = evaluate([(b, a)], gradient, flood=True)
    assert (divide(c1, a) == gradient_blocks(gradient)[0]).all(), "the attack must work, by division"
    with pytest.raises(WireError, match="a query of dimension 8192 has exactly"):
        parsed(bare, N)


def test_blocks_of_one_seed_show_the_query_to_everybody_and_are_refused() -> None:
    """b₁ − b₀ = Δ·v + e: a buyer's generator that repeats a seed encrypts nothing."""
    buyer = honest_buyer(DIMENSION, 7)
    (zero,), (_, a) = buyer.query.zero_blocks, buyer.zero_block
    message = np.zeros(N, object)
    message[:DIMENSION] = buyer.entries
    b, _ = encryption(a, buyer.key, message)
    seen = centred(b - buyer.zero_block[0])
    read = (seen + DELTA // 2) // DELTA
    assert (read[:DIMENSION] == buyer.entries).all(), "the attack must work"
    repeated = Query(WIDE, QueryKind.DATA_SET, DIMENSION, N, (zero,), (Block(zero.seed, residues(b)),))
    with pytest.raises(WireError, match="two blocks share one seed"):
        parsed(encode_query(repeated), DIMENSION)


def test_a_reply_replayed_under_another_key_is_noise_whatever_its_pad() -> None:
    """Same entries, same gradient, another order: the published values are uniform (chi-square, 15 degrees)."""
    entries, gradient = random_gradient(DIMENSION, 8), random_gradient(DIMENSION, 9)
    first, second = buyer_of(entries), buyer_of(entries)
    value, opened = int(entries @ gradient), []
    for _ in range(160):
        pad = AffinePad.fresh(WIDE)
        reply = answer(first.query, gradient, pad)
        assert unpadded(attested(reply, first.key), pad) == value
        opened.append(unpadded(attested(reply, second.key), pad))
    assert value not in opened
    counts = np.bincount(np.array(opened) % WIDE.t >> 32, minlength=16)
    assert float(((counts - 10) ** 2).sum()) / 10 < 76.1

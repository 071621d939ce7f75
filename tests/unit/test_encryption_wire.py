"""One encoding for one meaning, sizes before anything else, and nothing but WireError or ParameterError."""

import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from hypothesis import given, settings
from hypothesis import strategies as st

from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.seal import seal
from tip_exchange.encryption.wire import (
    CELL_BYTES,
    SEED_BYTES,
    Block,
    Query,
    Reply,
    block_bytes,
    decode_cells,
    decode_query,
    decode_reply,
    encode_cells,
    encode_query,
    encode_reply,
    query_bytes,
    query_header,
    reply_bytes,
)
from tip_exchange.errors import ParameterError, WireError

N, q0, q1 = WIDE.N, WIDE.q0, WIDE.q1
DIMENSION = 5
HEADER = 17
LOW = HEADER + SEED_BYTES
"""Where the first block's cells modulo q0 start."""
HIGH = LOW + 7 * N
SECOND = HEADER + SEED_BYTES + 15 * N
"""Where the second block starts."""


def some_query(dimension: int = DIMENSION) -> Query:
    """A query of uniform residues: the wire knows nothing of keys."""
    rng = np.random.default_rng(7)

    def block() -> Block:
        b = np.stack([rng.integers(0, prime, N).astype(np.uint64) for prime in (q0, q1)])
        return Block(rng.bytes(SEED_BYTES), b)

    blocks = tuple(block() for _ in range(WIDE.blocks(dimension, N)))
    return Query(WIDE, QueryKind.DATA_SET, dimension, N, (block(),), blocks)


QUERY = some_query()
BLOB = encode_query(QUERY)


def patched(*edits: tuple[int, bytes], data: bytes = BLOB) -> bytes:
    changed = bytearray(data)
    for start, chunk in edits:
        changed[start : start + len(chunk)] = chunk
    return bytes(changed)


def decode(data: bytes, dimension: int = DIMENSION) -> Query:
    return decode_query(data, parameters=WIDE, dimension=dimension)


@pytest.mark.parametrize("dimension", [1, N, N + 1])
def test_a_query_survives_its_encoding(dimension: int) -> None:
    query = some_query(dimension)
    data = encode_query(query)
    assert len(data) == query_bytes(WIDE, dimension, N) == HEADER + (1 + -(-dimension // N)) * block_bytes(WIDE)
    decoded = decode(data, dimension)
    assert encode_query(decoded) == data
    assert (decoded.parameters, decoded.dimension) == (WIDE, dimension)
    for ours, theirs in zip((*query.zero_blocks, *query.blocks), (*decoded.zero_blocks, *decoded.blocks), strict=True):
        assert ours.seed == theirs.seed
        assert (ours.b == theirs.b).all()
        assert theirs.b.dtype == np.uint64


def test_a_reply_survives_its_encoding() -> None:
    reply = Reply(QUERY.blocks[0].b[0], np.array([q0 - 1], np.uint64))
    data = encode_reply(reply)
    assert len(data) == reply_bytes(WIDE) == 57351
    decoded = decode_reply(data, WIDE)
    assert (decoded.c1 == reply.c1).all()
    assert decoded.cells == q0 - 1
    assert encode_reply(decoded) == data


@given(st.lists(st.integers(0, 2**56 - 1), max_size=20), st.booleans())
def test_cells_are_big_endian_whatever_the_memory_layout(values: list[int], strided: bool) -> None:
    array = np.array(values, np.uint64)
    if strided:
        array = np.repeat(array, 2)[::2]
    for width in CELL_BYTES:
        data = encode_cells(array, width)
        assert data == b"".join(value.to_bytes(width, "big") for value in values)
        assert decode_cells(data, width, 2**56, "cells").tolist() == values


def test_no_object_has_a_place_for_an_a_half() -> None:
    """The trapdoors of tests/attacks need a chosen a; here it can only come out of the seed."""
    assert [field.name for field in fields(Block)] == ["seed", "b"]
    assert [field.name for field in fields(Reply)] == ["c1", "cells"]
    assert block_bytes(WIDE) == 64 + N * (7 + 8)


REFUSED: dict[str, tuple[bytes, type[Exception], str]] = {
    "empty": (b"", WireError, "0 bytes, a header alone has 17"),
    "half a header": (BLOB[:16], WireError, "16 bytes, a header alone has 17"),
    "header only": (BLOB[:17], WireError, f"17 bytes, a query of dimension 5 has exactly {len(BLOB)}"),
    "one byte short": (BLOB[:-1], WireError, f"{len(BLOB) - 1} bytes, .* exactly {len(BLOB)}"),
    "one byte long": (BLOB + b"\0", WireError, f"{len(BLOB) + 1} bytes, .* exactly {len(BLOB)}"),
    "one block less": (BLOB[:SECOND], WireError, f"exactly {len(BLOB)}"),
    "one block more": (BLOB + BLOB[SECOND:], WireError, f"exactly {len(BLOB)}"),
    "magic": (patched((0, b"TIPR")), WireError, "starts with b'TIPR'"),
    "version 0": (patched((4, b"\0")), WireError, "version 0, expected b'TIPQ' version 5"),
    "version 4": (patched((4, b"\4")), WireError, "version 4, expected b'TIPQ' version 5"),
    "set 0": (patched((5, b"\0")), ParameterError, r"0 is unknown; .* 1 \(wide\)"),
    "set 2": (patched((5, b"\2")), ParameterError, "2 is unknown"),
    "a record query": (patched((6, b"\1")), WireError, r"of kind 1, but the one asked for is 0 \(the value of"),
    "a kind that is none": (patched((6, b"\2")), WireError, r"of kind 2, but the one asked for is 0"),
    "no width": (patched((7, b"\0\0")), WireError, "block width 0 .* expected 8192"),
    "a record query's width": (patched((7, b"\0\x20")), WireError, "block width 32 .* expected 8192"),
    "largest width": (patched((7, b"\xff\xff")), WireError, "block width 65535"),
    "dimension 0": (patched((9, bytes(8))), WireError, "dimension 0, expected 8192 and 5, the model's"),
    "another dimension": (patched((16, b"\6")), WireError, "dimension 6, expected 8192 and 5"),
    "huge dimension": (patched((9, b"\xff" * 8)), WireError, f"dimension {2**64 - 1}"),
    "cell = q0": (patched((LOW + 7 * 3, q0.to_bytes(7, "big"))), WireError, f"block 0: cell 3 is {q0}, not below"),
    "cell = 2^56 - 1": (patched((HIGH - 7, b"\xff" * 7)), WireError, f"block 0: cell {N - 1} is {2**56 - 1}"),
    "cell = q1": (patched((HIGH, q1.to_bytes(8, "big"))), WireError, f"block 0: cell 0 is {q1}, not below"),
    "cell = 2^64 - 1": (patched((len(BLOB) - 8, b"\xff" * 8)), WireError, f"block 1: cell {N - 1} is {2**64 - 1}"),
    "one seed twice": (patched((SECOND, BLOB[HEADER:LOW])), WireError, "two blocks share one seed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_query_is_refused_by_a_sentence_that_names_it(name: str) -> None:
    data, error, sentence = REFUSED[name]
    with pytest.raises(error, match=f"^(query|parameter set).*{sentence}"):
        decode(data)


def test_a_header_alone_tells_the_claimed_dimension() -> None:
    assert query_header(BLOB) == query_header(BLOB[:HEADER])
    assert query_header(BLOB).dimension == DIMENSION
    with pytest.raises(WireError, match="16 bytes, a header alone has 17"):
        query_header(BLOB[:16])


def test_the_largest_allowed_cells_pass() -> None:
    data = patched((LOW, (q0 - 1).to_bytes(7, "big")), (HIGH, (q1 - 1).to_bytes(8, "big")))
    assert [int(x) for x in decode(data).zero_blocks[0].b[:, 0]] == [q0 - 1, q1 - 1]


def test_a_set_other_than_the_orders_is_refused() -> None:
    other = replace(WIDE, number=3)
    with pytest.raises(ParameterError, match="query: parameter set 1, but the order names 3"):
        decode_query(BLOB, parameters=other, dimension=DIMENSION)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "0 bytes"),
        (bytes(57350), "57350 bytes, a reply has exactly 57351"),
        (bytes(57352), "57352 bytes"),
        (patched((7, q0.to_bytes(7, "big")), data=bytes(57351)), f"reply: cell 1 is {q0}, not below the prime {q0}"),
        (patched((57344, b"\xff" * 7), data=bytes(57351)), f"reply: cell 8192 is {2**56 - 1}"),
    ],
)
def test_a_malformed_reply_is_refused_by_a_sentence_that_names_it(data: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_reply(data, WIDE)


@pytest.mark.parametrize("length", [17, 18, 4096])
def test_sizes_are_checked_before_anything_is_allocated(length: int) -> None:
    """A header that promises 10⁸ entries (1.5 GB) behind a few bytes."""
    data = patched((9, (10**8).to_bytes(8, "big")))[:length]
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match=rf"{length} bytes, a query of dimension 100000000 has exactly 15\d{{8}}$"):
            decode(data, 10**8)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def positions() -> st.SearchStrategy[int]:
    """Byte offsets, with the header, seeds and the seams between parts met often."""
    seams = [0, HEADER, LOW, HIGH, SECOND, SECOND + SEED_BYTES, SECOND + SEED_BYTES + 7 * N, len(BLOB)]
    near = st.tuples(st.sampled_from(seams), st.integers(-9, 9)).map(sum).filter(lambda at: 0 <= at < len(BLOB))
    return st.one_of(st.integers(0, HEADER - 1), near, st.integers(0, len(BLOB) - 1))


CHUNKS = st.one_of(st.binary(min_size=1, max_size=12), st.sampled_from([b"\xff" * 8, b"\0" * 8, q0.to_bytes(7, "big")]))


@settings(max_examples=2500, deadline=None)
@given(st.lists(st.tuples(positions(), CHUNKS), max_size=4), st.integers(-40, 40))
def test_a_mutated_query_is_read_as_written_or_refused(edits: list[tuple[int, bytes]], growth: int) -> None:
    data = patched(*edits)
    data = data[: len(data) + growth] if growth < -20 else data + bytes(max(0, growth - 20))
    try:
        decoded = decode(data)
    except (WireError, ParameterError):
        assert data != BLOB
    else:
        assert encode_query(decoded) == data


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**64 - 1))
def test_arbitrary_bytes_are_refused(tail: bytes, dimension: int) -> None:
    header = BLOB[:9] + dimension.to_bytes(8, "big")
    for data in (tail, header + tail):
        with pytest.raises((WireError, ParameterError)):
            decode(data, DIMENSION)
        with pytest.raises((WireError, ParameterError)):
            decode(data, dimension)
        with pytest.raises(WireError):
            decode_reply(data, WIDE)


def counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    loads: list[str] = []
    for seal_class in (sealapi.Ciphertext, sealapi.Plaintext, sealapi.SecretKey, sealapi.PublicKey):
        original: Callable[..., None] = seal_class.load

        def load(self: object, *arguments: object, original: Callable[..., None] = original) -> None:
            loads.append(type(self).__name__)
            original(self, *arguments)

        monkeypatch.setattr(seal_class, "load", load)
    return loads


def test_parsing_never_reaches_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = counted_loads(monkeypatch)
    query = decode(BLOB)
    for data, error, _ in REFUSED.values():
        with pytest.raises(error):
            decode(data)
    decode_reply(bytes(57351), WIDE)
    assert loads == []
    value_data_set(query, np.ones(DIMENSION, np.int64), AffinePad.fresh(WIDE))
    assert sorted(loads) == ["Ciphertext"] * 3 + ["Plaintext"] * 2, "the counter does not count"


def test_seal_is_handed_only_what_the_bridge_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a counterparty's bytes SEAL sees reduced cells and a seed: header, level, sizes and flags are ours."""
    engine = seal(WIDE)
    seen: list[bytes] = []
    original = sealapi.Ciphertext.load

    def load(self: object, context: object, path: str) -> None:
        with open(path, "rb") as file:  # noqa: PTH123 (a descriptor's path)
            seen.append(file.read())
        original(self, context, path)

    monkeypatch.setattr(sealapi.Ciphertext, "load", load)
    for block in (*QUERY.zero_blocks, *QUERY.blocks):
        engine.seeded_ciphertext(block.seed, block.b)
    ours = [(data[: 16 + 73 + 24], data[-81:-64]) for data in seen]
    theirs = [data[16 + 73 + 24 : -81] + data[-64:] for data in seen]
    assert len(seen) == 2
    assert ours[0] == ours[1]
    assert theirs == [block.b.tobytes() + block.seed for block in (*QUERY.zero_blocks, *QUERY.blocks)]

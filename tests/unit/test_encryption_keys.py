"""Keys are fresh, ternary and of one encoding; what an order commits to opens, and only for the right key."""

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vectors import Published, published_query, query_blocks, unit

from tip_exchange.commitments import keccak, merkle_proof, merkle_root, merkle_verify
from tip_exchange.encryption.keys import TernaryKey, pack, packed_bytes, unpack
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import ERROR_BOUND, WIDE
from tip_exchange.encryption.query import expand_a, zero_block_hash
from tip_exchange.encryption.wire import Block, Query, encode_cells, encode_query
from tip_exchange.errors import WireError

N, PRIMES = WIDE.N, (WIDE.q0, WIDE.q1)
INTEGERS = fixed_point(unit(np.random.default_rng(5).standard_normal(10000)), WIDE, "query")


@pytest.fixture(scope="module")
def made() -> Published:
    return published_query(INTEGERS)


@pytest.fixture(scope="module")
def query(made: Published) -> Query:
    return made.query(INTEGERS.size)


def phases(block: Block, key: TernaryKey, message: NDArray[np.int64]) -> Iterator[NDArray[np.object_]]:
    """Centred ``b + a·s − Δ·message`` modulo q0, then modulo q1; every step exact."""
    a, scale = expand_a(block, WIDE), WIDE.q // WIDE.t
    for index, prime in enumerate(PRIMES):
        product = np.zeros(N, object)
        for shift in (0, 30):
            limb = a[index].astype(np.int64) >> shift & (2**30 - 1)
            low, high = np.append(np.convolve(limb, key), 0).reshape(2, N)
            product += (low - high).astype(object) << shift
        error = (block.b[index].astype(object) + product - scale * message.astype(object)) % prime
        yield np.where(error > prime // 2, error - prime, error)


@settings(max_examples=100)
@given(st.binary(min_size=N // 4, max_size=N // 4).filter(lambda data: data.strip(b"\0") != b""), st.integers(0, 2**32))
def test_a_key_has_one_encoding(data: bytes, seed: int) -> None:
    key = np.random.default_rng(seed).integers(-1, 2, N)
    packed = pack(key)
    assert len(packed) == packed_bytes(WIDE) == 2048
    assert (unpack(packed, WIDE) == key).all()
    codes = np.frombuffer(data, np.uint8)
    if (codes & (codes >> 1) & 0x55).any():
        with pytest.raises(WireError, match="code 3"):
            unpack(data, WIDE)
    else:
        assert pack(unpack(data, WIDE)) == data


def test_the_packing_is_two_bits_a_coefficient_lowest_first() -> None:
    key = np.zeros(N, np.int64)
    key[[0, 1, 4, N - 1]] = [1, -1, -1, 1]
    assert pack(key) == bytes([0b1001, 0b10, *bytes(2045), 0b01000000])


@pytest.mark.parametrize("index", [0, 1, N // 2, N - 1])
def test_a_code_of_three_is_refused_wherever_it_stands(index: int) -> None:
    data = bytearray(2048)
    data[index // 4] = 3 << 2 * (index % 4)
    with pytest.raises(WireError, match="secret key: a coefficient has the code 3"):
        unpack(bytes(data), WIDE)


@pytest.mark.parametrize("size", [0, 2047, 2049])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(WireError, match=f"secret key: {size} bytes, expected 2048"):
        unpack(bytes(size), WIDE)


def test_keys_seeds_and_blobs_are_fresh_every_time() -> None:
    many = [published_query(INTEGERS[:3]) for _ in range(5)]
    queries = [each.query(3) for each in many]
    assert len({pack(each.secret_key) for each in many}) == len(many)
    assert len({each.key_hash for each in many}) == len({zero_block_hash(each) for each in queries}) == len(many)
    assert len({block.seed for each in queries for block in (*each.zero_blocks, *each.blocks)}) == 2 * len(many)
    counts = np.bincount(np.concatenate([each.secret_key for each in many]) + 1, minlength=3)
    assert counts.size == 3
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < 41.4  # chi-square, 2 degrees: one run in 10⁹
    first, second = many[0].secret_key, many[1].secret_key
    assert abs(np.corrcoef(first, second)[0, 1]) < 6 / N**0.5


def test_a_query_is_the_published_bytes(made: Published, query: Query) -> None:
    assert encode_query(query) == made.blob


def test_the_zero_block_hash_opens_at_every_cell(made: Published, query: Query) -> None:
    """As a dispute opens it: a whole, one cell of b by its Merkle path; b's cells straight from the blob."""
    a_cells = encode_cells(expand_a(query.zero_blocks[0], WIDE)[0], 7)
    b_cells = [made.blob[81 + 7 * index : 88 + 7 * index] for index in range(N)]
    root = merkle_root(b_cells)
    assert zero_block_hash(query) == keccak(keccak(a_cells) + root)
    for index in (0, 1, N - 1):
        assert merkle_verify(root, N, index, b_cells[index], merkle_proof(b_cells, index))
    other = Block(query.zero_blocks[0].seed, query.zero_blocks[0].b ^ np.uint64(1))
    changed = Query(WIDE, query.kind, query.dimension, N, (other,), query.blocks)
    assert zero_block_hash(changed) != zero_block_hash(query)


def test_the_right_key_makes_the_zero_block_small_everywhere(made: Published, query: Query) -> None:
    low, high = phases(query.zero_blocks[0], made.secret_key, np.zeros(N, np.int64))
    assert (low == high).all()
    assert np.abs(low).max() <= ERROR_BOUND
    assert low.astype(float).std() == pytest.approx(10.5**0.5, rel=0.08)


def test_a_wrong_key_makes_the_zero_block_large_everywhere(made: Published, query: Query) -> None:
    """Another order's key, and the right one with a single coefficient changed; a chance hit has odds of 2⁻³⁷."""
    near = made.secret_key.copy()
    near[17] = 1 if near[17] <= 0 else 0
    for wrong in (near, np.random.default_rng(6).integers(-1, 2, N), np.zeros(N, np.int64)):
        low, _ = phases(query.zero_blocks[0], wrong, np.zeros(N, np.int64))
        assert np.abs(low).min() > ERROR_BOUND
        assert np.median(np.abs(low)) / WIDE.q0 == pytest.approx(0.25, abs=0.03)


def test_query_blocks_are_delta_times_the_entries_plus_bounded_errors(made: Published, query: Query) -> None:
    """With q ≡ 1 mod t encoding rounds nothing; the errors are the ones that noise_budget assumes of SEAL."""
    for block, message in zip(query.blocks, query_blocks(INTEGERS), strict=True):
        low, high = phases(block, made.secret_key, message)
        assert (low == high).all()
        assert np.abs(low).max() <= ERROR_BOUND
        assert low.astype(float).std() == pytest.approx(10.5**0.5, rel=0.08)
        assert abs(np.corrcoef(low.astype(float), message)[0, 1]) < 6 / N**0.5


BLAKE2B_IV = [
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
]  # fmt: skip
SIGMA = [
    "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
    "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
]  # fmt: skip


def compress(state: list[NDArray[np.uint64]], message: list[NDArray[np.uint64]]) -> list[NDArray[np.uint64]]:
    """BLAKE2b's compression (RFC 7693) of one last block of 64 bytes, over many states at once."""

    def rotated(x: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
        return x >> np.uint64(bits) | x << np.uint64(64 - bits)

    v = [*state, *(np.full_like(state[0], word) for word in BLAKE2B_IV)]
    v[12], v[14] = v[12] ^ np.uint64(64), ~v[14]
    columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
    diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
    for turn in range(12):
        words = iter(int(digit, 16) for digit in SIGMA[turn % 10])
        for a, b, c, d in columns + diagonals:
            for first, second in ((32, 24), (16, 63)):
                v[a] = v[a] + v[b] + message[next(words)]
                v[d] = rotated(v[d] ^ v[a], first)
                v[c] = v[c] + v[d]
                v[b] = rotated(v[b] ^ v[c], second)
    return [old ^ x ^ y for old, x, y in zip(state, v[:8], v[8:], strict=True)]


def blake2xb_words(seed: bytes) -> Iterator[int]:
    """SEAL's generator: BLAKE2Xb, 4096 bytes for every value of a counter, keyed by the seed."""
    counter, lanes = 0, np.zeros(64, np.uint64)
    while True:
        root = hashlib.blake2b(struct.pack("<Q", counter), key=seed, digest_size=64, node_offset=4096 << 32).digest()
        offsets = np.arange(64, dtype=np.uint64) | np.uint64(4096 << 32)
        parameters = [lanes + np.uint64(64 | 64 << 32), offsets, lanes + np.uint64(64 << 8), *[lanes] * 5]
        state = [np.uint64(word) ^ x for word, x in zip(BLAKE2B_IV, parameters, strict=True)]
        message = [lanes + np.uint64(word) for word in struct.unpack("<8Q", root)] + [lanes] * 8
        yield from np.stack(compress(state, message), axis=1).ravel().tolist()
        counter += 1


def test_a_is_blake2xb_of_the_seed_and_nothing_else() -> None:
    """Anybody can expand a without SEAL; words over the last multiple of a prime are drawn again."""
    for seed in (bytes(64), bytes(range(64))):
        words = blake2xb_words(seed)
        drawn = [[next(words) for _ in range(N)] for _ in PRIMES]
        expected = []
        for prime, row in zip(PRIMES, drawn, strict=True):
            limit = 2**64 - 1 - (2**64 - 1) % prime - 1
            for index, word in enumerate(row):
                while word >= limit:
                    word = next(words)
                row[index] = word % prime
            expected.append(row)
        assert expand_a(Block(seed, np.zeros((2, N), np.uint64)), WIDE).tolist() == expected


def test_a_does_not_depend_on_b() -> None:
    b = np.random.default_rng(8).integers(0, WIDE.q0, (2, N)).astype(np.uint64)
    zeros = np.zeros_like(b)
    assert (expand_a(Block(bytes(64), b), WIDE) == expand_a(Block(bytes(64), zeros), WIDE)).all()

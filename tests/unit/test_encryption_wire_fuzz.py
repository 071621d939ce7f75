"""200,000 mutated queries, replies and revealed keys: each is read as written or refused by a sentence, and no more.

The campaign is a plain seeded loop, so a failure comes again. It runs over a set of the same primes and cells with
N = 16, registered for these tests alone: a query of 1 to 3 blocks has 625 to 1,233 bytes, and every input goes through
the whole parser, every one of its branches thousands of times (asserted), in place of stopping at the size of a 246 kB
blob. Mutations are stacked up to three: bits and bytes changed, ends cut and grown, pieces removed, doubled, moved and
spliced in from other objects, header fields and cells set to extremes, blocks and seeds copied. All parsing runs under
tracemalloc. A smaller campaign mutates objects of the real size. What is accepted is compared with a reference written
below without numpy, in both directions; a parser that believes its header shows that the campaign finds faults.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi

from tip_exchange.encryption import parameters as package
from tip_exchange.encryption import seal as bridge
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack, unpack
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE, ParameterSet, QueryKind
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import (
    Block,
    Query,
    Reply,
    decode_query,
    decode_reply,
    encode_query,
    encode_reply,
    query_header,
)
from tip_exchange.errors import ParameterError, TipError, WireError
from tip_exchange.types import INVALID

SMALL = replace(WIDE, number=200, name="small", N=16)
HEADER, SEED = 17, 64
ZERO_BLOCKS = 1
CELL = 7
EXTREMES = [0, 1, 2, 2**15, 2**16, 2**31, 2**32, 2**63, 2**64 - 1, 10**8, 10**8 + 1, 10**7]
MEMORY = 64 * 2**20
INPUTS = {"query": 120_000, "reply": 60_000, "key": 20_000}


class ReachedSeal(AssertionError):
    """Bytes of a counterparty got to where SEAL would load them."""


@pytest.fixture(autouse=True)
def small_set_without_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the small set, and makes every way into SEAL raise."""

    def forbidden(*_: object, **__: object) -> None:
        raise ReachedSeal

    monkeypatch.setitem(package.PARAMETER_SETS, SMALL.number, SMALL)
    for name in ("_memory_file", "_plaintext_file", "_saved"):
        monkeypatch.setattr(bridge, name, forbidden)
    for name, member in vars(bridge.Seal).items():
        if callable(member):
            monkeypatch.setattr(bridge.Seal, name, forbidden)
    for seal_class in (sealapi.Ciphertext, sealapi.Plaintext, sealapi.SecretKey, sealapi.PublicKey):
        monkeypatch.setattr(seal_class, "load", forbidden)


def some_query(
    parameters: ParameterSet, dimension: int, seed: int = 1, kind: QueryKind = QueryKind.DATA_SET, width: int = 0
) -> bytes:
    rng = np.random.default_rng(seed)
    width = width or parameters.N
    zeros = parameters.zero_blocks(width)
    blocks = [
        Block(rng.bytes(SEED), np.stack([rng.integers(0, prime, parameters.N) for prime in primes]).astype(np.uint64))
        for primes in [(parameters.q0, parameters.q1)] * (zeros + parameters.blocks(dimension, width))
    ]
    return encode_query(Query(parameters, kind, dimension, width, tuple(blocks[:zeros]), tuple(blocks[zeros:])))


def some_reply(parameters: ParameterSet, seed: int = 2) -> bytes:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, parameters.q0, parameters.N + 1).astype(np.uint64)
    return encode_reply(Reply(drawn[: parameters.N], drawn[parameters.N :]))


def some_key(parameters: ParameterSet, seed: int = 3) -> bytes:
    return pack(np.random.default_rng(seed).integers(-1, 2, parameters.N))


# The reference: which bytes are objects, without numpy and without the package's parser.


def cells_fit(data: bytes, width: int, prime: int) -> bool:
    """Big-endian numbers of one width compare as their bytes do."""
    return max(data[i : i + width] for i in range(0, len(data), width)) < prime.to_bytes(width, "big")


def is_query(data: bytes, parameters: ParameterSet, dimension: int, *, records: bool = False) -> bool:
    """A record query may have any width that is a power of two in [16, N]."""
    n = parameters.N
    width = int.from_bytes(data[7:9], "big") if records else n
    block = SEED + 15 * n
    if not 1 <= dimension <= 10**8 or width not in {16 << k for k in range(10) if 16 << k <= n}:
        return False
    zeros = 1 + -(-24 * (n // width - 1) // n)
    header = b"TIPQ" + bytes([5, parameters.number, records])
    header += width.to_bytes(2, "big") + dimension.to_bytes(8, "big")
    if len(data) != HEADER + block * (zeros + -(-dimension // width)):
        return False
    blocks = [data[start : start + block] for start in range(HEADER, len(data), block)]
    return (
        data[: len(header)] == header
        and len({each[:SEED] for each in blocks}) == len(blocks)
        and all(cells_fit(each[SEED : SEED + 7 * n], 7, parameters.q0) for each in blocks)
        and all(cells_fit(each[SEED + 7 * n :], 8, parameters.q1) for each in blocks)
    )


def is_reply(data: bytes, parameters: ParameterSet) -> bool:
    return len(data) == CELL * (parameters.N + 1) and cells_fit(data, CELL, parameters.q0)


def is_key(data: bytes, parameters: ParameterSet) -> bool:
    return len(data) == parameters.N // 4 and not any(byte >> 2 * i & 3 == 3 for byte in data for i in range(4))


# The mutations.


def position(rng: random.Random, data: bytearray) -> int:
    """Anywhere, with the header and the ends met often."""
    where = rng.random()
    if where < 0.15:
        return rng.randrange(min(HEADER, len(data)) or 1)
    if where < 0.25:
        return max(0, len(data) - 1 - rng.randrange(16))
    return rng.randrange(len(data) or 1)


def flip(rng: random.Random, data: bytearray, _: ParameterSet) -> None:
    if data:
        data[position(rng, data)] ^= 1 << rng.randrange(8)


def overwrite(rng: random.Random, data: bytearray, _: ParameterSet) -> None:
    start, chunk = position(rng, data), rng.choice([rng.randbytes(rng.randrange(1, 12)), b"\xff" * 8, b"\0" * 8])
    data[start : start + len(chunk)] = chunk[: max(0, len(data) - start)]


def truncate(rng: random.Random, data: bytearray, parameters: ParameterSet) -> None:
    unit = rng.choice([1, 7, 8, SEED, SEED + 15 * parameters.N])
    del data[max(0, len(data) - unit * rng.randrange(1, 4)) :]


def extend(rng: random.Random, data: bytearray, parameters: ParameterSet) -> None:
    unit = rng.choice([1, 7, 8, SEED, SEED + 15 * parameters.N])
    data += rng.choice([bytes(unit), rng.randbytes(unit), bytes(data[-unit:])])


def remove(rng: random.Random, data: bytearray, _: ParameterSet) -> None:
    start = position(rng, data)
    del data[start : start + rng.randrange(1, 20)]


def move(rng: random.Random, data: bytearray, _: ParameterSet) -> None:
    """A piece cut out and put elsewhere: the size stays."""
    start, length = position(rng, data), rng.choice([1, 7, 8, SEED])
    piece = data[start : start + length]
    del data[start : start + length]
    at = position(rng, data)
    data[at:at] = piece


def header(rng: random.Random, data: bytearray, _: ParameterSet) -> None:
    start, width = rng.choice([(0, 4), (4, 1), (5, 1), (6, 1), (7, 2), (9, 8)])
    value = rng.choice(EXTREMES) % 256**width
    data[start : start + width] = value.to_bytes(width, "big")


def cell(rng: random.Random, data: bytearray, parameters: ParameterSet) -> None:
    """A cell of a query's block, or of a reply, set beside its prime."""
    n = parameters.N
    width, prime = rng.choice([(7, parameters.q0), (8, parameters.q1)])
    value = rng.choice([0, prime - 1, prime, prime + 1, 2 ** (8 * width) - 1, rng.randrange(2 ** (8 * width))])
    block = rng.randrange(4) * (SEED + 15 * n)
    start = rng.choice([HEADER + block + SEED + (7 * n if width == 8 else 0), 0]) + width * rng.randrange(n)
    if start + width <= len(data):
        data[start : start + width] = value.to_bytes(width, "big")


def seed(rng: random.Random, data: bytearray, parameters: ParameterSet) -> None:
    """One block's seed, or all of the block, over another's."""
    size = SEED + 15 * parameters.N
    source, target = (HEADER + size * k for k in rng.sample(range(4), 2))
    length = rng.choice([SEED, size])
    if max(source, target) + size <= len(data):
        data[target : target + length] = data[source : source + length]


def renew(rng: random.Random, data: bytearray, parameters: ParameterSet) -> None:
    """A fresh seed: still a valid query, another one."""
    start = HEADER + rng.randrange(4) * (SEED + 15 * parameters.N)
    if start + SEED <= len(data):
        data[start : start + SEED] = rng.randbytes(SEED)


MUTATIONS = [flip, overwrite, truncate, extend, remove, move, header, cell, cell, cell, seed, renew]


def mutated(rng: random.Random, corpus: list[bytes], parameters: ParameterSet) -> bytes:
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.05:
            other = rng.choice(corpus)
            at = rng.randrange(len(data) + 1)
            data[at:] = other[at if rng.random() < 0.5 else rng.randrange(len(other)) :]
        else:
            rng.choice(MUTATIONS)(rng, data, parameters)
    return bytes(data)


# The campaign.


@dataclass
class Report:
    """What a campaign met.

    ``peak`` is the most memory traced over the whole of it, ``slowest`` the most CPU seconds one input took.
    """

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    wrongly_accepted: int = 0
    wrongly_refused: int = 0
    reencoded_otherwise: int = 0
    peak: int = 0
    slowest: float = 0.0


REASONS = [
    "a header alone has", "starts with", "is unknown", "but the order names", "of kind", "block width",
    "has exactly", "not below the prime", "share one seed", "bytes, expected", "code 3", "is outside",
]  # fmt: skip


def campaign(
    inputs: Iterator[bytes], parse: Callable[[bytes], bytes], valid: Callable[[bytes], bool], allowed: tuple[type, ...]
) -> Report:
    """Parse every input; ``parse`` gives its re-encoding, ``valid`` is the reference."""
    report = Report()
    while chunk := list(islice(inputs, 100)):
        for data, written in zip(chunk, traced(report, chunk, parse, allowed), strict=True):
            good = valid(data)
            report.wrongly_refused += good and written is None
            report.wrongly_accepted += not good and written is not None
            report.reencoded_otherwise += written is False
    return report


def traced(
    report: Report, chunk: list[bytes], parse: Callable[[bytes], bytes], allowed: tuple[type, ...]
) -> list[bool | None]:
    """For each input whether it was written back as it was, or None if refused; nothing but parsing is traced."""
    results: list[bool | None] = []
    tracemalloc.start()
    try:
        for data in chunk:
            written, started = None, time.process_time()
            try:
                written = parse(data) == data
            except allowed as error:
                sentence = str(error)
                report.refused[next((reason for reason in REASONS if reason in sentence), sentence)] += 1
            except Exception as error:
                report.crashes[type(error).__name__] += 1
            else:
                report.accepted += 1
            report.slowest = max(report.slowest, time.process_time() - started)
            results.append(written)
        report.peak = max(report.peak, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    return results


def peak_of(parse: Callable[[bytes], bytes], data: bytes) -> int:
    """Memory traced while a valid object is read and written back."""
    tracemalloc.start()
    try:
        assert parse(data) == data
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def holds(report: Report, count: int, valid_peak: int) -> None:
    """The law: no crash, no hang, no memory, and exactly the objects of the reference."""
    assert report.crashes == {}
    assert report.accepted + report.refused.total() == count
    assert (report.wrongly_accepted, report.wrongly_refused, report.reencoded_otherwise) == (0, 0, 0)
    assert report.peak < valid_peak + MEMORY
    assert report.slowest < 1


def claimed_dimension(data: bytes) -> int:
    return int.from_bytes(data[9:17], "big")


def query_parser(
    parameters: ParameterSet, dimension: int | None, kind: QueryKind = QueryKind.DATA_SET
) -> Callable[[bytes], bytes]:
    """Reads a query of the model's dimension, or, as an auditor without the model, of the one it claims."""

    def parse(data: bytes) -> bytes:
        expected = query_header(data).dimension if dimension is None else dimension
        return encode_query(decode_query(data, parameters=parameters, dimension=expected, kind=kind))

    return parse


def reply_parser(parameters: ParameterSet) -> Callable[[bytes], bytes]:
    """Reads a reply; decryption must agree on whether it is one, and never raises."""
    key = unpack(some_key(parameters), parameters)

    def parse(data: bytes) -> bytes:
        value = decrypt(data, key, parameters)
        try:
            read = decode_reply(data, parameters)
        except WireError:
            if value != INVALID:
                raise AssertionError("a value for bytes that are no reply") from None
            raise
        assert 0 <= value < parameters.t
        return encode_reply(read)

    return parse


def test_120_000_mutated_queries_are_read_as_written_or_refused() -> None:
    corpus = [some_query(SMALL, dimension, dimension) for dimension in (1, 5, 16, 17, 40, 48)]
    each = INPUTS["query"] // 4
    reasons: Counter[str] = Counter()
    accepted = 0
    for number, dimension in enumerate([5, 17, 40, None]):
        rng = random.Random(100 + number)
        # Three quarters of the inputs start from the dimension that is expected, to get past the header.
        start = corpus if dimension is None else [some_query(SMALL, dimension, dimension)] * 18 + corpus

        def valid(data: bytes, dimension: int | None = dimension) -> bool:
            return is_query(data, SMALL, claimed_dimension(data) if dimension is None else dimension)

        parse = query_parser(SMALL, dimension)
        valid_peak = peak_of(parse, start[0])
        report = campaign((mutated(rng, start, SMALL) for _ in range(each)), parse, valid, (WireError, ParameterError))
        holds(report, each, valid_peak)
        assert report.peak < valid_peak + 2**20, "with N = 16 a megabyte is already too much"
        reasons += report.refused
        accepted += report.accepted
    assert accepted > 0.1 * INPUTS["query"], "the campaign must get to the end of the parser"
    expected = [
        "starts with",
        "is unknown",
        "of kind",
        "block width",
        "has exactly",
        "not below the prime",
        "share one seed",
    ]
    assert {reason: reasons[reason] for reason in expected if reasons[reason] < 1000} == {}
    assert min(reasons["a header alone has"], reasons["is outside"], reasons["but the order names"]) > 0


def test_60_000_mutated_replies_are_read_as_written_or_attested_invalid() -> None:
    rng, corpus = random.Random(200), [some_reply(SMALL, number) for number in range(8)]
    parse, count = reply_parser(SMALL), INPUTS["reply"]
    valid_peak = peak_of(parse, corpus[0])
    inputs = (mutated(rng, corpus, SMALL) for _ in range(count))
    report = campaign(inputs, parse, lambda data: is_reply(data, SMALL), (WireError,))
    holds(report, count, valid_peak)
    assert report.accepted > 0.1 * count
    assert set(report.refused) == {"has exactly", "not below the prime"}
    assert min(report.refused.values()) > 1000


def test_20_000_mutated_keys_are_read_as_written_or_refused() -> None:
    rng, corpus = random.Random(300), [some_key(SMALL, number) for number in range(20)]
    count = INPUTS["key"]

    def parse(data: bytes) -> bytes:
        return pack(unpack(data, SMALL))

    inputs = (mutated(rng, corpus, SMALL) for _ in range(count))
    report = campaign(inputs, parse, lambda data: is_key(data, SMALL), (WireError,))
    holds(report, count, peak_of(parse, corpus[0]))
    assert report.accepted > 0.05 * count
    assert set(report.refused) == {"bytes, expected", "code 3"}
    assert sum(INPUTS.values()) == 200_000


@pytest.mark.parametrize(
    ("dimension", "kind", "width"),
    [(5, QueryKind.DATA_SET, 0), (None, QueryKind.DATA_SET, 0), (5, QueryKind.RECORDS, 64)],
)
def test_mutated_queries_of_the_real_size_stay_within_their_memory(
    dimension: int | None, kind: QueryKind, width: int
) -> None:
    rng, corpus = random.Random(400), [some_query(WIDE, 5, kind=kind, width=width)]

    def valid(data: bytes) -> bool:
        expected = claimed_dimension(data) if dimension is None else dimension
        return is_query(data, WIDE, expected, records=kind == QueryKind.RECORDS)

    parse = query_parser(WIDE, dimension, kind)
    report = campaign((mutated(rng, corpus, WIDE) for _ in range(700)), parse, valid, (WireError, ParameterError))
    holds(report, 700, peak_of(parse, corpus[0]))
    assert report.accepted > 70


def test_mutated_replies_of_the_real_size_stay_within_their_memory() -> None:
    rng, corpus, parse = random.Random(500), [some_reply(WIDE)], reply_parser(WIDE)
    inputs = (mutated(rng, corpus, WIDE) for _ in range(500))
    report = campaign(inputs, parse, lambda data: is_reply(data, WIDE), (WireError,))
    holds(report, 500, peak_of(parse, corpus[0]))
    assert report.accepted > 50


def believing(data: bytes) -> bytes:
    """The parser that the campaign must find wanting: sizes by the header, cells reduced, a tail unread."""
    zeros, dimension = ZERO_BLOCKS, claimed_dimension(data)
    count = zeros + -(-dimension // SMALL.N)
    space = np.zeros((count, 2, SMALL.N), np.uint64)
    seeds = []
    for k in range(min(count, 4)):
        start = HEADER + k * (SEED + 15 * SMALL.N)
        seeds.append(data[start : start + SEED])
        for row, (width, offset, prime) in enumerate([(7, 0, SMALL.q0), (8, 7 * SMALL.N, SMALL.q1)]):
            for i in range(SMALL.N):
                place = start + SEED + offset + width * i
                space[k, row, i] = int.from_bytes(data[place : place + width], "big") % prime
    blocks = tuple(Block(each, b) for each, b in zip(seeds, space, strict=False))
    return encode_query(Query(SMALL, QueryKind.DATA_SET, dimension, SMALL.N, blocks[:zeros], blocks[zeros:]))


def test_the_campaign_finds_the_faults_of_a_parser_that_believes_its_header() -> None:
    rng, corpus = random.Random(600), [some_query(SMALL, 5)]
    inputs = (mutated(rng, corpus, SMALL) for _ in range(2000))
    report = campaign(inputs, believing, lambda data: is_query(data, SMALL, 5), (TipError,))
    assert report.crashes.total() > 20
    assert report.wrongly_accepted > 100
    assert report.reencoded_otherwise > 100
    assert report.peak > MEMORY


def test_the_way_to_seal_is_closed_to_these_tests() -> None:
    query = decode_query(some_query(WIDE, 5), parameters=WIDE, dimension=5)
    with pytest.raises(ReachedSeal):
        value_data_set(query, np.ones(5, np.int64), AffinePad.fresh(WIDE))
    for closed in (lambda: sealapi.Ciphertext().load("", ""), lambda: bridge.Seal(WIDE)):
        with pytest.raises(ReachedSeal):
            closed()


def test_the_reference_takes_what_was_encoded() -> None:
    for dimension in (1, 16, 17):
        data = some_query(SMALL, dimension)
        assert is_query(data, SMALL, dimension)
        assert not is_query(data, SMALL, dimension + 1)
    reply: Any = some_reply(SMALL)
    assert is_reply(reply, SMALL)
    assert not is_reply(reply[:-7] + b"\xff" * 7, SMALL)
    assert is_key(some_key(SMALL), SMALL)
    assert not is_key(b"\3" + bytes(3), SMALL)

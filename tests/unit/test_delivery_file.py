"""A delivered file is the offer's to the last byte, or it is refused; a wrong record in it is found by its index."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.public import PrivateKey

from tip_exchange.commitments import keccak, leaf_salt, merkle_leaf, record_leaf
from tip_exchange.delivery.cipher import delivery_key_hash, encrypt_row
from tip_exchange.delivery.file import (
    BoxKey,
    DeliveredRow,
    Misdelivered,
    Opening,
    Row,
    SealedDelivery,
    StreamKey,
    check_sealed,
    delivery_size,
    evidence_key,
    open_delivery,
    rows,
    seal_delivery,
)
from tip_exchange.delivery.tree import TreeTop, cipher_leaf, data_root
from tip_exchange.encryption.sealed_stream import CHUNK_BYTES, open_stream, seal_stream
from tip_exchange.errors import DataError, IntegrityError, WireError

BOX, OTHER_BOX = PrivateKey.generate(), PrivateKey.generate()
BUYER = BoxKey(bytes(BOX))
SELLER, OTHER_SELLER = "0x" + "5e" * 20, "0x" + "07" * 20
ORDER, OTHER_ORDER = keccak(b"order"), keccak(b"other order")
KEY, OTHER_KEY = keccak(b"key"), keccak(b"other key")
SALT = keccak(b"salt")
RECORDS = [b"", b"a", bytes(range(256)) * 4, b"bc" * 40, b"\0" * 33]
PLAINS = [record_leaf(SALT, index, record) for index, record in enumerate(RECORDS)]
LEAVES = [merkle_leaf(index, plain) for index, plain in enumerate(PLAINS)]
CIPHERS = [encrypt_row(KEY, ORDER, SELLER, index, plain) for index, plain in enumerate(PLAINS)]

# Sealing goes to a file that every example replaces.
ON_FILES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def top(hashes: list[bytes]) -> bytes:
    built = TreeTop()
    for leaf in hashes:
        built.add(leaf)
    return built.top()


def cipher_top(ciphers: list[bytes]) -> bytes:
    return top([cipher_leaf(index, cipher) for index, cipher in enumerate(ciphers)])


ROOT, CIPHER_TOP = data_root(SELLER, len(LEAVES), top(LEAVES)), cipher_top(CIPHERS)


def row(leaf: bytes, cipher: bytes) -> bytes:
    return leaf + len(cipher).to_bytes(4, "big") + cipher


STREAM = b"".join(map(row, LEAVES, CIPHERS))


def seal(
    path: Path,
    records: Iterable[bytes],
    progress: Callable[[int], None] | None = None,
    box_key: bytes = bytes(BOX.public_key),
) -> SealedDelivery:
    return seal_delivery(
        path,
        records,
        data_salt=SALT,
        key=KEY,
        order_id=ORDER,
        seller=SELLER,
        box_key=box_key,
        progress=progress,
    )


def sealed(stream: bytes, order: bytes = ORDER, seller: str = SELLER) -> bytes:
    """Whatever a seller may seal."""
    context = b"tip_exchange delivery 1" + order + bytes.fromhex(seller[2:])
    return b"".join(seal_stream([stream], bytes(BOX.public_key), context))


def file_of(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


def check(
    path: Path,
    records: int = len(RECORDS),
    opening: Opening = BUYER,
    root: bytes = ROOT,
    ciphers: bytes = CIPHER_TOP,
    seller: str = SELLER,
) -> None:
    check_sealed(path, opening, order_id=ORDER, seller=seller, records=records, data_root=root, cipher_top=ciphers)


def opened(
    path: Path, records: int = len(RECORDS), opening: Opening = BUYER, key: bytes = KEY, root: bytes = ROOT
) -> Iterator[DeliveredRow | Misdelivered]:
    key_hash = delivery_key_hash(ORDER, SELLER, key)
    return open_delivery(
        path, opening, key, order_id=ORDER, seller=SELLER, records=records, data_root=root, key_hash=key_hash
    )


@ON_FILES
@given(
    st.lists(st.binary(max_size=80) | st.sampled_from([b"", b"\0" * 65_536, b"x" * 65_535, b"y" * 9_000]), min_size=1)
)
def test_what_was_sealed_arrives(tmp_path: Path, records: list[bytes]) -> None:
    path = tmp_path / "file"
    offer = seal(path, records)
    assert offer.records == len(records)
    root = data_root(SELLER, len(records), offer.data_top)
    check(path, len(records), root=root, ciphers=offer.cipher_top)
    found = list(opened(path, len(records), root=root))
    assert found == [DeliveredRow(i, leaf_salt(SALT, i), record) for i, record in enumerate(records)]
    assert offer.size == path.stat().st_size == delivery_size(sum(map(len, records)), len(records))
    assert offer.file_hash == hashlib.sha256(path.read_bytes()).digest()


def test_a_file_holds_leaf_length_and_cipher_of_every_record(tmp_path: Path) -> None:
    path = tmp_path / "file"
    offer = seal(path, RECORDS)
    assert (offer.data_top, offer.cipher_top) == (top(LEAVES), CIPHER_TOP)
    context = b"tip_exchange delivery 1" + ORDER + bytes.fromhex(SELLER[2:])
    with path.open("rb") as file:
        assert b"".join(open_stream(file, bytes(BOX), context)) == STREAM
    with path.open("rb") as file:
        read = list(rows(file, BUYER, order_id=ORDER, seller=SELLER, records=len(RECORDS)))
    assert read == [Row(i, LEAVES[i], CIPHERS[i]) for i in range(len(RECORDS))]


def test_sealing_again_changes_the_file_and_not_the_tops(tmp_path: Path) -> None:
    first, second = seal(tmp_path / "file", RECORDS), seal(tmp_path / "file", RECORDS)
    assert (first.data_top, first.cipher_top, first.size) == (second.data_top, second.cipher_top, second.size)
    assert first.file_hash != second.file_hash


@pytest.mark.parametrize(
    ("records", "sentence"), [([], "no record to deliver"), ([b"a", bytes(65_537)], "record 1 has 65537 bytes")]
)
def test_what_cannot_be_delivered_leaves_no_file(tmp_path: Path, records: list[bytes], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        seal(tmp_path / "file", records)
    assert list(tmp_path.iterdir()) == []


def test_a_useless_box_key_is_the_orders_error(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="no usable X25519 key"):
        seal(tmp_path / "file", RECORDS, box_key=bytes(32))


def test_progress_counts_records(tmp_path: Path) -> None:
    told: list[int] = []
    seal(tmp_path / "file", RECORDS, told.append)
    assert told == [1, 2, 3, 4, 5]


@ON_FILES
@given(st.integers(0, len(STREAM) - 1))
def test_a_stream_cut_anywhere_is_refused(tmp_path: Path, size: int) -> None:
    path = file_of(tmp_path, sealed(STREAM[:size]))
    for read in (lambda: check(path), lambda: list(opened(path))):
        with pytest.raises(WireError, match=r"it ends (at|within) row"):
            read()


@ON_FILES
@given(st.integers(0, len(sealed(STREAM)) - 1), st.integers(1, 255))
def test_a_byte_changed_anywhere_in_a_sealed_file_is_refused(tmp_path: Path, place: int, change: int) -> None:
    data = bytearray(sealed(STREAM))
    data[place] ^= change
    path = file_of(tmp_path, bytes(data))
    with pytest.raises(WireError):
        check(path)
    with pytest.raises(WireError):
        list(opened(path))


@ON_FILES
@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255))
def test_a_byte_changed_by_the_seller_is_refused(tmp_path: Path, place: int, change: int) -> None:
    stream = bytearray(STREAM)
    stream[place] ^= change
    with pytest.raises((WireError, IntegrityError)):
        check(file_of(tmp_path, sealed(bytes(stream))))


CHANGES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], type[Exception], str]] = {
    "a byte more": (lambda pieces: [*pieces, b"\0"], WireError, "bytes follow the last"),
    "a row more": (lambda pieces: [*pieces, pieces[0]], WireError, "bytes follow the last"),
    "a row less": (lambda pieces: pieces[:-1], WireError, "ends at row 4 of 5"),
    "two rows swapped": (lambda pieces: [pieces[1], pieces[0], *pieces[2:]], IntegrityError, "leaves have the root"),
    "a row twice": (lambda pieces: [pieces[0], *pieces[:-1]], IntegrityError, "leaves have the root"),
    "another leaf": (lambda pieces: [LEAVES[1] + pieces[0][32:], *pieces[1:]], IntegrityError, "leaves have the root"),
    "another cipher": (
        lambda pieces: [*pieces[:-1], row(LEAVES[4], CIPHERS[3])],
        IntegrityError,
        "ciphers have the top",
    ),
    "ciphers swapped": (
        lambda pieces: [row(LEAVES[0], CIPHERS[1]), row(LEAVES[1], CIPHERS[0]), *pieces[2:]],
        IntegrityError,
        "ciphers have the top",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_rows_than_the_offers_are_refused_before_accepting(tmp_path: Path, change: str) -> None:
    make, error, sentence = CHANGES[change]
    with pytest.raises(error, match=sentence):
        check(file_of(tmp_path, sealed(b"".join(make(list(map(row, LEAVES, CIPHERS)))))))


@pytest.mark.parametrize("records", [len(RECORDS) - 1, len(RECORDS) + 1])
def test_another_number_of_rows_than_revealed_is_refused(tmp_path: Path, records: int) -> None:
    path = file_of(tmp_path, sealed(STREAM))
    check(path)
    with pytest.raises(WireError, match=r"ends at row 5 of 6|bytes follow the last of its 4 rows"):
        check(path, records)


class Counted(io.BytesIO):
    """Says how far it was read."""

    furthest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.furthest = max(self.furthest, self.tell())
        return data


def read_rows(file: io.BytesIO, records: int) -> Iterator[Row]:
    return rows(file, BUYER, order_id=ORDER, seller=SELLER, records=records)


@pytest.mark.parametrize("size", [0, 31, 65_569, 2**31, 2**32 - 1])
def test_a_length_out_of_range_is_refused_before_its_bytes_are_read(size: int) -> None:
    file = Counted(sealed(LEAVES[0] + size.to_bytes(4, "big") + bytes(10 * CHUNK_BYTES)))
    with pytest.raises(WireError, match=f"row 0 claims {size} bytes"):
        next(read_rows(file, 1))
    assert file.furthest < 2 * CHUNK_BYTES


def test_rows_are_read_no_further_than_asked() -> None:
    count = 400
    file = Counted(sealed(row(LEAVES[0], bytes(5000)) * count))
    for read, _ in enumerate(read_rows(file, count), 1):
        assert file.furthest <= read * 5036 + 2 * (CHUNK_BYTES + 17), read


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    count, size = 100, 65_536
    drawn = (bytes([index]) * size for index in range(count))
    path = tmp_path / "file"
    tracemalloc.start()
    try:
        offer = seal(path, drawn)
        root = data_root(SELLER, count, offer.data_top)
        check(path, count, root=root, ciphers=offer.cipher_top)
        assert sum(isinstance(found, DeliveredRow) for found in opened(path, count, root=root)) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * size < count * size / 4


def test_a_file_for_another_order_seller_or_buyer_is_refused(tmp_path: Path) -> None:
    for data in (sealed(STREAM, order=OTHER_ORDER), sealed(STREAM, seller=OTHER_SELLER)):
        with pytest.raises(WireError, match="not sealed to this order's key and seller"):
            check(file_of(tmp_path, data))
    path = file_of(tmp_path, sealed(STREAM))
    for opening in (BoxKey(bytes(OTHER_BOX)), BoxKey(b""), StreamKey(bytes(32)), StreamKey(b"")):
        with pytest.raises(WireError, match="not sealed to this order's key and seller"):
            check(path, opening=opening)


def test_a_root_copied_from_another_seller_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, sealed(STREAM, seller=OTHER_SELLER))
    with pytest.raises(IntegrityError, match="leaves have the root"):
        check(path, seller=OTHER_SELLER)


def test_a_key_that_is_not_the_offers_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    key_hash = delivery_key_hash(ORDER, SELLER, KEY)
    for key in (OTHER_KEY, KEY[:-1]):
        with pytest.raises(IntegrityError, match="not the key its offer binds"):
            open_delivery(
                tmp_path / "missing",
                BUYER,
                key,
                order_id=ORDER,
                seller=SELLER,
                records=5,
                data_root=ROOT,
                key_hash=key_hash,
            )


def wrong_ciphers() -> dict[str, list[bytes]]:
    """Ciphers a seller may offer, and be convicted for at index 2."""

    def with_row(cipher: bytes) -> list[bytes]:
        return [*CIPHERS[:2], cipher, *CIPHERS[3:]]

    def of(plain: bytes, key: bytes = KEY, order: bytes = ORDER, seller: str = SELLER, index: int = 2) -> list[bytes]:
        return with_row(encrypt_row(key, order, seller, index, plain))

    plain = PLAINS[2]
    return {
        "another record": of(plain[:32] + bytes(1024)),
        "a bit": of(plain[:-1] + bytes([plain[-1] ^ 1])),
        "another salt": of(bytes(32) + plain[32:]),
        "a byte more": of(plain + b"\0"),
        "a byte less": of(plain[:-1]),
        "no record": of(plain[:32]),
        "another row": of(PLAINS[3]),
        "another key": of(plain, key=OTHER_KEY),
        "another order": of(plain, order=OTHER_ORDER),
        "another seller": of(plain, seller=OTHER_SELLER),
        "another index": of(plain, index=3),
        "clear": with_row(plain),
    }


@pytest.mark.parametrize("fault", wrong_ciphers())
def test_a_wrong_record_passes_before_the_key_and_is_found_with_it(tmp_path: Path, fault: str) -> None:
    ciphers = wrong_ciphers()[fault]
    path = file_of(tmp_path, sealed(b"".join(map(row, LEAVES, ciphers))))
    check(path, ciphers=cipher_top(ciphers))
    assert list(opened(path)) == [
        Misdelivered(i) if i == 2 else DeliveredRow(i, leaf_salt(SALT, i), RECORDS[i]) for i in range(len(RECORDS))
    ]


def test_an_offer_that_binds_another_key_than_the_ciphers_misdelivers_all(tmp_path: Path) -> None:
    path = file_of(tmp_path, sealed(STREAM))
    assert list(opened(path, key=OTHER_KEY)) == [Misdelivered(i) for i in range(len(RECORDS))]


def test_a_file_exchanged_after_the_check_is_refused_at_its_end(tmp_path: Path) -> None:
    """Rows that open to leaves which nobody committed to."""
    path = tmp_path / "file"
    seal(path, RECORDS[::-1])
    with pytest.raises(IntegrityError, match="leaves have the root"):
        list(opened(path))


def test_an_arbiter_opens_one_file_with_its_own_key(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    seal(path, RECORDS)
    seal(other, RECORDS)
    shown = evidence_key(path, BUYER)
    check(path, opening=shown)
    assert list(opened(path, opening=shown)) == list(opened(path))
    with pytest.raises(WireError, match="not sealed to this order's key and seller"):
        check(other, opening=shown)
    with pytest.raises(WireError, match="not sealed to this order's key and seller"):
        evidence_key(path, BoxKey(bytes(OTHER_BOX)))


def test_keys_are_not_shown_in_tracebacks() -> None:
    assert repr(BUYER) == "BoxKey()"
    assert repr(StreamKey(bytes(32))) == "StreamKey()"

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from tip_exchange.commitments import keccak, reply_commitment
from tip_exchange.errors import IntegrityError, StorageError
from tip_exchange.storage import BlobStore

DATA = b"seven records of nobody in particular"
DIGEST = keccak(DATA)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param == "folder":
        return BlobStore(tmp_path / "blobs")
    return BlobStore(f"memory://{tmp_path}")


def blob(tmp_path: Path, digest: bytes) -> Path:
    return tmp_path / "blobs" / digest.hex()[:2] / digest.hex()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_what_is_put_is_got(store: BlobStore) -> None:
    store.put(DIGEST, DATA)
    store.put(DIGEST, DATA)
    assert store.get(DIGEST, limit=len(DATA), commitment=keccak) == DATA


def test_a_missing_blob_is_named_with_its_place(store: BlobStore) -> None:
    with pytest.raises(StorageError, match=f"0x{DIGEST.hex()} in .*is missing") as caught:
        store.get(DIGEST, limit=100, commitment=keccak)
    assert store.place in str(caught.value)


@pytest.mark.parametrize("place", range(0, len(DATA), 6))
def test_one_changed_byte_is_found(tmp_path: Path, place: int) -> None:
    store = BlobStore(tmp_path / "blobs")
    store.put(DIGEST, DATA)
    damaged = bytearray(DATA)
    damaged[place] ^= 1
    blob(tmp_path, DIGEST).write_bytes(damaged)
    with pytest.raises(IntegrityError, match=f"0x{DIGEST.hex()} in {store.place}.*not the ones"):
        store.get(DIGEST, limit=100, commitment=keccak)
    store.put(DIGEST, DATA)  # its owner repairs it
    assert store.get(DIGEST, limit=100, commitment=keccak) == DATA


@pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA + b"\0", DATA[:3]])
def test_truncated_and_extended_blobs_are_found(tmp_path: Path, damaged: bytes) -> None:
    store = BlobStore(tmp_path / "blobs")
    store.put(DIGEST, DATA)
    blob(tmp_path, DIGEST).write_bytes(damaged)
    with pytest.raises(IntegrityError):
        store.get(DIGEST, limit=100, commitment=keccak)
    with pytest.raises(IntegrityError):  # shorter than the commitment itself can read, or another hash
        store.get(DIGEST, limit=100, commitment=reply_commitment)


def test_an_oversized_blob_is_refused_before_it_is_read(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    store.put(DIGEST, DATA)
    with blob(tmp_path, DIGEST).open("wb") as file:
        file.truncate(2**40)  # sparse: reading it would not end
    with pytest.raises(IntegrityError, match="more than the 100 bytes"):
        store.get(DIGEST, limit=100, commitment=keccak)
    with pytest.raises(IntegrityError, match="more than the 100 bytes"):
        store.get_file(DIGEST, tmp_path / "copy", limit=100)
    assert not (tmp_path / "copy").exists()


def test_a_pipe_in_place_of_a_blob_does_not_hang(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    blob(tmp_path, DIGEST).parent.mkdir(parents=True)
    os.mkfifo(blob(tmp_path, DIGEST))
    with pytest.raises(StorageError, match="not a file"):
        store.get(DIGEST, limit=100, commitment=keccak)


@pytest.mark.parametrize("name", [b"", b"x" * 31, b"../../etc/passwd"])
def test_a_name_is_a_digest(store: BlobStore, name: bytes) -> None:
    with pytest.raises(StorageError, match="32 bytes"):
        store.put(name, DATA)


def test_concurrent_puts_leave_one_whole_blob(tmp_path: Path) -> None:
    data = os.urandom(2**20)
    digest, failures = keccak(data), []
    start = threading.Barrier(8)

    def put() -> None:
        start.wait()
        try:
            BlobStore(tmp_path / "blobs").put(digest, data)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert blob(tmp_path, digest).read_bytes() == data
    assert list((tmp_path / "blobs" / ".incoming").iterdir()) == []


def test_a_killed_put_shows_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    source, digest = tmp_path / "source", sha256(DATA)
    os.mkfifo(source)  # lets the writer wait in the middle of the upload
    program = (
        "import sys; from pathlib import Path; from tip_exchange.storage import BlobStore;"
        "BlobStore(sys.argv[1]).put_file(bytes.fromhex(sys.argv[2]), Path(sys.argv[3]))"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "blobs"), digest.hex(), str(source)])
    with source.open("wb", buffering=0) as pipe:
        pipe.write(DATA[:10])
        incoming = tmp_path / "blobs" / ".incoming"
        deadline = time.monotonic() + 20
        while not (incoming.is_dir() and list(incoming.iterdir())):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    store = BlobStore(tmp_path / "blobs")
    with pytest.raises(StorageError, match="is missing"):
        store.check_file(digest, limit=100)
    store.put(digest, DATA)
    assert store.get(digest, limit=100, commitment=sha256) == DATA
    (abandoned,) = incoming.iterdir()
    os.utime(abandoned, (0, 0))
    store.put(keccak(DATA), DATA)
    assert list(incoming.iterdir()) == []


def test_files_stream_both_ways(store: BlobStore, tmp_path: Path) -> None:
    source, copy = tmp_path / "model.safetensors", tmp_path / "out" / "model.safetensors"
    source.write_bytes(os.urandom(3 * 2**20 + 17))
    digest = sha256(source.read_bytes())
    store.put_file(digest, source)
    store.get_file(digest, copy, limit=2**22)
    assert copy.read_bytes() == source.read_bytes()
    stamp = copy.stat().st_mtime_ns
    store.get_file(digest, copy, limit=2**22)  # there already
    assert copy.stat().st_mtime_ns == stamp


def test_large_files_take_little_memory(tmp_path: Path) -> None:
    source, store = tmp_path / "large", BlobStore(tmp_path / "blobs")
    with source.open("wb") as file:
        file.truncate(64 * 2**20)
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    tracemalloc.start()
    try:
        store.put_file(digest, source)
        store.get_file(digest, tmp_path / "copy", limit=2**27)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_damaged_file_never_appears_and_its_owner_repairs_it(tmp_path: Path) -> None:
    source, copy, store = tmp_path / "source", tmp_path / "copy", BlobStore(tmp_path / "blobs")
    source.write_bytes(DATA)
    digest = sha256(DATA)
    store.put_file(digest, source)
    for damaged in (b"X" + DATA[1:], DATA[:-1], DATA + b"\0"):
        blob(tmp_path, digest).write_bytes(damaged)
        with pytest.raises(IntegrityError, match=digest.hex()):
            store.get_file(digest, copy, limit=1000)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs", "source"]
        store.put_file(digest, source)
        store.get_file(digest, copy, limit=1000)
        copy.unlink()


def test_a_file_that_changed_is_not_stored(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA + b"changed")
    with pytest.raises(IntegrityError, match="nothing was stored"):
        store.put_file(sha256(DATA), source)
    with pytest.raises(StorageError, match="is missing"):
        store.check_file(sha256(DATA), limit=100)


def test_unusable_storage_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot use the storage nosuch://x"):
        BlobStore("nosuch://x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="the storage failed"):
        BlobStore(tmp_path / "file").put(DIGEST, DATA)


def test_messages_hide_credentials(tmp_path: Path) -> None:
    store = BlobStore("memory://user:secret@host/path?token=secret")
    with pytest.raises(StorageError) as caught:
        store.get(DIGEST, limit=1, commitment=keccak)
    assert "secret" not in str(caught.value)

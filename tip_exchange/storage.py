"""Content-addressed blobs over fsspec: a local folder, or any URL fsspec knows (s3, http, memory …).

A blob's name is its 32-byte commitment in hex, under a folder of the first two digits. The storage is not trusted: what
is read is bounded in size and checked against the commitment before anybody sees it. What is written becomes visible
whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tip_exchange.commitments import Hasher
from tip_exchange.errors import CounterpartyError, IntegrityError, StorageError
from tip_exchange.files import sync_folder, temporary_beside

NewHasher = Callable[[], Hasher]
"""Makes an empty hash of 32 bytes, such as ``hashlib.sha256`` or ``commitments.new_keccak``."""

_PIECE = 2**20
_DIGEST_BYTES = 32
_INCOMING = ".incoming"
_ABANDONED = 24 * 3600.0  # seconds after which an unfinished upload is nobody's any more
_WHOLE_UPLOADS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}  # an object appears only when its upload is complete


class BlobStore:
    """Blobs in one place.

    Args:
        url: a folder, or a URL of fsspec.

    Raises:
        StorageError: fsspec does not know the kind of URL, or lacks the package for it.
    """

    def __init__(self, url: str | Path) -> None:
        text = str(url)
        self.place = _shown(text)
        try:
            self._fs: Any
            self._fs, root = url_to_fs(text)
        except (ImportError, ValueError, OSError) as error:
            raise StorageError(f"cannot use the storage {self.place}: {error}") from error
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        protocol = self._fs.protocol
        self._whole_uploads = not _WHOLE_UPLOADS.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def put(self, digest: bytes, data: bytes) -> None:
        """Store the caller's own ``data`` under its commitment. A blob that is there and differs is damaged: replaced.

        Raises:
            StorageError: the storage cannot be reached or written.
        """
        with self._reaching(digest):
            if self._holds(digest, data):
                return
            if self._whole_uploads:
                self._fs.pipe_file(self._path(digest), data)
            else:
                self._stage(digest, lambda target: target.write(data))

    def get(self, digest: bytes, *, limit: int, commitment: Callable[[bytes], bytes]) -> bytes:
        """Read a blob that somebody else may have written.

        Args:
            digest: its commitment.
            limit: most bytes it may have.
            commitment: recomputes the commitment from the bytes; it may raise CounterpartyError for malformed ones.

        Raises:
            IntegrityError: larger than ``limit``, or not the committed bytes.
            StorageError: missing, or the storage cannot be reached.
        """
        with self._reaching(digest):
            self._check_size(digest, limit)
            with self._fs.open(self._path(digest), "rb") as file:
                data = bytes(file.read(limit + 1))
        if len(data) > limit:
            raise self._too_large(digest, limit)
        try:
            actual = commitment(data)
        except CounterpartyError as error:
            raise IntegrityError(f"{self._named(digest)}: its {len(data)} bytes are malformed: {error}") from error
        if actual != digest:
            raise self._differs(digest, actual)
        return data

    def put_file(self, digest: bytes, source: Path, *, hasher: NewHasher = hashlib.sha256) -> None:
        """Store the caller's own file under its hash, in constant memory.

        Args:
            digest: the file's hash.
            source: the file.
            hasher: of which kind, SHA-256 by default.

        Raises:
            IntegrityError: the file does not have that hash (any more); nothing is stored.
            StorageError: the file cannot be read, or the storage not reached or written.
        """
        with self._reaching(digest):
            if self._fs.isfile(self._path(digest)) and self._fs.size(self._path(digest)) == source.stat().st_size:
                with self._fs.open(self._path(digest), "rb") as stored:
                    if _copy(stored, None, hasher) == digest:
                        return

            if self._whole_uploads:
                with source.open("rb") as file:
                    _check_own(source, digest, _copy(file, None, hasher))
                self._fs.put_file(str(source), self._path(digest))
                return

            def write(target: IO[bytes]) -> None:
                with source.open("rb") as file:
                    _check_own(source, digest, _copy(file, target, hasher))

            self._stage(digest, write)

    def get_file(self, digest: bytes, target: Path, *, limit: int, hasher: NewHasher = hashlib.sha256) -> None:
        """Copy a blob that somebody else may have written to ``target``, in constant memory.

        ``target`` appears only when its hash is right; a file that is there already with that hash is left as it is.

        Raises:
            IntegrityError: larger than ``limit``, or another hash.
            StorageError: missing, the storage cannot be reached, or ``target`` cannot be written.
        """
        with self._reaching(digest):
            if target.is_file():
                with target.open("rb") as file:
                    if _copy(file, None, hasher) == digest:
                        return
            self._check_size(digest, limit)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_beside(target)
            try:
                with self._fs.open(self._path(digest), "rb") as source, temporary.open("xb") as copy:
                    actual = _copy(source, copy, hasher, limit)
                    if actual is None:
                        raise self._too_large(digest, limit)
                    if actual != digest:
                        raise self._differs(digest, actual)
                    copy.flush()
                    os.fsync(copy.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def check_file(self, digest: bytes, *, limit: int, hasher: NewHasher = hashlib.sha256) -> None:
        """Read a blob through in constant memory, and keep nothing but the knowledge that it is whole.

        Raises:
            IntegrityError: larger than ``limit``, or another hash.
            StorageError: missing, or the storage cannot be reached.
        """
        with self._reaching(digest):
            self._check_size(digest, limit)
            with self._fs.open(self._path(digest), "rb") as source:
                actual = _copy(source, None, hasher, limit)
        if actual is None:
            raise self._too_large(digest, limit)
        if actual != digest:
            raise self._differs(digest, actual)

    def _path(self, digest: bytes) -> str:
        if len(digest) != _DIGEST_BYTES:
            raise StorageError(f"a blob's name has {_DIGEST_BYTES} bytes, not {len(digest)}")
        return f"{self._root}/{digest.hex()[:2]}/{digest.hex()}"

    def _named(self, digest: bytes) -> str:
        return f"blob 0x{digest.hex()} in {self.place}"

    def _too_large(self, digest: bytes, limit: int) -> IntegrityError:
        return IntegrityError(f"{self._named(digest)} has more than the {limit} bytes it may have; it was not read")

    def _differs(self, digest: bytes, actual: bytes) -> IntegrityError:
        return IntegrityError(
            f"{self._named(digest)}: its bytes commit to 0x{actual.hex()}, so they are not the ones that were "
            "committed; ask whoever stored it to store it again"
        )

    def _check_size(self, digest: bytes, limit: int) -> None:
        info = self._fs.info(self._path(digest))
        if info.get("type") != "file":
            raise StorageError(f"{self._named(digest)} is not a file but a {info.get('type')}")
        size = info.get("size")  # unknown for some servers; reading stops at the limit anyway
        if size is not None and size > limit:
            raise self._too_large(digest, limit)

    def _holds(self, digest: bytes, data: bytes) -> bool:
        path = self._path(digest)
        if not self._fs.isfile(path) or self._fs.size(path) != len(data):
            return False
        with self._fs.open(path, "rb") as file:
            return bool(file.read(len(data) + 1) == data)

    def _stage(self, digest: bytes, fill: Callable[[IO[bytes]], object]) -> None:
        """Write beside the blobs, then move into place."""
        path = self._path(digest)
        incoming = f"{self._root}/{_INCOMING}"
        temporary = f"{incoming}/{secrets.token_hex(16)}"
        self._fs.makedirs(incoming, exist_ok=True)
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if self._local:
            _sweep(Path(incoming))
        try:
            with self._fs.open(temporary, "wb") as target:
                fill(target)
                if self._local:
                    target.flush()
                    os.fsync(target.fileno())
            if self._local:
                Path(temporary).replace(path)
                sync_folder(Path(path).parent)
            else:
                self._fs.mv(temporary, path)
        except BaseException:
            if self._fs.exists(temporary):
                self._fs.rm_file(temporary)
            raise

    @contextmanager
    def _reaching(self, digest: bytes) -> Iterator[None]:
        try:
            yield
        except (StorageError, IntegrityError):
            raise
        except FileNotFoundError as error:
            raise StorageError(
                f"{self._named(digest)} is missing; check the storage URL, or ask whoever should have stored it"
            ) from error
        except Exception as error:  # every backend of fsspec raises errors of its own
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise StorageError(f"{self._named(digest)}: the storage failed: {reason}") from error


def _check_own(source: Path, digest: bytes, actual: bytes | None) -> None:
    if actual != digest:
        raise IntegrityError(
            f"{source} does not have hash 0x{digest.hex()} (any more); nothing was stored, prepare the file again"
        )


def _shown(url: str) -> str:
    # Credentials may stand before the host or in the query.
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _copy(source: Any, target: IO[bytes] | None, new_hasher: NewHasher, limit: int | None = None) -> bytes | None:
    """Stream to ``target``; the hash, or None as soon as there are more than ``limit`` bytes."""
    hasher, size = new_hasher(), 0
    while piece := source.read(_PIECE):
        size += len(piece)
        if limit is not None and size > limit:
            return None
        hasher.update(piece)
        if target is not None:
            target.write(piece)
    return hasher.digest()


def _sweep(incoming: Path) -> None:
    """Remove what writers that were killed left behind."""
    for path in incoming.iterdir():
        try:
            if path.stat().st_mtime < time.time() - _ABANDONED:
                path.unlink()
        except FileNotFoundError:
            continue  # another writer was faster

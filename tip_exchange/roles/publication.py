"""What a buyer publishes beside its query, as content-addressed blobs.

The model is a manifest under its Keccak-256 hash and each file under its SHA-256; the licence is a text under its
Keccak-256 hash, the allow-list a JSON list under the root that the order names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

from tip_exchange.commitments import canonical_json, file_digest, keccak, sellers_root
from tip_exchange.errors import InputError, WireError
from tip_exchange.files import held
from tip_exchange.influence.records import Record
from tip_exchange.storage import BlobStore

if TYPE_CHECKING:
    from tip_exchange.influence.models import ModelFolder

MANIFEST_LIMIT = 64 * 1024
MODEL_LIMIT = 4 * 2**30
"""Most bytes a seller downloads for a model."""

SELLERS_LIMIT = 2**20

LICENCE_LIMIT = 2**20
"""Most bytes of a licence."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)+")


def manifest(model: Path) -> bytes:
    """The canonical manifest of a model folder; its Keccak hash is the order's ``modelHash``."""
    from tip_exchange.influence.models import model_files  # torch takes seconds to load

    files = [
        {"path": name, "bytes": (model / name).stat().st_size, "sha256": file_digest(model / name).hex()}
        for name in model_files(model)
    ]
    return canonical_json({"version": 1, "files": files})


def publish_model(store: BlobStore, model: Path, listing: bytes) -> None:
    """Put every file of ``listing``, then the listing itself, so that a published manifest is always complete."""
    for name, _, digest in parse_manifest(listing):
        store.put_file(digest, model / name)
    store.put(keccak(listing), listing)


def parse_manifest(listing: bytes) -> list[tuple[str, int, bytes]]:
    """(name, bytes, SHA-256) of each file.

    Raises:
        WireError: not a manifest, or one with names that leave its folder, or of absurd size.
    """
    try:
        content = json.loads(listing)
        files = [(str(f["path"]), f["bytes"], bytes.fromhex(f["sha256"])) for f in content["files"]]
        sound = content["version"] == 1 and canonical_json(content) == listing
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"model manifest: {error!r}") from error
    sizes = [size for _, size, _ in files]
    if not sound or not files or any(type(size) is not int or size < 0 for size in sizes) or sum(sizes) > MODEL_LIMIT:
        raise WireError(f"model manifest: not canonical, empty, or above {MODEL_LIMIT} bytes in all")
    for name, _, digest in files:
        if not _NAME.fullmatch(name) or len(digest) != 32:
            raise WireError(f"model manifest: {name!r} is not a plain file name with a SHA-256 digest")
    if len({name for name, _, _ in files}) != len(files):
        raise WireError("model manifest: a file name occurs twice")
    return files


def fetch_manifest(store: BlobStore, model_hash: bytes) -> list[tuple[str, int, bytes]]:
    """The checked manifest that an order names."""
    return parse_manifest(store.get(model_hash, limit=MANIFEST_LIMIT, commitment=keccak))


def fetch_model(store: BlobStore, model_hash: bytes, home: Path) -> Path:
    """Download the model an order names into a folder of ``home``; files that are there and whole are kept.

    Returns:
        The folder, with the files of the manifest and nothing else.

    Raises:
        StateError: another process is downloading into the same home.
        IntegrityError: a file's bytes are not those of the manifest.
        StorageError: a file is missing.
        WireError: the manifest is malformed.
    """
    files = fetch_manifest(store, model_hash)
    folder = home / "models" / model_hash.hex()
    with held(home / "models"):
        for name, size, digest in files:
            store.get_file(digest, folder / name, limit=size)
        # A download that was killed leaves its unfinished file behind.
        for stray in {path.name for path in folder.iterdir()} - {name for name, _, _ in files}:
            (folder / stray).unlink()
    return folder


def parse_sellers(blob: bytes) -> list[str]:
    """The addresses of an allow-list blob.

    Raises:
        WireError: not a JSON list of addresses.
    """
    try:
        sellers = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise WireError(f"allow-list: {error!r}") from error
    if not isinstance(sellers, list) or not sellers:
        raise WireError("allow-list: not a list of addresses")
    for seller in sellers:
        if not isinstance(seller, str) or not _ADDRESS.fullmatch(seller):
            raise WireError(f"allow-list: {seller!r} is not an address")
    return [str(to_checksum_address(seller)) for seller in sellers]


def fetch_sellers(store: BlobStore, root: bytes) -> list[str]:
    """The invited sellers, whose list has the order's ``sellersRoot``."""
    blob = store.get(root, limit=SELLERS_LIMIT, commitment=lambda data: sellers_root(parse_sellers(data)))
    return parse_sellers(blob)


def licence_bytes(text: str) -> bytes:
    """The bytes of a licence; their Keccak-256 hash is the order's ``licenceHash``.

    Raises:
        InputError: it is empty, too long, or not a text that has an encoding.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the licence cannot be written as UTF-8: {error}") from error
    if not text.strip() or len(encoded) > LICENCE_LIMIT:
        raise InputError(f"a licence has 1 to {LICENCE_LIMIT} bytes of text, not {len(encoded)}")
    return encoded


def publish_licence(store: BlobStore, text: str) -> bytes:
    """Put the text under which records are sold; its hash, 32 bytes.

    Raises:
        InputError: as :func:`licence_bytes`.
        StorageError: the storage cannot be reached or written.
    """
    encoded = licence_bytes(text)
    digest = keccak(encoded)
    store.put(digest, encoded)
    return digest


def fetch_licence(store: BlobStore, licence_hash: bytes) -> str:
    """The text that an order's ``licenceHash`` names.

    Raises:
        IntegrityError: other or more bytes than a licence has.
        StorageError: missing, or the storage cannot be reached.
        WireError: the bytes are no UTF-8 text.
    """
    encoded = store.get(licence_hash, limit=LICENCE_LIMIT, commitment=keccak)
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"licence 0x{licence_hash.hex()}: not UTF-8: {error}") from error


def read_model_records(model: ModelFolder, path: Path) -> list[Record]:
    """Records in the columns, and with the labels, that a model's ``valuation.json`` names.

    Raises:
        DataError: as :func:`~tip_exchange.influence.records.read_records`.
    """
    return model.reader.records(path)

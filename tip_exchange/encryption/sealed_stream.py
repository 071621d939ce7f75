"""A stream of bytes sealed to an X25519 public key, with libsodium's own constructions (PyNaCl).

A fresh 32-byte key goes into a sealed box (X25519, XSalsa20-Poly1305); it encrypts the bytes as a ``secretstream``
(XChaCha20-Poly1305), which a reader can neither reorder, cut nor extend unnoticed::

    b"TIPS" ‖ version 1 ‖ sealed box of the key (80) ‖ secretstream header (24)
    ‖ chunks of 65,536 bytes and 17 of authentication, the last one shorter and marked as the last

Every chunk authenticates the ``context`` as well: the order and the seller it belongs to.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import IO

from nacl.bindings import (
    crypto_secretstream_xchacha20poly1305_ABYTES,
    crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    crypto_secretstream_xchacha20poly1305_init_pull,
    crypto_secretstream_xchacha20poly1305_init_push,
    crypto_secretstream_xchacha20poly1305_pull,
    crypto_secretstream_xchacha20poly1305_push,
    crypto_secretstream_xchacha20poly1305_state,
    crypto_secretstream_xchacha20poly1305_TAG_FINAL,
    crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
)
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from tip_exchange.errors import WireError

CHUNK_BYTES = 2**16

_MAGIC = b"TIPS\x01"
_BOX_BYTES = 80


def seal_stream(pieces: Iterable[bytes], public_key: bytes, context: bytes) -> Iterator[bytes]:
    """Seal ``pieces``, of any sizes, to a 32-byte X25519 key; memory holds one chunk.

    Raises:
        WireError: the counterparty's public key is not a usable one.
    """
    key = secrets.token_bytes(32)
    try:
        box = SealedBox(PublicKey(public_key)).encrypt(key)
    except (CryptoError, TypeError, ValueError) as error:
        raise WireError(f"the order's box key 0x{public_key.hex()} is no usable X25519 key ({error})") from error
    state = crypto_secretstream_xchacha20poly1305_state()
    yield _MAGIC + box + crypto_secretstream_xchacha20poly1305_init_push(state, key)
    held = bytearray()
    for piece in pieces:
        held += piece
        # the last chunk is never full, so it can always be marked
        while len(held) >= CHUNK_BYTES:
            chunk = bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
            yield crypto_secretstream_xchacha20poly1305_push(
                state, chunk, context, crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
            )
    yield crypto_secretstream_xchacha20poly1305_push(
        state, bytes(held), context, crypto_secretstream_xchacha20poly1305_TAG_FINAL
    )


def sealed_bytes(size: int) -> int:
    """Bytes that a stream of ``size`` has when sealed."""
    chunks = size // CHUNK_BYTES + 1
    header = len(_MAGIC) + _BOX_BYTES + crypto_secretstream_xchacha20poly1305_HEADERBYTES
    return header + size + chunks * crypto_secretstream_xchacha20poly1305_ABYTES


def open_stream(file: IO[bytes], private_key: bytes, context: bytes) -> Iterator[bytes]:
    """Open a sealed stream, a chunk at a time; nothing that was not authenticated comes out.

    Raises:
        WireError: not sealed to this key, for another context, changed, cut short, or followed by more.
    """
    key = stream_key(file, private_key)
    file.seek(0)
    yield from open_stream_with(file, key, context)


def stream_key(file: IO[bytes], private_key: bytes) -> bytes:
    """The 32-byte key of one stream: it opens that stream to whoever is told, and no other sealed to the same key.

    Raises:
        WireError: not a stream, or not sealed to this key.
    """
    box, _ = _header(file)
    try:
        return SealedBox(PrivateKey(private_key)).decrypt(box)
    except (CryptoError, TypeError, ValueError) as error:
        raise WireError(f"sealed stream: not sealed to this order's key and seller, or changed ({error})") from error


def open_stream_with(file: IO[bytes], key: bytes, context: bytes) -> Iterator[bytes]:
    """As :func:`open_stream`, with the stream's own key."""
    _, start = _header(file)
    state = crypto_secretstream_xchacha20poly1305_state()
    last = False
    try:
        crypto_secretstream_xchacha20poly1305_init_pull(state, start, key)
        while not last:
            sealed = file.read(CHUNK_BYTES + crypto_secretstream_xchacha20poly1305_ABYTES)
            if len(sealed) < crypto_secretstream_xchacha20poly1305_ABYTES:
                raise WireError("sealed stream: cut short")
            chunk, tag = crypto_secretstream_xchacha20poly1305_pull(state, sealed, context)
            last = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL
            yield chunk
    except (CryptoError, TypeError, ValueError) as error:
        raise WireError(f"sealed stream: not sealed to this order's key and seller, or changed ({error})") from error
    if file.read(1):
        raise WireError("sealed stream: bytes follow its end")


def _header(file: IO[bytes]) -> tuple[bytes, bytes]:
    """Sealed box and secretstream header."""
    size = crypto_secretstream_xchacha20poly1305_HEADERBYTES
    magic, box, start = file.read(len(_MAGIC)), file.read(_BOX_BYTES), file.read(size)
    if magic != _MAGIC or len(box) != _BOX_BYTES or len(start) != size:
        raise WireError("sealed stream: not one of this version")
    return box, start

"""Between numpy arrays and SEAL objects, through SEAL's own serialised form.

``tenseal.sealapi`` gives no buffer access, so an object is built by writing SEAL's uncompressed format and loading it,
and read by saving it and undoing the zstd compression. The files live in memory only (secret keys pass through here).
Formats: SEAL 4.1+ ``Serialization::SEALHeader``, ``Ciphertext::save_members``, ``Plaintext::save_members``.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import tenseal.sealapi as sealapi
import zstandard
from numpy.typing import NDArray

from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.errors import ParameterError

_HEADER = struct.Struct("<HBBBBHQ")
_BLAKE2XB = 1


def _header(size: int) -> bytes:
    return _HEADER.pack(0xA15E, 16, 4, 3, 0, 0, _HEADER.size + size)


@contextmanager
def _memory_file(data: bytes = b"") -> Iterator[str]:
    """A path that SEAL can open; in memory where the system has memfd, else a private temporary file."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("seal")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seal"
            path.write_bytes(data)
            yield str(path)


@cache
def _kept_file(process: int, thread: int) -> int:
    """The descriptor of a thread's own file in memory, for what is loaded over and over: a new one costs more."""
    return os.memfd_create("seal")


@contextmanager
def _plaintext_file(data: bytes) -> Iterator[str]:
    """As :func:`_memory_file`, for bytes of one size; what was written last stays in memory."""
    if hasattr(os, "memfd_create"):
        # named by process and thread: a forked process must not write to its parent's
        descriptor = _kept_file(os.getpid(), get_ident())
        os.pwrite(descriptor, data, 0)
        yield f"/proc/self/fd/{descriptor}"
    else:
        with _memory_file(data) as path:
            yield path


def _saved(seal_object: Any) -> bytes:
    """The uncompressed payload, without its outer header, that ``seal_object`` saves."""
    with _memory_file() as path:
        seal_object.save(path)
        data = Path(path).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data[_HEADER.size :])


class Seal:
    """SEAL's context, evaluator and array bridge of one parameter set."""

    def __init__(self, parameters: ParameterSet) -> None:
        """Raises ParameterError if SEAL does not accept the set at 128-bit security."""
        self.parameters = parameters
        chosen = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
        chosen.set_poly_modulus_degree(parameters.N)
        primes = (parameters.q0, parameters.q1, parameters.key_prime)
        chosen.set_coeff_modulus([sealapi.Modulus(prime) for prime in primes])
        chosen.set_plain_modulus(sealapi.Modulus(parameters.t))
        self.context = sealapi.SEALContext(chosen, True, sealapi.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise ParameterError(f"set {parameters.name}: SEAL says {self.context.parameters_error_message()}")
        self.evaluator = sealapi.Evaluator(self.context)
        self.level = self.context.first_parms_id()

    def plaintext(self, coefficients: NDArray[np.int64]) -> Any:
        """A polynomial of N signed coefficients, int64 of shape (N,), each of absolute value below t."""
        residues = np.where(coefficients < 0, coefficients + self.parameters.t, coefficients).astype("<u8").tobytes()
        array = struct.pack("<Q", self.parameters.N) + residues
        inner = _header(len(array)) + array
        members = bytes(32) + struct.pack("<Qd", self.parameters.N, 1.0) + inner
        plain = sealapi.Plaintext()
        with _plaintext_file(_header(len(members)) + members) as path:
            plain.load(self.context, path)
        return plain

    def plaintext_ntt(self, coefficients: NDArray[np.int64]) -> Any:
        """As :meth:`plaintext`, in NTT form at the level of a fresh ciphertext."""
        plain = self.plaintext(coefficients)
        self.evaluator.transform_to_ntt_inplace(plain, self.level)
        return plain

    def plaintext_file(self, plain: Any) -> bytes:
        """A plaintext in NTT form in SEAL's uncompressed format, for :meth:`load_plaintext`."""
        payload = _saved(plain)
        return _header(len(payload)) + payload

    def load_plaintext(self, path: Path) -> Any:
        """A plaintext from a file of one's own; None if there is none, or not a whole one."""
        plain = sealapi.Plaintext()
        try:
            if path.stat().st_size != plaintext_file_bytes(self.parameters):
                return None
            plain.load(self.context, str(path))
        except (OSError, RuntimeError, ValueError):
            return None
        return plain

    def _ciphertext(self, members: bytes, *, ntt: bool) -> Any:
        level = struct.pack("<4Q", *self.level)
        shape = struct.pack("<BQQQdQ", ntt, 2, self.parameters.N, 2, 1.0, 1)
        ciphertext = sealapi.Ciphertext()
        payload = level + shape + members
        with _memory_file(_header(len(payload)) + payload) as path:
            ciphertext.load(self.context, path)
        return ciphertext

    def empty_ciphertext(self) -> Any:
        """A ciphertext for the evaluator to write to."""
        return sealapi.Ciphertext(self.context)

    def ciphertext(self, residues: NDArray[np.uint64], *, ntt: bool = False) -> Any:
        """A ciphertext from its residues, uint64 of shape (2 polynomials, 2 primes, N)."""
        array = struct.pack("<Q", residues.size) + residues.astype("<u8").tobytes()
        return self._ciphertext(_header(len(array)) + array, ntt=ntt)

    def seeded_ciphertext(self, seed: bytes, b: NDArray[np.uint64]) -> Any:
        """The ciphertext (b, a) whose ``a`` SEAL expands from the 64-byte ``seed`` with BLAKE2xb; b is (2, N)."""
        array = struct.pack("<Q", b.size) + b.astype("<u8").tobytes()
        info = _header(1 + len(seed)) + bytes([_BLAKE2XB]) + seed
        return self._ciphertext(_header(len(array)) + array + info, ntt=False)

    def residues(self, ciphertext: Any) -> NDArray[np.uint64]:
        """Residues of a ciphertext, uint64 of shape (polynomials, primes, N)."""
        payload = _saved(ciphertext)
        size, degree, primes = struct.unpack_from("<3Q", payload, 33)
        start = 32 + struct.calcsize("<BQQQdQ") + _HEADER.size + 8
        return np.frombuffer(payload, "<u8", size * degree * primes, start).reshape(size, primes, degree)

    def encrypt(self, secret_key: Any, coefficients: NDArray[np.int64]) -> tuple[bytes, NDArray[np.uint64]]:
        """A fresh seeded symmetric encryption of signed ``coefficients``: its seed and b, uint64 of shape (2, N)."""
        serialisable = sealapi.Encryptor(self.context, secret_key).encrypt_symmetric(self.plaintext(coefficients))
        payload = _saved(serialisable)
        start = 32 + struct.calcsize("<BQQQdQ") + _HEADER.size + 8
        b = np.frombuffer(payload, "<u8", 2 * self.parameters.N, start).reshape(2, self.parameters.N)
        return payload[-64:], b.astype(np.uint64)

    def new_secret_key(self) -> tuple[Any, NDArray[np.int64]]:
        """A fresh SEAL secret key and its ternary coefficients, int64 of shape (N,)."""
        key = sealapi.KeyGenerator(self.context).secret_key()
        payload = _saved(key)
        count = 3 * self.parameters.N
        transformed = np.frombuffer(payload, "<u8", count, len(payload) - 8 * count).reshape(3, self.parameters.N)[:2]
        carrier = self.ciphertext(np.stack([transformed, transformed]), ntt=True)
        self.evaluator.transform_from_ntt_inplace(carrier)
        residue = self.residues(carrier)[0, 0].astype(np.int64)
        return key, np.where(residue > 1, residue - self.parameters.q0, residue)


def plaintext_file_bytes(parameters: ParameterSet) -> int:
    """Size of a :meth:`Seal.plaintext_file`: residues modulo both primes, 8 bytes each, and headers."""
    return 2 * parameters.N * 8 + 2 * _HEADER.size + 56


@cache
def seal(parameters: ParameterSet) -> Seal:
    """The one :class:`Seal` of a parameter set in this process."""
    return Seal(parameters)

"""Ways to take inner products of an encrypted vector with many plain ones, each in its library's own manner.

Each takes a direction, float64 (d,) of norm 1, and rows, float32 (n, d) of norms at most 1, and gives the encrypted
step alone as a function of nothing, and then what the holder of the key reads from its result, float64 (n,).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray

from tip_exchange.encryption.decryption import open_scores
from tip_exchange.encryption.packing import fixed_point
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_record_query
from tip_exchange.encryption.record_scores import ScoringTask, replies, score_records
from tip_exchange.encryption.wire import record_width

Direction = NDArray[np.float64]
Rows = NDArray[np.float32]

PAPER = {"poly_modulus_degree": 32768, "coeff_mod_bit_sizes": [60, 40, 40, 40, 60]}
"""CKKS parameters of Yang, Gao, Zheng 2025; the products are summed over all 16,384 slots."""
USUAL = {"poly_modulus_degree": 8192, "coeff_mod_bit_sizes": [60, 40, 60]}
"""The smallest ring in which TenSEAL multiplies once at 128 bits of security and 40 bits of scale."""
CONCRETE_BITS = 7
"""Entries are rounded to so many bits, that sums of 384 products fit into the library's 27."""


@dataclass(frozen=True)
class Product:
    """One way, prepared: ``step`` is what gets timed, ``read`` decrypts its last result."""

    step: Callable[[], object]
    read: Callable[[], NDArray[np.float64]]


@dataclass(frozen=True)
class Contestant:
    """A library's way.

    Attributes:
        name: of the contestant.
        library: its package, for the version.
        prepare: from direction, rows and a folder of its own.
        rows: most rows that are timed in one step; the cost is linear in them, or one step takes as many at once.
        aim: how many times as long as ours a record should take.
    """

    name: str
    library: str
    prepare: Callable[[Direction, Rows, Path], Product]
    rows: int
    aim: float | None = None

    @property
    def installed(self) -> bool:
        """Whether the library is here."""
        return importlib.util.find_spec(self.library.replace("-", "_")) is not None

    @property
    def version(self) -> str:
        """Of the library."""
        return version(self.library)


def vectors(dimension: int, records: int) -> tuple[Direction, Rows]:
    """A gaussian direction and heavy-tailed rows, all of norm just below 1."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(dimension)
    rows = rng.standard_t(3, (records, dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) * np.float32(1 + 1e-6)
    return direction / np.linalg.norm(direction) * (1 - 1e-12), rows


def ours(processes: int = 1, *, keep: bool = False) -> Callable[[Direction, Rows, Path], Product]:
    """Record scores as a seller makes them: from gradients on disk to sanitised replies on disk.

    Args:
        processes: how many share the work.
        keep: take the gradients' transforms from an earlier query on them.
    """

    def prepare(direction: Direction, rows: Rows, folder: Path) -> Product:
        folder.mkdir(parents=True)
        n, d = rows.shape
        key, width = SecretKey.fresh(WIDE), record_width(WIDE, d, n)
        with (folder / "query.bin").open("wb") as file:
            file.writelines(encrypted_record_query(fixed_point(direction, WIDE, "query"), key, width=width, records=n))
        rows.astype("<f4").tofile(folder / "rows.f32")
        kept = folder / "transforms" if keep else None
        tasks: list[ScoringTask] = []

        def step() -> None:
            # a folder of its own: to delete the last one's thousands of files is no part of the work
            fresh = folder / f"replies-{len(tasks)}"
            tasks.append(ScoringTask(folder / "query.bin", WIDE.number, d, folder / "rows.f32", n, fresh, kept))
            score_records(tasks[-1], processes=processes)

        def read() -> NDArray[np.float64]:
            scores = open_scores(replies(tasks[-1]), key.coefficients, WIDE, width, n)
            return np.concatenate(list(scores)) / float(WIDE.S) ** 2

        if keep:
            step()
        return Product(step, read)

    return prepare


def _ckks(parameters: dict[str, Any]) -> Any:
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, n_threads=1, **parameters)
    context.global_scale = 2**40
    context.generate_galois_keys()
    return context


def tenseal_dot(direction: Direction, rows: Rows, folder: Path) -> Product:
    """``CKKSVector.dot`` with one plain row after another."""
    del folder
    encrypted = tenseal.ckks_vector(_ckks(USUAL), direction.tolist())
    plain, results = [row.tolist() for row in rows], []

    def step() -> None:
        results[:] = [encrypted.dot(row) for row in plain]

    return Product(step, lambda: np.array([result.decrypt()[0] for result in results]))


def tenseal_matmul(direction: Direction, rows: Rows, folder: Path) -> Product:
    """``CKKSVector.matmul`` with all rows as the columns of one matrix.

    Its results are right for at most slots − d columns, 3,712 here; beyond them the replicated vector wraps round.
    """
    del folder
    encrypted = tenseal.ckks_vector(_ckks(USUAL), direction.tolist())
    matrix, results = rows.T.tolist(), []

    def step() -> None:
        results[:] = [encrypted.matmul(matrix)]

    return Product(step, lambda: np.array(results[0].decrypt()))


def paper(direction: Direction, rows: Rows, folder: Path) -> Product:
    """The paper's parameters: a product with each row, summed over all slots."""
    del folder
    slots = PAPER["poly_modulus_degree"] // 2  # type: ignore[operator]
    encrypted = tenseal.ckks_vector(_ckks(PAPER), np.pad(direction, (0, slots - direction.size)).tolist())
    plain, results = [np.pad(row, (0, slots - row.size)).tolist() for row in rows], []

    def step() -> None:
        results[:] = [encrypted.dot(row) for row in plain]

    return Product(step, lambda: np.array([result.decrypt()[0] for result in results]))


def concrete(direction: Direction, rows: Rows, folder: Path) -> Product:
    """concrete-ml-extensions' encrypted matrix product at its default parameters, over unsigned 7-bit entries."""
    del folder
    import concrete_ml_extensions

    crypto = concrete_ml_extensions.MatmulCryptoParameters.deserialize(concrete_ml_extensions.default_params())
    private, compression = concrete_ml_extensions.create_private_key(crypto)
    half = 2 ** (CONCRETE_BITS - 1)
    scales = [(half - 1) / float(np.abs(part).max()) for part in (direction, rows)]
    left, right = (
        (np.rint(part * scale) + half).astype(np.uint64)
        for part, scale in zip((direction[None], rows.T), scales, strict=True)
    )
    right = np.ascontiguousarray(right)
    encrypted = concrete_ml_extensions.encrypt_matrix(pkey=private, crypto_params=crypto, data=left)
    results: list[Any] = []

    def step() -> None:
        product = concrete_ml_extensions.matrix_multiplication(
            encrypted_matrix=encrypted, data=right, compression_key=compression
        )
        results[:] = [product]

    def read() -> NDArray[np.float64]:
        last = rows.shape[0] % 2048 or 2048
        products = concrete_ml_extensions.decrypt_matrix(
            results[0], private, crypto, num_valid_glwe_values_in_last_ciphertext=last
        )
        unsigned = np.array(products, np.float64).ravel()[: rows.shape[0]]
        # the halves that made the entries unsigned come off in the clear: their sums are known to either side
        offset = half * (left.sum(dtype=np.float64) + right.sum(axis=0, dtype=np.float64)) - half**2 * direction.size
        return (unsigned - offset) / (scales[0] * scales[1])

    return Product(step, read)


CONTESTANTS = (
    Contestant("TenSEAL dot", "tenseal", tenseal_dot, 64, 120),
    Contestant("TenSEAL matmul", "tenseal", tenseal_matmul, 3712, 50),
    Contestant("concrete-ml-extensions", "concrete-ml-extensions", concrete, 128, 250),
    Contestant("the paper's parameters", "tenseal", paper, 4, 2500),
)

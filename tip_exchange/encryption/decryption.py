"""The one integer decryption: the buyer attests what this gives, and the contract computes the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.packing import Coefficients, result_coefficients
from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.encryption.wire import Reply, decode_reply, reply_bytes
from tip_exchange.errors import WireError
from tip_exchange.types import INVALID

_HALF = 28
"""Cells below 2⁵⁶ are taken in two halves, so that sums of N of them stay far below 2⁶³."""


def phases(reply: Reply, key: TernaryKey, parameters: ParameterSet, width: int) -> list[int]:
    """``(c0 + c1·s) mod q0`` at every result coefficient, exact integers."""
    # s[i] at place N−1−i, and −s before it (X^N = −1): the row of coefficient j starts at place N−1−j
    reversed_key = key[::-1]
    signed = np.concatenate([reversed_key, -reversed_key])
    results = result_coefficients(len(reply.cells), width).tolist()
    rows = [signed[parameters.N - 1 - j :][: parameters.N] for j in results]
    halves = np.stack([reply.c1 >> np.uint64(_HALF), reply.c1 & np.uint64(2**_HALF - 1)]).astype(np.int64)
    products = halves @ np.stack(rows, axis=1)
    return [
        (cell + (high << _HALF) + low) % parameters.q0
        for cell, high, low in zip(reply.cells.tolist(), *products.tolist(), strict=True)
    ]


def round_phase(phase: int, parameters: ParameterSet) -> int:
    """``round(t · phase / q0) mod t``; q0 is odd, so there are no ties."""
    return (2 * parameters.t * phase + parameters.q0) // (2 * parameters.q0) % parameters.t


def decrypt(data: bytes, key: TernaryKey, parameters: ParameterSet) -> int:
    """The padded value of any reply bytes: in [0, t), or INVALID for bytes that are no reply. Total: never raises."""
    try:
        reply = decode_reply(data, parameters)
    except WireError:
        return INVALID
    (value,) = decrypt_results(reply, key, parameters, parameters.N)
    return value


def decrypt_results(reply: Reply, key: TernaryKey, parameters: ParameterSet, width: int) -> list[int]:
    """What every cell of a reply decrypts to, in [0, t)."""
    return [round_phase(phase, parameters) for phase in phases(reply, key, parameters, width)]


def decrypt_scores(reply: Reply, key: TernaryKey, parameters: ParameterSet, width: int) -> Coefficients:
    """The scores of a reply block, int64 (records,), the residues nearest to 0, scaled by S²."""
    values, half = decrypt_results(reply, key, parameters, width), parameters.t // 2
    return (np.array(values, np.int64) + half) % parameters.t - half


def open_scores(
    pieces: Iterator[bytes], key: TernaryKey, parameters: ParameterSet, width: int, records: int
) -> Iterator[Coefficients]:
    """Decrypt a stream of replies, in pieces of any size, to int64 scores scaled by S².

    Raises:
        WireError: too few or too many bytes for ``records`` records, or a cell out of range.
    """
    held, capacity, left = bytearray(), parameters.results(width), records
    for piece in pieces:
        held += piece
        while left and len(held) >= (size := reply_bytes(parameters, min(capacity, left))):
            results = min(capacity, left)
            yield decrypt_scores(decode_reply(bytes(held[:size]), parameters, results), key, parameters, width)
            del held[:size]
            left -= results
        if not left and held:
            raise WireError(f"record scores: more bytes than {records} records have")
    if left:
        raise WireError(f"record scores: the bytes end {left} records before the last of {records}")

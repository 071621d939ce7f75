"""The one integer decryption: the buyer attests what this gives, and the contract computes the same."""

from __future__ import annotations

from tip_exchange.encryption.keys import TernaryKey
from tip_exchange.encryption.parameters import ParameterSet
from tip_exchange.encryption.wire import Reply, decode_reply
from tip_exchange.errors import WireError
from tip_exchange.types import INVALID


def phase(reply: Reply, key: TernaryKey, parameters: ParameterSet) -> int:
    """``(c0 + c1·s)[N−1] mod q0`` in Python integers; coefficient N−1 of a product never wraps."""
    pairs = zip(reply.c1.tolist(), key[::-1].tolist(), strict=True)
    product: int = sum(cell * bit for cell, bit in pairs if bit)
    return (reply.cell + product) % parameters.q0


def round_phase(phase: int, parameters: ParameterSet) -> int:
    """``round(t · phase / q0) mod t``; q0 is odd, so there are no ties."""
    return (2 * parameters.t * phase + parameters.q0) // (2 * parameters.q0) % parameters.t


def decrypt(data: bytes, key: TernaryKey, parameters: ParameterSet) -> int:
    """The padded value of any reply bytes: in [0, t), or INVALID for bytes that are no reply. Total: never raises."""
    try:
        reply = decode_reply(data, parameters)
    except WireError:
        return INVALID
    return round_phase(phase(reply, key, parameters), parameters)

"""Every error this package raises on purpose.

::

    TipError
    ├── InputError            the caller's own input is wrong
    │   ├── DataError         records: empty, missing column, NaN, unknown label
    │   └── ModelError        model folder: pickles, remote code, unknown architecture
    ├── StateError            a home directory lacks, or already has, what a step needs
    │   ├── FolderHeld        another process works in the same folder
    │   ├── NotYet            a step that time alone makes possible
    │   └── LedgerLimit       an answer would tell buyers more about a record than the seller allows
    ├── WalletError           keystore missing, wrong password
    ├── CounterpartyError     somebody else's bytes break the protocol
    │   ├── WireError         truncated, oversized or out-of-range wire object
    │   └── IntegrityError    bytes whose hash is not the committed one
    ├── ParameterError        parameter set unknown, or a noise bound broken
    ├── StorageError          blob missing or storage unreachable
    └── ChainError            the node, the network or the contract refused
        ├── ConnectionFailed  no node answers at the RPC URL
        ├── WrongChain        the node serves another chain id
        ├── InsufficientFunds the account cannot pay value plus gas
        └── ContractRevert    the contract reverted; the sentence says why

A message says what was wrong, where (file, order, seller), and what to do.
"""

from __future__ import annotations


class TipError(Exception):
    """Base class of every error raised on purpose."""


class InputError(TipError):
    """The caller's own input is wrong."""


class DataError(InputError):
    """A record file is empty, lacks a column, or holds a value that cannot be used."""


class ModelError(InputError):
    """A model folder holds pickles, remote code, or an architecture that is not allowed."""


class StateError(TipError):
    """A home directory lacks, or already has, what a step needs."""


class FolderHeld(StateError):
    """Another process works in the same folder; it helps to wait."""


class NotYet(StateError):
    """A step that time alone makes possible: a block is not final yet, or a window not open; it helps to wait."""


class LedgerLimit(StateError):
    """An answer would tell buyers more about a record than the seller's limit allows."""


class WalletError(TipError):
    """A keystore is missing or its password is wrong."""


class CounterpartyError(TipError):
    """Somebody else's bytes break the protocol."""


class WireError(CounterpartyError):
    """A wire object is truncated, oversized, or has a cell out of range."""


class IntegrityError(CounterpartyError):
    """Bytes whose hash is not the committed one."""


class ParameterError(TipError):
    """An unknown parameter set, or a request that breaks one of its bounds."""


class StorageError(TipError):
    """A blob is missing or the storage cannot be reached."""


class ChainError(TipError):
    """The node, the network or the contract refused."""


class ConnectionFailed(ChainError):
    """No node answers at the RPC URL."""


class WrongChain(ChainError):
    """The node serves a chain other than the expected one."""


class InsufficientFunds(ChainError):
    """The account cannot pay the value and the gas of a transaction."""


class ContractRevert(ChainError):
    """The contract reverted.

    Attributes:
        error: name of the Solidity custom error, or "" when there was none.
        arguments: its decoded arguments, in declaration order.
    """

    def __init__(self, sentence: str, error: str = "", arguments: tuple[object, ...] = ()) -> None:
        super().__init__(sentence)
        self.error = error
        self.arguments = arguments

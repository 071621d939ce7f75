"""The escrow contract and the chains it lives on: the only package that imports web3, eth_account and solcx."""

import sys

# py_ecc, which web3 imports, raises the recursion limit to 100,000; deeply nested JSON of a counterparty would then
# crash the process instead of raising RecursionError.
_limit = sys.getrecursionlimit()
import web3 as _web3  # noqa: E402, F401

sys.setrecursionlimit(_limit)

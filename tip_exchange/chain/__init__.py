"""The escrow contract and the chains it lives on: the only package that imports web3, eth_account and solcx."""

import sys

import web3 as _web3  # noqa: F401

# py_ecc, which web3 imports, raises the recursion limit to 100,000; deeply nested JSON of a counterparty would then
# overflow the C stack and end the process instead of raising RecursionError.
sys.setrecursionlimit(min(sys.getrecursionlimit(), 5000))

#!/usr/bin/env python
"""Claim, for yourself or for another seller, from an RPC URL, an order and a wallet alone.

The escrow's address comes from the deployment file, in the home or by --deployment. It may be run by anybody, at any
moment: what is not due yet is refused with a sentence that says from when on it is.
"""

from tip_exchange.cli.main import run
from tip_exchange.cli.seller import claim

if __name__ == "__main__":
    run(claim)

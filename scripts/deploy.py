#!/usr/bin/env python
"""Deploy the escrow from a wallet, and write down where it is."""

from tip_exchange.cli.chain import deploy
from tip_exchange.cli.main import run

if __name__ == "__main__":
    run(deploy)

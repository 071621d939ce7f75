#!/usr/bin/env python
"""Verify an order, as an auditor, from an RPC URL and the storage alone; exit status 1 if a check fails.

The deployment file only says where the escrow is; its code is one of the things that are checked.
"""

from tip_exchange.cli.auditor import verify
from tip_exchange.cli.main import run

if __name__ == "__main__":
    run(verify)

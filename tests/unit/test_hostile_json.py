"""Deeply nested JSON of a counterparty is refused, not crashed on."""

import subprocess
import sys

PROGRAM = """
import tip_exchange.chain.escrow
from tip_exchange.errors import WireError
from tip_exchange.roles.publication import parse_manifest
try:
    parse_manifest(b"[" * 60_000)
except WireError as error:
    print("refused:", error)
"""


def test_a_manifest_of_nested_brackets_is_refused_after_web3_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert done.stdout.startswith("refused: model manifest: RecursionError")

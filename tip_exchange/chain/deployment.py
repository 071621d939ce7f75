"""Where an escrow is, and how one gets there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from eth_account.signers.local import LocalAccount
from eth_utils.address import is_address
from web3 import Web3

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.rpc import node_errors
from tip_exchange.chain.transactions import Call, Journal, Receipt, short_hash
from tip_exchange.errors import ChainError, StateError
from tip_exchange.files import write_atomic


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where an escrow is; the file that whoever deployed it hands to buyers and sellers."""

    chain_id: int
    address: str
    block: int
    transaction: str

    def write(self, path: Path) -> None:
        """Write it to ``path`` as JSON."""
        write_atomic(path, json.dumps(asdict(self), indent=2).encode() + b"\n", 0o644)

    @classmethod
    def read(cls, path: Path) -> Deployment:
        """Read what :meth:`write` wrote.

        Raises:
            StateError: it is missing or damaged.
        """
        try:
            found = json.loads(path.read_bytes())
            deployment = cls(found["chain_id"], found["address"], found["block"], found["transaction"])
        except FileNotFoundError as error:
            raise StateError(f"there is no {path}; run `tip chain deploy`, or copy the escrow's file there") from error
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise StateError(f"{path} is damaged ({error!r}); copy it again from the deployer of the escrow") from error
        # JSON also has floats (1e999 is infinity) and booleans, which Python counts among the integers.
        for name, number in (("chain_id", deployment.chain_id), ("block", deployment.block)):
            if type(number) is not int or number < 0:
                raise StateError(f"{path} is damaged: its {name} is not a whole number from 0 up")
        if not isinstance(deployment.transaction, str):
            raise StateError(f"{path} is damaged: its transaction is not a text")
        if not isinstance(deployment.address, str) or not is_address(deployment.address):
            raise StateError(f"{path} is damaged: {deployment.address!r} is no address")
        return deployment


def deploy(w3: Web3, account: LocalAccount, journal: Journal) -> tuple[Deployment, Receipt]:
    """Deploy the shipped contract once on the node's chain; a second call finds the first one's contract.

    Raises:
        ChainError: as :meth:`Journal.send` does.
    """
    call = Call(None, bytes.fromhex(load_artifact()["bytecode"].removeprefix("0x")))
    with node_errors("asking for the chain id"):
        chain_id = int(w3.eth.chain_id)
    receipt = journal.send(w3, account, call, f"deploy-{chain_id}-{short_hash(call)}", survive_restart=True)
    if receipt.contract is None:
        raise ChainError(f"the node's receipt of {receipt.transaction} names no contract; use another node")
    return Deployment(chain_id, receipt.contract, receipt.block, receipt.transaction), receipt

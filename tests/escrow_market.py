"""An open order with its parties, and the steps that tests take in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from orders import make_terms, submissions_hash
from web3 import Web3

from tip_exchange.chain import compiler, nodes
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Call, Journal
from tip_exchange.commitments import keccak, merkle_leaf, pad_commitment, record_leaf, reply_commitment
from tip_exchange.delivery import tree
from tip_exchange.delivery.cipher import delivery_key_hash, encrypt_row
from tip_exchange.delivery.complaint import Complaint
from tip_exchange.errors import ContractRevert
from tip_exchange.settlement import T
from tip_exchange.types import Commitments, File, Opening, Terms

Accounts = Callable[..., LocalAccount]

REPLY = b"\x55" * 100 + b"\x66" * 7
RECORDS = [b"record %d" % index for index in range(50)]
OPENING = Opening(T - 5, 12345, len(RECORDS), b"\x0c" * 32)
KEY = b"\x4b" * 32
DATA_SALT = b"\x5a" * 32


def padded(value: int, opening: Opening = OPENING) -> int:
    """What decrypts of a reply with this value."""
    return (pow(opening.factor, -1, T) * value + opening.pad) % T


@dataclass
class Market:
    """An open order, its buyer, two sellers, its arbiter, and somebody else who pushes what anyone may push."""

    escrow: Escrow
    url: str
    journal: Journal
    account: Accounts
    terms_changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.buyer, self.anyone, self.arbiter = self.account(), self.account(), self.account()
        self.sellers = [self.account(), self.account()]
        changes = {"arbiter": self.arbiter.address} | self.terms_changes
        self.terms: Terms = make_terms(self.buyer.address, **changes)
        self.order_id = self.escrow.order_id(self.terms, 7)

    def open(self) -> Market:
        self.escrow.open(self.buyer, self.journal, self.terms, 7)
        return self

    def commitments(self, seller: LocalAccount) -> Commitments:
        pad_hash = pad_commitment(self.order_id, seller.address, OPENING)
        top = tree.TreeTop()
        for leaf in self.leaves():
            top.add(leaf)
        root = tree.data_root(seller.address, len(RECORDS), top.top())
        return Commitments(reply_commitment(REPLY), pad_hash, root)

    def submit(self, *sellers: LocalAccount) -> None:
        for seller in sellers:
            self.escrow.submit(seller, self.journal, self.order_id, self.commitments(seller), len(RECORDS))

    def submissions_hash(self) -> bytes:
        return submissions_hash(self.order_id, self.escrow.submissions(self.order_id))

    def submitters(self) -> list[str]:
        return [entry.seller for entry in self.escrow.submissions(self.order_id)]

    def attest(self, *values: int) -> None:
        link, sellers = self.submissions_hash(), self.submitters()
        self.escrow.attest(self.buyer, self.journal, self.order_id, link, sellers, values)

    def reveal(self, *sellers: LocalAccount) -> None:
        for seller in sellers:
            committed = self.commitments(seller)
            self.escrow.reveal(self.anyone, self.journal, self.order_id, seller.address, OPENING, committed)

    def wait(self, seconds: int = 1000) -> None:
        nodes.advance_time(self.url, seconds)

    def revert(self, step: Callable[[], object]) -> str:
        with pytest.raises(ContractRevert) as caught:
            step()
        return str(caught.value)

    def valued(self, *values: int) -> None:
        """Brings the order to Delivering: as many sellers as values, all revealed."""
        sellers = self.sellers[: len(values)]
        self.submit(*sellers)
        self.wait()
        self.attest(*(padded(value) for value in values))
        self.reveal(*sellers)
        self.wait()

    # One seller's records as a file

    def plain(self, index: int) -> bytes:
        return record_leaf(DATA_SALT, index, RECORDS[index])

    def leaves(self) -> list[bytes]:
        return [merkle_leaf(index, self.plain(index)) for index in range(len(RECORDS))]

    def ciphers(self, seller: LocalAccount, wrong: int | None = None) -> list[bytes]:
        """Encrypted rows, that of record ``wrong`` of other bytes."""
        rows = [b"other" if index == wrong else self.plain(index) for index in range(len(RECORDS))]
        return [encrypt_row(KEY, self.order_id, seller.address, index, row) for index, row in enumerate(rows)]

    def file(self, seller: LocalAccount, wrong: int | None = None) -> File:
        data, cipher = tree.TreeTop(), tree.TreeTop()
        for index, (leaf, row) in enumerate(zip(self.leaves(), self.ciphers(seller, wrong), strict=True)):
            data.add(leaf)
            cipher.add(tree.cipher_leaf(index, row))
        key_hash = delivery_key_hash(self.order_id, seller.address, KEY)
        return File(data.top(), cipher.top(), key_hash, keccak(b"sealed"))

    def complaint(self, seller: LocalAccount, index: int, wrong: int | None = None) -> Complaint:
        rows = self.ciphers(seller, wrong)
        hidden = [tree.cipher_leaf(place, row) for place, row in enumerate(rows)]
        leaves = self.leaves()
        return Complaint(index, rows[index], tree.path(hidden, index), leaves[index], tree.path(leaves, index))

    def offered(self, seller: LocalAccount, wrong: int | None = None) -> File:
        file = self.file(seller, wrong)
        self.escrow.offer(seller, self.journal, self.order_id, self.commitments(seller), file)
        return file

    def delivered(self, seller: LocalAccount, wrong: int | None = None) -> File:
        file = self.offered(seller, wrong)
        self.escrow.accept(self.buyer, self.journal, self.order_id, seller.address, file)
        self.wait(1)
        self.escrow.deliver(seller, self.journal, self.order_id, seller.address, file, KEY)
        return file


def make_token(escrow: Escrow, owner: LocalAccount, journal: Journal) -> tuple[str, Callable[[str, int], None]]:
    """An ERC-20 token that anybody may mint: its address, and a function that gives somebody so many units."""
    artifact = compiler.compile_contracts(["contracts/mocks/MockToken.sol"])["MockToken"]
    made = journal.send(escrow.w3, owner, Call(None, bytes.fromhex(artifact["bytecode"][2:])), "token")
    assert made.contract is not None
    token = made.contract

    def mint(to: str, amount: int) -> None:
        call = Call(token, calldata(artifact["abi"], "mint", to, amount))
        journal.send(escrow.w3, owner, call, f"mint-{to}-{amount}")

    return token, mint


def calldata(abi: list[Any], name: str, *arguments: object) -> bytes:
    """The bytes of a call."""
    return bytes.fromhex(Web3().eth.contract(abi=abi).encode_abi(name, arguments)[2:])

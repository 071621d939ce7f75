from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_account.signers.local import LocalAccount
from orders import ETHER, make_terms, rpc
from relay import relay
from web3 import Web3

from tip_exchange.chain import compiler, events, nodes, tokens, transactions
from tip_exchange.chain.artifact import load_artifact, runtime_code_matches
from tip_exchange.chain.attestation import recover_attester, sign_attestation
from tip_exchange.chain.escrow import Deployment, Escrow, deploy
from tip_exchange.chain.rpc import connect
from tip_exchange.chain.transactions import Call, Journal
from tip_exchange.commitments import (
    pad_commitment,
    reply_commitment,
    sellers_proof,
    sellers_root,
    submissions_hash,
    tag_key_commitment,
)
from tip_exchange.errors import (
    ChainError,
    ContractRevert,
    InputError,
    InsufficientFunds,
    IntegrityError,
    StateError,
    TipError,
    WrongChain,
)
from tip_exchange.settlement import T, opened_value, tag_holds, tag_key, tag_of
from tip_exchange.types import INVALID, NATIVE_COIN, UNAVAILABLE, Phase, Terms

Accounts = Callable[..., LocalAccount]
REPLY, ROOT, SALT = b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32
PAD, RECORDS = T - 5, 50


@dataclass
class Market:
    """An open order, its buyer, two sellers, and somebody else who pushes what anyone may push."""

    escrow: Escrow
    url: str
    journal: Journal
    buyer: LocalAccount
    sellers: list[LocalAccount]
    anyone: LocalAccount
    terms: Terms
    order_id: bytes

    def submit(self, seller: LocalAccount) -> None:
        pad_hash = pad_commitment(self.order_id, seller.address, PAD, RECORDS, SALT)
        self.escrow.submit(seller, self.journal, self.order_id, REPLY, pad_hash, ROOT)

    def reveal(self, seller: LocalAccount) -> None:
        self.escrow.reveal(self.anyone, self.journal, self.order_id, seller.address, PAD, RECORDS, SALT)

    def attest(self, *values: int) -> None:
        stored = self.escrow.order(self.order_id).submissions_hash
        self.escrow.attest(self.buyer, self.journal, self.order_id, stored, values)

    def wait(self, seconds: int = 1000) -> None:
        nodes.advance_time(self.url, seconds)

    def revert(self, step: Callable[[], object]) -> str:
        with pytest.raises(ContractRevert) as caught:
            step()
        return str(caught.value)


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Market:
    buyer, sellers, anyone = account(), [account(), account()], account()
    terms = make_terms(buyer.address)
    escrow.open(buyer, journal, terms, 7)
    return Market(escrow, url, journal, buyer, sellers, anyone, terms, escrow.order_id(terms, 7))


def test_an_order_is_paid_out_to_the_last_wei_in_coin(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    helpful, harmful = market.sellers
    assert escrow.liabilities() == market.terms.deposit
    market.submit(helpful)
    market.submit(harmful)
    market.wait()
    market.attest((PAD + 3 * 2**32) % T, (PAD - 9) % T)
    market.reveal(helpful)
    market.reveal(harmful)

    order = escrow.order(order_id)
    assert (order.phase, order.attested, order.reveal_count) == (Phase.REVEALING, True, 2)
    assert (order.terms, order.nonce, order.submission_count, order.rejected_count) == (market.terms, 7, 2, 0)
    first, second = escrow.submissions(order_id)
    assert [first.value, second.value] == [3 * 2**32, -9]
    assert first.value == opened_value(first.attested or 0, PAD)
    assert (first.weight, second.weight, order.total_weight) == (3 * 2**32 * RECORDS, 0, first.weight)
    assert first == escrow.submission(order_id, helpful.address)
    assert (first.seller, first.index, second.index) == (helpful.address, 0, 1)
    assert escrow.payout(order_id, helpful.address) == (ETHER, ETHER // 1000)
    assert escrow.payout(order_id, harmful.address) == (0, ETHER // 1000)

    market.wait(2000)
    assert escrow.phase(order_id) is Phase.CLAIMING
    for seller, due in ((helpful, ETHER + ETHER // 1000), (harmful, ETHER // 1000)):
        before = tokens.balance(escrow.w3, NATIVE_COIN, seller.address)
        escrow.claim(market.anyone, journal, order_id, seller.address)
        assert tokens.balance(escrow.w3, NATIVE_COIN, seller.address) - before == due
    before = tokens.balance(escrow.w3, NATIVE_COIN, market.buyer.address)
    escrow.refund(market.anyone, journal, order_id)
    assert tokens.balance(escrow.w3, NATIVE_COIN, market.buyer.address) - before == ETHER // 10 + 3 * ETHER // 1000
    assert escrow.liabilities() == escrow.w3.eth.get_balance(market.escrow.w3.to_checksum_address(escrow.address)) == 0


def test_an_order_in_a_token_is_approved_and_paid_in_it(
    escrow: Escrow, url: str, account: Accounts, journal: Journal
) -> None:
    artifact = compiler.compile_contracts(["contracts/mocks/MockToken.sol"])["MockToken"]
    buyer, seller = account(), account()
    made = journal.send(escrow.w3, buyer, Call(None, bytes.fromhex(artifact["bytecode"][2:])), "token")
    assert made.contract is not None
    token = made.contract
    terms = make_terms(buyer.address, token=token)
    order_id = escrow.order_id(terms, 0)

    with pytest.raises(InsufficientFunds, match=f"holds 0 of the token {token}"):
        escrow.open(buyer, journal, terms, 0)
    contract: Any = escrow.w3.eth.contract(escrow.w3.to_checksum_address(token), abi=artifact["abi"])
    mint = bytes.fromhex(contract.encode_abi("mint", [buyer.address, 3 * terms.deposit])[2:])
    journal.send(escrow.w3, buyer, Call(token, mint), "mint")
    # An allowance that another order has left over is set anew.
    journal.send(escrow.w3, buyer, tokens.approve(token, escrow.address, 5), "leftover")
    before = escrow.w3.eth.get_transaction_count(buyer.address)
    for _ in range(2):
        escrow.open(buyer, journal, terms, 0)
    assert escrow.w3.eth.get_transaction_count(buyer.address) - before == 3  # to zero, to the deposit, open
    assert escrow.liabilities(token) == tokens.balance(escrow.w3, token, escrow.address) == terms.deposit
    assert tokens.allowance(escrow.w3, token, buyer.address, escrow.address) == 0
    escrow.open(buyer, journal, terms, 1)
    assert escrow.liabilities(token) == 2 * terms.deposit

    pad_hash = pad_commitment(order_id, seller.address, PAD, RECORDS, SALT)
    escrow.submit(seller, journal, order_id, REPLY, pad_hash, ROOT)
    nodes.advance_time(url, 1000)
    escrow.attest(buyer, journal, order_id, escrow.order(order_id).submissions_hash, [(PAD + 1) % T])
    escrow.reveal(seller, journal, order_id, seller.address, PAD, RECORDS, SALT)
    nodes.advance_time(url, 2000)
    escrow.claim(seller, journal, order_id, seller.address)
    assert tokens.balance(escrow.w3, token, seller.address) == terms.budget + terms.answerFee
    escrow.refund(buyer, journal, order_id)
    assert tokens.balance(escrow.w3, token, buyer.address) == 2 * terms.deposit - terms.budget - terms.answerFee


def test_what_is_no_token_is_said_to_be_none(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    buyer = account()
    for address in (buyer.address, escrow.address):
        with pytest.raises(ChainError, match="not an ERC-20 token"):
            escrow.open(buyer, journal, make_terms(buyer.address, token=address), 0)


def test_every_event_is_decoded_with_its_place_and_cost(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    first, second = market.sellers
    market.submit(first)
    market.submit(second)
    escrow.reject(market.buyer, journal, order_id, second.address)
    market.wait()
    attested = (PAD + 1) % T
    market.attest(attested, INVALID)
    market.reveal(first)
    market.wait(2000)
    escrow.claim(market.anyone, journal, order_id, first.address)
    escrow.refund(market.buyer, journal, order_id)

    found = escrow.events(order_id)
    kinds = [type(event).__name__ for event in found]
    assert kinds == ["OrderOpened", "Submitted", "Submitted", "Rejected", "Attested", "Revealed", "Claimed", "Refunded"]
    opened, submitted, _, rejected, attestation, revealed, claimed, refunded = found
    assert isinstance(opened, events.OrderOpened)
    assert (opened.buyer, opened.nonce, opened.terms) == (market.buyer.address, 7, market.terms)
    pad_hash = pad_commitment(order_id, first.address, PAD, RECORDS, SALT)
    assert isinstance(submitted, events.Submitted)
    assert (submitted.seller, submitted.index, submitted.reply_hash) == (first.address, 0, REPLY)
    assert (submitted.pad_hash, submitted.data_root) == (pad_hash, ROOT)
    assert isinstance(rejected, events.Rejected)
    assert (rejected.seller, rejected.sender) == (second.address, market.buyer.address)
    chain = submissions_hash(order_id, first.address, REPLY, pad_hash, ROOT)
    other = pad_commitment(order_id, second.address, PAD, RECORDS, SALT)
    assert isinstance(attestation, events.Attested)
    assert attestation.submissions == submissions_hash(chain, second.address, REPLY, other, ROOT)
    assert attestation.values == (attested, INVALID)
    assert isinstance(revealed, events.Revealed)
    assert (revealed.seller, revealed.pad, revealed.records, revealed.salt) == (first.address, PAD, RECORDS, SALT)
    assert (revealed.value, revealed.weight, revealed.sender) == (1, RECORDS, market.anyone.address)
    assert isinstance(claimed, events.Claimed)
    assert (claimed.seller, claimed.payout, claimed.fee) == (first.address, ETHER, ETHER // 1000)
    assert isinstance(refunded, events.Refunded)
    assert refunded.amount == ETHER // 10 + 4 * ETHER // 1000
    for event in found:
        receipt = escrow.w3.eth.get_transaction_receipt(event.transaction)  # type: ignore[arg-type]
        block = escrow.w3.eth.get_block(event.block)
        assert (event.order_id, event.gas_used, event.timestamp) == (order_id, receipt["gasUsed"], block["timestamp"])
        assert receipt["blockNumber"] == event.block


def test_a_silent_buyer_forfeits_and_the_sellers_keep_their_fees(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    (seller, _) = market.sellers
    market.submit(seller)
    market.wait(2000)
    assert escrow.order(order_id).phase is Phase.REVEALING
    market.reveal(seller)
    escrow.forfeit(market.anyone, journal, order_id)
    (forfeited,) = [event for event in escrow.events(order_id) if isinstance(event, events.Forfeited)]
    assert (forfeited.to, forfeited.amount) == (market.terms.forfeitTo, ETHER + ETHER // 10)
    assert escrow.submission(order_id, seller.address).attested is None
    market.wait(1000)
    escrow.refund(market.buyer, journal, order_id)
    escrow.claim(market.anyone, journal, order_id, seller.address)
    market.wait(1000)
    assert "nothing is due to the buyer" in market.revert(lambda: escrow.refund(market.buyer, journal, order_id))
    assert escrow.liabilities() == 0


def test_each_phase_has_a_refund_of_its_own(market: Market) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    (seller, _) = market.sellers
    market.submit(seller)
    market.wait()
    market.attest((PAD + 1) % T)
    market.reveal(seller)
    market.wait(2000)
    first = escrow.refund(market.buyer, journal, order_id)
    assert escrow.refund(market.buyer, journal, order_id).transaction == first.transaction
    market.wait(1000)
    assert escrow.phase(order_id) is Phase.CLOSED
    second = escrow.refund(market.buyer, journal, order_id)
    assert second.transaction != first.transaction
    amounts = [event.amount for event in escrow.events(order_id) if isinstance(event, events.Refunded)]
    assert amounts == [ETHER // 10 + 4 * ETHER // 1000, ETHER + ETHER // 1000]


def test_refusals_are_sentences_with_order_seller_and_time(market: Market, tmp_path: Path) -> None:
    escrow, order_id, journal = market.escrow, market.order_id, market.journal
    buyer, (seller, late), anyone = market.buyer, market.sellers, market.anyone
    named, ended = f"order 0x{order_id.hex()}", "which ended at 20"
    other = Journal(tmp_path / "other")  # does not know what was sent before
    market.submit(seller)

    refusals = [
        (lambda: escrow.open(buyer, other, market.terms, 7), f"{named} is open already"),
        (lambda: escrow.open(anyone, other, market.terms, 8), f"name {buyer.address} as buyer"),
        (lambda: escrow.submit(seller, other, order_id, REPLY, REPLY, ROOT), f"seller {seller.address} has submitted"),
        (lambda: escrow.submit(buyer, other, order_id, REPLY, REPLY, ROOT), "cannot sell to itself"),
        (lambda: escrow.submit(late, other, order_id, bytes(32), REPLY, ROOT), "the hash replyHash is zero"),
        (lambda: escrow.reject(seller, other, order_id, late.address), f"only the buyer {buyer.address} of {named}"),
        (lambda: escrow.reject(buyer, other, order_id, late.address), f"seller {late.address} has no submission"),
        (lambda: escrow.reveal(seller, other, order_id, seller.address, 1, 1, SALT), f"{named} is in phase Submitting"),
        (lambda: escrow.claim(seller, other, order_id, seller.address), "wait until then"),
        (lambda: escrow.refund(buyer, other, order_id), f"nothing is due to the buyer of {named}"),
    ]
    for step, part in refusals:
        assert part in market.revert(step)

    market.wait()
    stored = escrow.order(order_id).submissions_hash
    for step, part in [
        (lambda: escrow.submit(late, other, order_id, REPLY, REPLY, ROOT), ended),
        (lambda: escrow.attest(seller, other, order_id, stored, [1]), "use the buyer's wallet"),
        (lambda: escrow.attest(buyer, Journal(tmp_path / "a"), order_id, ROOT, [1]), "over submissions 0x0b0b"),
        (lambda: escrow.attest(buyer, Journal(tmp_path / "b"), order_id, stored, []), "holds 0 values for 1"),
        (lambda: escrow.attest(buyer, Journal(tmp_path / "c"), order_id, stored, [T]), "neither below 2^36 - 243"),
    ]:
        assert part in market.revert(step)
    market.attest((PAD + 1) % T)
    assert "pads, records and salt" in market.revert(
        lambda: escrow.reveal(seller, other, order_id, seller.address, 1, RECORDS, SALT)
    )
    market.reveal(seller)
    assert "has revealed" in market.revert(
        lambda: escrow.reveal(seller, other, order_id, seller.address, PAD, RECORDS, SALT)
    )
    market.wait(2000)
    escrow.claim(seller, journal, order_id, seller.address)
    assert "has been paid" in market.revert(lambda: escrow.claim(seller, other, order_id, seller.address))
    market.wait(1000)
    assert ended in market.revert(lambda: escrow.claim(seller, Journal(tmp_path / "d"), order_id, seller.address))


def test_a_value_counts_in_an_order_with_tags_only_if_its_tag_holds(
    escrow: Escrow, account: Accounts, journal: Journal, url: str, tmp_path: Path
) -> None:
    buyer, honest, cheat, late = (account() for _ in range(4))
    secret, tag_pad = b"\x21" * 32, T - 9
    terms = make_terms(buyer.address, tagKeyHash=tag_key_commitment(secret))
    escrow.open(buyer, journal, terms, 0)
    order_id = escrow.order_id(terms, 0)
    reply = bytes(57_344 + 97 + 7)
    for seller in (honest, cheat, late):
        pad_hash = pad_commitment(order_id, seller.address, PAD, RECORDS, SALT, tag_pad=tag_pad)
        escrow.submit(seller, journal, order_id, reply_commitment(reply), pad_hash, ROOT)
    nodes.advance_time(url, 1000)
    order = escrow.order(order_id)
    assert order.terms.tagKeyHash == tag_key_commitment(secret)
    assert order.tag_key == 0
    stored, key, value = order.submissions_hash, tag_key(secret), (PAD + 7) % T
    tag = tag_of(value, PAD, tag_pad, key)
    values, tags = [value, value, UNAVAILABLE], [tag, (tag + 1) % T, 0]

    refusals = [
        (tags, bytes(32), "the tag secret given"),
        (tags, b"\x22" * 32, "the tag secret given"),
        (tags[:1], secret, "holds 1 tags and needs 3"),
        ([T, 0, 0], secret, f"tag {T} of submission 0"),
    ]
    for number, (given, revealed, part) in enumerate(refusals):
        with pytest.raises(ContractRevert, match=part):
            escrow.attest(buyer, Journal(tmp_path / str(number)), order_id, stored, values, given, revealed)
    here = (escrow.chain_id, escrow.address, order_id, stored, values)
    signature = sign_attestation(buyer, *here, tags, secret)
    assert recover_attester(signature, *here, tags, secret) == buyer.address
    assert recover_attester(signature, *here) != buyer.address
    escrow.attest_by_signature(late, journal, order_id, stored, values, signature, tags, secret)
    escrow.publish_reply(late, journal, order_id, late.address, reply)
    escrow.answer_reply(buyer, journal, order_id, late.address, value, tag)
    nodes.advance_time(url, 1000)

    entries = escrow.submissions(order_id)
    assert [entry.tag for entry in entries] == [tag, (tag + 1) % T, tag]
    key = escrow.order(order_id).tag_key
    assert key == tag_key(secret)
    holds = [tag_holds(value, entry.tag, PAD, tag_pad, key) for entry in entries]
    assert holds == [True, False, True]
    for seller, good in zip((honest, cheat, late), holds, strict=True):
        if good:
            escrow.reveal(seller, journal, order_id, seller.address, PAD, RECORDS, SALT, tag_pad=tag_pad)
            continue
        with pytest.raises(ContractRevert, match=f"is {(tag + 1) % T}, but its value and its pads need {tag}"):
            escrow.reveal(seller, journal, order_id, seller.address, PAD, RECORDS, SALT, tag_pad=tag_pad)
    assert [entry.value for entry in escrow.submissions(order_id)] == [7, 0, 7]
    found = escrow.events(order_id)
    (attested,) = (event for event in found if isinstance(event, events.Attested))
    assert (attested.tags, attested.tag_secret) == (tuple(tags), secret)
    assert escrow.attester(attested, buyer.address)[0] == buyer.address
    assert [event.tag_pad for event in found if isinstance(event, events.Revealed)] == [tag_pad, tag_pad]
    assert [event.tag for event in found if isinstance(event, events.ReplyAnswered)] == [tag]


def test_time_passes_on_a_local_chain_though_nobody_mines(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    buyer, seller = account(), account()
    terms = make_terms(buyer.address, submitWindow=2)
    order_id = escrow.order_id(terms, 0)
    escrow.open(buyer, journal, terms, 0)
    escrow.submit(seller, journal, order_id, REPLY, REPLY, ROOT)
    block = escrow.w3.eth.block_number
    time.sleep(2.1)
    assert escrow.w3.eth.block_number == block
    order = escrow.order(order_id)
    assert order.phase is Phase.ATTESTING
    assert escrow.w3.eth.get_block("pending")["timestamp"] >= order.submit_until
    escrow.attest(buyer, journal, order_id, order.submissions_hash, [1])
    assert escrow.phase(order_id) is Phase.REVEALING


def test_only_invited_sellers_get_in(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    buyer, invited, stranger = account(), [account() for _ in range(3)], account()
    names = [seller.address for seller in invited]
    terms = make_terms(buyer.address, sellersRoot=sellers_root(names))
    order_id = escrow.order_id(terms, 0)
    escrow.open(buyer, journal, terms, 0)
    proof = sellers_proof(names, names[1])
    escrow.submit(invited[1], journal, order_id, REPLY, REPLY, ROOT, proof)
    with pytest.raises(ContractRevert, match=f"seller {stranger.address} is not on the allow-list"):
        escrow.submit(stranger, journal, order_id, REPLY, REPLY, ROOT, proof)


def test_a_signed_attestation_counts_for_its_order_contract_and_chain_only(market: Market, tmp_path: Path) -> None:
    escrow, order_id = market.escrow, market.order_id
    market.submit(market.sellers[0])
    market.wait()
    stored, values = escrow.order(order_id).submissions_hash, [(PAD + 1) % T]

    def sign(who: LocalAccount, chain: int, contract: str, order: bytes, numbers: list[int]) -> bytes:
        return sign_attestation(who, chain, contract, order, stored, numbers)

    buyer, here = market.buyer, (escrow.chain_id, escrow.address, order_id)
    replayed = [
        sign(buyer, 1, escrow.address, order_id, values),
        sign(buyer, escrow.chain_id, buyer.address, order_id, values),
        sign(buyer, escrow.chain_id, escrow.address, ROOT, values),
        sign(buyer, *here, [0]),
        sign(market.anyone, *here, values),
        b"",
        b"\x00" * 65,
    ]
    for place, signature in enumerate(replayed):
        relaying = Journal(tmp_path / str(place))
        with pytest.raises(ContractRevert, match=f"not signed by its buyer {buyer.address}"):
            escrow.attest_by_signature(market.anyone, relaying, order_id, stored, values, signature)
    good = sign(buyer, *here, values)
    assert recover_attester(good, *here, stored, values) == buyer.address
    assert recover_attester(replayed[3], *here, stored, values) != buyer.address
    with pytest.raises(IntegrityError, match="malformed"):
        recover_attester(b"\x01" * 3, *here, stored, values)
    escrow.attest_by_signature(market.anyone, market.journal, order_id, stored, values, good)
    assert escrow.order(order_id).attested


def calldata(abi: list[Any], name: str, *arguments: object) -> bytes:
    return bytes.fromhex(Web3().eth.contract(abi=abi).encode_abi(name, arguments)[2:])


@dataclass
class Wallet:
    """A contract wallet whose owner is ``owner``."""

    market: Market
    owner: LocalAccount

    def __post_init__(self) -> None:
        artifact = compiler.compile_contracts(["contracts/mocks/MockWallet.sol"])["MockWallet"]
        code = bytes.fromhex(artifact["bytecode"][2:]) + bytes.fromhex(self.owner.address[2:]).rjust(32, b"\0")
        sent = self.market.journal.send(self.market.escrow.w3, self.market.anyone, Call(None, code), "wallet")
        assert sent.contract is not None
        self.address, self.abi = sent.contract, artifact["abi"]

    def execute(self, sender: LocalAccount, name: str, *arguments: object, value: int = 0) -> None:
        """Have the wallet call the escrow."""
        escrow = self.market.escrow
        inner = calldata(load_artifact()["abi"], name, *arguments)
        call = Call(self.address, calldata(self.abi, "execute", escrow.address, value, inner))
        self.market.journal.send(escrow.w3, sender, call, f"execute-{name}")


def attested_by(market: Market, order_id: bytes) -> tuple[str, str]:
    (event,) = [event for event in market.escrow.events(order_id) if isinstance(event, events.Attested)]
    return market.escrow.attester(event, market.escrow.order(order_id).terms.buyer)


def attesting(market: Market) -> tuple[bytes, list[int], bytes]:
    """Brings the order to its attestation: the submissions' hash, values, and the buyer's signature under both."""
    market.submit(market.sellers[0])
    market.wait()
    escrow, values = market.escrow, [(PAD + 1) % T]
    stored = escrow.order(market.order_id).submissions_hash
    signature = sign_attestation(market.buyer, escrow.chain_id, escrow.address, market.order_id, stored, values)
    return stored, values, signature


def delegate(market: Market, address: str) -> None:
    """Gives the buyer's account the code of a contract, by EIP-7702."""
    w3, buyer, payer = market.escrow.w3, market.buyer, market.anyone
    nonce = w3.eth.get_transaction_count(buyer.address)
    allowed = buyer.sign_authorization({"chainId": w3.eth.chain_id, "address": address, "nonce": nonce})
    fields = {
        "type": 4,
        "chainId": w3.eth.chain_id,
        "nonce": w3.eth.get_transaction_count(payer.address),
        "to": payer.address,
        "value": 0,
        "data": "0x",
        "gas": 200_000,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
        "authorizationList": [allowed],
    }
    sent = w3.eth.send_raw_transaction(payer.sign_transaction(fields).raw_transaction)
    assert w3.eth.wait_for_transaction_receipt(sent)["status"] == 1
    assert w3.eth.get_code(buyer.address).hex().startswith("ef0100")


@pytest.mark.parametrize("delegated", [False, True])
def test_sender_or_signature_answers_for_an_attestation_of_an_account_with_a_key(
    market: Market, delegated: bool
) -> None:
    stored, values, signature = attesting(market)
    if delegated:
        delegate(market, Wallet(market, market.buyer).address)
    state = rpc(market.escrow.w3, "evm_snapshot")
    market.attest(*values)
    assert attested_by(market, market.order_id) == (market.buyer.address, "sent by")
    rpc(market.escrow.w3, "evm_revert", state)
    relaying = market.anyone
    market.escrow.attest_by_signature(relaying, market.journal, market.order_id, stored, values, signature)
    how = f"relayed by {relaying.address}, signed by"
    assert attested_by(market, market.order_id) == (market.buyer.address, how)


def test_a_wallet_made_after_the_attestation_does_not_count(market: Market) -> None:
    stored, values, signature = attesting(market)
    market.escrow.attest_by_signature(market.anyone, market.journal, market.order_id, stored, values, signature)
    code = market.escrow.w3.eth.get_code(market.escrow.w3.to_checksum_address(market.escrow.address))
    rpc(market.escrow.w3, "evm_mine")
    rpc(market.escrow.w3, "anvil_setCode", market.buyer.address, "0x" + code.hex())
    rpc(market.escrow.w3, "evm_mine")
    assert attested_by(market, market.order_id)[1].endswith("signed by")


def test_what_another_contract_passes_on_is_proved_by_the_escrows_code(market: Market) -> None:
    stored, values, signature = attesting(market)
    wallet = Wallet(market, market.anyone)
    state = rpc(market.escrow.w3, "evm_snapshot")
    for sender, how in (
        (market.anyone, "sent through another contract and accepted by the escrow's code, for"),
        (market.buyer, "sent by"),
    ):
        market = replace(market, journal=Journal(market.journal.folder / sender.address))
        wallet.market = market
        wallet.execute(sender, "attestBySignature", market.order_id, stored, values, [], bytes(32), signature)
        assert attested_by(market, market.order_id) == (market.buyer.address, how)
        rpc(market.escrow.w3, "evm_revert", state)


@pytest.mark.parametrize("signed", [False, True])
def test_a_contract_wallet_buys_and_attests(market: Market, signed: bool) -> None:
    escrow, owner = market.escrow, market.buyer
    wallet = Wallet(market, owner)
    nodes.fund(market.url, wallet.address, 10 * ETHER)
    terms = make_terms(wallet.address)
    order_id = escrow.order_id(terms, 0)
    wallet.execute(owner, "open", astuple(terms), 0, value=terms.deposit)
    escrow.submit(market.sellers[0], market.journal, order_id, REPLY, REPLY, ROOT)
    market.wait()
    stored = escrow.order(order_id).submissions_hash
    if signed:
        signature = sign_attestation(owner, escrow.chain_id, escrow.address, order_id, stored, [1])
        escrow.attest_by_signature(market.anyone, market.journal, order_id, stored, [1], signature)
    else:
        wallet.execute(owner, "attest", order_id, stored, [1], [], bytes(32))
    assert attested_by(market, order_id) == (wallet.address, "accepted by the contract wallet of")


@pytest.mark.parametrize("ending", ["killed", "failed"])
def test_an_attestation_that_never_counted_does_not_stop_other_values(
    market: Market, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = market.sellers
    market.submit(first)
    market.submit(second)
    market.wait()
    values = [(PAD + 1) % T, (PAD + 2) % T]

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    def starve(*_: object) -> int:
        return 35_000  # less gas than attesting takes

    step, double, error = ("_push", kill, KeyboardInterrupt) if ending == "killed" else ("_gas", starve, ChainError)
    with monkeypatch.context() as patch:
        patch.setattr(transactions, step, double)
        with pytest.raises(error):
            market.attest(*values)
    assert not market.escrow.order(market.order_id).attested
    market.escrow.reject(market.buyer, market.journal, market.order_id, second.address)
    market.attest(values[0], INVALID)
    (event,) = [event for event in market.escrow.events(market.order_id) if isinstance(event, events.Attested)]
    assert event.values == (values[0], INVALID)
    with pytest.raises(ContractRevert, match="is in phase Revealing"):
        market.attest(*values)
    market.attest(values[0], INVALID)  # mined already


def test_a_relayed_attestation_that_was_killed_does_not_stop_other_values(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, values, signature = attesting(market)
    escrow, order_id = market.escrow, market.order_id

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_push", kill)
        with pytest.raises(KeyboardInterrupt):
            escrow.attest_by_signature(market.anyone, market.journal, order_id, stored, values, signature)
    other = sign_attestation(market.buyer, escrow.chain_id, escrow.address, order_id, stored, [INVALID])
    escrow.attest_by_signature(market.anyone, market.journal, order_id, stored, [INVALID], other)
    assert escrow.submissions(order_id)[0].attested == INVALID


def test_pinned_reads_all_show_one_block(market: Market) -> None:
    escrow, order_id, (seller, late) = market.escrow, market.order_id, market.sellers
    market.submit(seller)
    market.wait()
    market.attest((PAD + 1) % T)
    market.reveal(seller)
    market.wait(2000)
    rpc(escrow.w3, "evm_mine")
    pinned = escrow.pinned()
    assert (escrow.block, pinned.block) == (None, escrow.w3.eth.block_number)

    def view(of: Escrow) -> list[object]:
        return [
            of.order(order_id),
            of.phase(order_id),
            of.submission(order_id, seller.address),
            of.find_submission(order_id, late.address),
            of.submissions(order_id),
            of.payout(order_id, seller.address),
            of.liabilities(),
            of.balance(),
            of.events(order_id),
            of.order_ids(),
        ]

    before = view(pinned)
    assert before == view(escrow)
    escrow.claim(market.anyone, market.journal, order_id, seller.address)
    escrow.open(market.buyer, market.journal, market.terms, 8)
    assert view(pinned) == before
    after = view(escrow.pinned())
    changed = [old != new for old, new in zip(before, after, strict=True)]
    assert changed == [True, False, True, False, True, False, True, True, True, True]
    market.wait()
    assert (pinned.phase(order_id), escrow.phase(order_id)) == (Phase.CLAIMING, Phase.CLOSED)


def test_a_pinned_balance_of_a_token_is_of_the_block(escrow: Escrow, account: Accounts, journal: Journal) -> None:
    artifact, owner = compiler.compile_contracts(["contracts/mocks/MockToken.sol"])["MockToken"], account()
    made = journal.send(escrow.w3, owner, Call(None, bytes.fromhex(artifact["bytecode"][2:])), "token")
    assert made.contract is not None
    pinned = escrow.pinned()
    journal.send(escrow.w3, owner, Call(made.contract, calldata(artifact["abi"], "mint", escrow.address, 5)), "mint")
    assert (pinned.balance(made.contract), escrow.balance(made.contract)) == (0, 5)


def test_orders_are_listed_by_buyer_over_any_number_of_blocks(
    market: Market, account: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BLOCKS_PER_QUERY", 2)
    other, ids = account(), [market.order_id]
    for nonce in range(3):
        terms = make_terms(other.address)
        market.escrow.open(other, market.journal, terms, nonce)
        ids.append(market.escrow.order_id(terms, nonce))
        rpc(market.escrow.w3, "anvil_mine", "0x5")
    assert market.escrow.order_ids() == ids
    assert market.escrow.order_ids(other.address) == ids[1:]
    assert market.escrow.order_ids(market.anyone.address) == []


def test_what_is_not_there_is_said_not_to_be(market: Market) -> None:
    escrow, nobody = market.escrow, b"\x99" * 32
    with pytest.raises(ChainError, match=r"no order 0x9999.* at the escrow"):
        escrow.order(nobody)
    assert (escrow.phase(nobody), escrow.events(nobody), escrow.submissions(nobody)) == (Phase.NONE, [], [])
    with pytest.raises(ChainError, match="no submission in order"):
        escrow.submission(market.order_id, market.anyone.address)


def lies(url: str, method: str, change: Callable[[Any], Any]) -> Callable[[str, list[Any]], bytes | None]:
    """Relay answers: the real node's, with the result of one method changed."""

    def answer(asked: str, parameters: list[Any]) -> bytes | None:
        if asked != method:
            return None
        request = {"jsonrpc": "2.0", "id": 0, "method": asked, "params": parameters}
        reply = requests.post(url, json=request, timeout=30).json()
        return json.dumps(reply | {"result": change(reply["result"])}).encode()

    return answer


def flip_last(text: str) -> str:
    return text[:-1] + format(int(text[-1], 16) ^ 1, "x")


@pytest.mark.parametrize(
    ("method", "change", "sentence"),
    [
        ("eth_getLogs", lambda logs: [log | {"data": flip_last(log["data"])} for log in logs], "its hash is"),
        ("eth_getLogs", lambda logs: [log | {"data": log["data"][:-64]} for log in logs], "while reading order"),
        ("eth_getLogs", lambda logs: [log | {"address": "0x" + "11" * 20} for log in logs], "not asked for"),
        ("eth_getLogs", lambda logs: [log | {"blockNumber": "0x0"} for log in logs], "not asked for"),
        ("eth_getLogs", lambda logs: [log | {"topics": log["topics"][:1]} for log in logs], "not asked for"),
        ("eth_getLogs", lambda logs: logs * 2, "lists no event of opening"),
        ("eth_getLogs", lambda _: [], "lists no event of opening"),
        ("eth_getLogs", lambda _: 5, "makes no sense"),
        ("eth_getLogs", lambda _: None, "makes no sense"),
        ("eth_getLogs", lambda logs: [{key: log[key] for key in ("address", "topics")} for log in logs], "no sense"),
        ("eth_getBlockByNumber", lambda _: None, "failed"),
        ("eth_call", lambda word: word[:100], "while reading order"),
        ("eth_call", lambda word: word[:2] + "ff" * 64 + word[130:], "while reading order"),
        ("eth_call", lambda word: flip_last(word[:66]) + word[66:], "stores another buyer"),
    ],
)
def test_a_lying_node_is_caught(market: Market, method: str, change: Callable[[Any], Any], sentence: str) -> None:
    with relay(market.url, lies(market.url, method, change)) as lying:
        escrow = Escrow(connect(lying), market.escrow.address)
        with pytest.raises(TipError, match=sentence):
            escrow.order(market.order_id)


def test_more_logs_than_anyone_needs_are_refused(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_LOGS", 50)
    flood = lies(market.url, "eth_getLogs", lambda logs: logs * 51)
    with relay(market.url, flood) as lying, pytest.raises(ChainError, match="more than 50 events"):
        Escrow(connect(lying), market.escrow.address).order_ids()


def test_a_node_that_takes_few_blocks_a_query_is_asked_for_fewer(market: Market) -> None:
    def picky(method: str, parameters: list[Any]) -> bytes | None:
        if method != "eth_getLogs":
            return None
        if int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) < 3:
            return None
        return b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32005, "message": "query returned more than 3 blocks"}}'

    rpc(market.escrow.w3, "anvil_mine", "0x20")
    with relay(market.url, picky) as node:
        assert Escrow(connect(node), market.escrow.address).order_ids() == [market.order_id]


def test_deployed_code_is_compared_byte_for_byte(escrow: Escrow, account: Accounts) -> None:
    w3, address = escrow.w3, escrow.address
    same, detail = runtime_code_matches(w3, address)
    assert same, detail
    code = bytearray(w3.eth.get_code(w3.to_checksum_address(address)))
    references = load_artifact()["immutableReferences"].values()
    immutables = [place["start"] + place["length"] - 1 for places in references for place in places]
    assert len(immutables) >= 7
    for place in (0, 1, len(code) // 2, len(code) - 1, *immutables):
        changed = bytearray(code)
        changed[place] ^= 1
        rpc(w3, "anvil_setCode", address, "0x" + changed.hex())
        same, detail = runtime_code_matches(w3, address)
        assert not same
        assert f"at byte {place}: 0x{changed[place]:02x} instead of 0x{code[place]:02x}" in detail
    for wrong in (code[:-1], code + b"\0"):
        rpc(w3, "anvil_setCode", address, "0x" + wrong.hex())
        assert runtime_code_matches(w3, address)[0] is False
    # The same bytes at another address are another contract: its domain is not that address's.
    elsewhere = account().address
    rpc(w3, "anvil_setCode", elsewhere, "0x" + code.hex())
    assert runtime_code_matches(w3, elsewhere)[0] is False
    assert "no code" in runtime_code_matches(w3, account().address)[1]


def test_a_deployment_is_a_file_that_finds_the_escrow(escrow: Escrow, w3: Web3, tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    deployment = Deployment(31337, escrow.address, escrow.first_block, "0x" + "01" * 32)
    deployment.write(path)
    assert Deployment.read(path) == deployment
    assert Escrow.at(w3, Deployment.read(path)).address == escrow.address
    Deployment(1, escrow.address, 0, "").write(path)
    with pytest.raises(WrongChain, match=r"on chain 1, but the node at .* serves chain 31337"):
        Escrow.at(w3, Deployment.read(path))
    with pytest.raises(StateError, match="there is no"):
        Deployment.read(tmp_path / "missing.json")
    for damage in (b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b'{"chain_id": ' + b"1" * 5000 + b"}"):
        path.write_bytes(damage)
        with pytest.raises(StateError, match="is damaged"):
            Deployment.read(path)
    good = json.dumps({"chain_id": 31337, "address": escrow.address, "block": 0, "transaction": ""})
    path.write_text(good)
    assert Deployment.read(path).block == 0
    for old, new in [
        ('"block": 0', f'"block": {bad}') for bad in ("1e999", "NaN", "-1", "true", "1.0", '"1"', "null")
    ] + [
        ("31337", "1e999"),
        ("31337", "false"),
        (f'"{escrow.address}"', "5"),
        (escrow.address, "0x12"),
        ('"transaction": ""', '"transaction": []'),
    ]:
        path.write_text(good.replace(old, new))
        with pytest.raises(StateError, match="is damaged: "):
            Deployment.read(path)


def test_another_contract_is_refused_at_the_cost_of_one_question(escrow: Escrow, w3: Web3, url: str) -> None:
    deployment = Deployment(31337, escrow.address, 0, "")
    asked: list[str] = []

    def count(method: str, _: list[Any]) -> None:
        asked.append(method)

    with relay(url, count) as node:
        Escrow.at(connect(node), deployment)
    assert asked.count("eth_getCode") == 1
    code = w3.eth.get_code(w3.to_checksum_address(escrow.address))
    rpc(w3, "anvil_setCode", escrow.address, "0x" + code[:-1].hex() + "00")
    with pytest.raises(IntegrityError, match=f"the contract at {escrow.address} is not this version's escrow"):
        Escrow.at(w3, deployment)
    assert Escrow.at(w3, deployment, check_code=False).liabilities() == 0


def test_one_home_deploys_on_every_chain_and_every_version(
    w3: Web3, account: Accounts, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer = account()
    first, _ = deploy(w3, deployer, journal)
    assert deploy(w3, deployer, journal)[0] == first
    rpc(w3, "anvil_setChainId", 1)
    try:
        second, _ = deploy(w3, deployer, journal)
    finally:
        rpc(w3, "anvil_setChainId", 31337)
    assert (first.chain_id, second.chain_id) == (31337, 1)
    # Code behind the constructor's end: the same contract from other bytes.
    upgraded = load_artifact() | {"bytecode": load_artifact()["bytecode"] + "00"}
    monkeypatch.setattr("tip_exchange.chain.escrow.load_artifact", lambda: upgraded)
    third, _ = deploy(w3, deployer, journal)
    assert len({first.address, second.address, third.address}) == 3


def test_an_address_without_code_is_no_escrow(w3: Web3, account: Accounts) -> None:
    with pytest.raises(ChainError, match="no contract at"):
        Escrow(w3, account().address)


def test_a_dispute_in_a_token_is_approved_journalled_and_decoded(
    escrow: Escrow, url: str, account: Accounts, journal: Journal
) -> None:
    """Challenge and publication with bytes of no meaning: a wrong key is refused, and silence settles the rest."""
    buyer, seller, challenger = account(), account(), account()
    reply = b"\x55" * 100 + b"\x66" * 7
    compiled = compiler.compile_contracts(["contracts/mocks/MockToken.sol"])["MockToken"]
    deployed = journal.send(escrow.w3, buyer, Call(None, bytes.fromhex(compiled["bytecode"][2:])), "token")
    token = deployed.contract
    assert token is not None
    contract = escrow.w3.eth.contract(token, abi=compiled["abi"])  # type: ignore[call-overload]
    for number, owner in enumerate((buyer, challenger)):
        data = contract.encode_abi("mint", [owner.address, ETHER if number else 100 * ETHER])
        journal.send(escrow.w3, buyer, Call(token, bytes.fromhex(data[2:])), f"mint{number}")
    terms = make_terms(buyer.address, token=token)
    escrow.open(buyer, journal, terms, 7)
    order_id = escrow.order_id(terms, 7)
    pad_hash = pad_commitment(order_id, seller.address, PAD, RECORDS, SALT)
    escrow.submit(seller, journal, order_id, reply_commitment(reply), pad_hash, ROOT)
    nodes.advance_time(url, 1000)
    escrow.attest(buyer, journal, order_id, escrow.order(order_id).submissions_hash, [UNAVAILABLE])
    with pytest.raises(ContractRevert, match="was committed at submit"):
        escrow.publish_reply(seller, journal, order_id, seller.address, reply[:-1] + b"\0")
    with pytest.raises(InputError, match="fewer than 7"):
        escrow.publish_reply(seller, journal, order_id, seller.address, b"short")
    journal.folder.joinpath(f"publish-{order_id.hex()}-{seller.address}.json").unlink(missing_ok=True)
    first = escrow.publish_reply(seller, journal, order_id, seller.address, reply)
    assert escrow.publish_reply(seller, journal, order_id, seller.address, reply).transaction == first.transaction
    assert escrow.order(order_id).unanswered_count == 1
    escrow.answer_reply(buyer, journal, order_id, seller.address, INVALID)
    nodes.advance_time(url, 1000)
    escrow.reveal(seller, journal, order_id, seller.address, PAD, RECORDS, SALT)
    nodes.advance_time(url, 1000)
    assert escrow.dispute(order_id).challenger is None
    escrow.challenge(challenger, journal, order_id)
    with pytest.raises(ContractRevert, match="is drawn from block"):
        escrow.draw_index(challenger, journal, order_id)
    escrow.wait_for_block(escrow.dispute(order_id).draw_block)
    rpc(escrow.w3, "anvil_mine", "0x200")
    escrow.draw_index(challenger, journal, order_id)
    assert escrow.dispute(order_id).index is None, "postponed"
    escrow.wait_for_block(escrow.dispute(order_id).draw_block)
    escrow.draw_index(challenger, journal, order_id)
    assert escrow.dispute(order_id).index is not None
    with pytest.raises(ContractRevert, match="key and zero block given for order"):
        escrow.reveal_key(buyer, journal, order_id, b"\0" * 2048, b"\0" * 57344, b"\0" * 7, [bytes(32)] * 13)
    with pytest.raises(ContractRevert, match="needs phase Proving"):
        escrow.prove_reply(challenger, journal, order_id, seller.address, b"", reply)
    nodes.advance_time(url, 1000)
    assert escrow.order(order_id).lost
    escrow.return_bond(buyer, journal, order_id)
    escrow.forfeit(buyer, journal, order_id)
    assert tokens.balance(escrow.w3, token, challenger.address) == ETHER
    assert escrow.dispute(order_id).bond_returned
    found = {type(event).__name__: event for event in escrow.events(order_id)}
    published, postponed, returned = found["ReplyPublished"], found["DrawPostponed"], found["BondReturned"]
    assert isinstance(published, events.ReplyPublished)
    assert published.c1 + published.cell == reply
    assert isinstance(postponed, events.DrawPostponed)
    assert isinstance(returned, events.BondReturned)
    assert (returned.challenger, returned.amount) == (challenger.address, terms.challengeBond)

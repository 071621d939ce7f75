"""Who answers for an attestation, and for whom and where a signature counts."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import pytest
from escrow_market import OPENING, Accounts, Market, calldata, padded
from eth_account.signers.local import LocalAccount
from orders import ETHER, rpc

from tip_exchange.chain import compiler, events, nodes, transactions, typed_data
from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.transactions import Call, Journal
from tip_exchange.errors import InputError, IntegrityError
from tip_exchange.types import INVALID


@pytest.fixture
def market(escrow: Escrow, url: str, account: Accounts, journal: Journal) -> Market:
    """An order to attest, with one submission."""
    made = Market(escrow, url, journal, account).open()
    made.submit(made.sellers[0])
    made.wait()
    return made


def attestation(market: Market, values: list[int]) -> dict[str, object]:
    return {"orderId": market.order_id, "submissions": market.submissions_hash(), "values": values}


def signed(market: Market, values: list[int], who: LocalAccount | None = None) -> bytes:
    here = (market.escrow.chain_id, market.escrow.address)
    return typed_data.sign(who or market.buyer, *here, "Attestation", attestation(market, values))


def relay(market: Market, values: list[int], signature: bytes, journal: Journal | None = None) -> None:
    link, sellers = market.submissions_hash(), market.submitters()
    where = journal or market.journal
    market.escrow.attest_by_signature(market.anyone, where, market.order_id, link, sellers, values, signature)


def attested_by(market: Market, order_id: bytes) -> tuple[str, str]:
    (event,) = [event for event in market.escrow.events(order_id) if isinstance(event, events.Attested)]
    return market.escrow.attester(event, market.escrow.order(order_id).terms.buyer)


def test_a_signed_attestation_counts_for_its_order_contract_and_chain_only(market: Market, tmp_path: Path) -> None:
    escrow, buyer, values = market.escrow, market.buyer, [padded(1)]
    message, here = attestation(market, values), (escrow.chain_id, escrow.address)

    def sign(who: LocalAccount, chain: int, contract: str, **changes: object) -> bytes:
        return typed_data.sign(who, chain, contract, "Attestation", message | changes)

    replayed = [
        sign(buyer, 1, escrow.address),
        sign(buyer, escrow.chain_id, buyer.address),
        sign(buyer, *here, orderId=bytes(32)),
        sign(buyer, *here, values=[0]),
        sign(market.anyone, *here),
        b"",
        b"\x00" * 65,
    ]
    for place, signature in enumerate(replayed):
        refusal = market.revert(
            lambda place=place, signature=signature: relay(market, values, signature, Journal(tmp_path / str(place)))
        )
        assert f"not signed by {buyer.address}" in refusal
    good = sign(buyer, *here)
    assert typed_data.recover(good, *here, "Attestation", message) == buyer.address
    assert typed_data.recover(replayed[3], *here, "Attestation", message) != buyer.address
    for malformed in (b"\x01" * 3, b"\xff" * 65):
        with pytest.raises(IntegrityError, match="the signature under the Attestation"):
            typed_data.recover(malformed, *here, "Attestation", message)
    relay(market, values, good)
    assert escrow.order(market.order_id).attested


@pytest.mark.parametrize("kind", list(typed_data.KINDS))
def test_a_signature_covers_every_field_of_its_kind(account: Accounts, kind: str) -> None:
    signer, here = account(), (31337, "0x" + "11" * 20)
    samples: dict[str, Any] = {"bytes32": b"\x01" * 32, "address": "0x" + "22" * 20, "uint64[]": [1, 2]}
    others: dict[str, Any] = {"bytes32": bytes(32), "address": "0x" + "33" * 20, "uint64[]": [1, 3]}
    message = {name: samples.get(solidity, 5) for name, solidity in typed_data.KINDS[kind]}
    signature = typed_data.sign(signer, *here, kind, message)
    assert typed_data.recover(signature, *here, kind, message) == signer.address
    for name, solidity in typed_data.KINDS[kind]:
        other = message | {name: others.get(solidity, 6)}
        assert typed_data.recover(signature, *here, kind, other) != signer.address
    with pytest.raises(InputError, match="no message that the escrow knows"):
        typed_data.sign(signer, *here, kind, {**message, "more": 1})
    with pytest.raises(InputError, match="do not fit their types"):
        typed_data.sign(signer, *here, kind, message | {"orderId": b"short" * 9})


def test_a_submission_is_relayed_for_its_signer_until_its_deadline(
    escrow: Escrow, url: str, account: Accounts, journal: Journal
) -> None:
    market = Market(escrow, url, journal, account).open()
    (seller, other), committed, deadline = market.sellers, market.commitments(market.sellers[0]), escrow.now() + 60
    message = {
        "orderId": market.order_id,
        "seller": seller.address,
        "replyHash": committed.reply_hash,
        "padHash": committed.pad_hash,
        "dataRoot": committed.data_root,
        "recordsAtMost": 50,
        "deadline": deadline,
    }
    signature = typed_data.sign(seller, escrow.chain_id, escrow.address, "Submission", message)
    step = (market.anyone, journal, market.order_id)
    refusal = market.revert(
        lambda: escrow.submit_by_signature(*step, other.address, committed, 50, (), deadline, signature)
    )
    assert f"not signed by {other.address}" in refusal
    escrow.submit_by_signature(*step, seller.address, committed, 50, (), deadline, signature)
    assert escrow.submission(market.order_id, seller.address).commitments == committed


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

    def execute(self, sender: LocalAccount, journal: Journal, name: str, *arguments: object, value: int = 0) -> None:
        """Have the wallet call the escrow."""
        escrow = self.market.escrow
        inner = calldata(load_artifact()["abi"], name, *arguments)
        call = Call(self.address, calldata(self.abi, "execute", escrow.address, value, inner))
        journal.send(escrow.w3, sender, call, f"execute-{name}")


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
    values = [padded(1)]
    signature = signed(market, values)
    if delegated:
        delegate(market, Wallet(market, market.buyer).address)
    state = rpc(market.escrow.w3, "evm_snapshot")
    market.attest(*values)
    assert attested_by(market, market.order_id) == (market.buyer.address, "sent by")
    rpc(market.escrow.w3, "evm_revert", state)
    relay(market, values, signature, Journal(market.journal.folder / "relayed"))
    how = f"relayed by {market.anyone.address}, signed by"
    assert attested_by(market, market.order_id) == (market.buyer.address, how)


def test_an_attestation_within_a_multicall_is_its_signers(market: Market) -> None:
    escrow, values = market.escrow, [padded(1)]
    arguments = [market.order_id, market.submissions_hash(), market.submitters(), values, signed(market, values)]
    abi = load_artifact()["abi"]
    inner = calldata(abi, "multicall", [calldata(abi, "attest", *arguments)])
    call = Call(escrow.address, calldata(abi, "multicall", [inner]))
    market.journal.send(escrow.w3, market.anyone, call, "multicall")
    how = f"relayed by {market.anyone.address}, signed by"
    assert attested_by(market, market.order_id) == (market.buyer.address, how)


def test_a_wallet_made_after_the_attestation_does_not_count(market: Market) -> None:
    relay(market, [padded(1)], signed(market, [padded(1)]))
    code = market.escrow.w3.eth.get_code(market.escrow.w3.to_checksum_address(market.escrow.address))
    rpc(market.escrow.w3, "evm_mine")
    rpc(market.escrow.w3, "anvil_setCode", market.buyer.address, "0x" + code.hex())
    rpc(market.escrow.w3, "evm_mine")
    assert attested_by(market, market.order_id)[1].endswith("signed by")


def test_what_another_contract_passes_on_is_proved_by_the_escrows_code(market: Market) -> None:
    values = [padded(1)]
    arguments = [market.order_id, market.submissions_hash(), market.submitters(), values, signed(market, values)]
    wallet = Wallet(market, market.anyone)
    state = rpc(market.escrow.w3, "evm_snapshot")
    for sender, how in (
        (market.anyone, "sent through another contract and accepted by the escrow's code, for"),
        (market.buyer, "sent by"),
    ):
        wallet.execute(sender, Journal(market.journal.folder / sender.address), "attest", *arguments)
        assert attested_by(market, market.order_id) == (market.buyer.address, how)
        rpc(market.escrow.w3, "evm_revert", state)


@pytest.mark.parametrize("by_signature", [False, True])
def test_a_contract_wallet_buys_and_attests(
    escrow: Escrow, url: str, account: Accounts, journal: Journal, by_signature: bool
) -> None:
    market = Market(escrow, url, journal, account)
    owner = market.buyer
    wallet = Wallet(market, owner)
    nodes.fund(url, wallet.address, 10 * ETHER)
    market.terms = market.terms.__class__(wallet.address, *astuple(market.terms)[1:])
    market.order_id = escrow.order_id(market.terms, 7)
    wallet.execute(owner, journal, "open", astuple(market.terms), 7, value=market.terms.deposit)
    market.submit(market.sellers[0])
    market.wait()
    if by_signature:
        relay(market, [1], signed(market, [1], owner))
    else:
        arguments = [market.order_id, market.submissions_hash(), market.submitters(), [1], b""]
        wallet.execute(owner, journal, "attest", *arguments)
    assert attested_by(market, market.order_id) == (wallet.address, "accepted by the contract wallet of")


def test_a_relayed_attestation_that_was_killed_does_not_stop_other_values(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [padded(1)]

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transactions, "_push", kill)
        with pytest.raises(KeyboardInterrupt):
            relay(market, values, signed(market, values))
    relay(market, [INVALID], signed(market, [INVALID]))
    assert market.escrow.submissions(market.order_id)[0].attested == INVALID
    assert OPENING.pad

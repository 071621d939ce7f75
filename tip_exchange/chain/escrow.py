"""Client of one deployed escrow: every step of the protocol as one call, every fact about an order as one read."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.address import is_address, to_checksum_address
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import ContractLogicError, Web3Exception, Web3RPCError

from tip_exchange import commitments
from tip_exchange.chain import tokens
from tip_exchange.chain.artifact import code_matches, load_artifact
from tip_exchange.chain.attestation import recover_attester
from tip_exchange.chain.events import Attested, Event, OrderOpened, decode_event, read_logs, topic
from tip_exchange.chain.reverts import wrong_phase
from tip_exchange.chain.rpc import LOCAL_CHAIN, node_errors, place
from tip_exchange.chain.transactions import Call, Journal, Receipt, revert_of
from tip_exchange.errors import (
    ChainError,
    ContractRevert,
    InputError,
    InsufficientFunds,
    IntegrityError,
    StateError,
    WrongChain,
)
from tip_exchange.files import write_atomic
from tip_exchange.types import NATIVE_COIN, NO_TAG_SECRET, Dispute, OrderState, Phase, Submission, Terms

_DELEGATION = bytes.fromhex("ef0100")  # EIP-7702: the address that follows lends its code to an account with a key

_NOBODY = NATIVE_COIN  # the zero address

_TERM_ERRORS = {"WrongBuyer", "TermOutOfRange", "MissingHash", "UnknownParameterSet", "WrongForfeitTo", "NotAToken"}


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
    receipt = journal.send(w3, account, call, f"deploy-{chain_id}-{_short_hash(call)}", survive_restart=True)
    if receipt.contract is None:
        raise ChainError(f"the node's receipt of {receipt.transaction} names no contract; use another node")
    return Deployment(chain_id, receipt.contract, receipt.block, receipt.transaction), receipt


class Escrow:
    """One escrow contract on one chain.

    Steps take the account that signs and the journal that makes them survive a kill; they return the receipt, and raise
    ContractRevert with a sentence when the contract refuses. ``order_id`` is 32 bytes everywhere.

    Args:
        w3: connection to the chain.
        address: of the contract.
        first_block: where it was deployed; logs before it are not searched.
        check_code: refuse a contract that is not the shipped one.

    Attributes:
        block: the block that all reads show (:meth:`pinned`); None to read the present.

    Raises:
        ChainError: there is no contract at the address.
        IntegrityError: there is another contract.
    """

    def __init__(self, w3: Web3, address: str, first_block: int = 0, *, check_code: bool = True) -> None:
        self.w3 = w3
        self.address = str(to_checksum_address(address))
        self.first_block = first_block
        self.block: int | None = None
        with node_errors(f"looking for the escrow {address}"):
            self.chain_id = int(w3.eth.chain_id)
            code = w3.eth.get_code(to_checksum_address(address))
        if not code:
            raise ChainError(
                f"there is no contract at {self.address} on chain {self.chain_id} ({place(w3)}); was the local chain "
                "restarted? Deploy again, or copy the deployment.json of the chain in use"
            )
        if check_code:
            same, detail = code_matches(bytes(code), self.chain_id, self.address)
            if not same:
                raise IntegrityError(
                    f"the contract at {self.address} is not this version's escrow: {detail}; check the "
                    "deployment.json, or use the version it was deployed with"
                )
        self._contract: Any = w3.eth.contract(
            to_checksum_address(address), abi=load_artifact()["abi"], decode_tuples=True
        )
        self._opened: dict[bytes, OrderOpened] = {}

    @classmethod
    def at(cls, w3: Web3, deployment: Deployment, *, check_code: bool = True) -> Escrow:
        """The escrow of a ``deployment.json``.

        Args:
            w3: connection to the chain.
            deployment: where it is.
            check_code: refuse a contract that is not the shipped one.

        Raises:
            WrongChain: the node serves another chain.
            ChainError: there is no contract at its address.
            IntegrityError: there is another contract.
        """
        with node_errors("asking for the chain id"):
            actual = w3.eth.chain_id
        if actual != deployment.chain_id:
            raise WrongChain(
                f"the escrow {deployment.address} is on chain {deployment.chain_id}, but the node at {place(w3)} "
                f"serves chain {actual}; give the RPC URL of a node of chain {deployment.chain_id}"
            )
        return cls(w3, deployment.address, deployment.block, check_code=check_code)

    def pinned(self) -> Escrow:
        """This escrow for reading only, every read as of the block that is the newest now.

        A phase is that of the block's time: on a local chain, which mines only when somebody sends, the clock may have
        gone further.
        """
        with node_errors("asking for the newest block"):
            block = int(self.w3.eth.block_number)
        pinned = copy.copy(self)
        pinned.block = block
        return pinned

    # Steps

    def open(self, account: LocalAccount, journal: Journal, terms: Terms, nonce: int) -> Receipt:
        """Lock the deposit and open the order; an ERC-20 deposit is approved first.

        Raises:
            InsufficientFunds: the account holds less than the deposit.
        """
        order_id = self.order_id(terms, nonce)
        label = f"open-{order_id.hex()}"
        native = terms.token == NATIVE_COIN
        call = self._call("open", [astuple(terms), nonce], terms.deposit if native else 0)
        if not native and journal.find(self.w3, account, call, label) is None:
            self._approve(account, journal, terms.token, terms.deposit, label)
        return self._send(account, journal, call, label, order_id)

    def submit(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        reply_hash: bytes,
        pad_hash: bytes,
        data_root: bytes,
        allow_proof: Sequence[bytes] = (),
    ) -> Receipt:
        """Commit a reply as the seller ``account``."""
        call = self._call("submit", [order_id, reply_hash, pad_hash, data_root, list(allow_proof)])
        return self._send(account, journal, call, f"submit-{order_id.hex()}-{account.address}", order_id)

    def reject(self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str) -> Receipt:
        """Turn a seller away, as the buyer."""
        call = self._call("reject", [order_id, to_checksum_address(seller)])
        return self._send(account, journal, call, f"reject-{order_id.hex()}-{to_checksum_address(seller)}", order_id)

    def attest(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        submissions_hash: bytes,
        values: Sequence[int],
        tags: Sequence[int] = (),
        tag_secret: bytes = NO_TAG_SECRET,
    ) -> Receipt:
        """Attest the padded values, and in an order with tags the tags, in order of submission, as the buyer."""
        call = self._call("attest", [order_id, submissions_hash, list(values), list(tags), tag_secret])
        # A rejection changes the values. The contract takes one attestation, so another label cannot attest twice.
        return self._send(account, journal, call, f"attest-{order_id.hex()}-{_short_hash(call)}", order_id)

    def attest_by_signature(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        submissions_hash: bytes,
        values: Sequence[int],
        signature: bytes,
        tags: Sequence[int] = (),
        tag_secret: bytes = NO_TAG_SECRET,
    ) -> Receipt:
        """Relay an attestation the buyer has signed (:func:`~tip_exchange.chain.attestation.sign_attestation`)."""
        arguments = [order_id, submissions_hash, list(values), list(tags), tag_secret, signature]
        call = self._call("attestBySignature", arguments)
        return self._send(account, journal, call, f"relay-{order_id.hex()}-{_short_hash(call)}", order_id)

    def reveal(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        seller: str,
        pad: int,
        records: int,
        salt: bytes,
        *,
        tag_pad: int = 0,
    ) -> Receipt:
        """Open a seller's pads; anyone who knows them may.

        In an order with tags look first whether the tag holds (:func:`~tip_exchange.settlement.tag_holds`): a refused
        transaction shows the pads all the same.
        """
        call = self._call("reveal", [order_id, to_checksum_address(seller), pad, tag_pad, records, salt])
        return self._send(account, journal, call, f"reveal-{order_id.hex()}-{to_checksum_address(seller)}", order_id)

    def claim(self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str) -> Receipt:
        """Have a seller paid; anyone may push it."""
        call = self._call("claim", [order_id, to_checksum_address(seller)])
        return self._send(account, journal, call, f"claim-{order_id.hex()}-{to_checksum_address(seller)}", order_id)

    def refund(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Pay the buyer what is due to it now; anyone may push it.

        More falls due only with a phase, so the journal keeps one refund a phase.
        """
        call = self._call("refund", [order_id])
        phase = self.phase(order_id).name.lower()
        return self._send(account, journal, call, f"refund-{phase}-{order_id.hex()}", order_id)

    def forfeit(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Pay away what the buyer lost by silence or by a false attestation; anyone may push it."""
        return self._send(account, journal, self._call("forfeit", [order_id]), f"forfeit-{order_id.hex()}", order_id)

    def publish_reply(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, reply: bytes
    ) -> Receipt:
        """Put on the chain a reply that was attested UNAVAILABLE; anyone who has its bytes may.

        Raises:
            InputError: fewer than seven bytes, which cannot be published.
        """
        seller = to_checksum_address(seller)
        call = self._call("publishReply", [order_id, seller, *_halves(reply, seller)])
        return self._send(account, journal, call, f"publish-{order_id.hex()}-{seller}", order_id)

    def answer_reply(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, value: int, tag: int = 0
    ) -> Receipt:
        """Attest the padded value of a published reply, or INVALID, and its tag in an order with tags, as the buyer."""
        seller = to_checksum_address(seller)
        call = self._call("answerReply", [order_id, seller, value, tag])
        return self._send(account, journal, call, f"answer-{order_id.hex()}-{seller}", order_id)

    def challenge(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Doubt the attestation and post the challenge bond; an ERC-20 bond is approved first.

        Raises:
            InsufficientFunds: the account holds less than the bond.
        """
        terms, label = self.order(order_id).terms, f"challenge-{order_id.hex()}"
        native = terms.token == NATIVE_COIN
        call = self._call("challenge", [order_id], terms.challengeBond if native else 0)
        if not native and journal.find(self.w3, account, call, label) is None:
            self._approve(account, journal, terms.token, terms.challengeBond, label)
        return self._send(account, journal, call, label, order_id)

    def draw_index(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Draw the index at which the key has to fit, or postpone the draw; anyone may, once its block is mined."""
        label = f"draw-{order_id.hex()}-{self.dispute(order_id).draw_block}"
        return self._send(account, journal, self._call("drawIndex", [order_id]), label, order_id)

    def reveal_key(
        self,
        account: LocalAccount,
        journal: Journal,
        order_id: bytes,
        key: bytes,
        a_cells: bytes,
        b_cell: bytes,
        proof: Sequence[bytes],
    ) -> Receipt:
        """Publish the order's key and show that it fits its zero block at the index drawn; anyone who knows it may.

        Args:
            account, journal, order_id: who, where, for which order.
            key: packed.
            a_cells: half a of the zero block modulo q0, in 7-byte cells.
            b_cell: cell of half b at the index drawn.
            proof: its siblings, from the leaf up.
        """
        call = self._call("revealKey", [order_id, key, a_cells, b_cell, list(proof)])
        # A reorganisation may draw another index; the contract takes one key, so another label cannot reveal twice.
        return self._send(account, journal, call, f"key-{order_id.hex()}-{_short_hash(call)}", order_id)

    def prove_reply(
        self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str, key: bytes, reply: bytes
    ) -> Receipt:
        """Have the contract decrypt a seller's reply; anyone may.

        Raises:
            InputError: fewer than seven bytes, which cannot be proven.
        """
        seller = to_checksum_address(seller)
        call = self._call("proveReply", [order_id, seller, key, *_halves(reply, seller)])
        return self._send(account, journal, call, f"prove-{order_id.hex()}-{seller}", order_id)

    def claim_reward(self, account: LocalAccount, journal: Journal, order_id: bytes, seller: str) -> Receipt:
        """Pay whoever proved the attested value of ``seller`` false; anyone may push it."""
        seller = to_checksum_address(seller)
        call = self._call("claimReward", [order_id, seller])
        return self._send(account, journal, call, f"reward-{order_id.hex()}-{seller}", order_id)

    def return_bond(self, account: LocalAccount, journal: Journal, order_id: bytes) -> Receipt:
        """Give a challenger that was right its bond back; anyone may push it."""
        call = self._call("returnBond", [order_id])
        return self._send(account, journal, call, f"return-bond-{order_id.hex()}", order_id)

    # Reads

    def check_terms(self, terms: Terms) -> None:
        """Ask the contract whether it takes these terms, and whether the buyer holds the deposit; sends nothing.

        For terms whose hashes are not known yet any non-zero ones do.

        Raises:
            ContractRevert: a term is refused.
            InsufficientFunds: the buyer holds less than the deposit.
        """
        native = terms.token == NATIVE_COIN
        call = self._call("open", [astuple(terms), 0], terms.deposit if native else 0)
        with node_errors("checking the terms"):
            held = int(self.w3.eth.get_balance(to_checksum_address(terms.buyer)))
            if native and held < terms.deposit:
                raise InsufficientFunds(
                    f"account {terms.buyer} holds {held} wei on chain {self.chain_id}, but the deposit is "
                    f"{terms.deposit} wei; send it {terms.deposit - held} wei more"
                )
            try:
                self.w3.eth.call(
                    {"from": terms.buyer, "to": self.address, "data": "0x" + call.data.hex(), "value": call.value},  # type: ignore[typeddict-item]
                    self._moment,
                )
            except (ContractLogicError, Web3RPCError) as error:
                revert = revert_of(error)
                # A token refuses too, before it is approved.
                if revert is not None and revert.error in _TERM_ERRORS:
                    raise revert from error

    def order_id(self, terms: Terms, nonce: int) -> bytes:
        """Identity that these terms have, or will have, at this escrow."""
        return commitments.order_id(self.chain_id, self.address, terms, nonce)

    def order(self, order_id: bytes) -> OrderState:
        """An order as it stands now, its terms proved by its id.

        Raises:
            ChainError: there is no such order.
            IntegrityError: the node's terms do not hash to the id.
        """
        with node_errors(f"reading order 0x{order_id.hex()}"):
            seen = self._read("orderOf", order_id)
            if seen.openedAt == 0:
                raise ChainError(
                    f"there is no order 0x{order_id.hex()} at the escrow {self.address} on chain {self.chain_id}; "
                    "check the id, and whether the node is up to date"
                )
            opened = self._opening(order_id, int(seen.openedBlock))
        terms = opened.terms
        for name in {field.name for field in fields(Terms)} & set(seen._fields):
            stored = getattr(seen, name)
            if getattr(terms, name) != (bytes(stored) if isinstance(stored, bytes) else stored):
                raise IntegrityError(f"order 0x{order_id.hex()} stores another {name} than it was opened with")
        return OrderState(
            order_id=order_id,
            terms=terms,
            nonce=opened.nonce,
            phase=Phase(seen.phase),
            submissions_hash=bytes(seen.submissionsHash),
            submission_count=seen.submissionCount,
            rejected_count=seen.rejectedCount,
            reveal_count=seen.revealCount,
            total_weight=seen.totalWeight,
            attested=seen.attested,
            lost=seen.lost,
            forfeited=seen.forfeited,
            unanswered_count=seen.unansweredCount,
            opened_at=seen.openedAt,
            submit_until=seen.submitUntil,
            attest_until=seen.attestUntil,
            publish_until=seen.publishUntil,
            answer_until=seen.answerUntil,
            reveal_from=seen.revealFrom,
            reveal_until=seen.revealUntil,
            challenge_until=seen.challengeUntil,
            respond_until=seen.respondUntil,
            prove_until=seen.proveUntil,
            claim_from=seen.claimFrom,
            claim_until=seen.claimUntil,
            opened_block=seen.openedBlock,
            held=seen.held,
            tag_key=seen.tagKey,
        )

    def phase(self, order_id: bytes) -> Phase:
        """Where an order stands now; NONE if there is none."""
        with node_errors(f"reading the phase of order 0x{order_id.hex()}"):
            return Phase(self._read("phaseOf", order_id))

    def submission(self, order_id: bytes, seller: str) -> Submission:
        """A seller's entry.

        Raises:
            ChainError: the seller has not submitted to this order.
        """
        found = self.find_submission(order_id, seller)
        if found is None:
            raise ChainError(f"seller {seller} has no submission in order 0x{order_id.hex()}")
        return found

    def find_submission(self, order_id: bytes, seller: str) -> Submission | None:
        """A seller's entry, or None if it has not submitted to this order."""
        with node_errors(f"reading the submission of {seller}"):
            seen = self._read("submissionOf", order_id, to_checksum_address(seller))
            if not seen.submitted:
                return None
            return _submission(seller, seen, bool(self._read("orderOf", order_id).attested))

    def submissions(self, order_id: bytes) -> list[Submission]:
        """All entries of an order, in order of submission; none for an order that does not exist."""
        with node_errors(f"reading the submissions of order 0x{order_id.hex()}"):
            order = self._read("orderOf", order_id)
            found = []
            for index in range(order.submissionCount):
                seller = self._read("sellerAt", order_id, index)
                seen = self._read("submissionOf", order_id, seller)
                if not seen.submitted or seen.index != index:
                    raise ChainError(f"the node contradicts itself on submission {index}; use another node")
                found.append(_submission(seller, seen, bool(order.attested)))
            return found

    def dispute(self, order_id: bytes) -> Dispute:
        """The dispute of an order; without a challenger if it was not challenged."""
        with node_errors(f"reading the dispute of order 0x{order_id.hex()}"):
            seen = self._read("disputeOf", order_id)
            challenger = str(to_checksum_address(seen.challenger))
            return Dispute(
                challenger=None if challenger == _NOBODY else challenger,
                bond_returned=seen.bondReturned,
                key_revealed=seen.keyRevealed,
                index=seen.index if seen.indexDrawn else None,
                draw_block=seen.drawBlock,
                differences=seen.differences,
                rewards_paid=seen.rewardsPaid,
                reward=seen.reward,
            )

    def now(self) -> int:
        """Time that the contract goes by, Unix seconds."""
        with node_errors("asking for the time"):
            return int(self.w3.eth.get_block(self._moment)["timestamp"])

    def block_hash(self, block: int) -> bytes:
        """Hash of a block, 32 bytes."""
        with node_errors(f"reading block {block}"):
            return bytes(self.w3.eth.get_block(block)["hash"])

    def wait_for_block(self, block: int, timeout: float = 120.0) -> None:
        """Return when block ``block`` is mined; a local chain, which mines nothing by itself, is told to.

        Raises:
            ChainError: it is not mined within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with node_errors(f"waiting for block {block}"):
            while int(self.w3.eth.block_number) < block:
                if self.chain_id == LOCAL_CHAIN:
                    self.w3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
                elif time.monotonic() > deadline:
                    raise ChainError(f"block {block} is not mined yet; run the same command again in a while")
                else:
                    time.sleep(1.0)

    def payout(self, order_id: bytes, seller: str) -> tuple[int, int]:
        """Share of the budget and answer fee by the reveals so far, in the token's smallest unit."""
        with node_errors(f"reading the payout of {seller}"):
            payout, fee = self._read("payoutOf", order_id, to_checksum_address(seller))
            return int(payout), int(fee)

    def liabilities(self, token: str = NATIVE_COIN) -> int:
        """What the escrow owes in a token over all orders, in its smallest unit."""
        with node_errors(f"reading the liabilities in {token}"):
            return int(self._read("liabilities", to_checksum_address(token)))

    def balance(self, token: str = NATIVE_COIN) -> int:
        """What the escrow holds in a token over all orders, in its smallest unit."""
        with node_errors(f"reading the escrow's balance in {token}"):
            return tokens.balance(self.w3, token, self.address, self._moment)

    def attester(self, event: Attested, buyer: str) -> tuple[str, str]:
        """Who answers for an attestation, and how: the sender of the transaction, or the signature it carried.

        The transaction does not show what a contract wallet has answered the escrow (ERC-1271) or sent to it, nor what
        another contract (a multicall, a bundler of ERC-4337) has passed on; the proof is then the escrow's code alone.
        """
        with node_errors(f"reading the attestation {event.transaction}"):
            sent = self.w3.eth.get_transaction(HexBytes(event.transaction))
            direct = sent.get("to") == self.address
            given = self._contract.decode_function_input(sent["input"])[1] if direct else {}
            signature = given.get("signature")
            if signature is None and (direct or event.sender == buyer):
                return event.sender, "sent by"
            code = bytes(self.w3.eth.get_code(to_checksum_address(buyer), event.block))
        if code and not code.startswith(_DELEGATION):
            return buyer, "accepted by the contract wallet of"
        if signature is None:
            return buyer, "sent through another contract and accepted by the escrow's code, for"
        signer = recover_attester(
            signature,
            self.chain_id,
            self.address,
            event.order_id,
            event.submissions,
            event.values,
            event.tags,
            event.tag_secret,
        )
        return signer, f"relayed by {event.sender}, signed by"

    def order_ids(self, buyer: str | None = None) -> list[bytes]:
        """Ids of all orders, or of one buyer's, oldest first."""
        topics: list[str | list[str] | None] = [topic(OrderOpened), None]
        if buyer is not None:
            topics.append("0x" + bytes.fromhex(to_checksum_address(buyer)[2:]).rjust(32, b"\0").hex())
        with node_errors("listing the orders"):
            logs = read_logs(self.w3, self.address, topics, self.first_block, self._head())
            return [bytes(log["topics"][1]) for log in logs]

    def events(self, order_id: bytes) -> list[Event]:
        """Everything the escrow logged about an order, in the chain's order; none for an order that does not exist."""
        with node_errors(f"reading the events of order 0x{order_id.hex()}"):
            opened = int(self._read("orderOf", order_id).openedBlock)
            return self._events([None, "0x" + order_id.hex()], opened, self._head()) if opened else []

    @property
    def _moment(self) -> Any:
        if self.block is not None:
            return self.block
        # A local chain mines nothing while nobody sends, so its latest block's time lags behind its clock.
        return "pending" if self.chain_id == LOCAL_CHAIN else "latest"

    def _head(self) -> int:
        return int(self.w3.eth.block_number) if self.block is None else self.block

    def _read(self, name: str, *arguments: object) -> Any:
        return self._contract.functions[name](*arguments).call(block_identifier=self._moment)

    def _events(self, topics: Sequence[str | list[str] | None], first: int, last: int) -> list[Event]:
        found: list[Event] = []
        times: dict[int, int] = {}
        costs: dict[bytes, tuple[int, str]] = {}
        for log in read_logs(self.w3, self.address, topics, first, last):
            block, transaction = int(log["blockNumber"]), bytes(log["transactionHash"])
            if block not in times:
                times[block] = int(self.w3.eth.get_block(block)["timestamp"])
            if transaction not in costs:
                receipt = self.w3.eth.get_transaction_receipt(log["transactionHash"])
                costs[transaction] = int(receipt["gasUsed"]), str(receipt["from"])
            gas_used, sender = costs[transaction]
            event = decode_event(self.w3, log, timestamp=times[block], gas_used=gas_used, sender=sender)
            if event is not None:
                found.append(event)
        return found

    def _opening(self, order_id: bytes, block: int) -> OrderOpened:
        if order_id not in self._opened:
            found = self._events([topic(OrderOpened), "0x" + order_id.hex()], block, block)
            if len(found) != 1 or not isinstance(found[0], OrderOpened):
                raise ChainError(f"the node lists no event of opening order 0x{order_id.hex()} in block {block}")
            opened = found[0]
            commitments.check(
                f"the terms of order 0x{order_id.hex()} that the node at {place(self.w3)} gives",
                order_id,
                self.order_id(opened.terms, opened.nonce),
            )
            self._opened[order_id] = opened
        return self._opened[order_id]

    def _call(self, name: str, arguments: Sequence[object], value: int = 0) -> Call:
        try:
            data = self._contract.encode_abi(name, arguments)
        except (Web3Exception, TypeError, ValueError) as error:
            raise InputError(f"the contract's {name} cannot take these arguments: {error}") from error
        return Call(self.address, bytes.fromhex(data.removeprefix("0x")), value)

    def _send(self, account: LocalAccount, journal: Journal, call: Call, label: str, order_id: bytes) -> Receipt:
        try:
            return journal.send(self.w3, account, call, label)
        except ContractRevert as revert:
            if revert.error != "WrongPhase":
                raise
            raise wrong_phase(*revert.arguments, order=self.order(order_id)) from revert

    def _approve(self, account: LocalAccount, journal: Journal, token: str, needed: int, label: str) -> None:
        held = tokens.balance(self.w3, token, account.address)
        if held < needed:
            raise InsufficientFunds(
                f"account {account.address} holds {held} of the token {token}, but {needed} are needed (budget, bond "
                "and an answer fee for every possible seller to open an order; the challenge bond to challenge one)"
            )
        allowed = tokens.allowance(self.w3, token, account.address, self.address)
        if allowed >= needed:
            return
        # Some tokens change an allowance only from zero. Numbered, because another order may have used an allowance up.
        amounts = [0, needed] if allowed else [needed]
        for amount in amounts:
            call = tokens.approve(token, self.address, amount)
            number = 0
            while journal.find(self.w3, account, call, f"{label}-approve-{amount}-{number}") is not None:
                number += 1
            journal.send(self.w3, account, call, f"{label}-approve-{amount}-{number}")


def _halves(reply: bytes, seller: str) -> tuple[bytes, bytes]:
    cell = commitments.REPLY_CELL_BYTES
    if len(reply) < cell:
        raise InputError(
            f"the reply of seller {seller} has {len(reply)} bytes; the contract takes no reply of fewer than {cell}"
        )
    return reply[:-cell], reply[-cell:]


def _short_hash(call: Call) -> str:
    return commitments.keccak(call.data)[:4].hex()


def _submission(seller: str, seen: Any, attested: bool) -> Submission:
    return Submission(
        seller=str(to_checksum_address(seller)),
        index=seen.index,
        reply_hash=bytes(seen.replyHash),
        pad_hash=bytes(seen.padHash),
        data_root=bytes(seen.dataRoot),
        rejected=seen.rejected,
        revealed=seen.revealed,
        claimed=seen.claimed,
        attested=seen.attested if attested else None,
        tag=seen.tag,
        records=seen.records,
        value=seen.value,
        weight=seen.weight,
        published=seen.published,
        proven=seen.proven,
        prover=None if seen.prover == _NOBODY else str(to_checksum_address(seen.prover)),
        rewarded=seen.rewarded,
    )

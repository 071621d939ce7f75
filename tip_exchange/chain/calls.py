"""How a step becomes one transaction: encoded, paid for, labelled in the journal, its refusal explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from web3.exceptions import ContractLogicError, Web3Exception, Web3RPCError

from tip_exchange.chain import tokens
from tip_exchange.chain.reads import EscrowReads
from tip_exchange.chain.reverts import wrong_phase
from tip_exchange.chain.rpc import node_errors
from tip_exchange.chain.transactions import Call, Journal, Receipt, revert_of, short_hash
from tip_exchange.errors import ContractRevert, InputError, InsufficientFunds
from tip_exchange.types import NATIVE_COIN, Terms

_TERM_ERRORS = {"WrongBuyer", "TermOutOfRange", "MissingHash", "UnknownParameterSet", "WrongArbiter", "NotAToken"}


class EscrowCalls(EscrowReads):
    """One escrow contract on one chain: its reads, and what all of its steps share."""

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

    def _step(
        self,
        account: LocalAccount,
        journal: Journal,
        name: str,
        arguments: Sequence[object],
        step: str,
        order_id: bytes,
        seller: str | None = None,
        *,
        again: bool = False,
    ) -> Receipt:
        """Send one call; ``again`` lets the step be tried with other arguments: the contract takes it once."""
        call = self._call(name, arguments)
        return self._send(account, journal, call, _label(step, order_id, seller, call if again else None), order_id)

    def _bond(self, rule: Callable[[Terms, int], int], order_id: bytes, seller: str) -> tuple[str, int]:
        """Token and amount of a bond that a seller's payout fixes."""
        terms = self.order(order_id).terms
        return terms.token, rule(terms, self.submission(order_id, seller).payout)

    def _post(
        self,
        account: LocalAccount,
        journal: Journal,
        name: str,
        arguments: Sequence[object],
        order_id: bytes,
        seller: str | None,
        deposit: tuple[str, int],
    ) -> Receipt:
        """Send one call that takes so much of a token, approved first, or of coin."""
        token, amount = deposit
        native = token == NATIVE_COIN
        call = self._call(name, arguments, amount if native else 0)
        label = _label(name, order_id, seller, None if seller is None else call)
        if not native and journal.find(self.w3, account, call, label) is None:
            self._approve(account, journal, token, amount, label)
        return self._send(account, journal, call, label, order_id)

    def _call(self, name: str, arguments: Sequence[object], value: int = 0) -> Call:
        # Every text among them is an address.
        plain = [to_checksum_address(value) if isinstance(value, str) else value for value in arguments]
        try:
            data = self._contract.encode_abi(name, plain)
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
                "and an answer fee for every possible seller to open an order; else the bond of this step)"
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


def _label(step: str, order_id: bytes, seller: str | None, call: Call | None) -> str:
    """Name of a step in the journal; with a call, of that step with these arguments."""
    parts = [step, order_id.hex()]
    if seller is not None:
        parts.append(str(to_checksum_address(seller)))
    if call is not None:
        parts.append(short_hash(call))
    return "-".join(parts)

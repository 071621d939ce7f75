"""The contract's custom errors as English sentences: what was wrong, where, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.phases import clock as clock
from tip_exchange.chain.phases import wrong_phase as wrong_phase
from tip_exchange.errors import ContractRevert
from tip_exchange.types import DeliveryState, Phase

SENTENCES: Mapping[str, str] = {
    "WrongBuyer": "the terms name {buyer} as buyer, but {sender} sent them; open the order with the buyer's wallet",
    "TermOutOfRange": "the term {term} is {value}; the contract takes {minimum} to {maximum}",
    "MissingHash": "the hash {term} is zero; it must commit to something",
    "UnknownParameterSet": "the contract does not know parameter set {parameterSet}; use 1 (wide)",
    "WrongArbiter": "{arbiter} cannot be the arbiter: it is nobody, the buyer, or the seller; name somebody else, or "
    "sell from another address",
    "NotAToken": "there is no contract at the token address {token} on this chain; check the address and the chain",
    "WrongDeposit": "what arrived is {received}, but the step takes {needed} (at open: budget, bond and all answer "
    "fees; else the bond of a challenge, an offer or a contest); send exactly that, and no token that takes a fee on "
    "transfers",
    "UnexpectedCoin": "{sent} wei were sent with an order that is paid in a token; send no coin with it",
    "OrderExists": "order {orderId} is open already; choose another nonce to open the same terms again",
    "UnknownOrder": "there is no order {orderId} at this escrow; check the id, the escrow's address and the chain",
    "NotBuyer": "only the buyer {buyer} of order {orderId} may do this, not {sender}; use the buyer's wallet",
    "NotArbiter": "only the arbiter {arbiter} of order {orderId} may rule, not {sender}; use the arbiter's wallet",
    "HasSubmissions": "order {orderId} has {submissionCount} submissions, so it can no longer be taken back; reject "
    "them, or attest",
    "SellerIsBuyer": "{seller} is the buyer of order {orderId} and cannot sell to itself; use another wallet",
    "OrderFull": "order {orderId} has all the {maxSellers} submissions it takes; nothing was sent",
    "NotOnAllowList": "seller {seller} is not on the allow-list of order {orderId}; ask the buyer to be invited to the "
    "next one, or give the buyer's list of sellers as it was at open",
    "AlreadySubmitted": "seller {seller} has submitted to order {orderId} before; one submission counts, and it cannot "
    "be replaced",
    "RecordsOutOfRange": "order {orderId} takes {minimum} to {maximum} records of a seller, not {records}; "
    "declare, and deliver, a number within that range",
    "BudgetExhausted": "the budget of order {orderId} has {left} left, less than the {reserve} that this submission "
    "could earn; declare fewer records, or ask the buyer for another order",
    "NoSubmission": "seller {seller} has no submission in order {orderId}; check the address and the order id",
    "SellerRejected": "the buyer of order {orderId} has rejected seller {seller}; its entry earns nothing",
    "WrongCommitments": "what was given of seller {seller} in order {orderId} hashes to {given}, but {stored} was "
    "committed at submit; use the reply, pad and records saved at that submit",
    "WrongSubmissions": "the attestation for order {orderId} is over submissions {given}, but {stored} are stored; "
    "read the submissions again and decrypt once more",
    "WrongSellers": "place {index} of the attestation for order {orderId} names {seller}, who did not submit at that "
    "place; name every seller in order of submission",
    "WrongValueCount": "the attestation for order {orderId} holds {sellers} sellers and {values} values for {needed} "
    "submissions; attest one of each, in order of submission",
    "ValueOutOfRange": "the value {value} of seller {seller} in order {orderId} is neither below 2^36 - 243 nor "
    "INVALID (2^64 - 1) nor, in an attestation, UNAVAILABLE (2^64 - 2)",
    "RejectedNeedsInvalid": "seller {seller} of order {orderId} is rejected, so its attested value must be INVALID "
    "(2^64 - 1), not {value}",
    "WrongSignature": "the message is not signed by {signer} for order {orderId}, this contract and this chain; get a "
    "new signature from its owner",
    "SignatureExpired": "the signature for order {orderId} counted until {deadline}; get a new one",
    "NotUnavailable": "the reply of seller {seller} in order {orderId} is attested {attested}, not UNAVAILABLE "
    "(2^64 - 2); there is no need to publish it",
    "AlreadyPublished": "the reply of seller {seller} in order {orderId} is on the chain already",
    "NothingToAnswer": "the reply of seller {seller} in order {orderId} was not published, or is answered already",
    "NothingToReveal": "the value of seller {seller} in order {orderId} is {attested}, no number, so its pad earns "
    "nothing; keep it secret, and have the reply proven if the value is false",
    "AlreadyRevealed": "seller {seller} has revealed in order {orderId} before; wait until files may be offered",
    "PadOutOfRange": "of seller {seller} in order {orderId} the pad {pad} is not below 2^36 - 243, or the factor "
    "{factor} is 0 or not below it; nothing of this entry can be revealed",
    "AlreadyDrawn": "the indices of order {orderId} are drawn already",
    "DrawTooEarly": "the indices of order {orderId} are drawn from block {drawBlock}, but this is block {blockNumber}; "
    "send it after that block",
    "IndicesNotDrawn": "the indices of order {orderId} are not drawn yet; draw them, then reveal the key",
    "WrongKeyCommitment": "key and zero block given for order {orderId} hash to {given}, not {stored} as at open",
    "WrongKey": "the key given for order {orderId} hashes to {given}, but that of the key revealed is {stored}",
    "KeyDoesNotFit": "the key of order {orderId} does not decrypt its zero block to zero: at index {index} the "
    "phase is {phase}; no other key can be shown, and the order is lost",
    "AlreadyProven": "the reply of seller {seller} in order {orderId} has been decrypted by the contract already",
    "NothingToDeliver": "no payout is due to seller {seller} in order {orderId}: its records weigh nothing; only its "
    "fees are to be settled",
    "OutsideWindow": "for seller {seller} in order {orderId} this step is taken from {from} to {until}, and not now; "
    "wait if that is to come, else settle",
    "WrongFile": "the file given for seller {seller} in order {orderId} hashes to {given}, but {stored} was offered; "
    "give the hashes, and the key, of the offer",
    "WrongDeliveryKey": "the delivery key given for seller {seller} in order {orderId} hashes to {given}, but {stored} "
    "was offered; use the key saved with that offer",
    "WrongPath": "a path given for record {index} of seller {seller} in order {orderId} does not lead to the top of "
    "its tree; take both paths from the file that was offered",
    "RecordAsCommitted": "record {index} of seller {seller} in order {orderId} decrypts to the one committed to; "
    "nothing is wrong with it",
    "WeightTooLarge": "the weight {weight} for seller {seller} in order {orderId} is above the {most} that was "
    "revealed; a ruling may only lower it",
    "AlreadySettled": "everything was paid for seller {seller} of order {orderId} before; nothing is left to settle",
    "TooEarly": "what is due for seller {seller} in order {orderId} is not fixed before {from}; settle then, or now "
    "with the receipt of a buyer that has signed one (`tip seller claim --receipt`)",
    "NothingDue": "nothing is due in order {orderId}: it has been paid already, or was never owed, "
    "as to a seller that has not revealed",
    "NothingToWithdraw": "nothing in the token {token} (zeros: the chain's coin) waits for {owner}; a payment that was "
    "not refused has arrived already",
    "GasTooLow": "{left} gas was left where {needed} is needed for a receiver to take its money; send the transaction "
    "with a higher gas limit",
    "TransferFailed": "{to} refused a payment of {amount} wei; the money stays in the escrow, and a contract wallet "
    "must be able to receive coin",
    # Of OpenZeppelin's libraries.
    "SafeERC20FailedOperation": "the token {token} refused the transfer; check that it is an ERC-20 token, its balance "
    "and the allowance",
    # Of tokens, bubbling up through the escrow (ERC-6093).
    "ERC20InsufficientBalance": "{sender} holds {balance} of the token, but {needed} are needed; get more or open a "
    "smaller order",
    "ERC20InsufficientAllowance": "the escrow {spender} may take {allowance} of the token, but {needed} are needed; "
    "approve the deposit first",
    "ERC20InvalidReceiver": "the token does not pay to {receiver}",
    "ERC20InvalidSender": "the token does not pay from {sender}",
    # Built into Solidity.
    "Error": "the contract refused: {message}",
    "Panic": "the contract failed with Solidity panic {code}; please report this as a bug",
}
"""What each error means; names in braces are its arguments. Wrong phases and states have sentences of their own."""

_OTHER_ERRORS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "SafeERC20FailedOperation": (("address", "token"),),
    "ERC20InsufficientBalance": (("address", "sender"), ("uint256", "balance"), ("uint256", "needed")),
    "ERC20InsufficientAllowance": (("address", "spender"), ("uint256", "allowance"), ("uint256", "needed")),
    "ERC20InvalidReceiver": (("address", "receiver"),),
    "ERC20InvalidSender": (("address", "sender"),),
    "Error": (("string", "message"),),
    "Panic": (("uint256", "code"),),
}

_LONGEST_TEXT = 200

_TIMES = {"from", "until", "deadline"}
"""Arguments of errors that are Unix times."""


@cache
def _by_selector() -> dict[bytes, tuple[str, tuple[tuple[str, str], ...]]]:
    shapes = dict(_OTHER_ERRORS)
    for entry in load_artifact()["abi"]:
        if entry["type"] == "error":
            shapes[entry["name"]] = tuple((argument["type"], argument["name"]) for argument in entry["inputs"])
    return {
        keccak(text=f"{name}({','.join(kind for kind, _ in shape)})")[:4]: (name, shape)
        for name, shape in shapes.items()
    }


def decode_error(data: bytes) -> tuple[str, dict[str, Any]] | None:
    """Name and named arguments of the error that revert data encode; None if it is not a known one."""
    known = _by_selector().get(data[:4])
    if known is None:
        return None
    name, shape = known
    try:
        values = abi_decode([kind for kind, _ in shape], data[4:])
    except (DecodingError, OverflowError, ValueError):
        return None
    return name, {argument: value for (_, argument), value in zip(shape, values, strict=True)}


def _shown(value: object, name: str = "") -> str:
    if name in _TIMES and isinstance(value, int):
        return clock(value) if value else "a time that is not fixed yet"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    text = str(value)
    if len(text) == 42 and text.startswith("0x"):
        return str(to_checksum_address(text))
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def explain(data: bytes) -> ContractRevert:
    """The error to raise for revert data: what the contract returned when it reverted, maybe nothing."""
    decoded = decode_error(data)
    if decoded is None:
        reason = f"an error this version does not know (0x{data[:36].hex()})" if data else "no reason"
        return ContractRevert(f"the contract reverted with {reason}; is the escrow's address right?")
    name, arguments = decoded
    values = tuple(arguments.values())
    if name == "WrongPhase" and max(values[1:]) <= max(Phase):
        return wrong_phase(*values)
    if name == "WrongDeliveryState" and max(values[2:]) <= max(DeliveryState):
        order_id, seller, actual, needed = values
        sentence = _wrong_delivery_state(order_id, seller, DeliveryState(actual), DeliveryState(needed))
    elif name in SENTENCES:
        sentence = SENTENCES[name].format_map({key: _shown(value, key) for key, value in arguments.items()})
    else:
        sentence = f"the contract refused with {name}({', '.join(map(_shown, values))})"
    return ContractRevert(sentence, name, values)


def _wrong_delivery_state(order_id: bytes, seller: str, actual: DeliveryState, needed: DeliveryState) -> str:
    if actual is DeliveryState.NONE:
        return f"seller {_shown(seller)} has offered no file in order {_shown(order_id)}; wait until it does"
    return (
        f"the delivery of seller {_shown(seller)} in order {_shown(order_id)} is in state {actual.name.capitalize()}, "
        f"but this step needs {needed.name.capitalize()}; "
        + ("wait for the steps between" if actual < needed else "that is over")
    )

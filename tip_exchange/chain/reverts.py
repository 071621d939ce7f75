"""The contract's custom errors as English sentences: what was wrong, where, what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from tip_exchange.chain.artifact import load_artifact
from tip_exchange.errors import ContractRevert
from tip_exchange.types import OrderState, Phase

SENTENCES: Mapping[str, str] = {
    "WrongBuyer": "the terms name {buyer} as buyer, but {sender} sent them; open the order with the buyer's wallet",
    "TermOutOfRange": "the term {term} is {value}; the contract takes {minimum} to {maximum}",
    "MissingHash": "the hash {term} is zero; it must commit to something",
    "UnknownParameterSet": "the contract does not know parameter set {parameterSet}; use 1 (wide)",
    "WrongForfeitTo": "forfeited money may go neither to the zero address nor to the buyer {buyer}, but forfeitTo is "
    "{forfeitTo}; name somebody else, or the burn address",
    "NotAToken": "there is no contract at the token address {token} on this chain; check the address and the chain",
    "WrongDeposit": "what arrived is {received}, but the deposit (budget + bond + all answer fees), or the bond of a "
    "challenge, is {needed}; send exactly that, and no token that takes a fee on transfers",
    "UnexpectedCoin": "{sent} wei were sent with an order that is paid in a token; send no coin with it",
    "OrderExists": "order {orderId} is open already; choose another nonce to open the same terms again",
    "UnknownOrder": "there is no order {orderId} at this escrow; check the id, the escrow's address and the chain",
    "NotBuyer": "only the buyer {buyer} of order {orderId} may do this, not {sender}; use the buyer's wallet",
    "SellerIsBuyer": "{seller} is the buyer of order {orderId} and cannot sell to itself; use another wallet",
    "OrderFull": "order {orderId} has all the {maxSellers} submissions it takes; nothing was sent",
    "NotOnAllowList": "seller {seller} is not on the allow-list of order {orderId}; ask the buyer to be invited to the "
    "next one, or give the buyer's list of sellers as it was at open",
    "AlreadySubmitted": "seller {seller} has submitted to order {orderId} before; one submission counts, and it cannot "
    "be replaced",
    "NoSubmission": "seller {seller} has no submission in order {orderId}; check the address and the order id",
    "SellerRejected": "the buyer of order {orderId} has rejected seller {seller}; its entry earns nothing",
    "WrongSubmissions": "the attestation for order {orderId} is over submissions {given}, but {stored} are stored; "
    "read the submissions again and decrypt once more",
    "WrongValueCount": "the attestation for order {orderId} holds {given} values for {needed} submissions; attest one "
    "for each, in order of submission",
    "ValueOutOfRange": "attested value {value} of submission {index} in order {orderId} is neither below 2^36 - 243 "
    "nor INVALID (2^64 - 1) nor, in an attestation, UNAVAILABLE (2^64 - 2)",
    "RejectedNeedsInvalid": "submission {index} of order {orderId} is rejected, so its attested value must be INVALID "
    "(2^64 - 1), not {value}",
    "WrongTagSecret": "the tag secret given for order {orderId} hashes to {given}, but the order commits to {stored} "
    "(zeros: an order without tags takes none); attest with the secret made at open",
    "WrongTagCount": "the attestation for order {orderId} holds {given} tags and needs {needed}; attest one for each "
    "submission in an order with tags, none in one without",
    "TagOutOfRange": "tag {tag} of submission {index} in order {orderId} is not below 2^36 - 243, or not 0 in an order "
    "without tags",
    "WrongSignature": "the attestation for order {orderId} is not signed by its buyer {buyer} for this order, contract "
    "and chain; get a new signature from the buyer",
    "PadOutOfRange": "the pad {pad} of seller {seller} in order {orderId} is not below 2^36 - 243",
    "WrongOpening": "pads, records and salt of seller {seller} in order {orderId} hash to {given}, but {stored} was "
    "committed at submit; reveal with the state saved at that submit",
    "WrongTag": "the tag attested for seller {seller} in order {orderId} is {tag}, but its value and its pads need "
    "{needed}: the reply is no inner product, or the buyer turned the seller away; this entry earns nothing",
    "AlreadyRevealed": "seller {seller} has revealed in order {orderId} before; wait until claims open",
    "AlreadyClaimed": "seller {seller} has been paid for order {orderId} before; nothing is left to claim",
    "NothingToClaim": "neither a payout nor an answer fee is due to seller {seller} in order {orderId}: not revealed, "
    "fewer records than the order's minimum, or no positive value and no answer fee",
    "NothingToRefund": "nothing is due to the buyer of order {orderId} now; more may be after the claim window",
    "NothingToForfeit": "nothing is forfeited in order {orderId}: its buyer has lost nothing yet, or the money has "
    "gone already",
    "NotUnavailable": "the reply of seller {seller} in order {orderId} is attested {attested}, not UNAVAILABLE "
    "(2^64 - 2); there is no need to publish it",
    "AlreadyPublished": "the reply of seller {seller} in order {orderId} is on the chain already",
    "NothingToAnswer": "the reply of seller {seller} in order {orderId} was not published, or is answered already",
    "WrongReply": "the bytes given for seller {seller} in order {orderId} hash to {given}, but {stored} was "
    "committed at submit; use the reply saved at that submit",
    "DrawTooEarly": "the index of order {orderId} is drawn from block {drawBlock}, but this is block {blockNumber}; "
    "send it after that block",
    "AlreadyDrawn": "the index of order {orderId} is drawn already: {index}",
    "IndexNotDrawn": "the index of order {orderId} is not drawn yet; draw it, then reveal the key",
    "WrongKey": "the key given for order {orderId} hashes to {given}, but that of the key revealed is {stored}",
    "WrongKeyCommitment": "key and zero block given for order {orderId} hash to {given}, not {stored} as at open",
    "KeyDoesNotFit": "the key of order {orderId} does not decrypt its zero block to zero: at index {index} the "
    "phase is {phase}; no other key can be shown, and the order is lost",
    "NoTag": "the reply of seller {seller} in order {orderId} was left UNAVAILABLE, so it has no tag, and nothing it "
    "decrypts to can count; a reply has to be published while the order asks for it",
    "AlreadyProven": "the reply of seller {seller} in order {orderId} has been decrypted by the contract already",
    "NothingToReward": "no reward is due for the entry of seller {seller} in order {orderId}: nobody proved it "
    "false, or the prover has been paid",
    "NothingToReturn": "no bond of a challenger is due back in order {orderId}, or it has been returned",
    "TransferFailed": "{to} refused a payment of {amount} wei; the money stays in the escrow, and a contract wallet "
    "must be able to receive coin",
    "SafeERC20FailedOperation": "the token {token} refused the transfer; check that it is an ERC-20 token, its balance "
    "and the allowance",
    "ReentrancyGuardReentrantCall": "the call came from inside another call of the escrow and was refused",
    "InvalidShortString": "the escrow could not read its own EIP-712 name; the deployment is damaged",
    "StringTooLong": "the escrow's EIP-712 name {str} is too long; the deployment is damaged",
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
"""What each error means; names in braces are the error's arguments. WrongPhase has a sentence of its own."""

_OTHER_ERRORS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ReentrancyGuardReentrantCall": (),
    "ERC20InsufficientBalance": (("address", "sender"), ("uint256", "balance"), ("uint256", "needed")),
    "ERC20InsufficientAllowance": (("address", "spender"), ("uint256", "allowance"), ("uint256", "needed")),
    "ERC20InvalidReceiver": (("address", "receiver"),),
    "ERC20InvalidSender": (("address", "sender"),),
    "Error": (("string", "message"),),
    "Panic": (("uint256", "code"),),
}

_LONGEST_TEXT = 200


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


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    text = str(value)
    if len(text) == 42 and text.startswith("0x"):
        return str(to_checksum_address(text))
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def clock(seconds: int) -> str:
    """Unix seconds as ISO 8601 in UTC; as they are where the calendar ends."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"


def phase_window(order: OrderState, phase: Phase) -> tuple[int, float]:
    """``[from, to)`` of a phase in Unix seconds: the latest possible where it depends on an attestation to come."""
    terms = order.terms
    reveal_from = order.reveal_from or order.attest_until
    reveal_until = order.reveal_until or reveal_from + terms.revealWindow
    claim_from = order.claim_from or reveal_until + terms.challengeWindow
    claim_until = order.claim_until or claim_from + terms.claimWindow
    attested_at = order.publish_until - terms.challengeWindow if order.publish_until else order.reveal_from
    windows: dict[Phase, tuple[int, float]] = {
        Phase.SUBMITTING: (order.opened_at, order.submit_until),
        Phase.ATTESTING: (order.submit_until, attested_at or order.attest_until),
        Phase.PUBLISHING: (attested_at, order.publish_until or order.attest_until),
        Phase.ANSWERING: (order.publish_until, order.answer_until),
        Phase.REVEALING: (reveal_from, reveal_until),
        Phase.CHALLENGING: (reveal_until, order.challenge_until or claim_from),
        Phase.RESPONDING: (reveal_until, order.respond_until),
        Phase.PROVING: (reveal_until, order.prove_until),
        Phase.CLAIMING: (claim_from, claim_until),
        Phase.CLOSED: (claim_until, math.inf),
    }
    return windows[phase]


def _wrong_phase(order_id: bytes, actual: Phase, needed: Phase, order: OrderState | None) -> str:
    sentence = (
        f"order {_shown(order_id)} is in phase {actual.name.capitalize()}, but this step needs phase "
        f"{needed.name.capitalize()}"
    )
    if order is not None and needed is not Phase.NONE:
        opens, closes = phase_window(order, needed)
        if actual < needed:
            latest = "at the latest " if order.reveal_from == 0 and needed > Phase.ATTESTING else ""
            return f"{sentence}, which begins {latest}at {clock(opens)}; wait until then"
        if order.submission_count == order.rejected_count:
            return f"{sentence}, and no seller is left in it; its buyer gets everything back: `tip buyer refund`"
        return f"{sentence}, which ended at {clock(int(closes))}"
    return f"{sentence}; " + ("wait until it begins" if actual < needed else "that phase is over")


def wrong_phase(order_id: Any, actual: Any, needed: Any, *, order: OrderState | None = None) -> ContractRevert:
    """The contract's WrongPhase error; with the order at hand its times are told too."""
    sentence = _wrong_phase(order_id, Phase(actual), Phase(needed), order)
    return ContractRevert(sentence, "WrongPhase", (order_id, actual, needed))


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
    if name in SENTENCES:
        sentence = SENTENCES[name].format_map({key: _shown(value) for key, value in arguments.items()})
    else:
        sentence = f"the contract refused with {name}({', '.join(map(_shown, values))})"
    return ContractRevert(sentence, name, values)

"""Steps that a seller without coin signs, and anybody sends.

A signed step is one JSON object: ``kind`` (Submission or Offer), where and for whom it counts, what it says, the
``deadline`` in Unix seconds, and the signature. Bytes are 0x-hex.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeVar

from eth_utils.address import is_address, to_checksum_address

from tip_exchange.chain.transactions import Journal, Receipt
from tip_exchange.chain.typed_data import sign
from tip_exchange.chain.wallets import LocalAccount
from tip_exchange.errors import InputError, StateError
from tip_exchange.files import held
from tip_exchange.roles.amounts import in_words
from tip_exchange.roles.delivering import Acceptance, Delivering, prepare_file
from tip_exchange.roles.homes import submission_folder
from tip_exchange.roles.market import Market, Progress
from tip_exchange.roles.submitting import Answering, prepare
from tip_exchange.settlement import seller_bond
from tip_exchange.types import Commitments, DeliveryState, File

SIGNED_LIMIT = 64 * 1024
"""Most bytes of a signed step."""

_COMMITMENTS = ("reply_hash", "pad_hash", "data_root")
_FILE = ("data_top", "cipher_top", "delivery_key_hash", "file_hash")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Relayed:
    """What was sent, and for whom; the bond posted for an Offer, 0 for a Submission, in the order's token."""

    kind: str
    order_id: bytes
    seller: str
    bond: int
    token: str
    receipt: Receipt


def sign_submission(
    market: Market, home: Path, account: LocalAccount, order_id: bytes, answering: Answering, progress: Progress
) -> dict[str, Any]:
    """Prepare an answer as :func:`~tip_exchange.roles.submitting.submit` does, and sign it in place of sending it.

    The signature counts until submissions end.

    Raises:
        StateError: it is submitted already, or as :func:`~tip_exchange.roles.submitting.submit`.
        TipError: likewise.
    """
    seller = account.address
    with held(submission_folder(home, order_id, seller)):
        answer = prepare(market, home, seller, order_id, answering, progress)
        if answer.submitted:
            raise StateError(f"{seller} has answered order 0x{order_id.hex()}; there is nothing to sign")
        deadline = market.escrow.order(order_id).submit_until
        committed = astuple(answer.commitments)
        message = {
            "orderId": order_id,
            "seller": seller,
            **dict(zip(("replyHash", "padHash", "dataRoot"), committed, strict=True)),
            "recordsAtMost": answer.records_at_most,
            "deadline": deadline,
        }
        return {
            **_signed(market, account, "Submission", order_id, message, deadline),
            **dict(zip(_COMMITMENTS, committed, strict=True)),
            "records_at_most": answer.records_at_most,
            "allow_proof": list(answer.allow_proof),
        }


def sign_offer(
    market: Market, home: Path, account: LocalAccount, order_id: bytes, delivering: Delivering, progress: Progress
) -> dict[str, Any]:
    """Seal and store the records' file, and sign its Offer in place of sending it; whoever sends it posts the bond.

    The signature counts until files can no longer be offered. The buyer may sign an Acceptance of the file by it.

    Raises:
        StateError: a file is offered already, or as :func:`~tip_exchange.roles.delivering.deliver`.
        TipError: likewise.
    """
    seller = account.address
    with held(submission_folder(home, order_id, seller)):
        if market.escrow.delivery(order_id, seller).state is not DeliveryState.NONE:
            raise StateError(f"order 0x{order_id.hex()}: {seller} has offered a file; there is nothing to sign")
        order, entry, file = prepare_file(market, home, seller, order_id, delivering, progress)
        names = ("dataTop", "cipherTop", "deliveryKeyHash", "fileHash")
        message = {
            "orderId": order_id,
            "seller": seller,
            **dict(zip(names, astuple(file), strict=True)),
            "deadline": order.offer_until,
        }
        return {
            **_signed(market, account, "Offer", order_id, message, order.offer_until),
            **dict(zip(_COMMITMENTS, astuple(entry.commitments), strict=True)),
            **dict(zip(_FILE, astuple(file), strict=True)),
            "payout": entry.payout,
        }


def relay(
    market: Market, home: Path, account: Callable[[], LocalAccount], path: Path, *, agreed: bool = False
) -> Relayed:
    """Send what a seller has signed, and for an Offer post its bond, which comes back unless the seller loses it.

    Args:
        market, home: where.
        account: unlocks the wallet that sends and posts.
        path: of the signed step.
        agreed: whether its owner agrees to post the bond.

    Raises:
        InputError: the file is no signed step, or one for another chain or escrow; or not agreed to an Offer's bond:
            the sentence says how much it is.
        ContractRevert: the contract refuses it: its signature or deadline, or what the step itself is refused for.
        InsufficientFunds: the account holds less than the bond.
    """
    content = _read(path)
    place = _field(content, "chain_id", _number), _field(content, "escrow", _address)
    escrow, journal = market.escrow, Journal(home / "journal")
    if place != (escrow.chain_id, escrow.address):
        raise InputError(f"{path} is signed for the escrow {place[1]} on chain {place[0]}, and this one is another")
    order_id, seller = _field(content, "order_id", _hash), _field(content, "seller", _address)
    committed = Commitments(*(_field(content, name, _hash) for name in _COMMITMENTS))
    deadline, signature = _field(content, "deadline", _number), _field(content, "signature", _bytes)
    kind = content.get("kind")
    if kind == "Submission":
        most, proof = _field(content, "records_at_most", _number), _field(content, "allow_proof", _hashes)
        terms, bond = escrow.order(order_id).terms, 0
        receipt = escrow.submit_by_signature(
            account(), journal, order_id, seller, committed, most, proof, deadline, signature
        )
    elif kind == "Offer":
        file = File(*(_field(content, name, _hash) for name in _FILE))
        terms = escrow.order(order_id).terms
        bond = seller_bond(terms, escrow.submission(order_id, seller).payout)
        if not agreed:
            raise InputError(
                f"sending the offer of {seller} to order 0x{order_id.hex()} posts a bond of "
                f"{in_words(bond, terms.token)} of yours, which is gone if that seller loses it; give --yes to send it"
            )
        receipt = escrow.offer_by_signature(account(), journal, order_id, seller, committed, file, deadline, signature)
    else:
        raise InputError(
            f"{path} is no signed Submission or Offer; `--sign` of `tip seller submit` or `deliver` makes one"
        )
    return Relayed(str(kind), order_id, seller, bond, terms.token, receipt)


def read_acceptance(path: Path) -> Acceptance:
    """A buyer's signed Acceptance: a JSON object with ``signature`` and ``deadline``.

    Raises:
        InputError: the file is none.
    """
    content = _read(path)
    return Acceptance(_field(content, "signature", _bytes), _field(content, "deadline", _number))


def read_receipt(path: Path) -> bytes:
    """The signature in a receipt of the buyer's: a JSON object with ``signature``.

    Raises:
        InputError: the file is none.
    """
    return _field(_read(path), "signature", _bytes)


def _signed(
    market: Market, account: LocalAccount, kind: str, order_id: bytes, message: dict[str, object], deadline: int
) -> dict[str, Any]:
    chain_id, escrow = market.escrow.chain_id, market.escrow.address
    return {
        "kind": kind,
        "chain_id": chain_id,
        "escrow": escrow,
        "order_id": order_id,
        "seller": account.address,
        "deadline": deadline,
        "signature": sign(account, chain_id, escrow, kind, message),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(SIGNED_LIMIT + 1)
        content = json.loads(data) if len(data) <= SIGNED_LIMIT else None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} ({error}); give the JSON file that was signed") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no JSON object of at most {SIGNED_LIMIT} bytes; give the file that was signed")
    return content


def _field(content: dict[str, Any], name: str, parse: Callable[[Any], _T]) -> _T:
    try:
        return parse(content[name])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a signed step lacks a sound {name!r}; give the file as it was signed") from error


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError(value)
    return value


def _bytes(value: Any) -> bytes:
    if not re.fullmatch("0x([0-9a-fA-F]{2})*", value):
        raise ValueError(value)
    return bytes.fromhex(value[2:])


def _hash(value: Any) -> bytes:
    if len(found := _bytes(value)) != 32:
        raise ValueError(value)
    return found


def _hashes(value: Any) -> list[bytes]:
    if not isinstance(value, list):
        raise TypeError(value)
    return [_hash(each) for each in value]


def _address(value: Any) -> str:
    if not is_address(value):
        raise ValueError(value)
    return str(to_checksum_address(value))

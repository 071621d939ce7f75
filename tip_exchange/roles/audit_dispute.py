"""The dispute of an order: the draw, the key, and what the key makes of every reply."""

from __future__ import annotations

from eth_abi.abi import encode

from tip_exchange import commitments
from tip_exchange.chain.escrow import Escrow
from tip_exchange.chain.events import Challenged, DrawPostponed, IndicesDrawn, KeyRevealed, ReplyProven
from tip_exchange.chain.phases import clock
from tip_exchange.encryption.decryption import decrypt, phases
from tip_exchange.encryption.keys import unpack
from tip_exchange.encryption.parameters import ERROR_BOUND, parameter_set
from tip_exchange.encryption.query import expand_a
from tip_exchange.encryption.wire import Query, Reply
from tip_exchange.errors import IntegrityError, StorageError
from tip_exchange.roles.audit_entries import reply_bytes
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.storage import BlobStore
from tip_exchange.types import UNAVAILABLE, Submission


def drawn_indices(block_hash: bytes, order_id: bytes, degree: int) -> tuple[int, int, int]:
    """Coefficients below ``degree``, a power of two up to 2¹⁶, that a block's hash (32 bytes) draws for an order."""
    digest = int.from_bytes(commitments.keccak(encode(["bytes32", "bytes32"], [block_hash, order_id])))
    first, second, third = ((digest >> (16 * place)) % degree for place in range(3))
    return first, second, third


def dispute_marks(evidence: Evidence) -> str:
    """Bond and proofs of the dispute are what the terms and the events say."""
    terms, dispute = evidence.order.terms, evidence.dispute
    challenge = evidence.one(Challenged)
    bond = challenge.challenger, challenge.bond
    expect(bond == (dispute.challenger, terms.challengeBond), f"challenged by {bond[0]} with {bond[1]}")
    proofs = evidence.of(ReplyProven)
    for event in proofs:
        false = event.attested not in (event.decrypted, UNAVAILABLE)
        expect(event.falsified == false, f"the proof of {event.seller} says falsified: {event.falsified}")
    told = sorted(event.seller for event in proofs if event.falsified)
    marked = sorted(entry.seller for entry in evidence.submissions if entry.falsified)
    expect(marked == told, f"proven false are {told}, the contract says {marked}")
    return f"challenged by {bond[0]}, {len(proofs)} replies decrypted by the contract, {len(told)} values false"


def indices(escrow: Escrow, evidence: Evidence) -> str:
    """The indices follow from the hash of the last block named for the draw."""
    draw = evidence.one(IndicesDrawn)
    named = [event.draw_block for event in evidence.before(draw) if isinstance(event, Challenged | DrawPostponed)]
    expect(bool(named), "indices were drawn without a challenge")
    expect(
        evidence.dispute.draw_block == named[-1],
        f"the contract draws from block {evidence.dispute.draw_block}, named was {named[-1]}",
    )
    degree = parameter_set(evidence.order.terms.parameterSet).N
    wanted = drawn_indices(escrow.block_hash(named[-1]), evidence.order.order_id, degree)
    stored = evidence.dispute.indices
    expect(draw.indices == stored == wanted, f"drawn {draw.indices}, the hash of block {named[-1]} gives {wanted}")
    return f"{', '.join(map(str, wanted))}, from the hash of block {named[-1]}"


def key(query: Query, evidence: Evidence) -> str:
    """The public key is the committed one, and small on the zero block at each index drawn."""
    packed, drawn = evidence.one(KeyRevealed).key, evidence.dispute.indices
    commitments.check("key", evidence.order.terms.keyHash, commitments.keccak(packed))
    if drawn is None:
        raise IntegrityError("a key was shown before the indices were drawn")
    parameters, block = query.parameters, query.zero_blocks[0]
    coefficients, a = unpack(packed, parameters), expand_a(block, parameters)[0]
    for place in drawn:
        cell = Reply(a, block.b[0][place : place + 1])
        (phase,) = phases(cell, coefficients, parameters, place + 1)
        small = min(phase, parameters.q0 - phase) <= ERROR_BOUND
        expect(small, f"the phase at index {place} is {phase}, not within {ERROR_BOUND} of 0")
    return f"hash as committed, and the zero block decrypts to zero at {', '.join(map(str, drawn))}"


def decryption(store: BlobStore, evidence: Evidence, entry: Submission) -> str:
    """What the public key makes of a reply is the value that counts, and what the contract has decrypted."""
    parameters = parameter_set(evidence.order.terms.parameterSet)
    try:
        reply = reply_bytes(store, evidence, entry)
    except (StorageError, IntegrityError) as error:
        expect(entry.proven or entry.attested == UNAVAILABLE, f"cannot be checked: {error}")
        return "decrypted by the contract" if entry.proven else "UNAVAILABLE"
    value = decrypt(reply, unpack(evidence.one(KeyRevealed).key, parameters), parameters)
    for event in evidence.of(ReplyProven, entry.seller):
        expect(event.decrypted == value, f"the contract decrypted {event.decrypted}, this key gives {value}")
    if entry.attested == UNAVAILABLE:
        return f"decrypts to {value}, counted as UNAVAILABLE because nobody has proven it"
    expect(
        entry.attested == value,
        f"decrypts to {value}, but {entry.attested} counts; `tip order prove` corrects it until "
        f"{clock(evidence.order.prove_until)}",
    )
    return f"{value}, {'decrypted by the contract' if entry.proven else 'as attested'}"

"""``tip seller``: submit, check-values, open-rows, publish, reveal, hand-over, challenge, ledger, claim."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from tip_exchange.cli.options import (
    Address,
    Bytes32,
    Session,
    compute_options,
    home_option,
    json_option,
    progress_bar,
    session_options,
    show,
)
from tip_exchange.influence.settings import Compute
from tip_exchange.roles.ledger import DEFAULT_LIMIT, Ledger


@click.group()
def seller() -> None:
    """Sell the influence of records without showing one."""


@seller.command()
@click.argument("order", type=Bytes32())
@click.option(
    "--records",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="Your records, with the columns the buyer's model names: CSV, JSONL, Parquet, or a saved `datasets` folder.",
)
@click.option(
    "--record-scores",
    is_flag=True,
    help="Score every record by itself too, for `tip seller hand-over` after the reveal.",
)
@click.option(
    "--ledger-limit",
    type=click.IntRange(1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Most bits about a record that all its buyers may learn (`tip seller ledger`).",
)
@compute_options
@session_options(wallet=True)
def submit(
    session: Session,
    order: bytes,
    records: Path,
    record_scores: bool,
    ledger_limit: int,
    compute: Compute,
    as_json_output: bool,
) -> None:
    """Value your records blindly and commit to the padded reply."""
    from tip_exchange.roles import seller as role

    with progress_bar() as progress:
        done = role.submit(
            session.market(),
            session.home,
            session.account(),
            order,
            role.Answering(records, compute, record_scores, ledger_limit),
            progress,
        )
    result = {
        "order_id": done.order_id,
        "given": done.given,
        "records": done.records,
        "reply_hash": done.reply_hash,
        "pad_hash": done.pad_hash,
        "data_root": done.data_root,
        "already_submitted": done.receipt is None,
        "gas": done.receipt.gas_used if done.receipt else 0,
    }
    counts = f"{done.records} distinct records of {done.given}"
    show(as_json_output, result, f"submitted {counts} to order 0x{order.hex()}; reply 0x{done.reply_hash.hex()}")


@seller.command("check-values")
@click.argument("order", type=Bytes32())
@compute_options
@session_options(wallet=True)
def check_values(session: Session, order: bytes, compute: Compute, as_json_output: bool) -> None:
    """Tell the buyer the check values of your records, sealed, when submissions to ORDER are closed.

    In orders with tags only. They tie your answer to the records you declared, and tell a few bits of each. A seller
    that tells none is rejected and earns nothing. Gradients are taken from your home, or computed once more in the
    number format of the submission.
    """
    from tip_exchange.roles import check_values as role

    with progress_bar() as progress:
        records, size = role.tell_check_values(
            session.market(), session.home, session.account(), order, compute, progress
        )
    text = f"check values of {records} records are told to the buyer alone, {size} bytes sealed"
    show(as_json_output, {"records": records, "bytes": size}, text)


@seller.command("open-rows")
@click.argument("order", type=Bytes32())
@session_options(wallet=True)
def open_rows(session: Session, order: bytes, as_json_output: bool) -> None:
    """Open the records of yours that the buyer's secret draws, sealed to the buyer, before it attests.

    At most as many as the order's terms say, once. A seller that does not is rejected and earns nothing.
    """
    from tip_exchange.roles import open_rows as role

    opened = role.open_rows(session.market(), session.home, session.account(), order)
    result = {"records": opened.records, "rows": opened.rows, "bytes": opened.size}
    text = f"{len(opened.rows)} of {opened.records} records are open to the buyer alone, {opened.size} bytes sealed"
    show(as_json_output, result, text)


@seller.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True)
def reveal(session: Session, order: bytes, as_json_output: bool) -> None:
    """Open your pads after the buyer has attested, so that the contract learns your value.

    In an order with tags it is checked first, here, that the contract will take them: if the attested tag does not fit
    nothing is sent, and your value stays secret.
    """
    from tip_exchange.roles import seller as role

    account, market = session.account(), session.market()
    receipt = role.reveal(market, session.home, account, order)
    entry = market.escrow.submission(order, account.address)
    result = {
        "value": entry.value,
        "weight": entry.weight,
        "records": entry.records,
        "already_revealed": receipt is None,
        "gas": receipt.gas_used if receipt else 0,
    }
    show(as_json_output, result, f"revealed: value {entry.value}, weight {entry.weight}")


@seller.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def publish(session: Session, order: bytes, as_json_output: bool) -> None:
    """Put your reply to ORDER on the chain, because the buyer attested it UNAVAILABLE; it must answer then."""
    from tip_exchange.roles import dispute as role

    receipt = role.publish(session.market(), session.home, session.account(), order)
    result = {"already_published": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, f"your reply to order 0x{order.hex()} is on the chain; the buyer must answer it")


@seller.command()
@click.argument("order", type=Bytes32())
@session_options(wallet=True, storage=False)
def challenge(session: Session, order: bytes, as_json_output: bool) -> None:
    """Doubt the attestation of ORDER: post the challenge bond, so that the buyer has to show its key. Anyone may.

    The bond comes back if the buyer stays silent or any value is proven false (`tip order prove`), and goes to the
    buyer otherwise.
    """
    from tip_exchange.roles import dispute as role

    market, account = session.market(), session.account()
    receipt = role.challenge(market, session.home, account, order)
    bond, challenger = market.escrow.order(order).terms.challengeBond, market.escrow.dispute(order).challenger
    result = {
        "challenger": challenger,
        "bond_wei": bond,
        "already_challenged": receipt is None,
        "gas": receipt.gas_used if receipt else 0,
    }
    said = f"challenged by {challenger}, with a bond of {bond}"
    show(as_json_output, result, f"order 0x{order.hex()} is {said}; next: `tip order draw`, `tip order prove`")


@seller.command("hand-over")
@click.argument("order", type=Bytes32())
@session_options(wallet=True)
def hand_over(session: Session, order: bytes, as_json_output: bool) -> None:
    """Publish the record scores you committed to, sealed to the buyer, after your reveal."""
    from tip_exchange.roles import seller as role

    size = role.hand_over(session.market(), session.home, session.account(), order)
    show(as_json_output, {"bytes": size}, f"{size} bytes of record scores are in the storage, sealed to the buyer")


@seller.command()
@json_option
@home_option
def ledger(home: Path, as_json_output: bool) -> None:
    """What your buyers may have learned about your records, in bits, by order."""
    with Ledger(home) as kept:
        answers, most = kept.answers(), kept.most_told()
    lines = [f"{each.answered}  order {each.order_id}: {each.bits} bits a record, {each.records}" for each in answers]
    total = f"most told about one record: {most} bits"
    show(as_json_output, {"answers": [asdict(each) for each in answers], "most_told": most}, "\n".join([*lines, total]))


@seller.command()
@click.argument("order", type=Bytes32())
@click.option("--for", "receiver", type=Address(), help="Push another seller's claim instead; the money goes to it.")
@session_options(wallet=True)
def claim(session: Session, order: bytes, receiver: str | None, as_json_output: bool) -> None:
    """Take your share of the budget and your answer fee."""
    from tip_exchange.roles import seller as role

    account, market = session.account(), session.market()
    receiver = receiver or account.address
    receipt = role.claim(market, session.home, account, order, receiver)
    payout, fee = market.escrow.payout(order, receiver)
    result = {
        "seller": receiver,
        "payout_wei": payout,
        "fee_wei": fee,
        "already_claimed": receipt is None,
        "gas": receipt.gas_used if receipt else 0,
    }
    show(as_json_output, result, f"{receiver} received {payout + fee} (payout {payout}, answer fee {fee})")

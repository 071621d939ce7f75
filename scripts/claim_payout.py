#!/usr/bin/env python
"""Reveal and claim, as a seller, with nothing but an RPC URL, an order, a keystore and the seller's own state.

The escrow's address comes from the deployment file, in the seller's home or by --deployment.

Run it after the buyer has attested and again when claims have opened; it does what is possible now and says what is
next. It may be killed and run again at any moment.
"""

from __future__ import annotations

import click

from tip_exchange.chain.reverts import clock
from tip_exchange.cli.main import run
from tip_exchange.cli.options import Bytes32, Session, session_options, show
from tip_exchange.roles import seller
from tip_exchange.types import Phase


@click.command(help=__doc__)
@click.argument("order", type=Bytes32())
@session_options(wallet=True)
def claim_payout(session: Session, order: bytes, as_json_output: bool) -> None:
    """Do the one step that the order's phase allows."""
    market, account = session.market(), session.account()
    state = market.escrow.order(order)
    if state.phase == Phase.REVEALING:
        seller.reveal(market, session.home, account, order)
        text = f"revealed; run this again from {clock(state.claim_from)} on to claim"
    else:
        seller.claim(market, session.home, account, order, account.address)
        text = "claimed"
    payout, fee = market.escrow.payout(order, account.address)
    entry = market.escrow.submission(order, account.address)
    result = {"revealed": entry.revealed, "claimed": entry.claimed, "payout_wei": payout, "fee_wei": fee}
    show(as_json_output, result, f"{text}; payout {payout} wei, answer fee {fee} wei")


if __name__ == "__main__":
    run(claim_payout)

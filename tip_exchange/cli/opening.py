"""``tip buyer``'s ``limits``, ``open`` and ``cancel``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from tip_exchange.cli.options import (
    Address,
    Amount,
    Bytes32,
    Duration,
    Session,
    compute_options,
    json_option,
    progress_bar,
    session_options,
    show,
)
from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.settings import Compute, Curvature, QueryRecipe
from tip_exchange.types import MAX_SELLERS, NATIVE_COIN

F = TypeVar("F", bound=Callable[..., Any])

SEATS = 16
"""Sellers that an order takes where neither their number nor their addresses are given."""

CHALLENGE_BOND = 10**17
"""In wei, where none is given; a token's smallest unit may be worth anything, so for a token it has to be given."""

_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_records = click.Path(path_type=Path, exists=True)
_folder = click.Path(path_type=Path, file_okay=False, exists=True)


def _recipe_options(command: F) -> F:
    """How the query is made of the validation gradient; the command receives a :class:`QueryRecipe`."""

    @functools.wraps(command)
    def with_recipe(*args: Any, curvature: Curvature, damping: float, theta: float, **rest: Any) -> Any:
        return command(*args, recipe=QueryRecipe(curvature, damping, theta), **rest)

    decorated: Any = with_recipe
    for option in (
        click.option(
            "--theta",
            type=float,
            default=0.0,
            show_default=True,
            help="Weight of agreement with the model, against bad labels.",
        ),
        click.option(
            "--damping",
            type=float,
            default=10.0,
            show_default=True,
            help="In multiples of the curvature's mean eigenvalue.",
        ),
        click.option(
            "--curvature",
            type=click.Choice(get_args(Curvature)),
            default="sampled",
            show_default=True,
            help="What the validation gradient is divided by.",
        ),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result


def _input_options(command: F) -> F:
    """What an order is made of; the command receives ``model``, ``validation`` and ``background``."""
    decorated: Any = command
    for option in (
        click.option(
            "--background", required=True, type=_records, help="Your own training records. They stay private."
        ),
        click.option(
            "--validation",
            required=True,
            type=_records,
            help="Records the model should do better on. They stay private.",
        ),
        click.option("--model", required=True, type=_folder, help="Model folder (`tip buyer train`)."),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result


@click.command()
@_input_options
@click.option("--budget", type=Amount(), help="Propose a rate too, that makes this budget last.")
@click.option(
    "--max-sellers",
    type=click.IntRange(1, MAX_SELLERS),
    default=SEATS,
    show_default=True,
    help="For so many sellers.",
)
@_recipe_options
@compute_options
@json_option
def limits(
    model: Path,
    validation: Path,
    background: Path,
    budget: int | None,
    max_sellers: int,
    recipe: QueryRecipe,
    compute: Compute,
    as_json_output: bool,
) -> None:
    """Propose limits for `tip buyer open`, from what your own records reach.

    They are --value-floor, --value-cap, --records-cap and --min-records, each with its reason, and with --budget the
    --rate. Validation records are valued by directions made of the others; nothing leaves this machine. Takes about
    four times as long as opening the order. `open` does the same by itself where you give no --rate.
    """
    from tip_exchange.roles import opening as role

    with progress_bar() as progress:
        proposed, rate = role.limits(
            role.Inputs(model, validation, background),
            budget=budget,
            sellers=max_sellers,
            recipe=recipe,
            compute=compute,
            progress=progress,
        )
    reasons = dict(proposed.reasons)
    if rate is not None:
        reasons["--rate"] = f"{rate}wei: the budget then covers {max_sellers} sellers that earn the most they can"
    lines = [f"{option} {reason}" for option, reason in reasons.items()]
    show(as_json_output, proposed.as_options() | {"rate": rate, "reasons": reasons}, "\n".join(lines))


_count = click.IntRange(1, 2**32 - 1)

_MONEY = (
    click.option("--budget", required=True, type=Amount(), help="Most that all payouts together can come to."),
    click.option(
        "--rate",
        type=Amount(),
        help="Price of value 1.0 of one record.  [default: what makes the budget last, from your own records]",
    ),
    click.option(
        "--bond",
        type=Amount(),
        help="Lost by a false attestation and by silence.  [default: the least that the contract takes]",
    ),
    click.option("--answer-fee", required=True, type=Amount(), help="For every valid answer, whatever its value."),
    click.option(
        "--publish-fee",
        type=Amount(),
        help="For a seller whose reply you called UNAVAILABLE, who put it on the chain, and who was right.  "
        "[default: what publishing costs now; for a token required]",
    ),
    click.option(
        "--challenge-bond", type=Amount(), help="What a challenger posts.  [default: 0.1ether; for a token required]"
    ),
    click.option("--token", type=Address(), default=NATIVE_COIN, help="ERC-20 to pay in instead of the chain's coin."),
)

_LIMITS = (
    click.option(
        "--value-floor",
        type=click.IntRange(0, 2**34 - 1),
        help="Value from which a record is paid, and of which as much is taken off each.  "
        "[default: 0, or without --rate from your own records, as the next three]",
    ),
    click.option("--value-cap", type=click.IntRange(1, 2**34), help="Highest value paid for.  [default: 2^34]"),
    click.option("--records-cap", type=_count, help="Most records of one seller that are paid.  [default: 100000]"),
    click.option(
        "--min-records",
        type=_count,
        help="Fewest that are paid; sellers refuse to answer with few.  [default: 20]",
    ),
    click.option(
        "--max-sellers",
        type=click.IntRange(1, MAX_SELLERS),
        show_default=f"those invited, or {SEATS}",
        help="Most answers, rejected ones included.",
    ),
    click.option("--seller", "sellers", type=Address(), multiple=True, help="Invite this seller (repeat)."),
    click.option("--open", "open_to_all", is_flag=True, help="Take answers from everybody, invited or not."),
    click.option(
        "--any-answer-fee",
        is_flag=True,
        help="With --open, take fees above what answering or publishing costs: answers are worth making for them.",
    ),
)

_WINDOWS = (
    click.option("--submit-window", type=Duration(), default="2d", show_default=True, help="For answers."),
    click.option("--attest-window", type=Duration(), default="2d", show_default=True, help="For you to attest."),
    click.option("--reveal-window", type=Duration(), default="2d", show_default=True, help="For sellers' pads."),
    click.option(
        "--challenge-window",
        type=Duration(),
        default="3d",
        show_default=True,
        help="To challenge; to publish, answer, show the key and prove, each.",
    ),
    click.option(
        "--delivery-window",
        type=Duration(),
        default="2d",
        show_default=True,
        help="To offer a file, to accept or decline it, and to deliver its key, each.",
    ),
    click.option(
        "--contest-window", type=Duration(), default="3d", show_default=True, help="For you to verify a delivery."
    ),
    click.option("--ruling-window", type=Duration(), default="7d", show_default=True, help="For the arbiter to rule."),
)

_DELIVERY = (
    click.option(
        "--arbiter",
        required=True,
        type=Address(),
        help="Who rules contested deliveries. Sellers answer only where they trust it.",
    ),
    click.option(
        "--arbiter-box-key",
        required=True,
        type=Bytes32(),
        help="Its key, to which evidence is sealed (`tip auditor keys`).",
    ),
    click.option(
        "--arbiter-fee", required=True, type=Amount(), help="What a ruling costs; the least bond of a delivery."
    ),
    click.option(
        "--decline-share",
        type=click.IntRange(500, 5_000),
        default=1_250,
        show_default=True,
        help="Part of a payout that declining a file costs either side, in hundredths of a percent.",
    ),
    click.option(
        "--contest-share",
        type=click.IntRange(1_000, 10_000),
        default=2_500,
        show_default=True,
        help="Part of a payout that you put at stake to contest a delivery, in hundredths of a percent.",
    ),
    click.option(
        "--max-delivery-bytes",
        type=click.IntRange(1, 2**63),
        default=2**32,
        show_default=True,
        help="Largest file you take.",
    ),
    click.option(
        "--licence", type=_file, help="Text under which the records are sold.  [default: to train with, not to pass on]"
    ),
)


def _term_options(command: F) -> F:
    """The terms of an order, which the command receives by the options' names."""
    decorated: Any = command
    for option in reversed((*_MONEY, *_LIMITS, *_WINDOWS, *_DELIVERY)):
        decorated = option(decorated)
    result: F = decorated
    return result


_TERMS = {
    "answer_fee": "answerFee",
    "publish_fee": "publishFee",
    "challenge_bond": "challengeBond",
    "value_floor": "valueFloor",
    "value_cap": "valueCap",
    "records_cap": "recordsCap",
    "min_records": "minRecords",
    "max_sellers": "maxSellers",
    "submit_window": "submitWindow",
    "attest_window": "attestWindow",
    "reveal_window": "revealWindow",
    "challenge_window": "challengeWindow",
    "delivery_window": "deliveryWindow",
    "contest_window": "contestWindow",
    "ruling_window": "rulingWindow",
    "arbiter_box_key": "arbiterBoxKey",
    "arbiter_fee": "arbiterFee",
    "decline_share": "declineShare",
    "contest_share": "contestShare",
    "max_delivery_bytes": "maxDeliveryBytes",
}
"""The fields of an offer that are named otherwise than the options."""


def _offer_fields(given: dict[str, Any]) -> dict[str, Any]:
    """What the options say, by the names of :class:`~tip_exchange.roles.offering.Offer`."""
    if given["challenge_bond"] is None:
        if given["token"] != NATIVE_COIN:
            raise InputError(f"give --challenge-bond: what a unit of {given['token']} is worth is not known")
        given["challenge_bond"] = CHALLENGE_BOND
    if given["max_sellers"] is None:
        given["max_sellers"] = len(given["sellers"]) or SEATS
    path = given.pop("licence")
    if path is not None:
        try:
            given["licence"] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return {_TERMS.get(name, name): value for name, value in given.items()}


@click.command("open")
@click.option("--name", required=True, help="Your own name for the order; the same name goes on after a kill.")
@_input_options
@_term_options
@_recipe_options
@compute_options
@session_options(wallet=True)
def open_(
    session: Session,
    name: str,
    model: Path,
    validation: Path,
    background: Path,
    recipe: QueryRecipe,
    compute: Compute,
    as_json_output: bool,
    **given: Any,
) -> None:
    """Encrypt what you are looking for, publish query, model and licence, lock the money.

    Records are paid by their value, and only once you have them and have had time to verify each. Prints the order's
    whole calendar: keep `tip buyer watch` running. Silence costs the bond and what sellers could earn, and
    accepts every file.
    """
    from tip_exchange.chain.phases import clock
    from tip_exchange.roles import opening as role
    from tip_exchange.roles.calendar import calendar, longest_delay
    from tip_exchange.roles.offering import Offer

    offer = Offer(**_offer_fields(given))
    with progress_bar() as progress:
        opened = role.open_order(
            session.market(),
            session.home,
            session.account(),
            name=name,
            inputs=role.Inputs(model, validation, background),
            offer=offer,
            recipe=recipe,
            compute=compute,
            progress=progress,
        )
    terms, windows = opened.terms, calendar(opened.terms, opened.opened_at)
    result = {
        "order_id": opened.order_id,
        "name": opened.name,
        "dimension": opened.dimension,
        "deposit_wei": terms.deposit,
        "rate_wei": terms.rate,
        "bond_wei": terms.bond,
        "publish_fee_wei": terms.publishFee,
        "calendar": [asdict(window) for window in windows],
        "longest_delay": longest_delay(terms),
        "warnings": list(opened.warnings),
        "already_open": opened.receipt is None,
        "gas": opened.receipt.gas_used if opened.receipt else 0,
    }
    lines = [f"order 0x{opened.order_id.hex()} is open; {terms.deposit} wei are locked, {terms.bond} of them as bond"]
    lines += [f"value 1.0 of one record is paid {terms.rate} wei; a value counts from {terms.valueFloor} / 2^34 up"]
    lines += [f"until {clock(window.closes)}  {window.what}" for window in windows]
    lines += [
        f"at the latest; missing replies and a challenge may move all that follows by up to "
        f"{longest_delay(terms) // 86400} days"
        if longest_delay(terms) >= 86400
        else f"at the latest; missing replies and a challenge may add up to {longest_delay(terms)} s"
    ]
    lines += [f"warning: {warning}" for warning in opened.warnings]
    show(as_json_output, result, "\n".join(lines))


@click.command()
@click.argument("order")
@session_options(wallet=True, storage=False)
def cancel(session: Session, order: str, as_json_output: bool) -> None:
    """Take ORDER back, with all its money, while nobody has answered it."""
    from tip_exchange.roles import opening as role

    receipt = role.cancel(session.market(), session.home, session.account(), order)
    result = {"already_cancelled": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, "the order is taken back")

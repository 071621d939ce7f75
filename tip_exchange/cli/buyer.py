"""``tip buyer``: train and open, check and attest, answer and watch, scores, refund."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import click

from tip_exchange.cli.options import (
    Address,
    Amount,
    Duration,
    Names,
    Session,
    compute_options,
    json_option,
    progress_bar,
    session_options,
    show,
)
from tip_exchange.errors import DataError, InputError
from tip_exchange.influence.settings import Compute, Curvature, QueryRecipe
from tip_exchange.types import (
    BURN_ADDRESS,
    MAX_SELLERS,
    MAX_SPOT_CHECK_ROWS,
    MAX_TAGGED_SELLERS,
    NATIVE_COIN,
    UNAVAILABLE,
)

if TYPE_CHECKING:
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.specification import Projection
    from tip_exchange.roles.buyer import SellerScores

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def buyer() -> None:
    """Buy influence without showing what you validate on."""


_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_records = click.Path(path_type=Path, exists=True)
_folder = click.Path(path_type=Path, file_okay=False, exists=True)
_new_file = click.Path(path_type=Path, dir_okay=False)
_new_folder = click.Path(path_type=Path, file_okay=False)


_OF_TEXTS = ("max_length", "max_blocks", "per_token")


@buyer.command()
@click.option(
    "--base", help="For texts: Hugging Face folder (config, tokenizer, safetensors), or a model's name on the hub."
)
@click.option("--numbers", type=Names(), default="", help="For tables, instead: columns of numbers, 'age,cd4,weight'.")
@click.option("--categories", type=Names(), default="", help="For tables: columns of categories, 'arm,sex'.")
@click.option(
    "--records",
    required=True,
    type=_records,
    help="Your own training records (CSV, JSONL, Parquet, saved dataset), with texts in a column named text.",
)
@click.option(
    "--labels",
    type=_file,
    help="Names of all classes, one a line; those you lack included. Without it a language model is trained.",
)
@click.option("--label-column", default="label", show_default=True, help="Column of the label, yours and the sellers'.")
@click.option(
    "--out",
    required=True,
    type=_new_folder,
    help="Model folder to write; must not exist, or be empty.",
)
@click.option(
    "--checkpoints", type=click.IntRange(1, 100), default=3, show_default=True, help="Models to average over."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first checkpoint.")
@click.option(
    "--rank",
    type=click.IntRange(1, 1024),
    show_default="16; for tables none, all in full",
    help="Rank of the projections.",
)
@click.option(
    "--ridge",
    type=click.FloatRange(0, min_open=True),
    default=0.1,
    show_default=True,
    help="For tables: regularisation, in units of your number of records. A stronger one makes values tell more and "
    "the model worse.",
)
@click.option(
    "--max-length",
    type=click.IntRange(3, 4096),
    default=32,
    show_default=True,
    help="Most tokens of a text; the rest is cut off, yours and the sellers'.",
)
@click.option(
    "--max-blocks",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Blocks of that length in which a longer text is valued instead of being cut.",
)
@click.option("--per-token", is_flag=True, help="Value texts per token, so that long ones count no more than short.")
@click.option(
    "--projection",
    type=click.Choice(["signs", "gaussian", "principal"]),
    default="signs",
    show_default=True,
    help="Random, or along principal directions of your records, which the model then shows to sellers.",
)
@json_option
@click.pass_context
def train(
    context: click.Context,
    /,
    base: str | None,
    numbers: tuple[str, ...],
    categories: tuple[str, ...],
    labels: Path | None,
    as_json_output: bool,
    **options: Any,
) -> None:
    """Train a model on your own records into a folder that sellers can value against.

    For texts give --base. With --labels a sequence classifier: BERT, RoBERTa, DistilBERT, GPT-2, Llama and two dozen
    other families; without, a causal language model such as GPT-2 or Llama, on the texts alone. The top layer and the
    head are trained, the rest stays as it is.

    For rows of a table give --numbers, --categories or both, and --labels: a small perceptron. The folder shows
    sellers the columns' names, your rows' means and deviations, and the categories among them. A cell may be empty.
    """
    names = [] if labels is None else _label_names(labels)
    given = {n for n in options if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE}
    if (base is None) == (not (numbers or categories)):
        raise InputError("give --base for a model of texts, or --numbers and --categories for one of tables")
    with progress_bar() as progress:

        def done(count: int, total: int) -> None:
            progress("training checkpoints", count, total)

        if base is not None:
            _only("tables", {"ridge"} & given)
            folder, records = _train_texts(base, names, done, **options)
        else:
            _only("texts", set(_OF_TEXTS) & given)
            if not names:
                raise InputError("a model of tables needs --labels: a file with the names of the classes, one a line")
            folder, records = _train_table(numbers, categories, names, done, **options)
    from tip_exchange.influence.gradients import dimension

    result = {
        "model": str(folder.path),
        "records": records,
        "checkpoints": folder.checkpoints,
        "dimension": dimension(folder),
    }
    text = "{checkpoints} checkpoints in {model}; gradients have {dimension} entries".format(**result)
    show(as_json_output, result, text)


def _only(kind: str, given: set[str]) -> None:
    if given:
        raise InputError(f"--{min(given).replace('_', '-')} is for models of {kind}; leave it out")


def _train_texts(
    base: str,
    names: list[str],
    progress: Callable[[int, int], None],
    *,
    records: Path,
    label_column: str,
    out: Path,
    checkpoints: int,
    seed: int,
    rank: int | None,
    max_length: int,
    max_blocks: int,
    per_token: bool,
    projection: Projection,
    **_: Any,
) -> tuple[ModelFolder, int]:
    from tip_exchange.influence.pretrained import find_base
    from tip_exchange.influence.records import read_records
    from tip_exchange.influence.training import Recipe, train_buyer_models

    own = read_records(records, names, label_column=label_column)
    folder = train_buyer_models(
        find_base(base),
        own,
        names,
        out,
        seeds=range(seed, seed + checkpoints),
        recipe=Recipe(max_length=max_length),
        rank=rank or 16,
        projection=projection,
        max_blocks=max_blocks,
        per_token=per_token,
        label_column=label_column,
        progress=progress,
    )
    return folder, len(own)


def _train_table(
    numbers: tuple[str, ...],
    categories: tuple[str, ...],
    names: list[str],
    progress: Callable[[int, int], None],
    *,
    records: Path,
    label_column: str,
    out: Path,
    checkpoints: int,
    seed: int,
    rank: int | None,
    ridge: float,
    projection: Projection,
    **_: Any,
) -> tuple[ModelFolder, int]:
    from tip_exchange.influence.columns import fit_columns
    from tip_exchange.influence.table_training import TableRecipe, train_table_models

    columns = fit_columns(records, numbers, categories, label_column)
    own = columns.read(records, names, label_column)
    folder = train_table_models(
        columns,
        own,
        names,
        out,
        seeds=range(seed, seed + checkpoints),
        recipe=TableRecipe(ridge=ridge),
        rank=rank,
        projection=projection,
        label_column=label_column,
        progress=progress,
    )
    return folder, len(own)


def _label_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}); give one label a line") from error
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path} must name two classes or more, one a line and none twice; it has {len(names)} lines")
    return names


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


@buyer.command()
@click.option("--model", required=True, type=_folder, help="Model folder (`tip buyer train`).")
@click.option("--validation", required=True, type=_records, help="Records the model should do better on.")
@click.option("--background", required=True, type=_records, help="Your own training records.")
@_recipe_options
@compute_options
@json_option
def caps(
    model: Path, validation: Path, background: Path, recipe: QueryRecipe, compute: Compute, as_json_output: bool
) -> None:
    """Propose limits for `tip buyer open`, from what your own records reach.

    They are --value-floor, --value-cap, --records-cap, --min-records and --spot-check-rows, each with its reason.
    Validation records are valued by directions made of the others; nothing leaves this machine. Takes about four times
    as long as opening the order.
    """
    from tip_exchange.roles import buyer as role

    with progress_bar() as progress:
        proposed = role.caps(
            model=model, validation=validation, background=background, recipe=recipe, compute=compute, progress=progress
        )
    lines = [f"{option} {reason}" for option, reason in proposed.reasons.items()]
    show(as_json_output, proposed.as_options() | {"reasons": proposed.reasons}, "\n".join(lines))


@buyer.command("open")
@click.option("--name", required=True, help="Your own name for the order; the same name goes on after a kill.")
@click.option("--model", required=True, type=_folder, help="Model folder (`tip buyer train`).")
@click.option(
    "--validation", required=True, type=_records, help="Records the model should do better on. Stays private."
)
@click.option("--background", required=True, type=_records, help="Your own training records. Stays private.")
@click.option("--budget", required=True, type=Amount(), help="Split among the sellers by influence.")
@click.option(
    "--bond", required=True, type=Amount(), help="Lost by a false attestation, and, with the budget, by silence."
)
@click.option("--answer-fee", required=True, type=Amount(), help="For every valid answer, whatever its value.")
@click.option("--challenge-bond", type=Amount(), default="0.1ether", show_default=True, help="What a challenger posts.")
@click.option(
    "--max-sellers",
    type=click.IntRange(1, MAX_SELLERS),
    default=16,
    show_default=True,
    help=f"At most {MAX_TAGGED_SELLERS} with tags.",
)
@click.option("--min-records", type=click.IntRange(1, 2**32 - 1), default=16, show_default=True)
@click.option("--records-cap", type=click.IntRange(1, 2**32 - 1), default=100_000, show_default=True)
@click.option(
    "--value-floor",
    type=click.IntRange(0, 2**34 - 1),
    default=0,
    show_default=True,
    help="Value from which a record is paid, and of which as much is taken off each (`tip buyer caps`).",
)
@click.option(
    "--value-cap", type=click.IntRange(1, 2**34), default=2**34, show_default=True, help="Highest value paid for."
)
@click.option("--submit-window", type=Duration(), default="2d", show_default=True)
@click.option("--attest-window", type=Duration(), default="2d", show_default=True)
@click.option("--reveal-window", type=Duration(), default="2d", show_default=True)
@click.option("--challenge-window", type=Duration(), default="3d", show_default=True)
@click.option("--claim-window", type=Duration(), default="30d", show_default=True)
@click.option("--seller", "sellers", type=Address(), multiple=True, help="Invite only these sellers (repeat).")
@click.option(
    "--record-scores",
    type=click.IntRange(0),
    default=0,
    help="Also ask for scores of single records, of about so many a seller; sellers may leave them out.",
)
@click.option(
    "--tags/--no-tags",
    default=True,
    show_default=True,
    help="Have the contract take only values that are inner products with your query, and check before you attest that "
    "each is of the mean of declared records, so that constants and random bytes earn nothing.",
)
@click.option(
    "--spot-check-rows",
    type=click.IntRange(0, MAX_SPOT_CHECK_ROWS),
    default=20,
    show_default=True,
    help="Records that every seller has to open to you, sealed, before you attest (`tip buyer check`).",
)
@click.option("--token", type=Address(), default=NATIVE_COIN, help="ERC-20 to pay in instead of the chain's coin.")
@click.option("--forfeit-to", type=Address(), default=BURN_ADDRESS, show_default=True)
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
    **terms: Any,
) -> None:
    """Encrypt what you are looking for, publish query and model, lock the money."""
    from tip_exchange.roles import buyer as role

    renamed = {
        "token": terms["token"],
        "forfeitTo": terms["forfeit_to"],
        "budget": terms["budget"],
        "bond": terms["bond"],
        "answerFee": terms["answer_fee"],
        "challengeBond": terms["challenge_bond"],
        "valueFloor": terms["value_floor"],
        "valueCap": terms["value_cap"],
        "recordsCap": terms["records_cap"],
        "minRecords": terms["min_records"],
        "submitWindow": terms["submit_window"],
        "attestWindow": terms["attest_window"],
        "revealWindow": terms["reveal_window"],
        "challengeWindow": terms["challenge_window"],
        "claimWindow": terms["claim_window"],
        "maxSellers": terms["max_sellers"],
        "tags": terms["tags"],
        "sellers": terms["sellers"],
        "scored_records": terms["record_scores"],
        "spotCheckRows": terms["spot_check_rows"],
    }
    with progress_bar() as progress:
        opened = role.open_order(
            session.market(),
            session.home,
            session.account(),
            name=name,
            model=model,
            validation=validation,
            background=background,
            offer=role.Offer(**renamed),
            recipe=recipe,
            compute=compute,
            progress=progress,
        )
    result = {
        "order_id": opened.order_id,
        "name": opened.name,
        "dimension": opened.dimension,
        "deposit_wei": opened.terms.deposit,
        "already_open": opened.receipt is None,
        "gas": opened.receipt.gas_used if opened.receipt else 0,
    }
    show(as_json_output, result, f"order 0x{opened.order_id.hex()} is open; {opened.terms.deposit} wei are locked")


@buyer.command()
@click.argument("order")
@click.argument("seller", type=Address())
@session_options(wallet=True)
def reject(session: Session, order: str, seller: str, as_json_output: bool) -> None:
    """Turn SELLER away from ORDER before any value is known: it gets nothing and reveals nothing."""
    from tip_exchange.roles import buyer as role

    receipt = role.reject(session.market(), session.home, session.account(), order, seller)
    result = {"seller": seller, "already_rejected": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, f"{seller} is rejected")


@buyer.command("ask-check-values")
@click.argument("order")
@session_options()
def ask_check_values(session: Session, order: str, as_json_output: bool) -> None:
    """Publish the seed of ORDER's check vectors, so that sellers can tell check values (`tip seller check-values`).

    Only when submissions are closed, so that nobody can fit a submission to it. `tip buyer check` does it as well.
    """
    from tip_exchange.roles import open_rows as role

    role.ask_check_values(session.market(), session.home, order)
    show(as_json_output, {"asked": True}, "sellers can tell their check values now; next: `tip buyer ask-rows`")


@buyer.command("ask-rows")
@click.argument("order")
@session_options()
def ask_rows(session: Session, order: str, as_json_output: bool) -> None:
    """Publish the secret that draws which records each seller of ORDER has to open (`tip seller open-rows`).

    Only when submissions are closed, so that nobody can fit a submission to it, and in an order with tags when all
    check values are told: they are fixed now. `tip buyer check` does it as well.
    """
    from tip_exchange.roles import open_rows as role

    rows = role.ask_rows(session.market(), session.home, order)
    show(as_json_output, {"rows": rows}, f"sellers can open their rows now, {rows} each; next: `tip buyer check`")


@buyer.command()
@click.argument("order")
@click.option("--reject", "rejecting", is_flag=True, help="Turn away the sellers that fail.")
@click.option(
    "--reject-missing",
    is_flag=True,
    help="Turn away those that have told no check values, or opened nothing, too; give them time before.",
)
@compute_options
@session_options(wallet=True)
def check(
    session: Session, order: str, rejecting: bool, reject_missing: bool, compute: Compute, as_json_output: bool
) -> None:
    """Check what sellers of ORDER have told and opened, before you attest and know any value.

    Check values, proofs, parsing, labels, rows that repeat each other or an earlier seller's, recomputed gradients. A
    seller fails for what its own signed bytes show; what is only unlikely is a warning. Rejecting a seller costs you
    its records, and nobody learns its value.
    """
    from tip_exchange.roles import row_check as role
    from tip_exchange.roles.verdicts import Status

    market = session.market()
    with progress_bar() as progress:
        verdicts = role.check_rows(market, session.home, order, progress, compute=compute)
    if rejecting or reject_missing:
        failed: tuple[Status, ...] = ("failed",) if rejecting else ()
        missing: tuple[Status, ...] = ("not told", "not opened") if reject_missing else ()
        turned = failed + missing
        verdicts = role.reject_sellers(market, session.home, session.account(), order, verdicts, turned)
    lines = []
    for each in verdicts:
        lines.append(f"{each.seller}: {each.status}, {each.rows} of {each.records} records opened")
        lines += [f"  {reason}" for reason in each.reasons]
        lines += [f"  warning: {warning}" for warning in each.warnings]
    show(as_json_output, {"sellers": [asdict(each) for each in verdicts]}, "\n".join(lines))


@buyer.command()
@click.argument("order")
@click.option(
    "--sign-to",
    type=_new_file,
    help="Send nothing: write the signed attestation here, for anyone to relay.",
)
@click.option(
    "--missing",
    type=click.Choice(["refuse", "unavailable"]),
    default="refuse",
    show_default=True,
    help="What to do about replies that are missing from the storage, or damaged there: refuse to attest, or attest "
    "them UNAVAILABLE, so that their sellers may publish them on the chain (`tip buyer answer`).",
)
@session_options(wallet=True)
def attest(
    session: Session,
    order: str,
    sign_to: Path | None,
    missing: Literal["refuse", "unavailable"],
    as_json_output: bool,
) -> None:
    """Decrypt the replies to ORDER (its name or id) and attest the padded values and tags, knowing none of them.

    Where sellers tell check values or open rows, each that is not rejected must have passed `tip buyer check`.
    """
    from tip_exchange.files import write_atomic
    from tip_exchange.roles import buyer as role

    market, account, accepted = session.market(), session.account(), missing == "unavailable"
    with progress_bar() as progress:
        if sign_to is None:
            receipt = role.attest(market, session.home, account, order, progress, missing_unavailable=accepted)
            identity = role.identity_of(role.order_folder(session.home, order))
            entries = market.escrow.submissions(identity)
            unavailable = [entry.seller for entry in entries if entry.attested == UNAVAILABLE]
            result = {
                "already_attested": receipt is None,
                "unavailable": unavailable,
                "gas": receipt.gas_used if receipt else 0,
            }
            lines = ["attested"]
            lines += [f"UNAVAILABLE: {seller}; answer it if it publishes its reply" for seller in unavailable]
            show(as_json_output, result, "\n".join(lines))
            return
        attestation, signature = role.sign(market, session.home, account, order, progress, missing_unavailable=accepted)
    content = {
        "order_id": "0x" + attestation.order_id.hex(),
        "submissions": "0x" + attestation.submissions_hash.hex(),
        "values": list(attestation.values),
        "tags": list(attestation.tags),
        "tag_secret": "0x" + attestation.tag_secret.hex(),
        "signature": "0x" + signature.hex(),
    }
    write_atomic(sign_to, json.dumps(content, indent=1).encode())
    show(as_json_output, content, f"signed attestation of {len(attestation.values)} values in {sign_to}")


@buyer.command()
@click.argument("order")
@session_options(wallet=True)
def answer(session: Session, order: str, as_json_output: bool) -> None:
    """Attest the replies to ORDER that were UNAVAILABLE and that their sellers have put on the chain since.

    Silence about a published reply costs what never attesting does. The bytes come from the chain.
    """
    from tip_exchange.roles import respond as role

    answers = role.answer(session.market(), session.home, session.account(), order)
    result = {"sellers": [seller for seller, _ in answers], "gas": sum(receipt.gas_used for _, receipt in answers)}
    text = "\n".join(f"answered the reply of {seller}" for seller, _ in answers) or "no published reply is unanswered"
    show(as_json_output, result, text)


@buyer.command()
@click.argument("order")
@session_options(wallet=True)
def respond(session: Session, order: str, as_json_output: bool) -> None:
    """Show the key of ORDER after a challenge, so that the contract can decrypt; draws the index first when due.

    The key makes your query public for ever. Not to show it costs budget and bond.
    """
    from tip_exchange.roles import respond as role

    receipt = role.respond(session.market(), session.home, session.account(), order)
    result = {"already_shown": receipt is None, "gas": receipt.gas_used if receipt else 0}
    show(as_json_output, result, "the key is public; anyone may prove replies now (`tip order prove`)")


@buyer.command()
@click.argument("order")
@click.option("--once", is_flag=True, help="Look once, do what is due, and end.")
@click.option("--poll", type=Duration(), default="60s", show_default=True, help="Time between two looks.")
@compute_options
@session_options(wallet=True)
def watch(session: Session, order: str, once: bool, poll: int, compute: Compute, as_json_output: bool) -> None:
    """Stay beside ORDER until it is closed: check rows, attest, answer, show the key and take refunds, each in time.

    Where the order has tags, sellers have a quarter of what is left of the attest window when they are asked to tell
    check values; where it asks for rows, half of what is left when they are asked to open them. Sellers that fail the
    check, or have told or opened nothing by then, are rejected. Missing replies are waited for until a quarter of the
    attest window is left, and are UNAVAILABLE then. A node or a storage that fails is asked again; after a kill the
    same command goes on. A step that the contract refuses for another reason than time is tried three times; the
    command then ends with that error.
    """
    from tip_exchange.roles import respond as role

    account = session.account()
    with progress_bar() as progress:
        if once:
            seen = role.look(session.market(), session.home, account, order, progress, compute=compute)
            result = {"phase": seen.phase.name, "done": seen.done, "over": seen.over}
            show(as_json_output, result, f"{seen.phase.name}: {seen.done or 'nothing to do'}")
            return

        def report(line: str) -> None:
            show(as_json_output, {"event": line}, line)

        role.watch(session.market, session.home, account, order, poll, report, progress, compute=compute)


@buyer.command()
@click.argument("order")
@click.option("--out", type=_new_file, help="Parquet file for a table of seller, record, score and recomputed score.")
@click.option("--plots", type=_new_folder, help="Folder for a histogram of each seller's scores (needs matplotlib).")
@click.option(
    "--evidence",
    type=_new_folder,
    help="Folder for evidence against sellers whose scores are not of the records they were paid for "
    "(`tip auditor scores`). It holds the order's key: whoever has it can read your query. After the order only.",
)
@session_options()
def scores(
    session: Session, order: str, out: Path | None, plots: Path | None, evidence: Path | None, as_json_output: bool
) -> None:
    """Open the record scores that sellers of ORDER have handed over, and compare them with the revealed values.

    Scores of rows that were opened before the attestation are compared with recomputed ones as well.
    """
    import pyarrow
    from pyarrow import parquet

    from tip_exchange.roles import buyer as role
    from tip_exchange.roles.opened_scores import opened_scores
    from tip_exchange.roles.score_evidence import write_evidence

    market = session.market()
    with progress_bar() as progress:
        found, missing = role.collect_scores(market, session.home, order, progress)
        opened = opened_scores(market, session.home, order, found)
    if out is not None:
        recomputed = {
            (seller, row): score
            for seller, each in opened.items()
            for row, score in zip(each.rows.tolist(), each.recomputed.tolist(), strict=True)
        }
        columns = {
            "seller": [each.seller for each in found for _ in each.scores],
            "record": [record for each in found for record in range(len(each.scores))],
            "score": [score for each in found for score in each.scores.tolist()],
            "recomputed": [recomputed.get((each.seller, row)) for each in found for row in range(len(each.scores))],
        }
        parquet.write_table(pyarrow.table(columns), out)
    if plots is not None:
        _plot_scores(plots, found)
    written = []
    if evidence is not None:
        for each in found:
            if not each.agrees:
                written.append(evidence / f"{each.seller}.json")
                write_evidence(market, session.home, order, each.seller, written[-1])
    sellers = [
        {
            "seller": each.seller,
            "records": len(each.scores),
            "mean_score": each.scores.mean(),
            "value": each.value,
            "tolerance": each.tolerance,
            "agrees": each.agrees,
            "opened": len(opened[each.seller].rows) if each.seller in opened else 0,
            "disagreeing_rows": opened[each.seller].disagreeing if each.seller in opened else [],
        }
        for each in found
    ]
    lines = [
        f"{each.seller}: {len(each.scores)} scores, mean {each.scores.mean():+.6f}, revealed value {each.value:+.6f}"
        + ("" if each.agrees else f": NOT the same records, they may differ by {each.tolerance:.6f}")
        for each in found
    ]
    lines += [
        f"{seller}: rows {', '.join(map(str, each.disagreeing))}: NOT the scores of the records it opened"
        if each.disagreeing
        else f"{seller}: the scores of its {len(each.rows)} opened rows are those of these records"
        for seller, each in opened.items()
    ]
    lines += [f"{each}: has handed over no record scores" for each in missing]
    lines += [f"evidence in {path}" for path in written]
    result = {"sellers": sellers, "missing": missing, "evidence": [str(path) for path in written]}
    show(as_json_output, result, "\n".join(lines) or "no seller has revealed yet")


def _plot_scores(folder: Path, found: list[SellerScores]) -> None:
    """One histogram a seller, as PNG."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"--plots needs matplotlib ({error}); install tip-exchange[study]") from error
    folder.mkdir(parents=True, exist_ok=True)
    for each in found:
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        axes.hist(each.scores, bins=40)
        axes.axvline(each.scores.mean(), color="black", label=f"mean {each.scores.mean():+.4f}")
        axes.axvline(each.value, color="red", linestyle="--", label=f"revealed value {each.value:+.4f}")
        axes.set(xlabel="score", ylabel="records", title=each.seller)
        axes.legend()
        figure.savefig(folder / f"{each.seller}.png", dpi=110)


@buyer.command()
@click.argument("order")
@session_options(wallet=True)
def refund(session: Session, order: str, as_json_output: bool) -> None:
    """Take back the bond, unearned fees, and later what nobody claimed."""
    from tip_exchange.roles import buyer as role

    market = session.market()
    receipt, amount = role.refund(market, session.home, session.account(), order)
    show(as_json_output, {"refunded_wei": amount, "gas": receipt.gas_used}, f"refunded {amount} wei")

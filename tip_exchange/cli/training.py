"""``tip buyer train``: a model folder out of the buyer's own records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tip_exchange.cli.options import Names, json_option, progress_bar, show
from tip_exchange.errors import DataError, InputError

if TYPE_CHECKING:
    from tip_exchange.influence.models import ModelFolder
    from tip_exchange.influence.specification import Projection

_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_records = click.Path(path_type=Path, exists=True)
_new_folder = click.Path(path_type=Path, file_okay=False)


_OF_TEXTS = ("max_length", "max_blocks", "per_token")


@click.command()
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

"""The arbiter is right on many deliveries, though it computes otherwise than the sellers did.

Sellers value their records in another process, with two threads and batches of another size; the arbiter has one thread
and no other process. Some records lie on kinks: a ReLU unit is at 0 but for rounding, which so decides their gradients.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from delivered_orders import SEED, DeliveredSale, Sale, make_sale
from numpy.typing import NDArray
from safetensors.torch import save_file
from threadpoolctl import threadpool_limits
from tiny_models import WORDS, tiny_config, tiny_folder, tiny_records, tiny_tokenizer
from tiny_tables import tiny_table_folder, tiny_table_records

from tip_exchange import settlement
from tip_exchange.influence.architectures import build_model
from tip_exchange.influence.batches import plan
from tip_exchange.influence.columns import Columns, NumberColumn
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder, write_model_folder
from tip_exchange.influence.records import Record, TableRecord, TextRecord, record_bytes
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.specification import Valuation
from tip_exchange.influence.valuation import mean_clipped_gradient
from tip_exchange.processes import worker_pool
from tip_exchange.roles.recomputing import THETA
from tip_exchange.roles.ruling import SLIGHT, Ruling, judge
from tip_exchange.types import CLIP_NORM_SCALE, Outcome

CLIP = 1.0
LABELS = ("a", "b", "c")
LAYERS = (Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True))
# a unit's kink decides the gradients of the layer below it
BELOW_KINKS = (Layer("bert.encoder.layer.1.intermediate.dense", 4, 4), Layer("classifier", bias=True))
COLUMNS, UNITS, TEXT_UNITS = 32, 4, 24


@dataclass
class Elsewhere(Sale):
    """An order whose sellers value their records in other processes."""

    sellers: Executor | None = None
    compute: Compute = field(default_factory=lambda: Compute(batch_tokens=23))

    def mean(self, records: Sequence[Record]) -> tuple[list[Record], NDArray[np.float64]]:
        """As of a :class:`Sale`."""
        assert self.sellers is not None
        task = self.model, records, SEED, self.terms.clipNorm / CLIP_NORM_SCALE
        vector = self.sellers.submit(mean_clipped_gradient, *task, compute=self.compute).result()
        return [records[index] for index in vector.kept], vector.mean

    def weight(self, records: Sequence[Record]) -> int:
        """What distinct records are really worth, by their seller's own computation."""
        kept, mean = self.mean(records)
        value = round(float(self.direction @ mean) * settlement.VALUE_UNIT)
        limits = {"value_floor": self.terms.valueFloor, "value_cap": self.terms.valueCap, "records_at_most": 1000}
        return settlement.weight(value, len(kept), min_records=self.terms.minRecords, **limits)


def kinked_texts(path: Path) -> ModelFolder:
    """A classifier with ReLU; each unit of its last block is at 0 for the first token of one text."""
    config = {**tiny_config(), "hidden_act": "relu"}
    torch.manual_seed(0)
    model = build_model(config, len(LABELS), "tiny")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.dim() == 2 else 1.0)
    spec = Valuation(LABELS, BELOW_KINKS, max_length=12, repeat_cosine=0.99)
    folder = write_model_folder(path, model, config, tiny_tokenizer(), spec, [{}])
    model, name = folder.load_model(), BELOW_KINKS[0].name
    first: list[torch.Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda _layer, _inputs, output: first.append(output[0, 0]))
    bias = model.get_parameter(f"{name}.bias").clone()
    for batch in plan(folder, [TextRecord(text, 0) for text in texts_on_kinks()], 1):
        model(input_ids=batch.inputs, attention_mask=batch.mask)
        unit = int(batch.records[0])
        bias[unit] -= first[-1][unit]
    save_file({f"{name}.bias": bias}, path / "checkpoint-00.safetensors")  # float16 would round it
    return ModelFolder.open(path)


def texts_on_kinks() -> list[str]:
    dice = np.random.default_rng(77)
    return [" ".join(dice.choice(WORDS, 3 + unit % 6)) for unit in range(TEXT_UNITS)]


def kinked_table(path: Path) -> ModelFolder:
    """A perceptron over as many columns as make sums hang on their order."""
    config = {"architectures": ["TablePerceptron"], "num_features": 2 * COLUMNS, "hidden_size": UNITS}
    columns = Columns(tuple(NumberColumn(f"x{index}", 0.0, 1.0) for index in range(COLUMNS)))
    torch.manual_seed(1)
    model = build_model(config, len(LABELS), "tiny")
    with torch.no_grad():
        model.get_parameter("hidden.weight").normal_(0.0, 0.3)
        model.get_parameter("output.weight").normal_(0.0, 1.0)
    spec = Valuation(LABELS, (Layer("hidden", bias=True), Layer("output", bias=True)), repeat_cosine=None)
    return write_model_folder(path, model, config, columns, spec, [{}])


def rows_on_kinks(folder: ModelFolder, count: int, seed: int, units: int) -> list[Record]:
    """Rows for which so many hidden units are at 0, as near as float32 can say it."""
    model = folder.load_model()
    weight = model.get_parameter("hidden.weight").double().numpy()[:units, ::2]  # beside each value: is it missing
    bias = model.get_parameter("hidden.bias").double().numpy()[:units]
    cells = np.random.default_rng(seed).normal(size=(count, COLUMNS))
    cells -= (cells @ weight.T + bias) @ np.linalg.pinv(weight).T
    labels = np.where(cells[:, :3].sum(axis=1) > 0, 0, 1 + (cells[:, 3] > 1))
    return [TableRecord(tuple(map(float, row)), int(label)) for row, label in zip(cells, labels, strict=True)]


def records_of(kind: str, sale: Sale, count: int, seed: int, on_kinks: int, units: int) -> list[Record]:
    """Records fit for the model, the first ``on_kinks`` of them on kinks, of so many units each."""
    match kind:
        case "table":
            return [*tiny_table_records(sale.model, count, seed)]
        case "kinked table":
            rest = rows_on_kinks(sale.model, count - on_kinks, seed + 1000, 0)
            return [*rows_on_kinks(sale.model, on_kinks, seed, units), *rest]
        case "kinked texts":
            texts = texts_on_kinks()[:on_kinks]
            edge = [TextRecord(text, 0 if "fracture" in text or "burn" in text else 2) for text in texts]
            return [*edge, *tiny_records(count - on_kinks, seed)]
    return tiny_records(count, seed)


def folder_of(kind: str, path: Path) -> ModelFolder:
    makers = {"table": lambda at: tiny_table_folder(at, seeds=(0,)), "kinked table": kinked_table}
    if maker := {**makers, "kinked texts": kinked_texts}.get(kind):
        return maker(path)
    dtype = "bfloat16" if kind == "bfloat16" else "float32"
    return tiny_folder(path, LAYERS, scale=2.0, repeat_cosine=0.99, dtype=dtype)


@pytest.fixture(scope="module")
def sale_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Elsewhere]]:
    """Makes each kind's order once; the arbiter, which is this process, has one thread meanwhile."""
    made: dict[tuple[str, float], Elsewhere] = {}

    def sale(kind: str, longer: float = 1.0) -> Elsewhere:
        if (kind, longer) not in made:
            place = tmp_path_factory.mktemp("order")
            folder = folder_of(kind, place / "model")
            validation = records_of(kind, Sale(place, folder, *[None] * 5), 40, 1, 0, 0)  # type: ignore[arg-type]
            plain = make_sale(place / "order", folder, validation, clip_norm=CLIP, longer=longer)
            made[kind, longer] = Elsewhere(**vars(plain), sellers=sellers)
        return made[kind, longer]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, worker_pool(1, torch.set_num_threads, 2) as sellers:
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # the sellers' second thread is not to spin
        with threadpool_limits(1):
            yield sale
    torch.set_num_threads(threads)


def ruled(delivered: DeliveredSale) -> Ruling:
    return judge(
        delivered.found,
        delivered.evidence,
        query=delivered.sale.query,
        sealed=delivered.sealed,
        model=delivered.sale.model.path,
        compute=Compute(batch_tokens=400, processes=1),
    )


HONEST = {
    **{f"{n} texts, batches of {tokens} tokens": ("texts", n, n, 0, 0, Compute(batch_tokens=tokens))
       for n, tokens in ((20, 1), (25, 13), (31, 64), (40, 97), (50, 2000), (60, 30))},
    **{f"{n} rows, batches of {tokens}": ("table", n, n, 0, 0, Compute(batch_tokens=tokens))
       for n, tokens in ((21, 1), (28, 2), (36, 3), (48, 7), (60, 33))},
    "30 rows, valued by two processes": ("table", 30, 9, 0, 0, Compute(batch_tokens=5, processes=2)),
    "20 rows, each on one kink": ("kinked table", 20, 5, 20, 1, Compute(batch_tokens=1)),
    "45 rows, each on one kink": ("kinked table", 45, 6, 45, 1, Compute(batch_tokens=3)),
    "24 rows, each on all kinks": ("kinked table", 24, 7, 24, UNITS, Compute(batch_tokens=1)),
    "60 rows, each on all kinks": ("kinked table", 60, 8, 60, UNITS, Compute(batch_tokens=7)),
    "40 rows, ten on all kinks": ("kinked table", 40, 9, 10, UNITS, Compute(batch_tokens=1)),
    "24 texts, each on a kink": ("kinked texts", 24, 10, 24, 1, Compute(batch_tokens=1)),
    "50 texts, 20 on a kink": ("kinked texts", 50, 11, 20, 1, Compute(batch_tokens=40)),
    "20 texts, valued in bfloat16": ("bfloat16", 20, 12, 0, 0, Compute(batch_tokens=1)),
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_seller_keeps_its_bond_and_its_payout(case: str, sale_of: Callable[..., Elsewhere]) -> None:
    """δ ≤ 2⁻¹⁴ a record: within what the rule calls rounding to fixed point, also where rounding decides gradients."""
    kind, count, seed, on_kinks, units, compute = HONEST[case]
    sale = replace(sale_of(kind), compute=compute)
    delivered = sale.delivered(records_of(kind, sale, count, seed, on_kinks, units))
    entry, found = delivered.found.entry, ruled(delivered)
    assert entry.weight > 0
    assert (found.outcome, found.records) == (Outcome.SELLER, entry.records)
    assert 0 <= entry.weight - found.weight <= SLIGHT * settlement.VALUE_UNIT * entry.records
    # a case on kinks is one: rounding moves its value by more than that of any ordinary model
    assert found.spread > 3e-5 if on_kinks or kind == "bfloat16" else found.spread < 1e-5


def drawn(sale: Sale, seed: int) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """A random vector in place of the mean, drawn until it is worth a tenth."""
    dice = np.random.default_rng(seed)
    while True:
        vector = dice.normal(size=sale.direction.size)
        vector *= 0.9 / np.linalg.norm(vector)
        if vector @ sale.direction > 0.1:
            return lambda _integers: np.rint(vector * settlement.VALUE_UNIT**0.5).astype(np.int64)


def cheat(how: str, kind: str, sale: Elsewhere) -> tuple[DeliveredSale, list[Record]]:
    """A delivery that is not what was valued, and those of its records that are of any use."""
    on_kinks = {"one record on all kinks, ×1.2": 1, "three records on all kinks, ×2": 3, EVERY: 40}.get(how, 0)
    good = sale.mean(records_of(kind, sale, 40, 31, on_kinks, UNITS))[0]
    wrong = [replace(each, label=(each.label + 1 + at % 2) % 3) for at, each in enumerate(good)]
    content = [record_bytes(record) for record in good]
    if how == "other records":
        others = sale.mean([*wrong[:5], *records_of(kind, sale, 25, 32, 0, 0)])[0]
        return sale.delivered(good, delivered=list(map(record_bytes, others))), others
    if how == "records of another label":
        return sale.delivered(good, delivered=list(map(record_bytes, wrong))), wrong
    if how == "half junk":
        half = [secrets.token_bytes(40) if at % 2 else data for at, data in enumerate(content)]
        return sale.delivered(good, delivered=half), good[::2]
    if how == "repeated rows":
        return sale.delivered(good, delivered=[*content, *content]), good
    if how == "padded with useless rows":
        useless = [replace(good[0], label=3 + at) for at in range(len(good))]
        return sale.delivered(good, delivered=[*content, *map(record_bytes, useless)]), good
    if how == "a random value":
        return sale.delivered(wrong, gradient=drawn(sale, 3)), wrong
    factor = float(how.split("×")[1])
    return sale.delivered(good, gradient=lambda integers: np.rint(integers * factor).astype(np.int64)), good


EVERY = "all records on all kinks, ×1.2"
_HOWS = ("other records", "the value ×1.2", "the value ×2", "a random value", "half junk", "repeated rows",
         "padded with useless rows", "records of another label")  # fmt: skip
CHEATING_SELLERS = [
    *((how, "texts") for how in _HOWS),
    *((how, "table") for how in _HOWS if how != "the value ×2"),
    ("one record on all kinks, ×1.2", "kinked table"),
    ("three records on all kinks, ×2", "kinked table"),
]


@pytest.mark.parametrize(("how", "kind"), CHEATING_SELLERS)
def test_a_cheating_seller_is_paid_by_what_it_delivered_and_loses_its_bond(
    how: str, kind: str, sale_of: Callable[..., Elsewhere]
) -> None:
    sale = sale_of(kind)
    delivered, usable = cheat(how, kind, sale)
    entry, found, truth = delivered.found.entry, ruled(delivered), sale.weight(usable)
    assert entry.weight - truth > THETA * settlement.VALUE_UNIT * entry.records
    assert abs(found.weight - truth) <= (found.spread + SLIGHT) * settlement.VALUE_UNIT * len(usable)
    assert found.delta > THETA + found.spread
    assert found.outcome is Outcome.BUYER


def test_records_on_kinks_hide_no_more_than_their_spread(sale_of: Callable[..., Elsewhere]) -> None:
    """What cannot be told from rounding is paid; a seller that scales the value of such records gains no more."""
    delivered, usable = cheat(EVERY, "kinked table", sale := sale_of("kinked table"))
    found = ruled(delivered)
    assert 0 < found.weight - sale.weight(usable) <= found.spread * settlement.VALUE_UNIT * len(usable)


CHEATING_BUYERS = ("another value attested", "an overlong query", "a false stream key")


@pytest.mark.parametrize("how", CHEATING_BUYERS)
def test_a_cheating_buyer_pays_in_full(how: str, sale_of: Callable[..., Elsewhere]) -> None:
    """Whatever was delivered: here records of another label than were valued."""
    sale = sale_of("texts", 1.1 if how == "an overlong query" else 1.0)
    delivered, _ = cheat("records of another label", "texts", sale)
    entry = delivered.found.entry
    assert entry.attested is not None
    if how == "another value attested":
        delivered = delivered.with_entry(attested=(entry.attested + 1) % settlement.T)
    if how == "a false stream key":
        delivered = replace(delivered, evidence=replace(delivered.evidence, stream_key=secrets.token_bytes(32)))
    found = ruled(delivered)
    assert (found.weight, found.outcome, found.value) == (entry.weight, Outcome.SELLER, None)


def test_the_cases_are_twenty_of_each() -> None:
    assert len(HONEST) == len(CHEATING_SELLERS) + len(CHEATING_BUYERS) == 20

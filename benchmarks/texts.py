"""Records a second on real texts of mixed length."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.folders import PATTERN, icd_records, review_records, write_folder
from benchmarks.timing import alternate, spread
from benchmarks.work import Batch, Work
from tip_exchange.influence.batches import plan
from tip_exchange.influence.gradients import CheckpointGradients, Compute
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record

AIM = 1.5
_RECORDS = 16  # of a padded batch, as in the libraries' own examples
_SORTED_TOKENS = 2048  # bergson's own budget of a batch
_PADDED = ("bergson", "dattri", "logix")
_SORTED = "bergson, its sorted batches"


def measure(peers: Mapping[str, ModuleType], quick: bool) -> Iterator[dict[str, Any]]:
    """Records a second of every contestant, and the engine's over the fastest's; tokenising is part of it."""
    rounds = 2 if quick else 4
    with tempfile.TemporaryDirectory() as place:
        folder = write_folder(Path(place) / "model", depth=1 if quick else 6)
        for setting, texts in (
            ("ICD-10-CM descriptions", icd_records(40 if quick else 500)),
            ("film reviews", review_records(20 if quick else 200)),
        ):
            if texts is not None:
                yield from _race(f"{setting}, MiniLM", tasks(peers, folder, texts), len(texts), rounds)


def tasks(
    peers: Mapping[str, ModuleType], folder: ModelFolder, records: Sequence[Record]
) -> dict[str, Callable[[], Tensor]]:
    """For each contestant what computes all records' rows, in an order of its choosing."""
    compute = Compute(device="cpu")
    here = CheckpointGradients(folder, bytes(32), compute)

    def engine() -> Tensor:
        batches = plan(folder, records, compute.most_tokens)
        return torch.cat([torch.from_numpy(here.rows(batch)) for batch in batches])

    found: dict[str, Callable[[], Tensor]] = {"engine": engine}
    work = Work(folder.load_checkpoint(0), PATTERN, folder.valuation.layers[0].rank_in)
    order = [range(start, min(start + _RECORDS, len(records))) for start in range(0, len(records), _RECORDS)]
    for name in _PADDED:
        if name in peers:
            sample = padded(folder, records, order[0])
            found[name] = partial(_all, peers[name].prepare(work, sample).rows, folder, records, lambda _: order)
    if "bergson" in peers:
        rows = peers["bergson"].prepare(work, padded(folder, records, order[0])).rows
        batches = partial(peers["bergson"].sorted_batches, most=_SORTED_TOKENS)
        found[_SORTED] = partial(_all, rows, folder, records, batches)
    return found


def padded(
    folder: ModelFolder, records: Sequence[Record], chosen: Sequence[int], tokens: Sequence[list[int]] | None = None
) -> Batch:
    """Some records, padded to the longest of them."""
    own = [blocks[0] for blocks in folder.reader.blocks([records[i] for i in chosen])] if tokens is None else tokens
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(t) for t in own], True, folder.reader.padding)
    lengths = torch.tensor([len(t) for t in own])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return Batch(ids, torch.tensor([records[i].label for i in chosen]), mask)


def _all(
    rows: Callable[[Batch], Tensor],
    folder: ModelFolder,
    records: Sequence[Record],
    batches: Callable[[list[int]], Sequence[Sequence[int]]],
) -> Tensor:
    tokens = [blocks[0] for blocks in folder.reader.blocks(records)]
    return torch.cat(
        [
            rows(padded(folder, records, chosen, [tokens[i] for i in chosen]))
            for chosen in batches([len(t) for t in tokens])
        ]
    )


def _race(
    setting: str, contestants: Mapping[str, Callable[[], Tensor]], count: int, rounds: int
) -> Iterator[dict[str, Any]]:
    samples = alternate(contestants, rounds)
    rates = {name: [count / sample.wall for sample in taken] for name, taken in samples.items()}
    medians = {name: spread(found)["median"] for name, found in rates.items()}
    for name, found in rates.items():
        yield {
            "measure": "records a second",
            "setting": setting,
            "contestant": name,
            "aim": None,
            "value": spread(found),
        }
    rivals = [max((name for name in _PADDED if name in rates), key=medians.__getitem__, default=None)]
    for rival in [*rivals, _SORTED if _SORTED in rates else None]:
        if rival is not None:
            yield {
                "measure": f"records a second over {rival}",
                "setting": setting,
                "contestant": "engine",
                "aim": AIM if rival != _SORTED else None,
                "more_is_better": True,
                "value": spread([mine / its for mine, its in zip(rates["engine"], rates[rival], strict=True)]),
            }

"""How fast, how small and how exact encrypted values are: ``python -m benchmarks.encryption [--quick] --json FILE``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import shapes
from benchmarks.contestants import engine
from benchmarks.cores import LOOP, OURS
from benchmarks.encrypted_products import CONTESTANTS, Contestant, Product, ours, vectors
from benchmarks.machine import machine
from benchmarks.memory import resident
from benchmarks.timing import alternate, ratios, spread
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.packing import fixed_point, inner_product
from tip_exchange.encryption.pads import AffinePad
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey, encrypted_query
from tip_exchange.encryption.scoring import value_data_set
from tip_exchange.encryption.wire import (
    Query,
    decode_query,
    encode_reply,
    map_query,
    query_bytes,
    record_width,
    replies_bytes,
    reply_bytes,
)
from tip_exchange.settlement import centred

PARTS = ("records", "dimensions", "traffic", "data-set", "large", "cores", "step")
MINILM_PARAMETERS = 10_794_624
"""Weights and biases of MiniLM-L6-H384 without its embeddings."""


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    records: int
    peers: float
    rounds: int
    dimensions: tuple[int, ...]
    large: int
    cores: int
    step_records: int
    shape: shapes.Shape


FULL = Size(4096, 1.0, 5, (4676, 8292), MINILM_PARAMETERS, 1_000_000, 32, shapes.SHAPES[0])
QUICK = Size(64, 1 / 32, 2, (384,), 20_000, 2048, 4, shapes.TINY[0])


@contextmanager
def one_core() -> Iterator[None]:
    """Everything below runs on one core, whatever threads the libraries start."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def row(
    measure: str, setting: str, contestant: str, aim: float | None, samples: Sequence[float], **more: Any
) -> dict[str, Any]:
    """One row of the result; ``more`` is added, such as ``more_is_better``."""
    return {
        "measure": measure,
        "setting": setting,
        "contestant": contestant,
        "aim": aim,
        "value": spread(samples),
        **more,
    }


def _agreement(product: Product, direction: NDArray[np.float64], rows: NDArray[np.float32]) -> dict[str, float]:
    expected, found = rows.astype(np.float64) @ direction, product.read()
    return {
        "pearson": float(np.corrcoef(expected, found)[0, 1]),
        "largest_error": float(np.abs(expected - found).max()),
    }


def records(peers: Sequence[Contestant], size: Size) -> Iterator[dict[str, Any]]:
    """Every contestant's time for a record over ours, one core, d = 384; and our own with kept transforms."""
    direction, rows = vectors(384, size.records)
    setting = f"d = 384, n = {size.records}, one core"
    with tempfile.TemporaryDirectory() as folder, one_core():
        prepared, counts = {}, {}
        entrants = [
            Contestant("ours", "tenseal", ours(), size.records),
            Contestant("ours, transforms kept", "tenseal", ours(keep=True), size.records),
            *peers,
        ]
        for index, peer in enumerate(entrants):
            counts[peer.name] = min(size.records, max(2, round(peer.rows * (1 if index < 2 else size.peers))))
            prepared[peer.name] = peer.prepare(direction, rows[: counts[peer.name]], Path(folder) / str(index))
        samples = alternate({name: product.step for name, product in prepared.items()}, size.rounds)
        agreement = {name: _agreement(product, direction, rows[: counts[name]]) for name, product in prepared.items()}
    for name in prepared:
        each = [1e6 * sample.wall / counts[name] for sample in samples[name]]
        yield row("microseconds a record", setting, name, None, each, rows=counts[name], **agreement[name])
    for peer in peers:
        times, _ = ratios(samples[peer.name], samples["ours"])
        scale = size.records / counts[peer.name]
        yield row(
            "time a record over ours",
            setting,
            peer.name,
            peer.aim,
            [scale * each for each in times],
            more_is_better=True,
        )


def dimensions(size: Size) -> Iterator[dict[str, Any]]:
    """Exactness, agreement with float64 and time of record scores at the paper's larger dimensions."""
    for dimension in size.dimensions:
        direction, rows = vectors(dimension, size.records)
        with tempfile.TemporaryDirectory() as folder, one_core():
            product = ours()(direction, rows, Path(folder) / "ours")
            clock = time.perf_counter()
            product.step()
            spent = time.perf_counter() - clock
            scores = np.rint(product.read() * WIDE.S**2).astype(np.int64)
            agreement = _agreement(product, direction, rows)
        integers = fixed_point(rows.astype(np.float64), WIDE, "rows")
        exact = int((scores == integers @ fixed_point(direction, WIDE, "query")).sum())
        setting = f"d = {dimension}, n = {size.records}, one core"
        yield row("exact record scores", setting, "ours", size.records, [exact], more_is_better=True)
        yield row("Pearson to float64", setting, "ours", 0.99999, [agreement["pearson"]], more_is_better=True)
        yield row("microseconds a record", setting, "ours", None, [1e6 * spent / size.records], **agreement)


def traffic() -> Iterator[dict[str, Any]]:
    """Bytes of record scores at d = 512, counted from the formats (tests hold them to the real sizes)."""
    dimension, n = 512, 4096
    width = record_width(WIDE, dimension, n)
    back, forth = replies_bytes(WIDE, width, n), query_bytes(WIDE, dimension, width)
    setting = f"d = {dimension}, n = {n}, width {width}"
    yield row("bytes a record, both ways", setting, "ours", 1500, [(forth + back) / n])
    yield row("bytes a record, back", setting, "ours", 300, [back / n])


def _query(integers: NDArray[np.int64]) -> tuple[SecretKey, Query]:
    key = SecretKey.fresh(WIDE)
    blob = b"".join(encrypted_query(integers, key))
    return key, decode_query(blob, parameters=WIDE, dimension=integers.size)


def data_set(size: Size) -> Iterator[dict[str, Any]]:
    """One valuation of a whole data set at d = 4,676: its bytes, and its encrypted step."""
    dimension = 4676
    direction, rows = vectors(dimension, 1)
    _, query = _query(fixed_point(direction, WIDE, "query"))
    gradient = fixed_point(rows[0].astype(np.float64), WIDE, "gradient")

    def step() -> None:
        encode_reply(value_data_set(query, gradient, AffinePad.fresh(WIDE)))

    with one_core():
        samples = alternate({"step": step}, 5 * size.rounds)["step"]
    total = query_bytes(WIDE, dimension, WIDE.N) + reply_bytes(WIDE)
    setting = f"d = {dimension}, any n, one core"
    yield row("kilobytes of query, zero block and reply", setting, "ours", 400, [total / 1000])
    yield row("milliseconds of the encrypted step", setting, "ours", 50, [1000 * each.wall for each in samples])


def large(size: Size) -> Iterator[dict[str, Any]]:
    """A data set's valuation over a whole model's gradient, in a process of its own: time, memory, exactness."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.encryption", "--large", str(size.large)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    setting = f"d = {size.large:,}, one core"
    yield row("seconds, buyer and seller", setting, "ours", 60, [found["encrypt"] + found["evaluate"]], **found)
    yield row("peak memory, GB", setting, "ours", 2, [found["peak"]])
    yield row("exact", setting, "ours", 1, [found["exact"]], more_is_better=True)


def _large(dimension: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    integers, gradient = (
        fixed_point(vector / np.linalg.norm(vector) * (1 - 1e-12), WIDE, "vector")
        for vector in (rng.standard_normal(dimension) for _ in range(2))
    )
    expected, pad = centred(inner_product(integers, gradient)), AffinePad.fresh(WIDE)
    with tempfile.TemporaryDirectory() as folder, one_core():
        path, clock = Path(folder) / "query", time.perf_counter()
        key = SecretKey.fresh(WIDE)
        with path.open("wb") as file:
            file.writelines(encrypted_query(integers, key))
        encrypted = time.perf_counter()
        reply = encode_reply(value_data_set(map_query(path, WIDE, dimension), gradient, pad))
        evaluated = time.perf_counter()
        exact = centred(pad.factor * (decrypt(reply, key.coefficients, WIDE) - pad.pad)) == expected
        return {
            "encrypt": encrypted - clock,
            "evaluate": evaluated - encrypted,
            "query_bytes": path.stat().st_size,
            "peak": resident("VmHWM") * 2**20 / 1e9,
            "exact": int(exact),
        }


def cores(size: Size) -> Iterator[dict[str, Any]]:
    """One process over two, from start to end, many records; beside what a loop without memory gains by a second."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.cores", str(size.cores), str(size.rounds)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    setting = f"d = 384, n = {size.cores:,}"
    for name, aim in ((OURS, 1.8), (LOOP, None)):
        yield row("one process over two", setting, name, aim, found[name], more_is_better=True)


def step(size: Size) -> Iterator[dict[str, Any]]:
    """A seller's whole step, gradients included, with the encrypted product over the same with a plain one."""
    work, shape = size.shape.work(), size.shape
    batch = shape.batch()
    contestant = engine.prepare(work, batch)
    batches = -(-size.step_records // shape.records)
    gradient = contestant.rows(batch)
    dimension = gradient.shape[1]
    direction, _ = vectors(dimension, 1)
    _, query = _query(fixed_point(direction, WIDE, "query"))

    def mean() -> NDArray[np.float64]:
        rows = torch.cat([contestant.rows(batch) for _ in range(batches)]).double().numpy()
        clipped = rows / np.maximum(1e-300, np.linalg.norm(rows, axis=1, keepdims=True)) * (1 - 1e-9)
        result: NDArray[np.float64] = clipped.mean(axis=0)
        return result

    def encrypted(vector: NDArray[np.float64]) -> None:
        encode_reply(value_data_set(query, fixed_point(vector, WIDE, "gradient"), AffinePad.fresh(WIDE)))

    times = []
    for _ in range(size.rounds):
        # the gradients are the same for both, and would drown the difference if they were timed twice
        clock = time.perf_counter()
        vector = mean()
        taken = time.perf_counter()
        float(direction @ vector)
        plain = time.perf_counter()
        encrypted(vector)
        done = time.perf_counter()
        times.append((taken - clock + done - plain) / (plain - clock))
    setting = f"{shape.name}, {batches * shape.records} records of {shape.tokens} tokens, d = {dimension}"
    yield row("seller's step, encrypted over plain", setting, "ours", 1.02, times)


def measurements(peers: Sequence[Contestant], size: Size, parts: Sequence[str] = PARTS) -> Iterator[dict[str, Any]]:
    """All rows, as they are measured."""
    found: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "records": lambda: records(peers, size),
        "dimensions": lambda: dimensions(size),
        "traffic": traffic,
        "data-set": lambda: data_set(size),
        "large": lambda: large(size),
        "cores": lambda: cores(size),
        "step": lambda: step(size),
    }
    for part in parts:
        yield from found[part]()


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What was measured beside what was aimed at."""
    found = Table(title="Encrypted values: medians, quartiles in brackets")
    for column in ("measure", "setting", "contestant", "aim", "measured"):
        found.add_column(column, justify="right" if column in ("aim", "measured") else "left")
    for each in rows:
        sign = "≥" if each.get("more_is_better") else "≤"
        aim = "" if each["aim"] is None else f"{sign} {each['aim']:,.6g}"
        value = each["value"]
        low, high = value["quartiles"]
        text = f"{value['median']:,.7g}" + (f" [{low:,.4g}, {high:,.4g}]" if len(value["samples"]) > 1 else "")
        found.add_row(each["measure"], each["setting"], each["contestant"], aim, text)
    return found


def run(quick: bool, parts: Sequence[str] = PARTS, console: Console | None = None) -> dict[str, Any]:
    """Measure; the result is what the JSON file holds."""
    console = console or Console(stderr=True)
    torch.set_num_threads(2)
    peers = [peer for peer in CONTESTANTS if peer.installed]
    missing = [peer.name for peer in CONTESTANTS if not peer.installed]
    if missing and "records" in parts:
        console.print(f"left out, not installed: {', '.join(missing)}. scripts/benchmark installs it.", highlight=False)
    rows = []
    for each in measurements(peers, QUICK if quick else FULL, parts):
        rows.append(each)
        console.print(
            f"{each['measure']}, {each['setting']}, {each['contestant']}: {each['value']['median']:,.7g}",
            highlight=False,
        )
    return {
        "machine": machine(),
        "quick": quick,
        "versions": {peer.library: peer.version for peer in peers},
        "missing": missing,
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encryption", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few records, small dimensions, few repetitions")
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated parts: " + ", ".join(PARTS))
    parser.add_argument("--large", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.large:
        print(json.dumps(_large(options.large)))
        return
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    result = run(options.quick, parts)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    console = Console()
    console.print(table(result["rows"]))
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{versions}\n{result['machine']}", highlight=False)


if __name__ == "__main__":
    main()

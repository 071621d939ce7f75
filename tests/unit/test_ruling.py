"""An arbiter decides for whoever is right: for honest sellers whatever a buyer shows, against every false delivery."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from delivered_orders import BUYER, SEED, SELLERS, DeliveredSale, Sale, make_sale
from nacl.public import PrivateKey
from tiny_models import tiny_folder, tiny_records
from tiny_tables import tiny_table_folder, tiny_table_records

from tip_exchange import settlement
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.parameters import WIDE
from tip_exchange.encryption.query import SecretKey
from tip_exchange.encryption.sealed_stream import sealed_bytes
from tip_exchange.errors import DataError, StateError, WireError
from tip_exchange.influence.layers import Layer
from tip_exchange.influence.models import ModelFolder
from tip_exchange.influence.records import Record, TextRecord, record_bytes
from tip_exchange.influence.rounding import RUNS
from tip_exchange.influence.settings import Compute
from tip_exchange.influence.valuation import mean_clipped_gradient
from tip_exchange.roles import contesting, ruling
from tip_exchange.roles.contesting import EVIDENCE_LIMIT, Evidence, open_evidence, seal_evidence
from tip_exchange.roles.recomputing import THETA
from tip_exchange.roles.ruling import SLIGHT, Ruling, judge, keys, outcome_of
from tip_exchange.types import Outcome

LAYERS = (Layer("bert.encoder.layer.1.output.dense", 4, 4), Layer("classifier", bias=True))
CLIP = 1.0


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Sale:
    place = tmp_path_factory.mktemp("texts")
    folder = tiny_folder(place / "model", LAYERS, checkpoints=2, scale=2.0, repeat_cosine=0.99)
    return make_sale(place / "order", folder, tiny_records(60, seed=1), clip_norm=CLIP)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Sale:
    folder = tiny_table_folder(tmp_path_factory.mktemp("table"))
    return make_sale(folder.path.parent / "order", folder, tiny_table_records(folder, 60, 1), clip_norm=CLIP)


def ruled(delivered: DeliveredSale, evidence: Evidence | None = None, compute: Compute | None = None) -> Ruling:
    return judge(
        delivered.found,
        evidence or delivered.evidence,
        query=delivered.sale.query,
        sealed=delivered.sealed,
        model=delivered.sale.model.path,
        compute=compute or Compute(),
    )


def records_of(sale: Sale, count: int, seed: int) -> list[Record]:
    if sale.model.valuation.labels == ("well", "ill", "gone"):
        return [*tiny_table_records(sale.model, count, seed)]
    return tiny_records(count, seed)


def shuffled_labels(records: list[Record]) -> list[Record]:
    return [replace(record, label=(record.label + 1 + index % 2) % 3) for index, record in enumerate(records)]


@pytest.mark.parametrize(
    ("delta", "spread", "outcome"),
    [
        (0.0, 0.0, Outcome.SELLER),
        (-1.0, 0.0, Outcome.SELLER),
        (SLIGHT, 0.0, Outcome.SELLER),
        (SLIGHT * 1.001, 0.0, Outcome.NEITHER),
        (THETA, 0.0, Outcome.NEITHER),
        (THETA * 1.001, 0.0, Outcome.BUYER),
        (THETA * 1.001, 1e-5, Outcome.NEITHER),
        (THETA + 0.01, 0.01, Outcome.NEITHER),
        (THETA + 0.0101, 0.01, Outcome.BUYER),
        (1.0, 0.5, Outcome.BUYER),
    ],
)
def test_the_outcome_follows_from_what_is_missing_and_from_rounding(
    delta: float, spread: float, outcome: Outcome
) -> None:
    assert outcome_of(delta, spread) is outcome
    assert (SLIGHT, THETA) == (2**-14, 2**-10)


@pytest.mark.parametrize("kind", ["texts", "table"])
@pytest.mark.parametrize(("tokens", "threads"), [(1, 1), (37, 2), (4096, 1)])
def test_an_honest_delivery_is_paid_in_full_on_any_machine(
    kind: str, tokens: int, threads: int, request: pytest.FixtureRequest
) -> None:
    sale = request.getfixturevalue(kind)
    delivered = sale.delivered(records_of(sale, 50, 2))
    assert delivered.found.entry.weight > 0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = ruled(delivered, compute=Compute(batch_tokens=tokens))
    finally:
        torch.set_num_threads(before)
    assert found.outcome is Outcome.SELLER
    assert found.records == delivered.found.entry.records
    assert found.delta <= SLIGHT / 10
    assert found.weight >= delivered.found.entry.weight * (1 - 1e-4)
    assert 0 < found.spread < 1e-5


def test_an_honest_delivery_of_a_model_in_bfloat16_is_paid_whatever_the_batches(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "m", LAYERS, checkpoints=2, scale=2.0, repeat_cosine=0.99, dtype="bfloat16")
    sale = make_sale(tmp_path / "order", folder, tiny_records(60, seed=1), clip_norm=CLIP)
    delivered = sale.delivered(tiny_records(50, 2))
    assert delivered.found.entry.weight > 0
    for tokens in (1, 37, 4096):
        found = ruled(delivered, compute=Compute(batch_tokens=tokens))
        assert found.outcome is Outcome.SELLER
        assert found.weight >= delivered.found.entry.weight * (1 - 1e-4)
        assert found.spread > 1e-4


def cheat(sale: Sale, how: str) -> tuple[DeliveredSale, int | None]:
    """A delivery of other records than were valued, and the number that has to count."""
    good, bad = records_of(sale, 60, 2), shuffled_labels(records_of(sale, 60, 3))
    kept = [record_bytes(record) for record in sale.mean(good)[0]]
    other = [record_bytes(record) for record in sale.mean(bad)[0]]
    match how:
        case "other records":
            return sale.delivered(good, delivered=other), len(other)
        case "scaled value":
            return sale.delivered(good, gradient=lambda integers: integers + integers // 2), len(kept)
        case "half junk":
            half = [secrets.token_bytes(40) if index % 2 else data for index, data in enumerate(kept)]
            return sale.delivered(good, delivered=half), (len(kept) + 1) // 2
        case "repeated rows":
            return sale.delivered(good, delivered=[*kept, *kept]), len(kept)
        case "padded with labels the model has not":
            unknown = record_bytes(replace(good[0], label=7))
            return sale.delivered(good, delivered=[*kept, *[unknown] * len(kept)]), len(kept)
    raise AssertionError(how)


CHEATS = [
    "other records",
    "scaled value",
    "half junk",
    "repeated rows",
    "padded with labels the model has not",
]


@pytest.mark.parametrize("kind", ["texts", "table"])
@pytest.mark.parametrize("how", CHEATS)
def test_other_records_than_were_valued_lose_the_bond(kind: str, how: str, request: pytest.FixtureRequest) -> None:
    sale = request.getfixturevalue(kind)
    delivered, count = cheat(sale, how)
    found = ruled(delivered)
    assert found.outcome is Outcome.BUYER
    assert found.delta > THETA + found.spread
    assert found.records == count
    entry = delivered.found.entry
    assert 0 <= found.weight < entry.weight
    if how in ("scaled value", "repeated rows", "half junk"):
        assert found.value is not None
        assert found.weight == max(0, found.value) * (count or 0)


def test_what_was_scaled_within_the_tolerance_earns_nothing(texts: Sale) -> None:
    """The seller is always paid by what was found, whoever gets the bonds."""
    good = records_of(texts, 60, 2)
    honest = texts.delivered(good).found.entry
    part = 1.0005 * 2**-11 * 2**34 / honest.value  # scaled so that half of θ is missing

    def scaled(integers: np.ndarray) -> np.ndarray:
        return np.rint(integers * (1 + part)).astype(np.int64)

    found = ruled(texts.delivered(good, gradient=scaled))
    assert found.outcome is Outcome.NEITHER
    assert abs(found.weight - honest.weight) < honest.weight * 1e-4


def test_fewer_records_than_count_at_all_earn_nothing(texts: Sale) -> None:
    kept = [record_bytes(record) for record in texts.mean(records_of(texts, 60, 2))[0]]
    junk = [*kept[: texts.terms.minRecords - 1], *[b"?"] * 20]
    found = ruled(texts.delivered(records_of(texts, 60, 2), delivered=junk))
    assert (found.weight, found.outcome) == (0, Outcome.BUYER)


def test_nothing_that_parses_earns_nothing(texts: Sale) -> None:
    found = ruled(texts.delivered(records_of(texts, 60, 2), delivered=[b"", b"?", b"TIPR"] * 9))
    assert (found.weight, found.outcome, found.records, found.spread) == (0, Outcome.BUYER, 0, 0.0)


def rewritten(delivered: DeliveredSale, change: Callable[[bytes], bytes]) -> DeliveredSale:
    delivered.sealed.write_bytes(change(delivered.sealed.read_bytes()))
    return delivered


def test_a_file_that_breaks_off_is_its_sellers_fault(texts: Sale) -> None:
    long = [TextRecord("fracture " * 500, 0), *records_of(texts, 60, 2)]
    content = [record_bytes(record) for record in [*texts.mean(long)[0], *[long[0]] * 40]]
    delivered = texts.delivered(long, delivered=content)
    assert sealed_bytes(sum(map(len, content))) > 2**17
    found = ruled(rewritten(delivered, lambda data: data[:-1] + bytes([data[-1] ^ 1])))
    assert (found.weight, found.outcome) == (0, Outcome.BUYER)
    assert "not one of the committed records" in found.reasons[0]


def test_leaves_of_another_root_are_no_records_of_the_seller(texts: Sale) -> None:
    delivered = texts.delivered(records_of(texts, 60, 2))
    commitments = replace(delivered.found.entry.commitments, data_root=b"\x01" * 32)
    found = ruled(delivered.with_entry(commitments=commitments))
    assert (found.weight, found.outcome) == (0, Outcome.BUYER)


def test_a_row_that_is_not_the_committed_record_counts_for_nothing(texts: Sale) -> None:
    """Whoever does not complain may contest."""
    good = records_of(texts, 60, 2)
    delivered = texts.delivered(good, wrong={index: b"?" * index for index in range(1, 12)})
    found = ruled(delivered)
    assert found.records == delivered.found.entry.records - 11
    assert found.outcome is Outcome.BUYER


def full(delivered: DeliveredSale, found: Ruling) -> bool:
    return (found.weight, found.outcome) == (delivered.found.entry.weight, Outcome.SELLER) and found.value is None


@pytest.mark.parametrize("how", CHEATS[:1])
def test_a_buyer_that_attested_another_value_loses_whatever_was_delivered(texts: Sale, how: str) -> None:
    delivered, _ = cheat(texts, how)
    attested = delivered.found.entry.attested
    assert attested is not None
    lied = delivered.with_entry(attested=(attested + 1) % settlement.T)
    found = ruled(lied)
    assert full(lied, found)
    assert "decrypts to" in found.reasons[-1]


def test_a_buyer_that_shows_anything_false_loses(texts: Sale) -> None:
    delivered, _ = cheat(texts, "other records")
    right = delivered.evidence
    false = {
        "key": replace(right, secret_key=pack(SecretKey.fresh(WIDE).coefficients)),
        "short key": replace(right, secret_key=b""),
        "stream key": replace(right, stream_key=secrets.token_bytes(32)),
        "reply": replace(right, reply=right.reply[:-1] + bytes([right.reply[-1] ^ 1])),
        "no reply": replace(right, reply=b""),
    }
    for what, evidence in false.items():
        assert full(delivered, ruled(delivered, evidence)), what
    assert ruled(delivered).outcome is Outcome.BUYER


def test_a_query_that_is_none_is_the_buyers_fault(texts: Sale, table: Sale, tmp_path: Path) -> None:
    delivered, _ = cheat(texts, "other records")
    for content in (b"", b"TIPQ", texts.query.read_bytes()[:-1], table.query.read_bytes()):
        (tmp_path / "query").write_bytes(content)
        found = judge(
            delivered.found,
            delivered.evidence,
            query=tmp_path / "query",
            sealed=delivered.sealed,
            model=texts.model.path,
        )
        assert full(delivered, found)


def test_another_zero_block_is_the_buyers_fault(texts: Sale) -> None:
    delivered, _ = cheat(texts, "other records")
    terms = replace(delivered.found.order.terms, zeroBlockHash=b"\x01" * 32)
    order = replace(delivered.found.order, terms=terms)
    assert full(delivered, ruled(replace(delivered, found=replace(delivered.found, order=order))))


def test_a_model_that_is_none_is_the_buyers_fault(texts: Sale, tmp_path: Path) -> None:
    delivered, _ = cheat(texts, "other records")
    (tmp_path / "config.json").write_text("{}")
    found = judge(delivered.found, delivered.evidence, query=texts.query, sealed=delivered.sealed, model=tmp_path)
    assert full(delivered, found)


def test_an_overlong_query_is_the_buyers_fault(texts: Sale, tmp_path: Path) -> None:
    longer = make_sale(tmp_path / "order", texts.model, tiny_records(60, seed=1), clip_norm=CLIP, longer=1.1)
    delivered, _ = cheat(longer, "other records")
    found = ruled(delivered)
    assert full(delivered, found)
    assert "norm" in found.reasons[-1]


def test_every_record_is_taken_at_the_run_best_for_its_seller(texts: Sale, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = texts.delivered(records_of(texts, 60, 2))
    count = delivered.found.entry.records
    own = ruled(delivered).value or 0

    def runs(*_arguments: object, compute: Compute) -> np.ndarray:
        values = np.full((len(RUNS), count), -0.5)
        values[3, ::2] = 0.75
        return values

    monkeypatch.setattr(ruling, "projected_runs", runs)
    found = ruled(delivered)
    assert found.value is not None
    assert found.value > own
    # the spread is of best less worst: half the records between .75 and −.5, the others between their own and −.5
    assert found.spread > 1.25 / 2
    assert found.outcome is Outcome.SELLER


def test_a_run_that_fails_for_one_record_leaves_it_its_own_value(texts: Sale, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = texts.delivered(records_of(texts, 60, 2))
    plain, right = ruling.projected_runs, ruled(delivered)
    kept = texts.mean(records_of(texts, 60, 2))[0]

    def failing(model: ModelFolder, records: list[Record], *rest: object, compute: Compute) -> np.ndarray:
        if kept[7] in records:
            raise DataError("The loss of a record is not finite.")
        return plain(model, records, *rest, compute=compute)  # type: ignore[arg-type]

    monkeypatch.setattr(ruling, "projected_runs", failing)
    found = ruled(delivered)
    assert found.outcome is Outcome.SELLER
    assert abs((found.value or 0) - (right.value or 0)) < 2**34 * 1e-6


def test_evidence_opens_for_its_arbiter_order_and_seller_alone() -> None:
    arbiter, other = PrivateKey.generate(), PrivateKey.generate()
    evidence = Evidence(b"s" * 32, b"k" * 2048, b"r" * 57_351)
    named = {"order_id": b"\x01" * 32, "seller": SELLERS[0]}
    sealed = seal_evidence(evidence, bytes(arbiter.public_key), **named)  # type: ignore[arg-type]
    assert len(sealed) < EVIDENCE_LIMIT
    assert open_evidence(sealed, bytes(arbiter), **named) == evidence  # type: ignore[arg-type]
    for data, key, order_id, seller in (
        (sealed, other, b"\x01" * 32, SELLERS[0]),
        (sealed, arbiter, b"\x02" * 32, SELLERS[0]),
        (sealed, arbiter, b"\x01" * 32, SELLERS[1]),
        (sealed[:-1], arbiter, b"\x01" * 32, SELLERS[0]),
        (b"", arbiter, b"\x01" * 32, SELLERS[0]),
        (bytes(EVIDENCE_LIMIT + 1), arbiter, b"\x01" * 32, SELLERS[0]),
    ):
        with pytest.raises(WireError):
            open_evidence(data, bytes(key), order_id=order_id, seller=seller)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b'{"version":1}',
        b'{"version":2,"stream_key":"","secret_key":"","reply":""}',
        b'{"version":1,"stream_key":"00","secret_key":"","reply":""}',
        b'{"version":1,"stream_key":7,"secret_key":"","reply":""}',
        b'{"version":1,"stream_key":"zz","secret_key":"","reply":""}',
        b'{"version":1,"stream_key":"","secret_key":"","reply":"","more":1}',
        b'{"version":1,"stream_key":"' + b"00" * 32 + b'","secret_key":"","reply":"' + b"00" * (2**18 + 1) + b'"}',
        b"[" * 100_000,
    ],
)
def test_malformed_evidence_is_refused(content: bytes) -> None:
    from tip_exchange.encryption.sealed_stream import seal_stream

    arbiter = PrivateKey.generate()
    context = contesting._context(b"\x01" * 32, SELLERS[0])
    sealed = b"".join(seal_stream([content], bytes(arbiter.public_key), context))
    with pytest.raises(WireError):
        open_evidence(sealed, bytes(arbiter), order_id=b"\x01" * 32, seller=SELLERS[0])


def test_an_arbiters_key_is_made_once(tmp_path: Path) -> None:
    public = keys(tmp_path)
    assert keys(tmp_path) == public
    assert bytes(PrivateKey((tmp_path / "arbiter_box_key.bin").read_bytes()).public_key) == public
    (tmp_path / "arbiter_box_key.bin").write_bytes(b"short")
    with pytest.raises(StateError, match="damaged"):
        keys(tmp_path)


def test_the_tests_orders_are_honest(texts: Sale) -> None:
    """The arbiter's value is that of the plain computation."""
    delivered = texts.delivered(records_of(texts, 60, 2))
    mean = mean_clipped_gradient(texts.model, records_of(texts, 60, 2), SEED, CLIP).mean
    assert delivered.found.entry.value / 2**34 == pytest.approx(float(texts.direction @ mean), abs=1e-4)
    assert texts.terms.buyer == BUYER

"""Record scores of other records convict their seller, and no buyer can make an honest seller look like that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange import Ended, Exchange, _run

from tip_exchange.encryption.parameters import WIDE

SCORES = "--record-scores"


def _scores_of_other_records(*arguments: Any) -> None:
    """`tip seller submit` whose record scores are of the opposite gradients."""
    from tip_exchange.encryption import record_scores

    real = record_scores.score_records

    def other(task: Any, **rest: Any) -> None:
        (-np.fromfile(task.rows, "<f4")).tofile(task.rows)
        real(task, **rest)

    record_scores.score_records = other
    _run(*arguments)


def _record_query_of_another_direction(*arguments: Any) -> None:
    """`tip buyer open` whose record query asks for the opposite of what its query asks."""
    from tip_exchange.encryption import query

    real = query.encrypted_record_query
    query.encrypted_record_query = lambda integers, *rest, **more: real(-integers, *rest, **more)
    _run(*arguments)


def _accusing_everybody(*arguments: Any) -> None:
    """`tip buyer scores` that believes nobody."""
    from tip_exchange.roles.buyer import SellerScores

    SellerScores.agrees = property(lambda self: False)  # type: ignore[method-assign, assignment]
    _run(*arguments)


def patched(exchange: Exchange, target: Callable[..., None], role: str, *arguments: str) -> dict[str, Any]:
    out, err = exchange.folder / "out", exchange.folder / "err"
    settings = exchange.environment | {"TIP_HOME": str(exchange.home(role))}
    process = exchange.processes.Process(target=target, args=([*arguments, "--json"], settings, out, err, 0))
    process.start()
    process.join(120)
    return Ended(process.exitcode, out.read_text(), err.read_text()).answer


def submit_arguments(exchange: Exchange, seller: str) -> list[str]:
    return ["seller", "submit", exchange.order, "--records", str(exchange.folder / f"{seller}.jsonl"), SCORES]


def handed_over(exchange: Exchange, *, cheat: str = "", shift: int = 0) -> None:
    """From submissions to Claiming; clinic and lab hand their scores over."""
    for seller in ("clinic", "lab"):
        if seller == cheat:
            patched(exchange, _scores_of_other_records, seller, *submit_arguments(exchange, seller))
        else:
            exchange.tip(seller, *submit_arguments(exchange, seller))
    exchange.advance("2d")
    if shift:
        exchange.attest("order", "--sign-to", str(exchange.folder / "signed"))
        path = exchange.home("buyer") / "orders/order/attestation.json"
        saved = json.loads(path.read_bytes())
        saved["values"] = [(value + shift) % WIDE.t for value in saved["values"]]
        path.write_text(json.dumps(saved))
    exchange.attest("order")
    for seller in ("clinic", "lab"):
        exchange.tip(seller, "seller", "reveal", exchange.order)
        exchange.tip(seller, "seller", "hand-over", exchange.order)


def over(exchange: Exchange) -> None:
    exchange.advance("2d", "3d")


def collected(exchange: Exchange, *more: str) -> dict[str, Any]:
    return exchange.tip("buyer", "buyer", "scores", "order", *more)


def judged(exchange: Exchange, evidence: Path) -> Ended:
    """By an auditor that has nothing but chain, storage and the evidence."""
    return exchange.run("auditor", "auditor", "scores", str(evidence), "--json")


def test_scores_of_other_records_convict_their_seller_alone(exchange: Exchange) -> None:
    exchange.open("order", SCORES, "24")
    handed_over(exchange, cheat="lab")
    folder = exchange.folder / "evidence"
    early = exchange.run("buyer", "buyer", "scores", "order", "--evidence", str(folder))
    assert early.status == 1
    assert "wait until it is over" in " ".join(early.err.split())
    over(exchange)
    pytest.importorskip("matplotlib")
    plots = exchange.folder / "plots"
    answer = collected(exchange, "--evidence", str(folder), "--plots", str(plots))
    agreeing = {each["seller"]: each["agrees"] for each in answer["sellers"]}
    assert agreeing == {exchange.wallets["clinic"]: True, exchange.wallets["lab"]: False}
    assert sorted(path.suffix for path in plots.iterdir()) == [".png", ".png"]
    (path,) = folder.iterdir()
    assert path.stem == exchange.wallets["lab"]
    found = judged(exchange, path).answer
    assert found["convicted"] is True
    assert found["mean"] == pytest.approx(-found["value"], abs=found["tolerance"])
    assert abs(found["mean"] - found["value"]) > found["tolerance"]
    assert found["records"] == 24


def test_evidence_that_was_changed_convicts_nobody(exchange: Exchange) -> None:
    exchange.open("order", SCORES, "24")
    handed_over(exchange, cheat="lab")
    over(exchange)
    folder = exchange.folder / "evidence"
    collected(exchange, "--evidence", str(folder))
    (path,) = folder.iterdir()
    genuine = json.loads(path.read_bytes())
    changes = {
        "key": "00" * (WIDE.N // 4),
        "stream_key": "11" * 32,
        "nonce": "22" * 32,
        "scores_hash": "33" * 32,
        "seller": exchange.wallets["clinic"],
        "order_id": "0x" + "44" * 32,
    }
    for name, changed in changes.items():
        path.write_text(json.dumps(genuine | {name: changed}))
        ended = judged(exchange, path)
        assert ended.status == 1, name
        assert "convicted" not in ended.out, name
        assert "Traceback" not in ended.err, name
    for broken in ("", "[]", '{"order_id": 5}', json.dumps(genuine)[:-9]):
        path.write_text(broken)
        ended = judged(exchange, path)
        assert ended.status == 1
        assert "Traceback" not in ended.err


def accused(exchange: Exchange) -> Path:
    """What a buyer could write against an honest seller, whatever its own tool says of it."""
    folder = exchange.folder / "evidence"
    patched(exchange, _accusing_everybody, "buyer", "buyer", "scores", "order", "--evidence", str(folder))
    return folder / f"{exchange.wallets['clinic']}.json"


def test_evidence_against_an_honest_seller_does_not_hold(exchange: Exchange) -> None:
    exchange.open("order", SCORES, "24")
    handed_over(exchange)
    over(exchange)
    ended = judged(exchange, accused(exchange))
    assert ended.status == 1
    assert json.loads(ended.out)["convicted"] is False


def test_a_buyer_that_attested_another_value_convicts_nobody(exchange: Exchange) -> None:
    """The naive comparison, with the revealed value, would convict an honest seller."""
    exchange.open("order", "--no-tags", SCORES, "24")
    handed_over(exchange, shift=2**30)
    over(exchange)
    assert not any(each["agrees"] for each in collected(exchange)["sellers"])
    ended = judged(exchange, accused(exchange))
    assert ended.status == 1
    assert json.loads(ended.out)["convicted"] is False


def test_a_buyer_whose_record_query_asks_for_something_else_convicts_nobody(exchange: Exchange) -> None:
    arguments = exchange.open_arguments("order", SCORES, "24")
    exchange.order = patched(exchange, _record_query_of_another_direction, "buyer", *arguments)["order_id"]
    handed_over(exchange)
    over(exchange)
    assert not any(each["agrees"] for each in collected(exchange)["sellers"])
    ended = judged(exchange, accused(exchange))
    assert ended.status == 1
    assert "another direction" in " ".join(ended.err.split())

"""When a buyer shows its key, how a watcher bears failures, how payments are pushed; against a paper contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from tip_exchange.chain.events import Challenged, Reclaimed, Settled
from tip_exchange.chain.transactions import Receipt
from tip_exchange.cli.main import tip
from tip_exchange.cli.options import Session
from tip_exchange.commitments import canonical_json
from tip_exchange.errors import ChainError, ContractRevert, InputError, NotYet
from tip_exchange.files import write_atomic
from tip_exchange.roles import dispute, responding
from tip_exchange.roles.market import HOUR, Market, key_margin
from tip_exchange.types import Dispute, OrderState, Phase

ORDER = b"\x01" * 32
SELLERS = tuple(f"0x{digit}" + "0" * 39 for digit in "1234")
WHERE: dict[str, Any] = {
    "order_id": ORDER,
    "block": 10,
    "timestamp": 0,
    "log_index": 0,
    "gas_used": 1,
    "sender": SELLERS[0],
}


def receipt(transaction: str, *, resumed: bool = False) -> Receipt:
    return Receipt("label", transaction, 10, 1, 1, None, resumed)


def market(**escrow: Any) -> Market:
    return Market(cast("Any", SimpleNamespace(**escrow)), cast("Any", None))


def order(phase: Phase, **fields: Any) -> OrderState:
    terms = SimpleNamespace(challengeWindow=400)
    return cast("OrderState", SimpleNamespace(order_id=ORDER, phase=phase, terms=terms, reclaimed=False, **fields))


def test_a_refused_payment_holds_up_no_other_and_what_is_not_due_is_left_out(tmp_path: Path) -> None:
    def settle(account: object, journal: object, order_id: bytes, seller: str) -> Receipt:
        if seller == SELLERS[0]:
            raise ContractRevert("too early", "TooEarly")
        if seller == SELLERS[1]:
            raise ContractRevert("the token is broken", "SafeERC20FailedOperation")
        return receipt(seller)

    paid = Settled(
        seller=SELLERS[2],
        payout=5,
        fees=1,
        to_seller=6,
        to_buyer=0,
        to_poster=2,
        to_arbiter=0,
        burned=0,
        transaction=SELLERS[2],
        **WHERE,
    )
    back = Reclaimed(to_buyer=9, to_challenger=0, burned=0, transaction="reclaim", **WHERE)
    entries = [
        SimpleNamespace(seller=seller, rejected=False, settled=index == 3) for index, seller in enumerate(SELLERS)
    ]
    seen = market(
        order=lambda _: order(Phase.DELIVERING),
        submissions=lambda _: entries,
        settle=settle,
        reclaim=lambda *_: receipt("reclaim"),
        events=lambda _: [back, paid],
    )
    pushes = dispute.settle_all(seen, tmp_path, cast("Any", None), ORDER)
    assert [(push.seller, push.paid, push.refused) for push in pushes] == [
        (None, back, ""),
        (SELLERS[1], None, "the token is broken"),
        (SELLERS[2], paid, ""),
    ]


def test_a_challenge_says_what_it_posts_and_is_made_once_that_is_agreed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    made, challenger = list[str](), list[str | None]([None])
    seen = market(
        order=lambda _: SimpleNamespace(terms=SimpleNamespace(challengeBond=77)),
        dispute=lambda _: Dispute(challenger[0], False, None, 11),
    )

    def challenge(*_: object) -> Receipt | None:
        made.append("challenge")
        return receipt("challenge") if challenger[0] is None else None

    monkeypatch.setattr(Session, "market", lambda _: seen)
    monkeypatch.setattr(Session, "account", lambda _: None)
    monkeypatch.setattr(dispute, "challenge", challenge)
    command = ["order", "challenge", "0x" + ORDER.hex()]
    with pytest.raises(InputError, match=r"bond of 77, .*--yes"):
        CliRunner().invoke(tip, command, catch_exceptions=False)
    assert made == []
    assert "bond of 77" in CliRunner().invoke(tip, [*command, "--yes"], catch_exceptions=False).output
    assert made == ["challenge"]
    challenger[0] = SELLERS[0]  # the draw alone may be left to make
    assert "has challenged" in CliRunner().invoke(tip, command, catch_exceptions=False).output
    assert made == ["challenge"] * 2


def test_nothing_is_pushed_before_weights_are_final(tmp_path: Path) -> None:
    fields = dict.fromkeys(OrderState.__dataclass_fields__, 0) | {"order_id": ORDER, "phase": Phase.CHALLENGING}
    seen = market(
        order=lambda _: OrderState(
            **cast("Any", fields | {"terms": SimpleNamespace(challengeWindow=1, revealWindow=1)})
        )
    )
    with pytest.raises(ContractRevert, match="Delivering"):
        dispute.settle_all(seen, tmp_path, cast("Any", None), ORDER)


@pytest.mark.parametrize(("now", "final", "shown"), [(0, 9, False), (899, 9, False), (900, 9, True), (0, 10, True)])
def test_the_key_is_shown_for_a_challenge_that_stays_or_when_time_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: int, final: int, shown: bool
) -> None:
    folder = tmp_path / "orders/mine"
    write_atomic(folder / "order.json", canonical_json({"order_id": "0x" + ORDER.hex(), "dimension": 3}))
    write_atomic(folder / "secret_key.bin", b"key")
    drawn = (5, 3, 8)
    sent: list[tuple[Any, ...]] = []

    def reveal_key(account: object, journal: object, *rest: Any) -> Receipt:
        sent.append(rest)
        return receipt("key")

    def draw(*_: object) -> tuple[int, int, int]:
        sent.append(("drawn",))
        return drawn

    monkeypatch.setattr(responding, "draw", draw)
    monkeypatch.setattr(responding, "parameter_set", lambda _: None)
    monkeypatch.setattr(responding, "map_query", lambda *_: "query")
    monkeypatch.setattr(
        "tip_exchange.encryption.query.zero_block_opening",
        lambda query, index: (b"a", bytes([index]), [bytes([index]) * 32]),
    )
    state = order(Phase.RESPONDING, respond_until=1000)
    state.terms.parameterSet = 1  # type: ignore[misc]
    event = Challenged(challenger=SELLERS[0], bond=1, draw_block=11, transaction="0x", **WHERE)
    seen = market(
        dispute=lambda _: Dispute(SELLERS[0], False, None, 11),
        order=lambda _: state,
        now=lambda: now,
        final_block=lambda: final,
        events=lambda _: [event],
        reveal_key=reveal_key,
    )
    if shown:
        assert responding.respond(seen, tmp_path, cast("Any", None), "mine")
        openings = [bytes([index]) for index in drawn]
        assert sent == [("drawn",), (ORDER, b"key", b"a", openings, [[each * 32] for each in openings])]
    else:
        with pytest.raises(NotYet, match="challenge"):
            responding.respond(seen, tmp_path, cast("Any", None), "mine")
        assert sent == []


def watched(monkeypatch: pytest.MonkeyPatch, answers: list[Exception | responding.Watched]) -> list[str]:
    """What a watcher reports of these looks; ends with the error that ends it."""
    said: list[str] = []
    opened: list[Market] = []

    def look(*_: object) -> responding.Watched:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fresh() -> Market:
        opened.append(market())
        return opened[-1]

    monkeypatch.setattr(responding, "look", look)
    silent: Callable[..., None] = lambda *_: None  # noqa: E731
    try:
        responding.watch(fresh, Path(), cast("Any", None), "mine", 1.0, said.append, silent, sleep=silent)
    except ContractRevert as revert:
        said.append(f"ends: {revert}")
    return [*said, f"{len(opened)} nodes"]


def test_a_watcher_outlives_nodes_and_ends_when_all_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    done = responding.Watched(Phase.ATTESTING, "attested", False)
    over = responding.Watched(Phase.DELIVERING, "took back 5", True)
    looks: list[Any] = [ChainError("down"), ChainError("down"), done, NotYet("not final"), over]
    assert watched(monkeypatch, looks) == [
        "will try again: down",
        "Attesting: attested",
        "will try again: not final",
        "Delivering: took back 5",
        "4 nodes",
    ]


def test_a_watcher_gives_up_on_a_step_that_time_does_not_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    early, wrong = ContractRevert("early", "TooEarly"), ContractRevert("does not fit", "KeyDoesNotFit")
    looks: list[Any] = [early] * 5 + [wrong] * responding.REFUSALS
    assert watched(monkeypatch, looks) == [
        "will try again: early",
        "will try again: does not fit",
        "ends: does not fit",
        f"{5 + responding.REFUSALS} nodes",
    ]


def test_a_key_is_sent_with_a_quarter_of_the_window_and_time_to_force_it_in() -> None:
    assert key_margin(31337, 8) == 2
    assert key_margin(1, 24 * HOUR) == 6 * HOUR
    assert key_margin(1, HOUR) == 2 * HOUR
    assert key_margin(42161, 48 * HOUR) == 26 * HOUR

"""What an order costs as sellers and orders become many: gas, time and traffic, on Anvil, with real ciphertexts.

Every order runs from opening to refund with honest sellers: a query of 4,676 dimensions is encrypted, every seller's
reply evaluated and committed to, the decrypted values attested, pads revealed, shares claimed. Gas is that of receipts;
traffic is the size of the signed transactions and of what goes through storage; seconds are this machine's, with a
chain that mines every transaction at once, and mean little elsewhere. A straight line in the number of sellers is
fitted by least squares. Money and 10,000 sellers are computed from it, under prices that are assumptions.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from eth_account.signers.local import LocalAccount
from eth_utils.abi import function_abi_to_4byte_selector
from matplotlib.figure import Figure
from nacl.public import PrivateKey
from rich.table import Table

from benchmarks.settlement import Bench
from experiments.study import Result, Study, Work, main
from tip_exchange.chain import nodes
from tip_exchange.chain.artifact import load_artifact
from tip_exchange.chain.transactions import Journal
from tip_exchange.commitments import keccak, pad_commitment, reply_commitment, tag_key_commitment
from tip_exchange.encryption.decryption import decrypt
from tip_exchange.encryption.keys import pack
from tip_exchange.encryption.packing import Coefficients, fixed_point
from tip_exchange.encryption.parameters import WIDE, QueryKind
from tip_exchange.encryption.query import SecretKey, encrypted_query, zero_block_hash
from tip_exchange.encryption.scoring import new_pad, value_data_set
from tip_exchange.encryption.tags import TagKey, check_values, open_reply
from tip_exchange.encryption.wire import decode_query, encode_reply
from tip_exchange.types import MAX_SELLERS, NO_TAG_SECRET, Phase

DIMENSION, RECORDS, SEED = 4_676, 50, 0
SIZES, SIDE_BY_SIDE, SENDERS = (8, 32, 128), (1, 4, 16), 4
MANY = 10_000
KINDS = {"without tags": False, "with tags": True}
BUYERS, SELLERS = ("open", "attest", "refund"), ("submit", "reveal", "claim")


@dataclass(frozen=True)
class Prices:
    """Assumptions, not measurements.

    Attributes:
        coin: price of one coin in dollars.
        l1_gwei: gas prices of a layer 1, low, middling and high.
        l2_gwei: price of executing a unit of gas on a layer 2.
        blob_gwei: price of a unit of blob gas. A byte costs one, over the share of a blob that is usable.
        blob_usable: bytes of a transaction a blob takes, of its 131,072.
        calldata_gas: layer 1's gas for a byte, at its middling price, where a layer 2 posts calldata instead of blobs.
        block_gas: gas of a block of a layer 1, and its seconds.
        finalise_gas: of adding a cohort's weight to a shared total: a transaction, a cold read, two changed words.
    """

    coin: float = 3_000.0
    l1_gwei: tuple[float, ...] = (1.0, 10.0, 30.0)
    l2_gwei: float = 0.01
    blob_gwei: float = 1.0
    blob_usable: int = 4096 * 31
    calldata_gas: int = 16
    block_gas: int = 36_000_000
    block_seconds: float = 12.0
    finalise_gas: int = 60_000

    def l1(self, gas: float, gwei: float) -> float:
        """Dollars."""
        return gas * gwei * 1e-9 * self.coin

    def l2(self, gas: float, size: float, posted: str) -> float:
        """Dollars of executing ``gas`` and posting ``size`` bytes uncompressed, as ``blobs`` or as ``calldata``."""
        if posted == "blobs":
            posting = size * 131_072 / self.blob_usable * self.blob_gwei
        else:
            posting = size * self.calldata_gas * self.l1_gwei[1]
        return (gas * self.l2_gwei + posting) * 1e-9 * self.coin


@dataclass(frozen=True)
class Job:
    """So many orders side by side on a chain of their own, with so many sellers each, with tags or without."""

    orders: int
    sellers: int
    tagged: bool
    dimension: int = DIMENSION


@dataclass(eq=False)
class Seat:
    """A seller's place in an order: what it committed to, and what it keeps secret until the reveal."""

    account: LocalAccount
    pad: int
    tag_pad: int
    reply: bytes
    salt: bytes
    checks: tuple[int, ...]


class Order:
    """One order, a method for everything its buyer and its sellers send in a phase."""

    def __init__(self, bench: Bench, folder: Path, job: Job, number: int) -> None:
        self._escrow, self._journal = bench.escrow, Journal(folder / f"journal-{number}")
        self._bench, self._job, self._dice = bench, job, np.random.default_rng([SEED, number])
        self.buyer = bench.account()
        self.seats: list[Seat] = []
        self.seconds = dict[str, float]()
        self.storage = dict[str, int]()

    def open(self) -> None:
        """The buyer encrypts its query and opens; the sellers evaluate theirs."""
        clock = time.perf_counter()
        self._secret, check_seed = SecretKey.fresh(WIDE), self._dice.bytes(32)
        self._tag_key = TagKey.fresh() if self._job.tagged else None
        integers = self._vector("query", 1.0)
        tags = (self._tag_key, check_seed) if self._tag_key else None
        data = b"".join(encrypted_query(integers, self._secret, tags=tags))
        kind = QueryKind.TAGGED if self._tag_key else QueryKind.DATA_SET
        query = decode_query(data, parameters=WIDE, dimension=self._job.dimension, kind=kind)
        self.seconds["encrypt"] = time.perf_counter() - clock
        hashes = {
            "queryHash": keccak(data),
            "keyHash": keccak(pack(self._secret.coefficients)),
            "zeroBlockHash": zero_block_hash(query),
            "boxKey": bytes(PrivateKey.generate().public_key),
        }
        if self._tag_key:
            hashes["tagKeyHash"] = tag_key_commitment(self._tag_key.tag_secret)
        self.id = self._bench.open(self.buyer, self._job.sellers, **hashes)
        clock = time.perf_counter()
        for _ in range(self._job.sellers):
            pad, tag_pad = new_pad(WIDE), new_pad(WIDE) if self._tag_key else 0
            vector = self._vector("gradient", 0.5)
            pads = (tag_pad, pad) if self._tag_key else (pad,)
            reply = encode_reply(value_data_set(query, vector, *pads))
            checks = check_values(check_seed, vector, WIDE) if self._tag_key else ()
            self.seats.append(Seat(self._bench.account(), pad, tag_pad, reply, self._dice.bytes(32), checks))
        self.seconds["evaluate"] = time.perf_counter() - clock
        self.storage = {"query": len(data), "replies": sum(len(seat.reply) for seat in self.seats)}

    def submit(self) -> None:
        """Every seller commits to its reply and its pads."""
        for seat in self.seats:
            seller, root = seat.account, self._dice.bytes(32)
            pads_hash = pad_commitment(self.id, seller.address, seat.pad, RECORDS, seat.salt, tag_pad=seat.tag_pad)
            self._escrow.submit(seller, self._journal, self.id, reply_commitment(seat.reply), pads_hash, root)

    def attest(self) -> None:
        """The buyer decrypts and attests."""
        clock = time.perf_counter()
        key, tags, secret = self._secret.coefficients, list[int](), NO_TAG_SECRET
        if self._tag_key:
            opened = [open_reply(seat.reply, key, WIDE) for seat in self.seats]
            values, secret = [each.value for each in opened], self._tag_key.tag_secret
            tags = [self._tag_key.tag(each.second, seat.checks) for each, seat in zip(opened, self.seats, strict=True)]
        else:
            values = [decrypt(seat.reply, key, WIDE) for seat in self.seats]
        self.seconds["decrypt"] = time.perf_counter() - clock
        stored = self._escrow.order(self.id).submissions_hash
        self._escrow.attest(self.buyer, self._journal, self.id, stored, values, tags, secret)

    def reveal(self) -> None:
        """Every seller opens its pads."""
        for seat in self.seats:
            seller, salt = seat.account, seat.salt
            self._escrow.reveal(
                seller, self._journal, self.id, seller.address, seat.pad, RECORDS, salt, tag_pad=seat.tag_pad
            )

    def claim(self) -> None:
        """Every seller takes its share."""
        for seat in self.seats:
            self._escrow.claim(seat.account, self._journal, self.id, seat.account.address)

    def refund(self) -> None:
        """The buyer takes what is left."""
        self._escrow.refund(self.buyer, self._journal, self.id)

    def wait_for(self, phase: Phase) -> None:
        """Let windows pass until the order is in a phase."""
        while self._escrow.phase(self.id) < phase:
            self._bench.wait()

    def _vector(self, what: str, norm: float) -> Coefficients:
        drawn = self._dice.normal(size=self._job.dimension)
        return fixed_point(norm * drawn / np.linalg.norm(drawn), WIDE, what)


PHASES: dict[str, Phase] = {
    "open": Phase.NONE,
    "submit": Phase.SUBMITTING,
    "attest": Phase.ATTESTING,
    "reveal": Phase.REVEALING,
    "claim": Phase.CLAIMING,
    "refund": Phase.CLOSED,
}


def settle(job: Job) -> Result:
    """Settle the orders of a job side by side, :data:`SENDERS` of them sending at once, and read off what it took."""
    with tempfile.TemporaryDirectory(prefix="tip-scale-") as place:
        folder = Path(place)
        try:
            bench = Bench(folder)
            orders = [Order(bench, folder, job, number) for number in range(job.orders)]
            seconds = dict[str, float]()
            with ThreadPoolExecutor(SENDERS) as senders:
                for step, phase in PHASES.items():
                    if step != "open":
                        for order in orders:
                            order.wait_for(phase)
                    clock = time.perf_counter()
                    list(senders.map(lambda order, step=step: getattr(order, step)(), orders))
                    seconds[step] = time.perf_counter() - clock
            paid = sum(
                sum(bench.escrow.payout(order.id, seat.account.address)) for order in orders for seat in order.seats
            )
            sent = sent_transactions(bench, orders)
        finally:
            nodes.stop_node(folder)
    compute = {name: sum(order.seconds[name] for order in orders) for name in orders[0].seconds}
    return {
        **asdict(job),
        "seed": SEED,
        "seconds": seconds,
        "compute_seconds": compute,
        "storage": orders[0].storage,
        "paid_share": paid / job.orders / 1e18,
        "orders_took": [
            {
                step: {
                    "gas": [one["gas"] for one in sent if one["step"] == step and one["order"] == order.id.hex()],
                    "bytes": [one["bytes"] for one in sent if one["step"] == step and one["order"] == order.id.hex()],
                }
                for step in PHASES
            }
            for order in orders
        ],
    }


def sent_transactions(bench: Bench, orders: Sequence[Order]) -> list[dict[str, Any]]:
    """Step, order, gas and signed size of every call of the escrow, read off the chain."""
    w3 = bench.escrow.w3
    abi = [entry for entry in load_artifact()["abi"] if entry["type"] == "function"]
    names = {bytes(function_abi_to_4byte_selector(entry)): entry["name"] for entry in abi}
    opened = {order.buyer.address: order.id for order in orders}
    found = []
    for number in range(bench.escrow.first_block + 1, w3.eth.block_number + 1):
        for transaction in w3.eth.get_block(number, full_transactions=True)["transactions"]:
            data, sender = bytes(transaction["input"]), transaction["from"]
            step = names.get(data[:4])
            if transaction["to"] != bench.escrow.address or step is None:
                continue
            order = opened[sender] if step == "open" else data[4:36]
            found.append(
                {
                    "step": step,
                    "order": order.hex(),
                    "gas": int(w3.eth.get_transaction_receipt(transaction["hash"])["gasUsed"]),
                    "bytes": len(w3.eth.get_raw_transaction(transaction["hash"])),
                }
            )
    return found


def run(work: Work) -> Result:
    """Growing orders, then more and more of them side by side; fits, money and 10,000 sellers."""
    sizes, many, small, dimension = ((2, 4, 8), (1, 2), 2, 64) if work.quick else (SIZES, SIDE_BY_SIDE, 8, DIMENSION)
    jobs = [Job(1, size, tagged, dimension) for tagged in KINDS.values() for size in sizes]
    jobs += [Job(count, small, True, dimension) for count in many]
    settled = work.results("orders", settle, jobs)
    growing = {
        kind: [one for one in settled[: -len(many)] if one["tagged"] == tagged] for kind, tagged in KINDS.items()
    }
    fits = {
        kind: {name: fit(alike, quantity) for name, quantity in QUANTITIES.items()} for kind, alike in growing.items()
    }
    prices = Prices()
    return {
        "dimension": dimension,
        "records": RECORDS,
        "prices": asdict(prices),
        "growing": growing,
        "side_by_side": settled[-len(many) :],
        "fits": fits,
        "money": {kind: [money(one, prices) for one in alike] for kind, alike in growing.items()},
        "many": {kind: many_sellers(fits[kind], alike[-1], prices) for kind, alike in growing.items()},
    }


def total(order: Result, kind: str, steps: Iterable[str] = tuple(PHASES)) -> int:
    """Gas or bytes of an order's steps, all together."""
    return sum(sum(order[step][kind]) for step in steps)


QUANTITIES: dict[str, Callable[[Result], float]] = {
    "gas of the order": lambda one: total(one["orders_took"][0], "gas"),
    "gas of the buyer": lambda one: total(one["orders_took"][0], "gas", BUYERS),
    "gas of all sellers": lambda one: total(one["orders_took"][0], "gas", SELLERS),
    **{f"gas of {step}": lambda one, step=step: total(one["orders_took"][0], "gas", [step]) for step in PHASES},  # type: ignore[misc]
    "bytes on the chain": lambda one: total(one["orders_took"][0], "bytes"),
    "bytes of the buyer on the chain": lambda one: total(one["orders_took"][0], "bytes", BUYERS),
    "bytes through storage": lambda one: sum(one["storage"].values()),
}


def fit(settled: Sequence[Result], quantity: Callable[[Result], float]) -> Result:
    """Least squares of a quantity on the number of sellers, and the residuals, ``worst`` relative to the quantity."""
    sellers, measured = np.array([one["sellers"] for one in settled]), np.array([quantity(one) for one in settled])
    slope, fixed = np.polyfit(sellers, measured, 1)
    residuals = measured - fixed - slope * sellers
    return {
        "fixed": fixed,
        "a_seller": slope,
        "residuals": residuals,
        "worst": float(np.abs(residuals / measured).max()),
    }


def money(one: Result, prices: Prices) -> Result:
    """Dollars of an order, and of the buyer and a seller in it, on a layer 1 and a layer 2."""
    order = one["orders_took"][0]
    rows = {"order": (tuple(PHASES), 1), "buyer": (BUYERS, 1), "a seller": (SELLERS, one["sellers"])}
    found = {}
    for who, (steps, share) in rows.items():
        gas, size = total(order, "gas", steps) / share, total(order, "bytes", steps) / share
        found[who] = {
            **{f"layer 1, {gwei:g} gwei": prices.l1(gas, gwei) for gwei in prices.l1_gwei},
            **{f"layer 2, {posted}": prices.l2(gas, size, posted) for posted in ("blobs", "calldata")},
        }
    return {"sellers": one["sellers"], "dollars": found}


def many_sellers(fits: Result, largest: Result, prices: Prices) -> Result:
    """10,000 sellers as cohorts of 128 with a key each, that share one budget: on paper, from the fits."""
    cohorts = ceil(MANY / MAX_SELLERS)
    gas = {
        who: cohorts * fits[f"gas of {who}"]["fixed"] + MANY * fits[f"gas of {who}"]["a_seller"]
        for who in ("the order", "the buyer", "all sellers")
    }
    shared = cohorts * prices.finalise_gas
    size = cohorts * fits["bytes on the chain"]["fixed"] + MANY * fits["bytes on the chain"]["a_seller"]
    seats = largest["sellers"] * largest["orders"]
    blocks = (gas["the order"] + shared) / prices.block_gas
    return {
        "sellers": MANY,
        "cohorts": cohorts,
        "gas": gas,
        "gas_of_sharing": shared,
        "gas_a_seller": (gas["the order"] + shared) / MANY,
        "dollars_a_seller": {
            **{
                f"layer 1, {gwei:g} gwei": prices.l1((gas["the order"] + shared) / MANY, gwei)
                for gwei in prices.l1_gwei
            },
            **{
                f"layer 2, {posted}": prices.l2((gas["the order"] + shared) / MANY, size / MANY, posted)
                for posted in ("blobs", "calldata")
            },
        },
        "blocks": blocks,
        "hours_of_full_blocks": blocks * prices.block_seconds / 3600,
        "bytes_on_the_chain": size,
        "queries_bytes": cohorts * largest["storage"]["query"],
        "replies_bytes": MANY * largest["storage"]["replies"] / seats,
        "equations_a_dimension": MANY / largest["dimension"],
    }


def report(result: Result) -> list[Table]:
    """Gas by size with its law, orders side by side, money, and 10,000 sellers."""
    tables = []
    for kind, growing in result["growing"].items():
        law = Table(
            "quantity", *(f"{one['sellers']} sellers" for one in growing), "fixed", "a seller", "worst residual"
        )
        law.title = f"One order {kind}, least squares on the number of sellers"
        for name, quantity in QUANTITIES.items():
            found = result["fits"][kind][name]
            measured = [f"{quantity(one):,.0f}" for one in growing]
            law.add_row(name, *measured, f"{found['fixed']:,.0f}", f"{found['a_seller']:,.0f}", f"{found['worst']:.2%}")
        tables.append(law)
    beside = Table("orders", "sellers each", "gas an order, least", "most", "transactions a second", "seconds")
    beside.title = "Orders with tags side by side on one chain"
    for one in result["side_by_side"]:
        gas = [total(order, "gas") for order in one["orders_took"]]
        count = sum(len(order[step]["gas"]) for order in one["orders_took"] for step in PHASES)
        spent = sum(one["seconds"].values())
        rates = f"{count / spent:.1f}", f"{spent:.1f}"
        beside.add_row(str(one["orders"]), str(one["sellers"]), f"{min(gas):,}", f"{max(gas):,}", *rates)
    compute = Table("order", "sellers", "encrypt the query", "evaluate, a seller", "decrypt, a seller", "transactions")
    compute.title = "Seconds on this machine"
    costs = Table("order", "sellers", "who", title="Dollars, under the assumed prices")
    for key in next(iter(result["money"].values()))[0]["dollars"]["order"]:
        costs.add_column(key)
    for kind, alike in result["money"].items():
        for one, settled in zip(alike, result["growing"][kind], strict=True):
            for who, dollars in one["dollars"].items():
                costs.add_row(kind, str(one["sellers"]), who, *(f"{amount:,.3f}" for amount in dollars.values()))
            spent, sellers = settled["compute_seconds"], settled["sellers"]
            compute.add_row(
                kind,
                str(sellers),
                f"{spent['encrypt']:.3f}",
                f"{spent['evaluate'] / sellers:.4f}",
                f"{spent['decrypt'] / sellers:.4f}",
                f"{sum(settled['seconds'].values()) - sum(spent.values()):.1f}",
            )
    paper = Table("", *result["many"], title="10,000 sellers on paper: cohorts of 128, a key each, one budget")
    columns = [_paper(many) for many in result["many"].values()]
    for name in columns[0]:
        paper.add_row(name, *(column[name] for column in columns))
    return [*tables, beside, compute, costs, paper]


def _paper(many: Result) -> dict[str, str]:
    return {
        "cohorts": f"{many['cohorts']}",
        "gas of everything": f"{many['gas']['the order'] + many['gas_of_sharing']:,.0f}",
        "of it the buyer's": f"{many['gas']['the buyer'] + many['gas_of_sharing']:,.0f}",
        "gas a seller, its part of the buyer's included": f"{many['gas_a_seller']:,.0f}",
        **{f"dollars a seller, {key}": f"{dollars:,.3f}" for key, dollars in many["dollars_a_seller"].items()},
        "full blocks of a layer 1": f"{many['blocks']:,.0f}, {many['hours_of_full_blocks']:.1f} hours",
        "bytes on the chain": f"{many['bytes_on_the_chain']:,.0f}",
        "bytes of queries": f"{many['queries_bytes']:,.0f}",
        "bytes of replies": f"{many['replies_bytes']:,.0f}",
        "published values per dimension of the query": f"{many['equations_a_dimension']:.2f}",
    }


def plot(result: Result) -> dict[str, Figure]:
    """Gas against the number of sellers with the fitted line, and its residuals."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    gas, left = figure.subplots(1, 2)
    for kind, growing in result["growing"].items():
        sellers = np.array([one["sellers"] for one in growing])
        for name in ("gas of the order", "gas of the buyer"):
            found = result["fits"][kind][name]
            (line,) = gas.plot(sellers, (found["fixed"] + found["a_seller"] * sellers) / 1e6)
            measured = [QUANTITIES[name](one) / 1e6 for one in growing]
            gas.plot(sellers, measured, "o", color=line.get_color(), label=f"{name} {kind}")
            left.plot(sellers, found["residuals"], "o-", color=line.get_color())
    gas.set(xlabel="sellers", ylabel="million gas")
    gas.legend()
    left.set(xlabel="sellers", ylabel="gas less fitted line")
    left.axhline(0, color="grey", linewidth=0.8)
    return {"": figure}


STUDY = Study("settlement_scale", "What an order costs as sellers and orders become many.", run, report, plot)

if __name__ == "__main__":
    main(STUDY)

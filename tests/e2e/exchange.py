"""A whole exchange in small: a tiny BERT, three sellers, every command a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from commands import Ended, run_command

from tip_exchange.types import BURN_ADDRESS

WORDS = ("liver", "kidney", "heart", "lung", "acute", "chronic", "left", "right", "fracture", "benign")
LABELS = ("organ", "bone", "other")
SELLERS = ("clinic", "lab", "ward")
PROBER = "stranger"
"""Invited as well, and answers with probes."""

ETHER = 10**18
BUDGET, RATE, BOND, FEE = ETHER, ETHER // 100, 3 * ETHER // 2, ETHER // 100
PUBLISH_FEE, CHALLENGE_BOND, ARBITER_FEE = ETHER // 100, ETHER // 10, ETHER // 1000


def write_records(path: Path, count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        words = generator.choice(WORDS, 5).tolist()
        label = "bone" if "fracture" in words else "organ" if set(words) & set(WORDS[:4]) else "other"
        lines.append(json.dumps({"text": " ".join(words), "label": label}))
    path.write_text("\n".join(lines) + "\n")


def write_model(path: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    from tip_exchange.influence.architectures import build_model
    from tip_exchange.influence.layers import Layer
    from tip_exchange.influence.models import write_model_folder
    from tip_exchange.influence.specification import Valuation

    torch.manual_seed(0)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(("[PAD]", "[UNK]", *WORDS))}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": len(WORDS) + 2,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 16,
    }
    model = build_model(config, len(LABELS), str(path))
    layers = (Layer("bert.encoder.layer.0.output.dense", 4, 4), Layer("classifier", bias=True))
    checkpoint = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("classifier")}
    write_model_folder(
        path,
        model,
        config,
        tokenizer,
        Valuation(LABELS, layers, max_length=8, repeat_cosine=None),
        [checkpoint, checkpoint],
    )


@dataclass
class Exchange:
    """Homes, wallets, chain and data of one exchange."""

    folder: Path
    processes: Any
    environment: dict[str, str] = field(default_factory=dict)
    wallets: dict[str, str] = field(default_factory=dict)
    arbiter_box_key: str = ""
    order: str = ""

    def run(
        self,
        role: str,
        *arguments: str,
        kill_at: int = 0,
        most_bytes: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Run `tip` in the role's home."""
        out, err = self.folder / "out", self.folder / "err"
        settings = self.environment | {"TIP_HOME": str(self.home(role)), **(environment or {})}
        process = self.processes.Process(
            target=run_command, args=(list(arguments), settings, out, err, kill_at, most_bytes)
        )
        process.start()
        process.join(120)
        hangs = process.exitcode is None
        if hangs:
            process.kill()
            process.join()
        assert not hangs, f"tip {arguments} hangs"
        return Ended(process.exitcode, out.read_text(), err.read_text())

    def tip(self, role: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """As :meth:`run`, for a command that must succeed; its JSON answer."""
        return self.run(role, *arguments, "--json", environment=environment).answer

    def read(self, *arguments: str) -> Ended:
        """As :meth:`run` of the auditor's, for a command that only reads: in this process, which spares a fork."""
        from click.testing import CliRunner

        from tip_exchange.cli.main import tip

        settings = self.environment | {"TIP_HOME": str(self.home("auditor"))}
        done = CliRunner().invoke(tip, list(arguments), env=settings)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Ended(done.exit_code, done.stdout, done.stderr)

    def refused(self, role: str, *arguments: str, most_bytes: int = 0, **environment: str) -> str:
        """As :meth:`run`, for a command that must end with one sentence and no traceback; the sentence."""
        ended = self.run(role, *arguments, most_bytes=most_bytes, environment=environment)
        assert ended.status not in (0, -9), ended.out
        assert "Traceback" not in ended.err, ended.err
        sentences = [line for line in ended.err.splitlines() if line.lower().startswith("error: ")]
        assert len(sentences) == 1, ended.err
        return sentences[0]

    def home(self, role: str) -> Path:
        return self.folder / role

    def start(self) -> None:
        """A chain of its own, funded wallets, the escrow, an arbiter that the sellers trust."""
        (self.folder / "password").write_text("secret\n")
        self.environment |= {
            "TIP_PASSWORD_FILE": str(self.folder / "password"),
            "TIP_SCRYPT_N": "4096",
            "TIP_STORAGE": str(self.folder / "storage"),
            "TIP_CHAIN_FOLDER": str(self.folder / "chain"),
            "TIP_DEPLOYMENT": str(self.folder / "deployment.json"),
            "OMP_NUM_THREADS": "1",
        }
        self.environment["TIP_RPC"] = self.tip("operator", "chain", "start")["url"]
        for role in ("operator", "buyer", *SELLERS, PROBER, "auditor"):
            self.wallets[role] = self.tip(role, "wallet", "new")["address"]
            self.read("chain", "fund", self.wallets[role])
        self.tip("operator", "chain", "deploy")
        self.arbiter_box_key = self.tip("auditor", "auditor", "keys")["arbiter_box_key"]
        for role in SELLERS:
            self.tip(role, "seller", "trust", self.wallets["auditor"], self.arbiter_box_key)
        made = self.processes.Process(target=write_model, args=(self.folder / "model",))
        made.start()
        made.join()
        for index, name in enumerate(("validation", "background", *SELLERS)):
            write_records(self.folder / f"{name}.jsonl", 24, index)

    def open_arguments(self, name: str = "order", *more: str, invited: Sequence[str] = (*SELLERS, PROBER)) -> list[str]:
        """A complete ``tip buyer open``."""
        folder = self.folder
        return [
            "buyer", "open", "--name", name, "--model", str(folder / "model"),
            "--budget", f"{BUDGET}wei", "--rate", f"{RATE}wei", "--bond", f"{BOND}wei", "--answer-fee", f"{FEE}wei",
            "--publish-fee", f"{PUBLISH_FEE}wei", "--challenge-bond", f"{CHALLENGE_BOND}wei",
            "--arbiter", self.wallets["auditor"], "--arbiter-box-key", self.arbiter_box_key,
            "--arbiter-fee", f"{ARBITER_FEE}wei",
            "--validation", str(folder / "validation.jsonl"), "--background", str(folder / "background.jsonl"),
            "--max-sellers", "8", "--min-records", "4",
            *(text for role in invited for text in ("--seller", self.wallets[role])), *more,
        ]  # fmt: skip

    def open(self, name: str = "order", *more: str, invited: Sequence[str] = (*SELLERS, PROBER)) -> str:
        """Open an order; its id."""
        self.order = self.tip("buyer", *self.open_arguments(name, *more, invited=invited))["order_id"]
        return self.order

    def submit_arguments(self, seller: str = "clinic") -> list[str]:
        """A complete ``tip seller submit``."""
        return ["seller", "submit", self.order, "--records", str(self.folder / f"{seller}.jsonl")]

    def submit(self, seller: str, *more: str) -> dict[str, Any]:
        """One seller's answer."""
        return self.tip(seller, *self.submit_arguments(seller), *more)

    def attest(self, *more: str) -> dict[str, Any]:
        return self.tip("buyer", "buyer", "attest", self.order, *more)

    def reveal(self, *sellers: str) -> None:
        """Sellers open their pads; all by default."""
        for seller in sellers or SELLERS:
            self.tip(seller, "seller", "reveal", self.order)

    def offer(self, seller: str, *more: str) -> None:
        """One seller offers its file, which ends with the sentence that the buyer has to accept."""
        assert "silence accepts" in self.refused(seller, "seller", "deliver", self.order, "--no-wait", *more)

    def accept(self, seller: str) -> None:
        self.tip("buyer", "buyer", "accept", self.order, self.wallets[seller])
        self.advance("1s")

    def show_key(self, seller: str) -> dict[str, Any]:
        return self.tip(seller, "seller", "deliver", self.order, "--no-wait")

    def deliver(self, *sellers: str) -> None:
        """Files are offered and accepted, and their keys shown."""
        for seller in sellers or SELLERS:
            self.offer(seller)
            self.accept(seller)
            assert self.show_key(seller)["state"] == "DELIVERED"

    def collect_arguments(self, *more: str) -> list[str]:
        return ["buyer", "collect", self.order, "--out", str(self.collected), *more]

    @property
    def collected(self) -> Path:
        """Where the buyer collects."""
        return self.folder / "collected"

    def collect(self, *more: str) -> dict[str, dict[str, Any]]:
        """What the buyer finds when it collects, by seller's name, whether all is well or not."""
        ended = self.run("buyer", *self.collect_arguments(*more), "--json")
        assert ended.out, ended.err
        found = json.loads(ended.out)
        assert not found["failures"], found["failures"]
        reports = {self.name_of(report["seller"]): report for report in found["sellers"]}
        assert ended.status == int(any(report["advice"] for report in reports.values())), ended.err
        return reports

    def value(self) -> None:
        """From the last submission to final weights, with the default windows."""
        self.advance("2d")
        self.attest()
        self.reveal()
        self.advance("3d")

    def pay(self) -> dict[str, dict[str, int]]:
        """Once keys are shown: let the buyer's time pass, and have everything paid that is due; as :meth:`push`."""
        paid = self.push()
        self.advance("3d")
        return paid | self.push()

    def settle(self) -> None:
        """From the last submission to the last payment; the buyer collects."""
        self.value()
        self.deliver(*self.earning())
        self.collect()
        self.pay()

    def earning(self) -> list[str]:
        """The sellers whose records earn anything."""
        return [seller for seller in SELLERS if self.entry(seller)["payout"]]

    def push(self) -> dict[str, dict[str, int]]:
        """Have all paid that is due, by the operator's coin: what each payment paid, by name; "rest" is reclaim's."""
        payments = self.tip("operator", "order", "settle", self.order)["payments"]
        assert not any(row["refused"] for row in payments), payments
        return {"rest" if row["seller"] is None else self.name_of(row["seller"]): row["paid_wei"] for row in payments}

    def show(self) -> dict[str, Any]:
        """The order as anybody sees it."""
        return self.read("order", "show", self.order, "--json").answer

    def entry(self, name: str) -> dict[str, Any]:
        """A seller's submission as anybody sees it."""
        return next(one for one in self.show()["submissions"] if one["seller"] == self.wallets[name])

    def audit(self) -> dict[str, Any]:
        """The auditor's report, whatever it says."""
        ended = self.read("auditor", "verify", self.order, "--json")
        assert ended.out, ended.err
        report: dict[str, Any] = json.loads(ended.out)
        assert ended.status == (0 if report["ok"] else 1)
        return report

    def audited(self) -> dict[str, dict[str, Any]]:
        """The auditor's checks by name; all hold."""
        report = self.audit()
        assert report["ok"], [check for check in report["checks"] if not check["ok"]]
        return {check["name"]: check for check in report["checks"]}

    def name_of(self, address: str) -> str:
        return next(name for name, one in self.wallets.items() if one == address)

    def balance(self, name: str) -> int:
        """In wei, of a role or an address."""
        return int(self.rpc("eth_getBalance", self.wallets.get(name, name), "latest"), 16)

    def balances(self) -> dict[str, int]:
        """Everybody's but the operator's, who pushes and pays the gas."""
        return {name: self.balance(name) for name in (*self.wallets, BURN_ADDRESS) if name != "operator"}

    def gained(self, before: dict[str, int]) -> dict[str, int]:
        """What everybody has gained; nothing for those that are not named."""
        return {name: gain for name, held in before.items() if (gain := self.balance(name) - held)}

    def stored(self, digest: str) -> Path:
        """Where a blob lies in the storage."""
        digest = digest.removeprefix("0x")
        return self.folder / "storage" / digest[:2] / digest

    def kept(self, seller: str) -> Path:
        """The folder of a seller's submission to the order."""
        (folder,) = (self.home(seller) / "submissions").glob(f"{self.order[2:]}-*")
        return folder

    def session(self, role: str) -> Any:
        """A role's options, for steps that no command takes."""
        from tip_exchange.cli.options import Session

        environment = self.environment
        return Session(
            self.home(role),
            environment["TIP_RPC"],
            None,
            Path(environment["TIP_DEPLOYMENT"]),
            environment["TIP_STORAGE"],
            None,
            Path(environment["TIP_PASSWORD_FILE"]),
        )

    def advance(self, *durations: str) -> None:
        """Let time pass."""
        for duration in durations:
            self.read("chain", "advance", duration)

    def rpc(self, method: str, *parameters: object) -> Any:
        """Ask the node directly."""
        from web3 import Web3

        provider: Any = Web3.HTTPProvider(self.environment["TIP_RPC"])
        reply = provider.make_request(method, list(parameters))
        assert "error" not in reply, reply
        return reply["result"]

    def quiet(self) -> None:
        """Wait until the node has mined what somebody has sent who did not live to see it."""
        while int(self.rpc("txpool_status")["pending"], 16):
            time.sleep(0.01)

    def mined(self, **transaction: str) -> Any:
        """Send from an account of the node's own and wait: a node answers before it has mined. The receipt."""
        from web3 import Web3

        sender = self.rpc("eth_accounts")[0]
        sent = self.rpc("eth_sendTransaction", {"from": sender, **transaction})
        w3 = Web3(Web3.HTTPProvider(self.environment["TIP_RPC"]))
        receipt = w3.eth.wait_for_transaction_receipt(sent, timeout=60)
        assert receipt["status"] == 1
        return receipt

    def stop(self) -> None:
        self.tip("operator", "chain", "stop")

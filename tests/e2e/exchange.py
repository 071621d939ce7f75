"""A whole exchange in small: a tiny BERT, three sellers, every command a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tip_exchange.chain.signed_content import sign_content
from tip_exchange.encryption.sealed_stream import seal_stream
from tip_exchange.roles.messages import CHECK_VALUES, MessageKind, put_signed_name
from tip_exchange.storage import BlobStore

WORDS = ("liver", "kidney", "heart", "lung", "acute", "chronic", "left", "right", "fracture", "benign")
LABELS = ("organ", "bone", "other")
AFTER_SENDING = -1
SELLERS = ("clinic", "lab", "ward")


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


@dataclass(frozen=True)
class Ended:
    """How a process ended: its status (-9 for SIGKILL) and what it printed."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        assert self.status == 0, self.err
        result: dict[str, Any] = json.loads(self.out)
        return result


def _run(arguments: list[str], environment: dict[str, str], out: Path, err: Path, kill_at: int) -> None:
    """In a process of its own: `tip`, killed with SIGKILL at the ``kill_at``-th durable event (0: never).

    An event is the moment before a file is renamed into place, or before a transaction is sent; AFTER_SENDING is the
    moment when the node has the transaction and this process does not know it yet.
    """
    os.environ.update(environment)
    with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
        if kill_at:
            _install_kill(kill_at)
        status = 1
        try:
            from tip_exchange.cli import main, options

            options.errors.file = sys.stderr
            sys.argv = ["tip", *arguments]
            with contextlib.suppress(KeyError):
                main.main()
            status = 0
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _install_kill(kill_at: int) -> None:
    from tip_exchange.chain import rpc

    left = kill_at

    def event() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda name, _: event() if name == "os.rename" else None)
    send = rpc.HttpProvider.make_request

    def counted(self: Any, method: Any, params: Any) -> Any:
        if method != "eth_sendRawTransaction":
            return send(self, method, params)
        event()
        answer = send(self, method, params)
        if kill_at == AFTER_SENDING:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    rpc.HttpProvider.make_request = counted  # type: ignore[method-assign]


@dataclass
class Exchange:
    """Homes, wallets, chain and data of one exchange."""

    folder: Path
    processes: Any
    environment: dict[str, str] = field(default_factory=dict)
    wallets: dict[str, str] = field(default_factory=dict)
    order: str = ""

    def run(self, role: str, *arguments: str, kill_at: int = 0, **environment: str) -> Ended:
        """Run `tip` in the role's home."""
        out, err = self.folder / "out", self.folder / "err"
        settings = self.environment | {"TIP_HOME": str(self.home(role))} | environment
        process = self.processes.Process(target=_run, args=(list(arguments), settings, out, err, kill_at))
        process.start()
        process.join(120)
        assert process.exitcode is not None, f"tip {arguments} hangs"
        return Ended(process.exitcode, out.read_text(), err.read_text())

    def tip(self, role: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """As :meth:`run`, for a command that must succeed; its JSON answer."""
        return self.run(role, *arguments, "--json", **environment).answer

    def home(self, role: str) -> Path:
        return self.folder / role

    def start(self) -> None:
        """A chain of its own, funded wallets, the escrow."""
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
        for role in ("operator", "buyer", *SELLERS, "stranger"):
            self.wallets[role] = self.tip(role, "wallet", "new")["address"]
            self.tip("operator", "chain", "fund", self.wallets[role])
        self.tip("operator", "chain", "deploy")
        write_model(self.folder / "model")
        for index, name in enumerate(("validation", "background", *SELLERS)):
            write_records(self.folder / f"{name}.jsonl", 24, index)

    def open_arguments(self, name: str = "order", *more: str) -> list[str]:
        """A complete ``tip buyer open``."""
        folder = self.folder
        return [
            "buyer", "open", "--name", name, "--model", str(folder / "model"), "--budget", "1ether",
            "--bond", "0.5ether",
            "--validation", str(folder / "validation.jsonl"), "--background", str(folder / "background.jsonl"),
            "--answer-fee", "0.01ether", "--max-sellers", "8", "--min-records", "4", "--spot-check-rows", "0",
            *more,
        ]  # fmt: skip

    def open(self, name: str = "order", *more: str) -> str:
        """Open an order; its id."""
        self.order = self.tip("buyer", *self.open_arguments(name, *more))["order_id"]
        return self.order

    def submit(self, seller: str) -> dict[str, Any]:
        """One seller's answer."""
        return self.tip(seller, "seller", "submit", self.order, "--records", str(self.folder / f"{seller}.jsonl"))

    def tell(self, order: str = "order") -> None:
        """In an order with tags: all sellers that count and keep a submission tell check values, the buyer checks."""
        if not order.startswith("0x"):
            order = json.loads((self.home("buyer") / f"orders/{order}/order.json").read_text())["order_id"]
        shown = self.tip("auditor", "order", "show", order)
        if not int(shown["terms"]["tagKeyHash"], 16) or shown["phase"] != "ATTESTING":
            return
        self.tip("buyer", "buyer", "ask-check-values", order)
        names = {address: name for name, address in self.wallets.items()}
        for entry in shown["submissions"]:
            role = names[entry["seller"]]
            kept = any((self.home(role) / "submissions").glob(f"{order[2:]}-*/submission.json"))
            if kept and not entry["rejected"]:
                self.tip(role, "seller", "check-values", order)
        self.tip("buyer", "buyer", "check", order)

    def attest(self, order: str, *more: str) -> dict[str, Any]:
        """Sellers tell check values, the buyer checks them and attests."""
        self.tell(order)
        return self.tip("buyer", "buyer", "attest", order, *more)

    def account(self, role: str) -> Any:
        """A role's key."""
        from eth_account import Account

        (path,) = (self.home(role) / "keystore").iterdir()
        return Account.from_key(Account.decrypt(json.loads(path.read_text()), "secret"))

    def probe(self, role: str, *more: str) -> dict[str, Any]:
        """Submit a probe, with records where the order has tags."""
        path = self.folder / f"{role}.jsonl"
        write_records(path, 24, 77)
        if int(self.tip("auditor", "order", "show", self.order)["terms"]["tagKeyHash"], 16):
            more = ("--records", str(path), *more)
        return self.tip(role, "auditor", "probe", "submit", self.order, *more)

    def advance(self, *durations: str) -> None:
        """Let time pass."""
        for duration in durations:
            self.tip("operator", "chain", "advance", duration)

    def settle(self) -> None:
        """From the last submission to the buyer's refund, all with the default windows."""
        self.advance("2d")
        self.attest("order")
        for seller in SELLERS:
            self.tip(seller, "seller", "reveal", self.order)
        self.advance("2d", "3d")
        for seller in SELLERS:
            self.tip(seller, "seller", "claim", self.order)
        self.tip("buyer", "buyer", "refund", "order")

    def rpc(self, method: str, *parameters: object) -> Any:
        """Ask the node directly."""
        from web3 import Web3

        reply = Web3(Web3.HTTPProvider(self.environment["TIP_RPC"])).provider.make_request(method, list(parameters))
        assert "error" not in reply, reply
        return reply["result"]

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


def tell_by_hand(exchange: Exchange, role: str, content: bytes, kind: MessageKind = CHECK_VALUES) -> None:
    """Seal, store and sign any bytes as a message of a seller's, whatever the tools would send."""
    shown = exchange.tip("auditor", "order", "show", exchange.order)
    order_id, address = bytes.fromhex(exchange.order[2:]), exchange.wallets[role]
    box_key = bytes.fromhex(shown["terms"]["boxKey"][2:])
    sealed = b"".join(seal_stream([content], box_key, kind.context(order_id, address)))
    put_message(exchange, role, sealed, kind)


def put_message(exchange: Exchange, role: str, sealed: bytes, kind: MessageKind, *, of: str = "") -> None:
    """Store any bytes and sign for them as ``role``, under the name of ``of``."""
    store, digest = BlobStore(exchange.folder / "storage"), hashlib.sha256(sealed).digest()
    order_id = bytes.fromhex(exchange.order[2:])
    store.put(digest, sealed)
    deployment = json.loads((exchange.folder / "deployment.json").read_text())
    place = deployment["chain_id"], deployment["address"]
    signature = sign_content(exchange.account(role), kind.signed_type, *place, order_id, digest)
    put_signed_name(store, kind, order_id, exchange.wallets[of or role], digest, signature)
